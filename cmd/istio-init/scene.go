package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
)

// A scene is the rules that a question is about, understood, and what has to be
// known of the namespace besides.
type scene struct {
	name     string // what the rules are, in words
	variant  string // of iptables, where they are live
	live     bool
	readings []*capture.Reading // by family
	config   capture.Config
	own      []netip.Addr // addresses of the namespace but those of loopback
	route    func(netip.Addr) (device string, src netip.Addr)
	// doubts are why an answer from these rules may be wrong.
	doubts []string
}

// Where rules can be taken from.
const (
	rulesLive    = "live"
	rulesPlanned = "planned"
	rulesStdin   = "-"
)

// defaultDevice is the interface by which a pod is reached, where that cannot be
// looked up.
const defaultDevice = "eth0"

// Addresses that stand for the pod and for a peer where none are known: those that
// are set aside for documentation (RFC 5737, RFC 3849).
var (
	somePod = [...]netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")}
	peer    = [...]netip.Addr{netip.MustParseAddr("192.0.2.99"), netip.MustParseAddr("2001:db8::99")}
)

// scene takes the rules from where the user wants them: those that stand, those
// that the flags would make, or those of a dump.
func (inv *invocation) scene(ctx context.Context) (*scene, error) {
	var sc *scene
	var err error
	switch from := inv.set.rulesFrom(); from {
	case rulesLive:
		sc, err = inv.liveScene(ctx)
	case rulesPlanned:
		sc, err = inv.plannedScene()
	default:
		sc, err = inv.dumpScene(from)
	}
	if err != nil {
		return nil, err
	}
	sc.config = capture.Configuration(sc.readings...)
	if !sc.live {
		sc.own = slices.Clone(inv.set.podAddrs)
		for _, f := range iptables.Families {
			if !slices.ContainsFunc(sc.own, f.Has) {
				sc.own = append(sc.own, somePod[f])
			}
		}
		sc.route = sc.guess
	}
	return sc, nil
}

// rulesFrom is where rules are taken from: as said, or where flags describe rules
// from those, else from the namespace.
func (s *settings) rulesFrom() string {
	switch {
	case s.rules != "":
		return s.rules
	case s.describes():
		return rulesPlanned
	}
	return rulesLive
}

// plannedScene is the rules that the flags make.
func (inv *invocation) plannedScene() (*scene, error) {
	want, err := inv.planned()
	if err != nil {
		return nil, err
	}
	sc := &scene{name: "the rules that these flags make"}
	for _, rs := range want {
		sc.readings = append(sc.readings, capture.Read(rs))
	}
	return sc, nil
}

// liveScene is the rules of the namespace: those of the variant that holds ours,
// or of the one that holds any.
func (inv *invocation) liveScene(ctx context.Context) (*scene, error) {
	found, err := inv.survey(ctx, nil)
	if err != nil {
		return nil, err
	}
	k := found.standing()
	sc := &scene{name: "the rules that stand", variant: k.Variant().String(), live: true}
	sc.doubts = found.doubts(k)
	for _, f := range iptables.Families {
		sc.readings = append(sc.readings, capture.Read(k.State(f).Ruleset()))
	}
	addrs, err := netutil.Addrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		sc.own = append(sc.own, a.IP)
	}
	sc.route = func(dst netip.Addr) (string, netip.Addr) {
		path, err := netutil.PathTo(dst)
		if err != nil {
			inv.log.Debug("no way to an address", errorField(err))
		}
		return path.Interface, path.Src
	}
	return sc, nil
}

// standing is the variant that holds ours, or else the one that holds any rules.
func (l live) standing() *iptables.Kernel {
	for _, holds := range []func(*iptables.Kernel) bool{(*iptables.Kernel).Holds, holdsRules} {
		if i := slices.IndexFunc(l.kernels[:], holds); i >= 0 {
			return l.kernels[i]
		}
	}
	return l.kernels[0]
}

func holdsRules(k *iptables.Kernel) bool {
	return slices.ContainsFunc(iptables.Families[:], func(f iptables.Family) bool { return k.State(f).Rules() > 0 })
}

// doubts are what stands in the namespace and is not among the rules of a variant.
func (l live) doubts(k *iptables.Kernel) []string {
	var doubts []string
	for _, other := range l.kernels {
		if other != k && holdsRules(other) {
			doubts = append(doubts, fmt.Sprintf("the variant %s holds rules too, which every packet meets and which are not looked at here", other.Variant()))
		}
		if err := other.Unseen(); err != nil {
			doubts = append(doubts, fmt.Sprintf("the variant %s could not be read: %v", other.Variant(), err))
		}
	}
	if l.blind != nil {
		doubts = append(doubts, "the legacy variant could not be looked at: "+l.blind.Error())
	}
	for _, f := range iptables.Families {
		for _, table := range k.State(f).Unreadable() {
			doubts = append(doubts, fmt.Sprintf("the %s table %s holds rules made by nft itself, which iptables cannot print", f, table))
		}
	}
	if len(l.native) > 0 {
		doubts = append(doubts, "tables of Istio's native nftables stand besides: "+strings.Join(l.native, ", "))
	}
	return doubts
}

// maxDump bounds what is read of a dump: several times the largest that is known.
const maxDump = 64 << 20

// dumpScene is the rules of a file in the form of iptables-save.
func (inv *invocation) dumpScene(path string) (*scene, error) {
	name, snapshots, err := inv.readDump(path)
	if err != nil {
		return nil, err
	}
	sc := &scene{name: "the rules of " + name}
	for _, s := range snapshots {
		sc.readings = append(sc.readings, capture.Read(s.Ruleset()))
		for _, table := range s.Unreadable() {
			sc.doubts = append(sc.doubts, fmt.Sprintf("the %s table %s holds rules made by nft itself, which iptables cannot print", s.Family, table))
		}
	}
	return sc, nil
}

// readDump reads the states of both families from a file.
func (inv *invocation) readDump(path string) (name string, states dump, err error) {
	name, in := "standard input", inv.stdin
	if path != rulesStdin {
		name = path
		file, err := os.Open(path)
		if err != nil {
			return name, states, fmt.Errorf("--rules: %w", err)
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxDump+1))
	if err == nil && len(text) > maxDump {
		err = fmt.Errorf("longer than %d bytes", maxDump)
	}
	if err == nil {
		states, err = iptables.ParseDump(string(text))
	}
	if err != nil {
		return name, states, fmt.Errorf("--rules: read %s: %w", name, err)
	}
	if states[iptables.IPv4].Rules()+states[iptables.IPv6].Rules() == 0 {
		return name, states, fmt.Errorf("--rules: %s holds no rules: it takes what iptables-save prints", name)
	}
	return name, states, nil
}

// A dump is the states of both families.
type dump = [len(iptables.Families)]iptables.Snapshot

// isOwn tells whether an address is the pod's.
func (sc *scene) isOwn(a netip.Addr) bool {
	return a.IsLoopback() || slices.Contains(passthroughs, a) || slices.Contains(sc.own, a)
}

// guess is the route to an address where no namespace is at hand: what is the
// pod's by lo, all else by the one interface.
func (sc *scene) guess(dst netip.Addr) (device string, src netip.Addr) {
	f := iptables.IPv4
	if dst.Is6() {
		f = iptables.IPv6
	}
	switch {
	case dst.IsLoopback():
		return "lo", f.Localhost()
	case sc.isOwn(dst):
		return "lo", dst
	}
	return defaultDevice, sc.pod(f)
}

// pod is the address of the pod in a family.
func (sc *scene) pod(f iptables.Family) netip.Addr {
	if i := slices.IndexFunc(sc.own, f.Has); i >= 0 {
		return sc.own[i]
	}
	return f.Localhost()
}
