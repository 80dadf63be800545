package pod

import (
	"net/netip"

	"istio-init/capture"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// A FamilyChoice says which families are captured. The zero choice is Istio's.
type FamilyChoice uint8

// The choices.
const (
	FamiliesByAddress FamilyChoice = iota // by the first address of the pod
	FamiliesIPv4                          // IPv4 alone
	FamiliesDual                          // both
)

// A FamilyCaveat is what a choice by address leaves open.
type FamilyCaveat struct {
	NoAddress  bool           // the pod has no address to choose by
	Uncaptured []netutil.Addr // IPv6 addresses of the pod, where IPv6 is not captured
}

// ChooseFamilies returns the families to capture, as Istio chooses them: IPv4 always, and
// IPv6 where the choice says so, or where each address of the pod is of IPv6, or with
// dualStack where one is. v6Off reports whether the namespace has no IPv6.
func ChooseFamilies(choice FamilyChoice, dualStack bool, addrs []netutil.Addr, v6Off func() bool) (families []inet.Family, caveat FamilyCaveat) {
	var v6 []netutil.Addr
	for _, a := range addrs {
		if !a.IP.Is4() {
			v6 = append(v6, a)
		}
	}
	both := inet.Families[:]
	switch {
	case choice == FamiliesDual:
		return both, FamilyCaveat{}
	case choice == FamiliesIPv4:
	case len(addrs) == 0:
		caveat.NoAddress = true
		if dualStack && !v6Off() {
			return both, caveat
		}
	case len(v6) > 0 && (dualStack || len(v6) == len(addrs)):
		return both, FamilyCaveat{}
	}
	caveat.Uncaptured = v6
	return both[:1], caveat
}

// CapturedDNS returns which DNS queries are captured: with all each of them, else those to
// the servers. No server is no query.
func CapturedDNS(all bool, servers []netip.Addr) capture.DNS {
	if all {
		return capture.DNS{All: true}
	}
	return capture.DNS{Servers: servers}
}
