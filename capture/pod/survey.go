package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/nftables"
)

// A Survey is what a network namespace has, as one look has found it.
type Survey struct {
	States []State  // of the backends, in the order of preference
	Native []string // tables of Istio's own nftables rules
	// LegacyHidden is why the legacy variant cannot be read, though it may have rules; nil:
	// it was read, or has none.
	LegacyHidden error
	// Chains are the base chains of nf_tables that are not of iptables and may decide about
	// packets, without those of Native; ChainsErr is why they are not known.
	Chains    []netutil.BaseChain
	ChainsErr error
	// Misplaced are base chains that others have put into our tables. An apply or a clean removes them.
	Misplaced []netutil.BaseChain

	Routing inet.PerFamily[netutil.Routing] // policy routing of ours
	Address Address
	// NeedsErr is why Routing or Address are not known.
	NeedsErr error
}

// An Address tells of the passthrough address on lo.
type Address struct {
	Present bool
	Ours    bool // it is as we add it
}

// Survey reads what the current network namespace has. It changes nothing. What cannot be
// read is reported, and is an error only of a plan that has to know it. The caller closes
// the survey.
func (e Engine) Survey(ctx context.Context) (*Survey, error) { return e.survey(ctx, nil) }

func (e Engine) survey(ctx context.Context, lock *os.File) (*Survey, error) {
	seen := netutil.LookAtNetfilter(capture.NativeTablePrefix, nftables.Name)
	if errors.Is(seen.NoNFT, os.ErrPermission) {
		needs := netutil.NeedsNetAdmin(" in the network namespace", seen.NoNFT)
		return nil, fmt.Errorf("look at the packet filter %s: %w", needs, seen.NoNFT)
	}
	if e.OnlyListed && seen.LegacyHidden && seen.NoLegacy == nil {
		seen.NoLegacy = errors.New("its tables may not be listed")
	}
	n := &native{no: seen.NoNFTables, has: seen.Own, generation: seen.Generation}
	backends, noLegacy, err := e.xtables(ctx, seen, lock, n)
	if err != nil {
		return nil, err
	}
	s := &Survey{Native: seen.Native, LegacyHidden: noLegacy, Chains: seen.Foreign, ChainsErr: seen.ForeignErr}
	for _, b := range append(backends, n) {
		state := b.Read(ctx)
		s.States = append(s.States, state)
		if err := state.Unreadable(); err != nil {
			e.Report(TablesUnreadable{b.Name(), err})
		}
	}
	for _, live := range n.live {
		s.Misplaced = append(s.Misplaced, live.Foreign()...)
	}
	if s.NeedsErr = s.needs(); netutil.HasNoNetlink(s.NeedsErr) {
		s.Close()
		return nil, ErrNoNetlink
	}
	return s, nil
}

// ErrNoNetlink says that the kernel has no netlink.
var ErrNoNetlink = errors.New("the kernel has no netlink sockets (protocol not supported), as in a sandbox like gVisor, so no rule can be made or read here: " +
	"run the pod with a runtime class that uses the kernel of the node, such as runc")

// Close closes the files of the backends. It is called when no plan of the survey is to be
// made or run any more.
func (s *Survey) Close() {
	for _, state := range s.States {
		state.Backend.Close()
	}
}

// needs reads what rules need besides themselves.
func (s *Survey) needs() (err error) {
	there, err := tproxyRoutes.Families()
	if err != nil {
		return fmt.Errorf("policy routing: %w", err)
	}
	for _, f := range inet.Families {
		if !there[f] {
			continue
		}
		if s.Routing[f], err = tproxyRoutes.List(f); err != nil {
			return fmt.Errorf("policy routing (%s): %w", f, err)
		}
	}
	s.Address.Present, s.Address.Ours, err = netutil.FindLoopbackAddr(capture.Passthrough(inet.IPv6))
	return err
}

// Unreadable returns why rules of any backend cannot be read; nil where all can.
func (s *Survey) Unreadable() error {
	for _, state := range s.States {
		if err := state.Unreadable(); err != nil {
			return err
		}
	}
	return nil
}

// transient returns read errors that may not recur. Then nothing may be changed: rules that
// were not read may need what would be removed.
func (s *Survey) transient() error {
	var errs []error
	for _, state := range s.States {
		if err := state.transient(); err != nil {
			errs = append(errs, fmt.Errorf("look at the rules that are there (%s): %w", state.Backend.Name(), err))
		}
	}
	return errors.Join(errs...)
}

// ambient reports whether Istio's ambient mode captures the pod.
func (s *Survey) ambient() bool {
	return slices.ContainsFunc(s.States, State.Ambient)
}

// hides reports whether a family has rules that cannot be read in a backend.
func (s *Survey) hides(f inet.Family) bool {
	return slices.ContainsFunc(s.States, func(state State) bool { return state.Hides(f) })
}

// Live returns the state that a question about live rules is about: that of the forced
// backend, else of the one with our rules, else of one that cannot be read, else of one
// that has rules, else of the first.
func (e Engine) Live(s *Survey) State {
	if e.Force != "" {
		return s.States[slices.IndexFunc(s.States, func(state State) bool { return state.Backend.Name() == e.Force })]
	}
	unreadable := func(state State) bool { return state.Unreadable() != nil }
	for _, fits := range []func(State) bool{State.Holds, unreadable, State.HoldsRules} {
		if i := slices.IndexFunc(s.States, fits); i >= 0 {
			return s.States[i]
		}
	}
	return s.States[0]
}

// remaining returns what is left of ours where a change was made, as errors: chains that
// foreign rules jump to cannot be removed.
func remaining(have State, change Change) []error {
	var errs []error
	for _, f := range inet.Families {
		after := have.Families[f].Rules
		if c, ok := change.of(f); ok {
			after = c.After
		}
		if own := infer.Ownership(after); !own.Empty() {
			errs = append(errs, chainsStay(f, have.Backend.Name(), own))
		}
	}
	return errs
}

func chainsStay(f inet.Family, name Name, own iptables.Ownership) error {
	var chains []string
	for _, c := range own.Names() {
		chains = append(chains, c.Table+" "+c.Chain)
	}
	return fmt.Errorf("%s %s: chains of ours stay, empty, since foreign rules jump to them: %s", f, name, strings.Join(chains, ", "))
}

// RulesBeside returns the foreign rules of other backends ahead of the wanted rules of a chosen
// one: those of iptables are ahead of native ones.
func (s *Survey) RulesBeside(chosen State, want Rules) []RuleAhead {
	var ahead []RuleAhead
	if chosen.Backend.Name() != NFTables {
		return nil
	}
	for _, other := range s.States {
		if other.Backend == chosen.Backend {
			continue
		}
		for _, f := range inet.Families {
			live := other.Families[f]
			for _, at := range iptables.PreemptingBeside(live.Rules, live.Own, want[f]) {
				ahead = append(ahead, RuleAhead{f, live.Rules.TextAt(at)})
			}
		}
	}
	return ahead
}

// Meshes returns the other meshes whose rules are there, in any backend.
func (s *Survey) Meshes() []MeshBeside {
	var beside []MeshBeside
	for _, state := range s.States {
		for _, f := range inet.Families {
			for _, mesh := range infer.Meshes(state.Families[f].Rules) {
				beside = append(beside, MeshBeside{f, mesh})
			}
		}
	}
	return beside
}
