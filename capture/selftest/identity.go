package selftest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// An identity is a user and a group that connect.
type identity struct {
	name string
	iptables.Owner
	skip string // why no socket can have this identity here
}

// self is the identity of the calling process.
func (e Environment) self() iptables.Owner {
	return iptables.Owner{UID: e.Powers.UID, GID: e.Powers.GID}
}

// identity returns an identity by its ids.
func (e Environment) identity(name string, uid, gid uint32) identity {
	var needs []string
	if uid != e.Powers.UID && !e.Powers.SetUID {
		needs = append(needs, fmt.Sprintf("CAP_SETUID or to run as user %d", uid))
	}
	if gid != e.Powers.GID && !e.Powers.SetGID {
		needs = append(needs, fmt.Sprintf("CAP_SETGID or to run as group %d", gid))
	}
	p := identity{name: name, Owner: iptables.Owner{UID: uid, GID: gid}}
	if len(needs) > 0 {
		p.skip = "needs " + strings.Join(needs, ", and ")
	}
	return p
}

// app returns an identity that is not the proxy and in a captured group: our own if
// it is one.
func (p *planner) app() identity {
	uid, anyUID := p.appUID()
	gid, anyGID := p.appGID()
	app := p.env.identity("app", uid, gid)
	switch {
	case !anyUID || !anyGID:
		app.skip = "every user or group is the proxy's or not captured"
	case app.skip != "":
		app.skip = "needs CAP_SETUID and CAP_SETGID, or to run as an app and not as the proxy"
	}
	return app
}

func (p *planner) appUID() (uint32, bool) {
	return pick(p.env.Powers.UID, nil, func(id uint32) bool { return !has(p.c.ProxyUIDs, id) }, p.c.ProxyUIDs)
}

func (p *planner) appGID() (uint32, bool) {
	groups := p.c.OwnerGroups
	captured := func(id uint32) bool {
		return !has(p.c.ProxyGIDs, id) && (groups.All && !has(groups.Except, id) || !groups.All && has(groups.Only, id))
	}
	return pick(p.env.Powers.GID, groups.Only, captured, p.c.ProxyGIDs, groups.Except)
}

// other is an app in a group that is not captured, if there can be one.
func (p *planner) uncaptured() (identity, bool) {
	groups := p.c.OwnerGroups
	gid, found := pick(p.env.Powers.GID, groups.Except, func(id uint32) bool {
		return !has(p.c.ProxyGIDs, id) && (groups.All && has(groups.Except, id) || !groups.All && !has(groups.Only, id))
	}, groups.Only, p.c.ProxyGIDs)
	return p.env.identity("app of a group that is not captured", p.apps.UID, gid), found
}

// pick returns an id that fits: our own, else a common one, else one of some ranges
// or next to others.
func pick(own uint32, in []iptables.IDRange, fits func(uint32) bool, beside ...[]iptables.IDRange) (uint32, bool) {
	const common = 1000
	ids := []uint32{own, common}
	for _, r := range in {
		ids = append(ids, r.Lo, r.Hi)
	}
	for _, r := range slices.Concat(beside...) {
		ids = append(ids, r.Hi+1)
		if r.Lo > 0 {
			ids = append(ids, r.Lo-1)
		}
	}
	i := slices.IndexFunc(ids, func(id uint32) bool { return id <= iptables.MaxID && fits(id) })
	return ids[max(i, 0)], i >= 0
}

func has(ranges []iptables.IDRange, id uint32) bool {
	return slices.ContainsFunc(ranges, func(r iptables.IDRange) bool { return r.Contains(id) })
}

// proxies are the proxy by each of its users and by each of its groups; the other id is
// that of an app, or our own if no other may be used.
func (p *planner) proxies() []identity {
	var all []identity
	own := p.env.Powers
	for _, r := range p.c.ProxyUIDs {
		uid, gid := r.Lo, p.apps.GID
		if r.Contains(own.UID) {
			uid = own.UID
		}
		if !own.SetGID {
			gid = own.GID
		}
		all = append(all, p.env.identity("proxy (user "+r.String()+")", uid, gid))
	}
	for _, r := range p.c.ProxyGIDs {
		uid, gid := p.apps.UID, r.Lo
		if r.Contains(own.GID) {
			gid = own.GID
		}
		if !own.SetUID {
			uid = own.UID
		}
		group := p.env.identity("proxy (group "+r.String()+")", uid, gid)
		if has(p.c.ProxyUIDs, uid) && group.skip == "" {
			group.skip = fmt.Sprintf("needs CAP_SETUID: user %d is the proxy's whatever the group", uid)
		}
		all = append(all, group)
	}
	return all
}

// documentation are addresses that are not in use (RFC 5737, RFC 3849, RFC 9637), in
// each family.
var documentation = inet.PerFamily[[]netip.Addr]{
	inet.IPv4: {netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("203.0.113.1")},
	inet.IPv6: {netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("3fff::1")},
}

// within returns addresses of a prefix to connect to, those that are least probably in
// use first.
func within(prefix netip.Prefix) []netip.Addr {
	prefix = prefix.Masked()
	var addrs []netip.Addr
	for _, a := range documentation[inet.Of(prefix.Addr())] {
		if prefix.Contains(a) {
			addrs = append(addrs, a)
		}
	}
	addrs = append(addrs, last(prefix).Prev(), prefix.Addr().Next(), prefix.Addr())
	return slices.DeleteFunc(addrs, func(a netip.Addr) bool {
		return !prefix.Contains(a) || a.IsUnspecified() || a.IsMulticast() || a.Is4In6()
	})
}

// last returns the highest address of a prefix.
func last(prefix netip.Prefix) netip.Addr {
	b := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
