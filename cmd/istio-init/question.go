package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/capture/path"
	"istio-init/cmd/istio-init/options"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A question is one connection, as trace is asked of it.
type question options.Query

// family is that of the addresses; IPv4 where there are none.
func (q question) family() (inet.Family, error) {
	f := inet.Of(cmp.Or(q.To.Addr, q.From.Addr))
	for _, e := range []options.Endpoint{q.To, q.From} {
		if e.Addr.IsValid() && !f.Has(e.Addr) {
			return f, fmt.Errorf("--from %s and --to %s are of different address families", q.From.Addr, q.To.Addr)
		}
	}
	return f, nil
}

// appID is who asks where nobody is named.
const appID = 1000

// connection says what the question is to the rules: who it is that opens the
// connection follows from what is given, as from where a connection with that
// source can come.
func (q question) connection(src *ruleSource, f inet.Family) (path.Connection, error) {
	c := path.Connection{
		Proto: q.Proto, Src: netip.AddrPortFrom(q.From.Addr, q.From.Port), Dst: netip.AddrPortFrom(q.To.Addr, q.To.Port),
		In: q.In, Out: q.Out, Mark: q.Mark, State: q.State,
	}
	if !c.Dst.Addr().IsValid() {
		c.Dst = netip.AddrPortFrom(src.pod(f), q.To.Port)
	}
	if q.To.Port == 0 {
		src.Caveats = append(src.Caveats, "--to names no port: rules for ports do not meet the connection")
	}
	if q.outside(src) {
		return q.fromOutside(src, f, c)
	}
	if c.In != "" {
		return c, fmt.Errorf("--in %s is for connections that come in, and --uid and --gid are for those that go out", q.In)
	}
	src.assumeLocal(q.From.Addr)
	c.Owner = q.owner(src.Config)
	return c, nil
}

// fromOutside completes a connection that comes in.
func (q question) fromOutside(src *ruleSource, f inet.Family, c path.Connection) (path.Connection, error) {
	if q.Out != "" {
		return c, fmt.Errorf("--out %s is for connections that go out, and --in and a --from elsewhere are for those that come in", q.Out)
	}
	if q.In == "lo" {
		return c, errors.New("by --in lo comes what a process of the pod sends: ask with --uid, or without --in")
	}
	if !slices.ContainsFunc(src.Config.VirtualInterfaces, func(i iptables.Interface) bool { return i.Matches(q.In) }) {
		src.assumeLocal(c.Dst.Addr())
	}
	if !c.Src.Addr().IsValid() {
		c.Src = netip.AddrPortFrom(peer[f], q.From.Port)
	}
	if c.In == "" {
		c.In, _ = src.route(c.Src.Addr())
	}
	if c.In == "" || c.In == "lo" {
		c.In = defaultDevice
	}
	return c, nil
}

// outside tells whether the connection comes from outside: it is said to come in
// by an interface, or to come from an address that is not the pod's.
func (q question) outside(src *ruleSource) bool {
	if q.UID != nil || q.GID != nil {
		return false
	}
	return q.In != "" || q.From.Addr.IsValid() && !src.isOwn(q.From.Addr)
}

// owner is who opens a connection in the pod: who is named, the proxy where the
// source is that of its connections to the app, else an app.
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
