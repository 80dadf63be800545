package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"istio-init/capture"
	"istio-init/capture/path"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A question is one connection, as trace is asked of it. What is zero was not said.
type question struct {
	uid, gid *uint32
	from, to endpoint
	in, out  string
	proto    iptables.Proto
	mark     uint32
	state    iptables.States
}

// An endpoint is an address, a port, or both.
type endpoint struct {
	addr netip.Addr
	port uint16
}

// endpointValue reads ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT or :PORT.
func endpointValue(target func(*settings) *endpoint) func(*settings, string) error {
	return func(s *settings, v string) error {
		w, err := word(v)
		if err != nil || w == "" {
			return err
		}
		e := target(s)
		if digits, ok := strings.CutPrefix(w, ":"); ok && !strings.Contains(digits, ":") {
			e.port, err = onePort(digits)
			return err
		}
		if addr, err := netip.ParseAddr(withoutBrackets(w)); err == nil {
			e.addr = addr
		} else if both, err := netip.ParseAddrPort(w); err == nil && both.Port() > 0 {
			e.addr, e.port = both.Addr(), both.Port()
		} else {
			return bad(v, "is neither an address nor one with a port: names are not looked up")
		}
		if e.addr.Zone() != "" || e.addr.Is4In6() {
			return bad(v, "is not an address that rules know")
		}
		return nil
	}
}

// withoutBrackets takes the brackets away in which an IPv6 address may stand.
func withoutBrackets(v string) string {
	if inner, ok := strings.CutPrefix(v, "["); ok && strings.HasSuffix(inner, "]") && strings.Contains(inner, ":") {
		return inner[:len(inner)-1]
	}
	return v
}

func onePort(digits string) (uint16, error) {
	if digits == "" {
		return 0, bad(":", "has no port")
	}
	r, err := parsePort(digits)
	if err == nil && !r.Single() {
		err = bad(digits, "is a range, where one port is wanted")
	}
	return r.Lo, err
}

// ownerValue reads one user or group, by id or by name.
func ownerValue(target func(*settings) **uint32, kind string, lookup func(*settings) func(string) (string, error)) func(*settings, string) error {
	return func(s *settings, v string) error {
		w, err := word(v)
		if err != nil || w == "" {
			return err
		}
		id, err := parseID(w, kind, lookup(s))
		if err == nil && id.Lo != id.Hi {
			err = bad(v, "is a range, where one id is wanted")
		}
		*target(s) = &id.Lo
		return err
	}
}

func linkName(target func(*settings) *string) func(*settings, string) error {
	return func(s *settings, v string) error {
		var i iptables.Interface
		w, err := word(v)
		if err != nil || w == "" {
			return err
		}
		if err := i.UnmarshalText([]byte(w)); err != nil {
			return bad(v, "%v", err)
		}
		if strings.HasSuffix(w, "+") {
			return bad(v, "is a pattern, where one interface is wanted")
		}
		*target(s) = w
		return nil
	}
}

func protocol(s *settings, v string) error {
	for _, p := range []iptables.Proto{iptables.TCP, iptables.UDP} {
		if strings.EqualFold(v, p.String()) {
			s.question.proto = p
			return nil
		}
	}
	return bad(v, "is not a protocol")
}

// packetMark takes 0, which every packet has that nobody marked.
func packetMark(s *settings, v string) error {
	n, err := strconv.ParseUint(strings.TrimSpace(v), 0, 32)
	if err != nil {
		return bad(v, "is not a mark")
	}
	s.question.mark = uint32(n)
	return nil
}

// connectionStates are the states that a connection can be asked of in.
var connectionStates = []iptables.States{iptables.New, iptables.Established, iptables.Related, iptables.Invalid}

func connectionState(s *settings, v string) error {
	for _, state := range connectionStates {
		if strings.EqualFold(v, state.String()) {
			s.question.state = state
			return nil
		}
	}
	return bad(v, "is not a state of a connection")
}

func podAddresses(s *settings, v string) (err error) {
	s.podAddrs, err = list(v, func(v string) (netip.Addr, error) {
		a, err := netip.ParseAddr(v)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return a, bad(v, "is not an address")
		}
		return a, nil
	})
	return err
}

// family is that of the addresses; IPv4 where there are none.
func (q question) family() (inet.Family, error) {
	f := inet.Of(cmp.Or(q.to.addr, q.from.addr))
	for _, e := range []endpoint{q.to, q.from} {
		if e.addr.IsValid() && !f.Has(e.addr) {
			return f, fmt.Errorf("--from %s and --to %s are of different address families", q.from.addr, q.to.addr)
		}
	}
	return f, nil
}

// appID is who asks where nobody is named.
const appID = 1000

// connection says what the question is to the rules: who it is that opens the
// connection follows from what is given, as from where a connection with that
// source can come.
func (q question) connection(sc *scene, f inet.Family) (path.Connection, error) {
	c := path.Connection{
		Proto: q.proto, Src: netip.AddrPortFrom(q.from.addr, q.from.port), Dst: netip.AddrPortFrom(q.to.addr, q.to.port),
		In: q.in, Out: q.out, Mark: q.mark, State: q.state,
	}
	if !c.Dst.Addr().IsValid() {
		c.Dst = netip.AddrPortFrom(sc.pod(f), q.to.port)
	}
	if q.to.port == 0 {
		sc.doubts = append(sc.doubts, "--to names no port: rules for ports do not meet the connection")
	}
	if q.outside(sc) {
		return q.fromOutside(sc, f, c)
	}
	if c.In != "" {
		return c, fmt.Errorf("--in %s is for connections that come in, and --uid and --gid are for those that go out", q.in)
	}
	sc.takeForOwn(q.from.addr)
	c.Owner = q.owner(sc.config)
	return c, nil
}

// fromOutside completes a connection that comes in.
func (q question) fromOutside(sc *scene, f inet.Family, c path.Connection) (path.Connection, error) {
	if q.out != "" {
		return c, fmt.Errorf("--out %s is for connections that go out, and --in and a --from elsewhere are for those that come in", q.out)
	}
	if q.in == "lo" {
		return c, errors.New("by --in lo comes what a process of the pod sends: ask with --uid, or without --in")
	}
	if !slices.ContainsFunc(sc.config.VirtualInterfaces, func(i iptables.Interface) bool { return i.Matches(q.in) }) {
		sc.takeForOwn(c.Dst.Addr())
	}
	if !c.Src.Addr().IsValid() {
		c.Src = netip.AddrPortFrom(peer[f], q.from.port)
	}
	if c.In == "" {
		c.In, _ = sc.route(c.Src.Addr())
	}
	if c.In == "" || c.In == "lo" {
		c.In = defaultDevice
	}
	return c, nil
}

// outside tells whether the connection comes from outside: it is said to come in
// by an interface, or to come from an address that is not the pod's.
func (q question) outside(sc *scene) bool {
	if q.uid != nil || q.gid != nil {
		return false
	}
	return q.in != "" || q.from.addr.IsValid() && !sc.isOwn(q.from.addr)
}

// owner is who opens a connection in the pod: who is named, the proxy where the
// source is that of its connections to the app, else an app.
func (q question) owner(c capture.Config) *iptables.Owner {
	if q.uid == nil && q.gid == nil {
		if isPassthrough(q.from.addr) {
			proxy := proxyOwner(c)
			return &proxy
		}
		return &iptables.Owner{UID: appID, GID: appID}
	}
	o := &iptables.Owner{UID: appID}
	if q.uid != nil {
		o.UID, o.GID = *q.uid, *q.uid
	}
	if q.gid != nil {
		o.GID = *q.gid
	}
	return o
}

// isPassthrough reports whether an address is the source of the proxy's connections
// to the app.
func isPassthrough(a netip.Addr) bool { return a == capture.Passthrough(inet.Of(a)) }

// proxyOwner is as whom the proxy connects: in mode TPROXY it is root, as Istio
// deploys it, and known by its group.
func proxyOwner(c capture.Config) iptables.Owner {
	var o iptables.Owner
	if len(c.ProxyUIDs) > 0 && c.Mode != capture.TProxy {
		o.UID = c.ProxyUIDs[0].Lo
	}
	if len(c.ProxyGIDs) > 0 {
		o.GID = c.ProxyGIDs[0].Lo
	}
	return o
}
