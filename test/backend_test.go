package test

import (
	"os"
	"slices"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/nftables"
	"istio-init/test/kernel"
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

// saved returns the rules of a backend and family as iptables-save prints them, without empty
// tables.
func (s *site) saved(b backend, f inet.Family) string {
	s.t.Helper()
	return savedIn(s.t, s.Path(), b, f)
}

// savedIn returns the rules in a network namespace. Other tests compare what is read of our
// tables of nf_tables with what nft lists.
func savedIn(t *testing.T, netns string, b backend, f inet.Family) string {
	t.Helper()
	if v, is := b.(xtables.Variant); is {
		out, err := runIn(netns, append(os.Environ(), "LC_ALL=C", "XTABLES_LOCKFILE=/proc/self/ns/net"), saver(v, f))
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return heldText(kernel.Plain(out))
	}
	var live nftables.Live
	err := netutil.InNetNS(netns, func() (err error) {
		live, err = nftables.Read(f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return heldText(live.Ruleset().Snapshot().String())
}
