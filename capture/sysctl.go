package capture

import (
	"fmt"
	"strings"

	"istio-init/netutil/inet"
)

// Sysctls are those by which the kernel decides about received packets with a mark, as all
// captured ones have in mode TProxy.
type Sysctls struct {
	All        InterfaceSysctls   // those for all interfaces
	Interfaces []InterfaceSysctls // without lo, whose packets are not routed again
	MarkAccept int                // net.ipv4.tcp_fwmark_accept
}

// InterfaceSysctls are those of net.ipv4.conf for an interface.
type InterfaceSysctls struct {
	Interface    string
	SrcValidMark int
	AcceptLocal  int
	RPFilter     int
}

// An Obstacle is why mode TProxy does not work, by the sysctls.
type Obstacle struct {
	// Interface has its packets dropped, in IPv4; "": the answers to all inbound
	// connections go astray, in both families.
	Interface string
	Because   []Setting   // what is set
	Remedies  [][]Setting // each of them helps
}

// Of reports whether the obstacle is one of a family.
func (o Obstacle) Of(f inet.Family) bool { return o.Interface == "" || f == inet.IPv4 }

// A Setting is a value of a sysctl.
type Setting struct {
	Name  string // as sysctl(8) has it
	Value int
}

// String returns the setting as an argument of sysctl(8).
func (s Setting) String() string { return fmt.Sprintf("%s=%d", s.Name, s.Value) }

// Obstacles returns why mode TProxy does not work.
//
// With src_valid_mark the kernel validates the source of a packet by the route back of its
// mark. That one is local: the packet is dropped, unless accept_local allows it and rp_filter
// is not strict (net/ipv4/fib_frontend.c, __fib_validate_source). The mark is that of the
// first packets of inbound connections and of all later packets, in either direction. The
// value for all interfaces counts too: it is combined by "or", for rp_filter by the larger
// (include/linux/inetdevice.h).
//
// With tcp_fwmark_accept the socket of an accepted connection has the mark, so that the
// answers are routed to this machine (include/net/inet_sock.h, inet_request_mark).
//
// Neither route_localnet nor another value of rp_filter matters to a mode.
func (s Sysctls) Obstacles() []Obstacle {
	var found []Obstacle
	if s.MarkAccept != 0 {
		set := Setting{"net.ipv4.tcp_fwmark_accept", s.MarkAccept}
		found = append(found, Obstacle{Because: []Setting{set}, Remedies: [][]Setting{{{set.Name, 0}}}})
	}
	for _, own := range s.Interfaces {
		strict := max(own.RPFilter, s.All.RPFilter) == 1
		validates := own.SrcValidMark != 0 || s.All.SrcValidMark != 0
		acceptsLocal := own.AcceptLocal != 0 || s.All.AcceptLocal != 0
		if validates && (strict || !acceptsLocal) {
			found = append(found, s.obstacle(own, strict, acceptsLocal))
		}
	}
	return found
}

func (s Sysctls) obstacle(own InterfaceSysctls, strict, acceptsLocal bool) Obstacle {
	o := Obstacle{Interface: own.Interface}
	var off, accept []Setting
	for _, c := range []InterfaceSysctls{s.All, own} {
		if c.SrcValidMark != 0 {
			o.Because = append(o.Because, c.setting("src_valid_mark", c.SrcValidMark))
			off = append(off, c.setting("src_valid_mark", 0))
		}
	}
	if !acceptsLocal {
		o.Because = append(o.Because, own.setting("accept_local", 0))
		accept = append(accept, own.setting("accept_local", 1))
	}
	if strict {
		set := s.All
		if own.RPFilter == 1 {
			set = own
		}
		o.Because = append(o.Because, set.setting("rp_filter", 1))
		accept = append(accept, own.setting("rp_filter", 2))
	}
	o.Remedies = [][]Setting{accept, off}
	return o
}

// setting returns a setting of the interface. In the name of a sysctl, "/" stands for a dot
// of the interface's (sysctl(8)).
func (c InterfaceSysctls) setting(key string, value int) Setting {
	return Setting{"net.ipv4.conf." + strings.ReplaceAll(c.Interface, ".", "/") + "." + key, value}
}
