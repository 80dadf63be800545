package pod

import (
	"net/netip"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// An Event is one thing that the engine has found or done. What it is called, and whether
// anybody hears of it, is the caller's choice.
type Event interface{ event() }

// Events of a survey and of the thread that works.
type (
	// NameServices says that the programs may ask the name services of the node.
	NameServices struct{ Err error }
	// TablesUnreadable says that a backend has tables that cannot be read.
	TablesUnreadable struct {
		Backend Name
		Err     error
	}
)

// Events of a run.
type (
	// ChangedByOthers says that others have changed rules since the survey, so that the
	// change is planned again.
	ChangedByOthers struct{}
	// RoutingAdded says that policy routing was added.
	RoutingAdded struct {
		Family inet.Family
		Route  netutil.TProxyRoute
	}
	// RoutingRemoved says that stale policy routing was removed.
	RoutingRemoved struct{ Family inet.Family }
	// AddressAdded says that the passthrough address was added to lo.
	AddressAdded struct{ Addr netip.Addr }
	// AddressRemoved says that the passthrough address was removed from lo.
	AddressRemoved struct{ Addr netip.Addr }
	// AddressStays says that the passthrough address is not ours and stays on lo.
	AddressStays struct{ Addr netip.Addr }
	// RuleAhead is a foreign rule ahead of ours that may end the way of a packet.
	RuleAhead struct {
		Family inet.Family
		Rule   string // as "TABLE CHAIN: RULE"
	}
	// MeshBeside is another mesh that redirects connections of the pod too.
	MeshBeside struct {
		Family inet.Family
		Mesh   infer.Mesh
	}
	// ForeignChains are base chains of nf_tables that may decide about connections first.
	ForeignChains struct{ Chains []netutil.BaseChain }
	// RulesApplied says that the wanted rules were written.
	RulesApplied struct {
		Backend Name
		Want    iptables.Ruleset
		Change  iptables.Change
	}
	// RulesInOrder says that the wanted rules were there already.
	RulesInOrder struct {
		Backend Name
		Want    iptables.Ruleset
		Live    iptables.Snapshot
	}
	// OtherBackend says that an earlier run used the backend that was not chosen.
	OtherBackend struct{ Backend Name }
	// RulesRemoved says that our rules of one family were removed.
	RulesRemoved struct {
		Backend Name
		Change  iptables.Change
	}
	// NothingToRemove says that a backend has nothing of ours.
	NothingToRemove struct{ Backend Name }
	// TablesStay says why empty tables of nf_tables stay, which is no failure.
	TablesStay struct{ Err error }
	// NativeRemoved says that tables of Istio's native nftables were removed.
	NativeRemoved struct{ Tables []string }
)

func (NameServices) event()     {}
func (TablesUnreadable) event() {}
func (ChangedByOthers) event()  {}
func (RoutingAdded) event()     {}
func (RoutingRemoved) event()   {}
func (AddressAdded) event()     {}
func (AddressRemoved) event()   {}
func (AddressStays) event()     {}
func (RuleAhead) event()        {}
func (MeshBeside) event()       {}
func (ForeignChains) event()    {}
func (RulesApplied) event()     {}
func (RulesInOrder) event()     {}
func (OtherBackend) event()     {}
func (RulesRemoved) event()     {}
func (NothingToRemove) event()  {}
func (TablesStay) event()       {}
func (NativeRemoved) event()    {}
