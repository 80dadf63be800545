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
type ruleSource struct {
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
func (cmd *command) source(ctx context.Context) (*ruleSource, error) {
	var src *ruleSource
	var err error
	switch from := cmd.opts.RulesFrom(); from {
	case options.RulesLive:
		src, err = cmd.liveSource(ctx)
	case options.RulesPlanned:
		src, err = cmd.plannedSource()
	default:
		src, err = cmd.dumpSource(ctx, from)
	}
	if err != nil {
		return nil, err
	}
	if src.Config = infer.Configuration(src.Rules...); cmd.opts.RulesFrom() == options.RulesPlanned {
		src.Config = cmd.opts.Config // also what rules do not show
	}
	if src.Live {
		err = src.checkNeeds()
	}
	// Rules that are planned for a namespace that is named meet its connections.
	if src.Live || cmd.opts.NetNS != "" && len(cmd.opts.PodAddrs) == 0 && cmd.opts.RulesFrom() == options.RulesPlanned {
		return src, errors.Join(err, cmd.readNetwork(src))
	}
	src.own, src.known = slices.Clone(cmd.opts.PodAddrs), len(cmd.opts.PodAddrs) > 0
	for _, f := range inet.Families {
		if !slices.ContainsFunc(src.own, f.Has) {
			src.own = append(src.own, somePod[f])
		}
	}
	src.route = src.guess
	return src, nil
}

// explainRules warns of options that mean nothing where the rules are taken from.
func (cmd *command) explainRules() {
	from := cmd.opts.RulesFrom()
	if from == options.RulesLive && len(cmd.opts.PodAddrs) > 0 {
		cmd.log.Warn("--pod-address means nothing: the addresses are those of the namespace")
	}
	if from != options.RulesPlanned && cmd.opts.RulesGiven {
		cmd.log.Warn("the flags that describe rules mean nothing: --rules says where the rules are taken from")
	}
}

// plannedSource is the rules that the flags make.
func (cmd *command) plannedSource() (*ruleSource, error) {
	want, err := cmd.planned()
	if err != nil {
		return nil, err
	}
	src := &ruleSource{Source: report.Source{Name: "the rules that these flags make"}}
	for _, rs := range want.Rules {
		src.Rules = append(src.Rules, infer.Infer(rs))
	}
	return src, nil
}

// maxDump bounds what is read of a dump: several times the largest that is known.
const maxDump = 64 << 20

// dumpSource is the rules of a file in the form of iptables-save.
func (cmd *command) dumpSource(ctx context.Context, path string) (*ruleSource, error) {
	name, snapshots, err := cmd.readDump(ctx, path)
	if err != nil {
		return nil, err
	}
	src := &ruleSource{Source: report.Source{Name: "the rules of " + name}}
	for _, s := range snapshots {
		src.Rules = append(src.Rules, infer.Infer(s.Ruleset()))
		src.Caveats = append(src.Caveats, unprintable(s)...)
	}
	return src, nil
}

// readDump reads the states of both families from a file.
func (cmd *command) readDump(ctx context.Context, path string) (name string, states dump, err error) {
	if name = path; path == options.RulesStdin {
		name = "standard input"
	}
	text, err := options.ReadUntilDone(ctx, name, func() ([]byte, error) { return cmd.dumpText(path, name) })
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
func (cmd *command) dumpText(path, name string) ([]byte, error) {
	in := cmd.stdin
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
func (src *ruleSource) isOwn(a netip.Addr) bool {
	return a.IsLoopback() || isPassthrough(a) || slices.Contains(src.own, a)
}

// assumeLocal takes an address for the pod's, where the addresses of the pod are not
// known: what comes in by an interface goes to it.
func (src *ruleSource) assumeLocal(a netip.Addr) {
	if a.IsValid() && !src.known && !src.isOwn(a) {
		src.own = append(src.own, a)
	}
}

// guess is the route to an address where no namespace is at hand: what is the
// pod's by lo, all else by the one interface.
func (src *ruleSource) guess(dst netip.Addr) (device string, from netip.Addr) {
	f := inet.Of(dst)
	switch {
	case dst.IsLoopback():
		return "lo", f.Localhost()
	case src.isOwn(dst):
		return "lo", dst
	}
	return defaultDevice, src.pod(f)
}

// pod is the address of the pod in a family.
func (src *ruleSource) pod(f inet.Family) netip.Addr {
	if i := slices.IndexFunc(src.own, f.Has); i >= 0 {
		return src.own[i]
	}
	return f.Localhost()
}
