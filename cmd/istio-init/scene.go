package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"

	"istio-init/capture/infer"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A scene is the rules that a question is about, understood, and what has to be
// known of the namespace besides.
type scene struct {
	report.Source
	found *pod.Survey  // what the namespace has, where the rules are live
	own   []netip.Addr // addresses of the namespace but those of loopback
	known bool         // ... are all that it has
	route func(netip.Addr) (device string, src netip.Addr)
}

// defaultDevice is the interface by which a pod is reached, where that cannot be
// looked up.
const defaultDevice = "eth0"

// Addresses that stand for the pod and for a peer where none are known: those that
// are set aside for documentation (RFC 5737, RFC 3849).
var (
	somePod = inet.PerFamily[netip.Addr]{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")}
	peer    = inet.PerFamily[netip.Addr]{netip.MustParseAddr("192.0.2.99"), netip.MustParseAddr("2001:db8::99")}
)

// scene takes the rules from where the user wants them: those that stand, those
// that the flags would make, or those of a dump.
func (inv *invocation) scene(ctx context.Context) (*scene, error) {
	var sc *scene
	var err error
	switch from := inv.set.RulesFrom(); from {
	case options.RulesLive:
		sc, err = inv.liveScene(ctx)
	case options.RulesPlanned:
		sc, err = inv.plannedScene()
	default:
		sc, err = inv.dumpScene(from)
	}
	if err != nil {
		return nil, err
	}
	if sc.Config = infer.Configuration(sc.Rules...); inv.set.RulesFrom() == options.RulesPlanned {
		sc.Config = inv.set.Config // also what rules do not show
	}
	if sc.Live {
		err = sc.lookAtRoutes()
	}
	// Rules that are planned for a namespace that is named meet its connections.
	if sc.Live || inv.set.NetNS != "" && len(inv.set.PodAddrs) == 0 && inv.set.RulesFrom() == options.RulesPlanned {
		return sc, errors.Join(err, inv.lookAround(sc))
	}
	sc.own, sc.known = slices.Clone(inv.set.PodAddrs), len(inv.set.PodAddrs) > 0
	for _, f := range inet.Families {
		if !slices.ContainsFunc(sc.own, f.Has) {
			sc.own = append(sc.own, somePod[f])
		}
	}
	sc.route = sc.guess
	return sc, nil
}

// explainRules warns of options that mean nothing where the rules are taken from.
func (inv *invocation) explainRules() {
	from := inv.set.RulesFrom()
	if from == options.RulesLive && len(inv.set.PodAddrs) > 0 {
		inv.log.Warn("--pod-address means nothing: the addresses are those of the namespace")
	}
	if from != options.RulesPlanned && inv.set.RulesGiven {
		inv.log.Warn("the flags that describe rules mean nothing: --rules says where the rules are taken from")
	}
}

// plannedScene is the rules that the flags make.
func (inv *invocation) plannedScene() (*scene, error) {
	want, err := inv.planned()
	if err != nil {
		return nil, err
	}
	sc := &scene{Source: report.Source{Name: "the rules that these flags make"}}
	for _, rs := range want.Rules {
		sc.Rules = append(sc.Rules, infer.Infer(rs))
	}
	return sc, nil
}

// maxDump bounds what is read of a dump: several times the largest that is known.
const maxDump = 64 << 20

// dumpScene is the rules of a file in the form of iptables-save.
func (inv *invocation) dumpScene(path string) (*scene, error) {
	name, snapshots, err := inv.readDump(path)
	if err != nil {
		return nil, err
	}
	sc := &scene{Source: report.Source{Name: "the rules of " + name}}
	for _, s := range snapshots {
		sc.Rules = append(sc.Rules, infer.Infer(s.Ruleset()))
		sc.Caveats = append(sc.Caveats, unprintable(s)...)
	}
	return sc, nil
}

// readDump reads the states of both families from a file.
func (inv *invocation) readDump(path string) (name string, states dump, err error) {
	if name = path; path == options.RulesStdin {
		name = "standard input"
	}
	text, err := options.ReadUntilDone(inv.ctx, name, func() ([]byte, error) { return inv.dumpText(path, name) })
	if err != nil {
		return name, states, fmt.Errorf("--rules: %w", err)
	}
	states, tables, err := iptables.ParseDump(string(text))
	if err != nil {
		return name, states, fmt.Errorf("--rules: read %s: %w", name, err)
	}
	if tables == 0 {
		return name, states, fmt.Errorf("--rules: %s has no table: want the output of iptables-save or ip6tables-save", name)
	}
	return name, states, nil
}

// dumpText returns the text of a dump.
func (inv *invocation) dumpText(path, name string) ([]byte, error) {
	in := inv.stdin
	if path != options.RulesStdin {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxDump+1))
	if err == nil && len(text) > maxDump {
		err = fmt.Errorf("longer than %d bytes", maxDump)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}

// A dump is the states of both families.
type dump = inet.PerFamily[iptables.Snapshot]

// isOwn tells whether an address is the pod's.
func (sc *scene) isOwn(a netip.Addr) bool {
	return a.IsLoopback() || isPassthrough(a) || slices.Contains(sc.own, a)
}

// takeForOwn takes an address for the pod's, where the addresses of the pod are not
// known: what comes in by an interface goes to it.
func (sc *scene) takeForOwn(a netip.Addr) {
	if a.IsValid() && !sc.known && !sc.isOwn(a) {
		sc.own = append(sc.own, a)
	}
}

// guess is the route to an address where no namespace is at hand: what is the
// pod's by lo, all else by the one interface.
func (sc *scene) guess(dst netip.Addr) (device string, src netip.Addr) {
	f := inet.Of(dst)
	switch {
	case dst.IsLoopback():
		return "lo", f.Localhost()
	case sc.isOwn(dst):
		return "lo", dst
	}
	return defaultDevice, sc.pod(f)
}

// pod is the address of the pod in a family.
func (sc *scene) pod(f inet.Family) netip.Addr {
	if i := slices.IndexFunc(sc.own, f.Has); i >= 0 {
		return sc.own[i]
	}
	return f.Localhost()
}
