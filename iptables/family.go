package iptables

import "istio-init/netutil/inet"

// Family is [inet.Family].
type Family = inet.Family

// The two families.
const (
	IPv4 = inet.IPv4
	IPv6 = inet.IPv6
)

// Families is [inet.Families].
var Families = inet.Families
