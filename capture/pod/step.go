package pod

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// AddRouting adds the policy routing that TPROXY rules of one family need.
type AddRouting struct {
	Family          inet.Family
	Route           netutil.TProxyRoute
	NoRule, NoRoute bool // what of it is missing

	report func(Event)
	undoOnce
}

// String returns commands of ip(8), as comments. The route comes before the rule that
// leads to it.
func (s *AddRouting) String() string {
	var lines []string
	commands := s.Route.Commands(s.Family)
	if s.NoRoute {
		lines = append(lines, commands[1])
	}
	if s.NoRule {
		lines = append(lines, commands[0])
	}
	return comments(lines...)
}

// Do adds what is missing.
func (s *AddRouting) Do(context.Context) (err error) {
	if s.undo, err = tproxyRoutes.Add(s.Family, s.Route); err != nil {
		return fmt.Errorf("policy routing (%s), for mode TPROXY: %w", s.Family, err)
	}
	if s.undo != nil {
		s.report(RoutingAdded{s.Family, s.Route})
	}
	return nil
}

// RemoveRouting removes policy routing of earlier runs from one family.
type RemoveRouting struct {
	Family inet.Family
	Keep   netutil.TProxyRoute   // what stays; zero: nothing
	Rules  []netutil.TProxyRoute // that go, copies of Keep among them
	Tables []uint32              // whose local default route goes

	report func(Event)
	undoOnce
}

// String returns commands of ip(8), as comments.
func (s *RemoveRouting) String() string {
	ip := ipCommand(s.Family)
	var lines []string
	for _, r := range s.Rules {
		lines = append(lines, fmt.Sprintf("%s rule del fwmark %#x lookup %d", ip, r.Mark, r.Table))
	}
	for _, table := range s.Tables {
		lines = append(lines, fmt.Sprintf("%s route del local default dev lo table %d", ip, table))
	}
	return comments(lines...)
}

// Do removes it.
func (s *RemoveRouting) Do(context.Context) (err error) {
	if s.undo, err = tproxyRoutes.Remove(s.Family, s.Keep); err != nil {
		return fmt.Errorf("policy routing (%s): %w", s.Family, err)
	}
	if s.undo != nil {
		s.report(RoutingRemoved{s.Family})
	}
	return nil
}

// AddAddress adds the passthrough address to lo.
type AddAddress struct {
	Addr netip.Addr

	report func(Event)
	undoOnce
}

// String returns a command of ip(8), as a comment.
func (s *AddAddress) String() string {
	return comments(fmt.Sprintf("ip -6 address add %s/128 dev lo nodad preferred_lft 0", s.Addr))
}

// Do adds the address.
func (s *AddAddress) Do(context.Context) (err error) {
	if s.undo, err = netutil.AddLoopbackAddr(s.Addr); err == nil && s.undo != nil {
		s.report(AddressAdded{s.Addr})
	}
	return err
}

// RemoveAddress removes the passthrough address from lo.
type RemoveAddress struct {
	Addr netip.Addr

	report func(Event)
	undoOnce
}

// String returns a command of ip(8), as a comment.
func (s *RemoveAddress) String() string {
	return comments(fmt.Sprintf("ip -6 address del %s/128 dev lo", s.Addr))
}

// Do removes the address.
func (s *RemoveAddress) Do(context.Context) (err error) {
	if s.undo, err = netutil.RemoveLoopbackAddr(s.Addr); err == nil && s.undo != nil {
		s.report(AddressRemoved{s.Addr})
	}
	return err
}

// RemoveNative removes tables that Istio's native nftables rules are in.
type RemoveNative struct {
	Tables []string // of the family inet

	report func(Event)
}

// String returns commands of nft(8), as comments.
func (s *RemoveNative) String() string {
	var lines []string
	for _, t := range s.Tables {
		lines = append(lines, "nft delete table inet "+t)
	}
	return comments(lines...)
}

// Do removes the tables, all or none.
func (s *RemoveNative) Do(context.Context) error {
	if err := netutil.RemoveNativeTables(s.Tables); err != nil {
		return err
	}
	s.report(NativeRemoved{s.Tables})
	return nil
}

// Undo has nothing to take back: the step is the last one and makes all of its change or
// none.
func (s *RemoveNative) Undo(context.Context) error { return nil }

// undoOnce is the Undo of a step whose change one function takes back.
type undoOnce struct{ undo netutil.Undo }

// Undo takes the change back, once.
func (u *undoOnce) Undo(context.Context) error {
	undo := u.undo
	u.undo = nil
	if undo == nil {
		return nil
	}
	return undo()
}

// comments returns lines as comments of iptables-restore.
func comments(lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString("# " + line + "\n")
	}
	return b.String()
}

func ipCommand(f inet.Family) string {
	if f == inet.IPv6 {
		return "ip -6"
	}
	return "ip"
}
