package netutil_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
)

// in runs a function in a namespace and fails the test with its error.
func in(t *testing.T, ns *kernel.NetNS, fn func() error) {
	t.Helper()
	if err := netutil.InNetNS(ns.Path(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestInNetNSRestoresTheCaller(t *testing.T) {
	kernel.Need(t, "ip")
	ns := kernel.NewNetNS(t)
	here := func() string {
		link, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		return link
	}
	before, inside := here(), ""
	errInside := errors.New("from inside")
	if err := netutil.InNetNS(ns.Path(), func() error { inside = here(); return errInside }); !errors.Is(err, errInside) {
		t.Errorf("want the error of the function, got %v", err)
	}
	if inside == before || here() != before {
		t.Errorf("before %s, inside %s, after %s", before, inside, here())
	}
	if err := netutil.InNetNS("", func() error { inside = here(); return nil }); err != nil || inside != before {
		t.Errorf("no namespace: want %s, got %s, %v", before, inside, err)
	}
	if err := netutil.InNetNS("/nowhere", func() error { return nil }); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("want an error that names the file, got %v", err)
	}
}

func TestNetNSPath(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"": "", "blue": "/run/netns/blue", "/proc/7/ns/net": "/proc/7/ns/net", "./here": "./here",
	} {
		if got := netutil.NetNSPath(name); got != want {
			t.Errorf("%q: want %q, got %q", name, want, got)
		}
	}
}

// What Istio's rules need besides themselves.
var (
	passthrough = netip.MustParseAddr("::6")
	routes      = netutil.TProxyRoutes{Known: netutil.TProxyRoute{Mark: 1337, Table: 133}}
)

func TestAddrsAreReachable(t *testing.T) {
	kernel.Need(t, "ip")
	ns := kernel.NewNetNS(t)
	for _, args := range []string{
		"link set lo up", "link add eth0 type veth peer name eth1", "link set eth0 up",
		"addr add 2001:db8::2/64 dev eth0 nodad", "addr add 10.0.0.2/24 dev eth0", "addr add 169.254.1.1/16 dev eth0",
	} {
		ns.Run(t, "", "ip", strings.Fields(args)...)
	}
	in(t, ns, func() error {
		if _, err := netutil.AddLoopbackAddr(passthrough); err != nil {
			return err
		}
		got, err := netutil.Addrs(passthrough)
		want := []netutil.Addr{
			{IP: netip.MustParseAddr("10.0.0.2"), Interface: "eth0"}, {IP: netip.MustParseAddr("2001:db8::2"), Interface: "eth0"},
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		return err
	})
}

func TestPassthroughAddAndRemove(t *testing.T) {
	kernel.Need(t, "ip")
	ns := kernel.NewNetNS(t)
	ns.Run(t, "", "ip", "link", "set", "lo", "up")
	before := ns.Run(t, "", "ip", "-6", "addr")
	in(t, ns, func() error {
		undo, err := netutil.AddLoopbackAddr(passthrough)
		if err != nil || undo == nil {
			t.Errorf("first: want it added, got %v", err)
		}
		if again, err := netutil.AddLoopbackAddr(passthrough); err != nil || again != nil {
			t.Errorf("again: want nothing to do, got %v", err)
		}
		if removed, err := netutil.RemoveLoopbackAddr(passthrough); err != nil || removed == nil {
			t.Errorf("want it removed, got %v", err)
		}
		return undoAll(undo)
	})
	if after := ns.Run(t, "", "ip", "-6", "addr"); after != before {
		t.Errorf("want %s, got %s", before, after)
	}
	ns.Run(t, "", "ip", "-6", "addr", "add", "::6/128", "dev", "lo")
	in(t, ns, func() error {
		if removed, err := netutil.RemoveLoopbackAddr(passthrough); err != nil || removed != nil {
			t.Errorf("somebody else's: want it to stay, got %v", err)
		}
		return nil
	})
}

// undoAll undoes what may be gone already.
func undoAll(undo netutil.Undo) error {
	if undo == nil {
		return nil
	}
	_ = undo()
	return nil
}

func TestTProxyRouteAddAndRemove(t *testing.T) {
	kernel.Need(t, "ip")
	for _, f := range inet.Families {
		ns := kernel.NewNetNS(t)
		ns.Run(t, "", "ip", "link", "set", "lo", "up")
		family := map[inet.Family]string{inet.IPv4: "-4", inet.IPv6: "-6"}[f]
		state := func() string {
			return ns.Run(t, "", "ip", family, "rule") + ns.Run(t, "", "ip", family, "route", "show", "table", "all", "type", "local", "default")
		}
		before := state()
		route := netutil.TProxyRoute{Mark: 0x7d0, Table: 2000}
		in(t, ns, func() error {
			if undo, err := routes.Add(f, route); err != nil || undo == nil {
				t.Errorf("want it added, got %v", err)
			}
			once := state()
			if undo, err := routes.Add(f, route); err != nil || undo != nil || state() != once {
				t.Errorf("want nothing to do, got %v:\n%s", err, state())
			}
			if !strings.Contains(once, "fwmark 0x7d0 lookup 2000") || !strings.Contains(once, "local default dev lo table 2000") {
				t.Errorf("got %s", once)
			}
			undo, err := routes.Remove(f, netutil.TProxyRoute{})
			if err != nil || undo == nil || state() != before {
				t.Errorf("want all of it removed, got %v:\n%s", err, state())
			}
			if err := undo(); err != nil || state() != once {
				t.Errorf("want the removal undone, got %v:\n%s", err, state())
			}
			return nil
		})
	}
}

func TestTProxyRoutesOfIstio(t *testing.T) {
	kernel.Need(t, "ip")
	ns := kernel.NewNetNS(t)
	ns.Run(t, "", "ip", "link", "set", "lo", "up")
	foreign := []string{"rule add fwmark 0x10 lookup 10", "route add local default dev lo table 10", "rule add fwmark 0x539 lookup 134"}
	for _, args := range foreign {
		ns.Run(t, "", "ip", strings.Fields(args)...)
	}
	before := ns.Run(t, "", "ip", "rule") + ns.Run(t, "", "ip", "route", "show", "table", "all")
	for range 3 { // as often as Istio was run
		ns.Run(t, "", "ip", "rule", "add", "fwmark", "1337", "lookup", "133")
	}
	ns.Run(t, "", "ip", "route", "add", "local", "default", "dev", "lo", "table", "133")
	in(t, ns, func() error {
		if undo, err := routes.Add(inet.IPv4, routes.Known); err != nil || undo != nil {
			t.Errorf("want Istio's route to do, got %v", err)
		}
		if _, err := routes.Remove(inet.IPv4, routes.Known); err != nil {
			t.Error(err)
		}
		if rules := ns.Run(t, "", "ip", "rule"); strings.Count(rules, "lookup 133") != 1 {
			t.Errorf("want one rule to stay, got %s", rules)
		}
		_, err := routes.Remove(inet.IPv4, netutil.TProxyRoute{})
		return err
	})
	if after := ns.Run(t, "", "ip", "rule") + ns.Run(t, "", "ip", "route", "show", "table", "all"); after != before {
		t.Errorf("want %s, got %s", before, after)
	}
}

func TestListingIsReadOnly(t *testing.T) {
	kernel.Need(t, "nft")
	ns := kernel.NewNetNS(t)
	var seen netutil.Netfilter
	look := func() { in(t, ns, func() error { seen = netutil.LookAtNetfilter("istio-proxy-", ""); return nil }) }
	look()
	if seen.NoNFT != nil || seen.NoLegacy != nil || len(seen.NFT[0])+len(seen.NFT[1])+len(seen.Legacy[0])+len(seen.Legacy[1]) > 0 {
		t.Errorf("a new namespace: got %+v", seen)
	}
	ns.Run(t, "add table ip nat\nadd table ip6 mangle\nadd table inet istio-proxy-nat\nadd table inet istio\n", "nft", "-f", "-")
	before := ns.Run(t, "", "nft", "list", "ruleset")
	look()
	if seen.Generation == 0 {
		t.Error("want to know the generation of what is there")
	}
	want := netutil.Netfilter{Generation: seen.Generation, NFT: [2][]string{{"nat"}, {"mangle"}}, Native: []string{"istio-proxy-nat"}, Legacy: [2][]string{{}, {}}}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if after := ns.Run(t, "", "nft", "list", "ruleset"); after != before {
		t.Errorf("want %s, got %s", before, after)
	}
	in(t, ns, func() error { return netutil.RemoveNativeTables(seen.Native) })
	if tables := ns.Run(t, "", "nft", "list", "tables"); strings.Contains(tables, "istio-proxy") || !strings.Contains(tables, "inet istio") {
		t.Errorf("got %s", tables)
	}
}

func TestLockIsExclusiveInANamespace(t *testing.T) {
	kernel.Need(t)
	ns, other := kernel.NewNetNS(t), kernel.NewNetNS(t)
	in(t, ns, func() error {
		lock, err := netutil.LockNetNS(t.Context())
		if err != nil {
			return err
		}
		expired, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := netutil.LockNetNS(expired); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("want the wait to end with its time, got %v", err)
		}
		in(t, other, func() error {
			theirs, err := netutil.LockNetNS(t.Context())
			return errors.Join(err, theirs.Close())
		})
		err = lock.Close()
		again, lockErr := netutil.LockNetNS(t.Context())
		return errors.Join(err, lockErr, again.Close())
	})
}

func TestOwnNamespaceIsNeitherForeignNorHost(t *testing.T) {
	kernel.Need(t)
	ns := kernel.NewNetNS(t)
	in(t, ns, func() error {
		owner, err := netutil.OwnerUserNS()
		if owner != nil {
			t.Error("want our own user namespace to own what we made")
		}
		if why, err := netutil.LooksLikeHost(); why != "" || err != nil {
			t.Errorf("an empty namespace looks like a machine: %s, %v", why, err)
		}
		if got := netutil.ChildCaps(); len(got) > 0 {
			t.Errorf("root has to pass no capability on, got %v", got)
		}
		return err
	})
}
