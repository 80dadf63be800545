// Package flow is the truth table of a configuration: a flow is one line with the outcome
// of a connection. The package also predicts the outcome from typed rules. Package pod
// makes the same connections with real sockets.
//
// The network is always the same; the names are those that flows use.
//
//	                    ┌──────────── pod ────────────┐
//	peer, ext, others ──┤ eth0: pod        eth1: pod2 ├── vm
//	                    │ app  proxy  lo: localhost   │
//	                    └─────────────────────────────┘
//
//	pod   10.244.0.2   2001:db8:244::2    peer  10.244.0.1   2001:db8:244::1
//	pod2  10.245.0.2   2001:db8:245::2    vm    10.245.0.1   2001:db8:245::1
//	ext   198.51.100.10, 2001:db8:e::10: beyond peer, as is every other address
//
// The pod forwards for vm, which is a virtual machine inside the pod.
package flow

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Flow is one line of the truth table:
//
//	WHO [from SOURCE] -> [udp|stray] HOST:PORT = OUTCOME   # why
//
// WHO is app (uid and gid 1000), proxy (as the configuration has it), root,
// UID:GID of any other process of the pod, peer or vm. SOURCE is an address, a
// port as in :5353, or both as in 127.0.0.6:5353. HOST is a name of the network,
// an address, or a name with the suffix 4 or 6 for one family. "stray" is a single packet
// with SYN and ACK set and without a connection, in state INVALID; it can only come from
// outside. OUTCOME is "proxy PORT" (the proxy's socket on that port gets the connection
// first, with the original destination), "direct", "refused" or "timeout".
type Flow struct {
	Line    string // as it was written
	Who     string
	From    netip.AddrPort // source; the kernel chooses what is zero
	Proto   iptables.Proto
	Stray   bool // one packet in state INVALID
	Host    string
	Port    uint16
	Outcome string
}

var flowLine = regexp.MustCompile(`^(app|proxy|root|peer|vm|\d+:\d+)(?: from (\S+))? -> (?:(udp|stray) )?(\S+):(\d+) = (proxy \d+|direct|refused|timeout)$`)

// Parse reads the lines of a truth table; empty lines and comments (#) are skipped.
func Parse(text string) ([]Flow, error) {
	var flows []Flow
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.Join(strings.Fields(line), " ")
		if line == "" {
			continue
		}
		f, err := parseFlow(line)
		if err != nil {
			return nil, fmt.Errorf("flow %q: %w", line, err)
		}
		flows = append(flows, f)
	}
	return flows, nil
}

func parseFlow(line string) (Flow, error) {
	m := flowLine.FindStringSubmatch(line)
	if m == nil {
		return Flow{}, errors.New("is not of the form WHO [from SOURCE] -> [udp|stray] HOST:PORT = OUTCOME")
	}
	f := Flow{Line: line, Who: m[1], Proto: iptables.TCP, Stray: m[3] == "stray", Host: strings.Trim(m[4], "[]"), Outcome: m[6]}
	if m[3] == "udp" {
		f.Proto = iptables.UDP
	}
	var err error
	if f.From, err = parseSource(m[2]); err != nil {
		return Flow{}, err
	}
	port, err := strconv.ParseUint(m[5], 10, 16)
	if err != nil {
		return Flow{}, err
	}
	f.Port = uint16(port)
	_, inside := f.Identity(Identity{})
	switch {
	case len(f.families()) == 0:
		return Flow{}, fmt.Errorf("%q is no host", f.Host)
	case f.Stray && inside:
		return Flow{}, errors.New("a stray packet can only come from outside")
	}
	return f, nil
}

// parseSource reads an address, a port with a colon before it, both or nothing.
func parseSource(text string) (netip.AddrPort, error) {
	if text == "" {
		return netip.AddrPort{}, nil
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(addr, 0), nil
	}
	if digits, ok := strings.CutPrefix(text, ":"); ok {
		port, err := strconv.ParseUint(digits, 10, 16)
		return netip.AddrPortFrom(netip.Addr{}, uint16(port)), err
	}
	return netip.ParseAddrPort(text)
}

// hosts are the names of the network.
var hosts = map[string][2]netip.Addr{
	"pod":       addrs("10.244.0.2", "2001:db8:244::2"),
	"pod2":      addrs("10.245.0.2", "2001:db8:245::2"),
	"peer":      addrs("10.244.0.1", "2001:db8:244::1"),
	"vm":        addrs("10.245.0.1", "2001:db8:245::1"),
	"ext":       addrs("198.51.100.10", "2001:db8:e::10"),
	"localhost": addrs("127.0.0.1", "::1"),
}

func addrs(v4, v6 string) [2]netip.Addr {
	return [2]netip.Addr{netip.MustParseAddr(v4), netip.MustParseAddr(v6)}
}

// Addr returns the address of a host, by the name that flows use.
func Addr(host string, f inet.Family) netip.Addr {
	a, ok := hosts[host]
	if !ok {
		panic(fmt.Sprintf("%q is no host of the network", host))
	}
	return a[f]
}

// families returns the families of the flow: a name has both, unless its suffix is 4 or 6.
func (f Flow) families() []inet.Family {
	if _, ok := hosts[f.Host]; ok {
		return inet.Families[:]
	}
	for _, family := range inet.Families {
		if f.Dst(family).IsValid() {
			return []inet.Family{family}
		}
	}
	return nil
}

// In returns the families in which the flow is tested: the one it names, else the captured
// ones.
func (f Flow) In(captured []inet.Family) []inet.Family {
	if named := f.families(); len(named) == 1 {
		return named
	}
	return captured
}

// Dst returns the destination in a family; not valid if it has none.
func (f Flow) Dst(family inet.Family) netip.Addr {
	name := f.Host
	if a, ok := hosts[name]; ok {
		return a[family]
	}
	if base, ok := strings.CutSuffix(name, [2]string{"4", "6"}[family]); ok {
		if a, ok := hosts[base]; ok {
			return a[family]
		}
	}
	if a, err := netip.ParseAddr(name); err == nil && family.Has(a) {
		return a
	}
	return netip.Addr{}
}

// An Identity is the user and group of a process.
type Identity struct{ UID, GID uint32 }

// App is the application of the pod.
var App = Identity{1000, 1000}

// Identity returns the process that starts the flow in the pod; ok is false if the flow
// starts outside.
func (f Flow) Identity(proxy Identity) (who Identity, ok bool) {
	switch f.Who {
	case "app":
		return App, true
	case "proxy":
		return proxy, true
	case "root":
		return Identity{}, true
	case "peer", "vm":
		return Identity{}, false
	}
	uid, gid, _ := strings.Cut(f.Who, ":")
	u, _ := strconv.ParseUint(uid, 10, 32)
	g, _ := strconv.ParseUint(gid, 10, 32)
	return Identity{uint32(u), uint32(g)}, true
}
