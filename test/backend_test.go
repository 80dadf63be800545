package test

import (
	"slices"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/nftables"
)

// A backend is a variant of iptables, or native.
type backend interface{ String() string }

// native is the backend without iptables: rules in tables of nf_tables of their own.
var native nativeBackend

type nativeBackend struct{}

func (nativeBackend) String() string { return "nftables" }

var backends = []backend{xtables.NFT, xtables.Legacy, native}

// others returns the backends but one.
func others(b backend) []backend {
	return slices.DeleteFunc(slices.Clone(backends), func(other backend) bool { return other == b })
}

// in adds the flag that asks for a backend.
func in(b backend, args []string) []string {
	if b == native {
		return append(slices.Clone(args), "--native-nftables")
	}
	return append(slices.Clone(args), "--force-iptables-binary", b.String())
}

// onBackends runs a test for each backend, in parallel.
func onBackends(t *testing.T, test func(t *testing.T, b backend)) {
	t.Helper()
	t.Parallel()
	needKernel(t)
	for _, b := range backends {
		t.Run(b.String(), func(t *testing.T) {
			t.Parallel()
			test(t, b)
		})
	}
}

// nativeTable returns our table of nf_tables of one family. Other tests compare what is read
// of it with what nft lists.
func (s *site) nativeTable(f inet.Family) nftables.Live {
	s.t.Helper()
	var live nftables.Live
	s.Do(s.t, func() (err error) {
		live, err = nftables.Read(f)
		return err
	})
	return live
}

// saved returns the rules of a backend and family as iptables-save prints them, without empty
// tables.
func (s *site) saved(b backend, f inet.Family) string {
	s.t.Helper()
	if v, is := b.(xtables.Variant); is {
		return heldText(s.Save(s.t, v, f))
	}
	return heldText(s.nativeTable(f).Ruleset().Snapshot().String())
}
