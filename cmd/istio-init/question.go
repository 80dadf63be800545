package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/capture/path"
	"istio-init/cmd/istio-init/options"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// A question is the connection that trace follows.
type question options.Query

// family returns the family of the addresses; IPv4 if none are given.
func (q question) family() (inet.Family, error) {
	f := inet.Of(cmp.Or(q.To.Addr, q.From.Addr))
	for _, e := range []options.Endpoint{q.To, q.From} {
		if e.Addr.IsValid() && !f.Has(e.Addr) {
			return f, fmt.Errorf("--from %s and --to %s are of different address families", q.From.Addr, q.To.Addr)
		}
	}
	return f, nil
}

// appID is the user and group of an app by default.
const appID = 1000

// checkDevices refuses interfaces that the namespace does not have.
func (q question) checkDevices() error {
	there, err := netutil.Interfaces()
	if err != nil {
		return err
	}
	if err := errors.Join(checkDevice("--in", q.In, there), checkDevice("--out", q.Out, there)); err != nil {
		return &inputError{err}
	}
	return nil
}

func checkDevice(flag, name string, there []string) error {
	if name == "" || slices.Contains(there, name) {
		return nil
	}
	return fmt.Errorf("%s: there is no interface %q: want one of %s", flag, name, strings.Join(there, ", "))
}

// connection completes the connection: whether it is inbound, and who opens it, follows
// from what is given.
func (q question) connection(src *ruleSource, f inet.Family) (path.Connection, error) {
	c := path.Connection{
		Proto: q.Proto, Src: netip.AddrPortFrom(q.From.Addr, q.From.Port), Dst: netip.AddrPortFrom(q.To.Addr, q.To.Port),
		In: q.In, Out: q.Out, Mark: q.Mark, State: q.State,
	}
	if !c.Dst.Addr().IsValid() {
		c.Dst = netip.AddrPortFrom(src.pod(f), q.To.Port)
	}
	if q.To.Port == 0 {
		src.Caveats = append(src.Caveats, "--to has no port: rules for ports do not match")
	}
	if q.outside(src) {
		return q.fromOutside(src, f, c)
	}
	if c.In != "" {
		return c, fmt.Errorf("--in %s is for inbound connections, and --uid and --gid are for outbound ones", q.In)
	}
	src.assumeLocal(q.From.Addr)
	c.Owner = q.owner(src.Config)
	if c.Dst.Addr().IsUnspecified() {
		c.Dst = netip.AddrPortFrom(connected(c.Src.Addr(), f), c.Dst.Port())
	}
	return c, nil
}

// connected returns where a connection to 0.0.0.0 or :: goes: to the loopback address, of IPv4 to
// that of its socket if it has one (ip_route_output_key_hash_rcu in Linux's net/ipv4/route.c,
// tcp_v6_connect in net/ipv6/tcp_ipv6.c).
func connected(from netip.Addr, f inet.Family) netip.Addr {
	if from.Is4() && !from.IsUnspecified() {
		return from
	}
	return f.Localhost()
}

// fromOutside completes an inbound connection.
func (q question) fromOutside(src *ruleSource, f inet.Family, c path.Connection) (path.Connection, error) {
	if q.Out != "" {
		return c, fmt.Errorf("--out %s is for outbound connections, and --in and a --from outside the pod are for inbound ones", q.Out)
	}
	if q.In == "lo" {
		return c, errors.New("--in lo is not inbound: lo has the connections of processes in the pod; use --uid, or omit --in")
	}
	if !slices.ContainsFunc(src.Config.VirtualInterfaces, func(i iptables.Interface) bool { return i.Matches(q.In) }) {
		src.assumeLocal(c.Dst.Addr())
	}
	if !c.Src.Addr().IsValid() {
		c.Src = netip.AddrPortFrom(peer[f], q.From.Port)
	}
	if c.In == "" {
		c.In = src.network.Route(path.RouteQuery{Dst: c.Src}).Device
	}
	if c.In == "" || c.In == "lo" {
		c.In = defaultDevice
	}
	return c, nil
}

// outside reports whether the connection is inbound: it has --in, or a source that is not
// an address of the pod.
func (q question) outside(src *ruleSource) bool {
	if q.UID != nil || q.GID != nil {
		return false
	}
	return q.In != "" || q.From.Addr.IsValid() && !src.isOwn(q.From.Addr)
}

// owner returns who opens a connection in the pod: the given ids, the proxy if the source
// is that of its connections to the app, else an app.
func (q question) owner(c capture.Config) *iptables.Owner {
	if q.UID == nil && q.GID == nil {
		if isPassthrough(q.From.Addr) {
			proxy := proxyOwner(c)
			return &proxy
		}
		return &iptables.Owner{UID: appID, GID: appID}
	}
	o := &iptables.Owner{UID: appID}
	if q.UID != nil {
		o.UID, o.GID = *q.UID, *q.UID
	}
	if q.GID != nil {
		o.GID = *q.GID
	}
	return o
}

// isPassthrough reports whether an address is the source of the proxy's connections
// to the app.
func isPassthrough(a netip.Addr) bool { return a == capture.Passthrough(inet.Of(a)) }

// proxyOwner returns the ids of the proxy. In mode TPROXY its user is root, as Istio
// deploys it, and rules know it by its group.
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
