package iptables_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/fake"
)

// A generator makes random rules of the whole vocabulary that the kernel takes.
// The same case is the same rules.
type generator struct {
	*rand.Rand
	family inet.Family
}

// seed is the same in every run: a case that failed fails again, by its number.
const seed = 20261120

func generate(n int, f inet.Family) generator {
	return generator{rand.New(rand.NewPCG(seed, uint64(n)<<1|uint64(f))), f}
}

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

// A way is a direction in which packets go through a table: owners and the out
// interface are known only on the way out, the in interface only on the way in, so
// each way has chains of its own.
type way struct {
	table, hook string
	out         bool
	own         []string
	foreign     string
}

var ways = []way{
	{"raw", "PREROUTING", false, []string{"ISTIO_INBOUND", "ISTIO_I1"}, "KUBE-IN"},
	{"raw", "OUTPUT", true, []string{"ISTIO_OUTPUT", "ISTIO_OUTPUT_DNS"}, "KUBE-OUT"},
	{"mangle", "PREROUTING", false, []string{"ISTIO_INBOUND", "ISTIO_DIVERT", "ISTIO_TPROXY", "ISTIO_I_OF_28_BYTES_IN_LENGTH"[:28]}, "KUBE-IN"},
	{"mangle", "OUTPUT", true, []string{"ISTIO_OUTPUT", "ISTIO_OUT2"}, "KUBE-OUT"},
	{"nat", "PREROUTING", false, []string{"ISTIO_INBOUND", "ISTIO_IN_REDIRECT"}, "KUBE-IN"},
	{"nat", "OUTPUT", true, []string{"ISTIO_OUTPUT", "ISTIO_REDIRECT", "ISTIO_OUTPUT_DNS", "ISTIO_"}, "KUBE-OUT"},
	{"filter", "INPUT", false, []string{"ISTIO_INBOUND", "ISTIO_DROP"}, "KUBE-IN"},
	{"filter", "OUTPUT", true, []string{"ISTIO_OUTPUT"}, "KUBE-OUT"},
}

// ruleset makes rules for some of the ways; their tables and chains stand in any
// order.
func (g generator) ruleset() iptables.Ruleset {
	rs := iptables.Ruleset{Family: g.family}
	for _, w := range ways {
		if g.chance(40) {
			continue
		}
		i := slices.IndexFunc(rs.Tables, func(t iptables.Table) bool { return t.Name == w.table })
		if i < 0 {
			i = len(rs.Tables)
			rs.Tables = append(rs.Tables, iptables.Table{Name: w.table})
		}
		rs.Tables[i].Chains = append(rs.Tables[i].Chains, g.chains(w)...)
	}
	for _, t := range rs.Tables {
		g.Shuffle(len(t.Chains), func(i, j int) { t.Chains[i], t.Chains[j] = t.Chains[j], t.Chains[i] })
	}
	g.Shuffle(len(rs.Tables), func(i, j int) { rs.Tables[i], rs.Tables[j] = rs.Tables[j], rs.Tables[i] })
	return rs
}

// chains makes the chains of one way. A chain jumps only to those behind it, so
// that no jump leads back.
func (g generator) chains(w way) []iptables.Chain {
	own := slices.Clone(w.own)
	g.Shuffle(len(own), func(i, j int) { own[i], own[j] = own[j], own[i] })
	own = own[:1+g.IntN(len(own))]
	hook := iptables.Chain{Name: w.hook}
	for range g.IntN(3) {
		hook.Rules = append(hook.Rules, iptables.Rule{Match: g.match(w), Target: iptables.Jump{Chain: pick(g, own...)}})
	}
	chains := []iptables.Chain{hook}
	for i, name := range own {
		c := iptables.Chain{Name: name}
		for range g.IntN(6) {
			c.Rules = append(c.Rules, g.rule(w, own[i+1:]))
		}
		chains = append(chains, c)
	}
	return chains
}

// rule makes a rule of one of our chains.
func (g generator) rule(w way, jumps []string) iptables.Rule {
	m := g.match(w)
	targets := []iptables.Target{iptables.Return, iptables.Accept, iptables.SaveMark{}, iptables.RestoreMark{}}
	for _, name := range jumps {
		targets = append(targets, iptables.Jump{Chain: name}, iptables.Goto{Chain: name})
	}
	switch w.table {
	case iptables.NAT:
		targets = append(targets, iptables.Redirect{Port: g.port()}, iptables.Redirect{Port: 15001})
	case iptables.Mangle:
		targets = append(targets, iptables.Drop, iptables.SetMark{Mark: g.mark()})
		if !w.out {
			targets = append(targets, iptables.TProxy{Port: g.port(), Mark: g.mark()})
		}
	case iptables.Raw:
		targets = append(targets, iptables.Drop, iptables.Zone{ID: uint16(g.Uint32()), Original: g.Uint32()%2 == 0})
	default:
		targets = append(targets, iptables.Drop)
	}
	target := pick(g, targets...)
	switch target.(type) {
	case iptables.Redirect, iptables.TProxy:
		if m.Proto == 0 {
			m.Proto = pick(g, iptables.TCP, iptables.UDP)
		}
	}
	return iptables.Rule{Match: m, Target: target}
}

// match makes a match with a few conditions, of any field now and then.
func (g generator) match(w way) (m iptables.Match) {
	maybe(g, &m.Src, g.prefix)
	maybe(g, &m.Dst, g.prefix)
	if w.out {
		maybe(g, &m.Out, g.device)
	} else {
		maybe(g, &m.In, g.device)
	}
	maybe(g, &m.Mark, g.mark)
	maybe(g, &m.ConnMark, g.mark)
	maybe(g, &m.State, func() iptables.States { return iptables.States(1 + g.IntN(15)) })
	m.Proto = pick(g, 0, iptables.TCP, iptables.UDP)
	if m.Proto != 0 {
		maybe(g, &m.SPort, g.ports)
		maybe(g, &m.DPort, g.ports)
		maybe(g, &m.DPorts, g.portList)
	}
	if m.Proto == iptables.TCP {
		maybe(g, &m.SYN, func() bool { return true })
	}
	for range g.IntN(3) {
		if w.out && g.chance(30) {
			m.UIDs = append(m.UIDs, cond(g, g.ids()))
			m.GIDs = append(m.GIDs, cond(g, g.ids()))
		}
	}
	return m
}

func cond[T any](g generator, v T) iptables.Cond[T] {
	return iptables.Cond[T]{Val: v, Neg: g.chance(30), Set: true}
}

func maybe[T any](g generator, field *iptables.Cond[T], value func() T) {
	if g.chance(20) {
		*field = cond(g, value())
	}
}

// prefix makes a prefix of the family, as a rule that was parsed has it: masked
// and of 1 bit or more. Those of IPv6 often have zeros where the C library
// prints them in forms of its own.
func (g generator) prefix() netip.Prefix {
	var b [16]byte
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	a := netip.AddrFrom4([4]byte(b[12:]))
	if g.family == inet.IPv6 {
		switch from, to := g.IntN(17), g.IntN(17); g.IntN(4) {
		case 0:
			clear(b[:12])
		case 1:
			copy(b[:12], []byte{10: 0xff, 11: 0xff})
		case 2:
			clear(b[min(from, to):max(from, to)])
		}
		a = netip.AddrFrom16(b)
	}
	bits := a.BitLen()
	if g.chance(50) {
		bits = 1 + g.IntN(bits)
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// device makes any name that is accepted as an interface.
func (g generator) device() iptables.Interface {
	for {
		name := make([]byte, 1+g.IntN(iptables.MaxInterfaceLen))
		for i := range name {
			name[i] = byte('!' + g.IntN('~'-'!'+1))
		}
		var i iptables.Interface
		if g.chance(50) {
			return pick[iptables.Interface](g, "lo", "eth0", "eth+", "veth1234+")
		}
		if i.UnmarshalText(name) == nil {
			return i
		}
	}
}

func (g generator) port() uint16 { return uint16(1 + g.IntN(65535)) }

func (g generator) ports() iptables.PortRange {
	a, b := g.port(), g.port()
	if g.chance(60) {
		return iptables.Port(a)
	}
	return iptables.PortRange{Lo: min(a, b), Hi: max(a, b)}
}

func (g generator) portList() []iptables.PortRange {
	list := []iptables.PortRange{g.ports()}
	for range g.IntN(7) {
		list = append(list, g.ports())
	}
	return list
}

func (g generator) mark() iptables.Mark {
	if g.chance(50) {
		return iptables.FullMark(g.Uint32())
	}
	return iptables.Mark{Value: g.Uint32() >> g.IntN(33), Mask: g.Uint32() >> g.IntN(33)}
}

func (g generator) ids() iptables.IDRange {
	a, b := g.Uint32N(iptables.MaxID+1), g.Uint32N(iptables.MaxID+1)
	if g.chance(60) {
		return iptables.ID(pick(g, a, 0, 1337, iptables.MaxID))
	}
	return iptables.IDRange{Lo: min(a, b), Hi: max(a, b)}
}

// state returns a random state of a namespace in the form of iptables-save: foreign rules,
// stale rules of ours, complete or in part, and both mixed. It has nothing that the fake
// refuses.
func (g generator) state(t testing.TB) string {
	t.Helper()
	k, err := fake.Load("")
	if err != nil {
		t.Fatal(err)
	}
	try := func(table, format string, args ...any) {
		_ = k.Restore("*" + table + "\n" + fmt.Sprintf(format, args...) + "\nCOMMIT\n")
	}
	if g.chance(60) {
		_ = k.Restore(xtables.Script(iptables.PlanISTIO(iptables.Snapshot{Family: g.family}, g.ruleset())))
	}
	for _, w := range ways {
		if g.chance(30) {
			continue
		}
		try(w.table, ":%s %s [0:0]", w.hook, pick(g, "ACCEPT", "ACCEPT", "DROP"))
		try(w.table, "-N %s", w.foreign)
		try(w.table, "-N %s", pick(g, w.own...))
		for range g.IntN(8) {
			on, to := pick(g, w.hook, w.hook, w.foreign, pick(g, w.own...)), pick(g, "ACCEPT", "RETURN", w.foreign, pick(g, w.own...), pick(g, w.own...))
			try(w.table, "-I %s %d %s-%s %s", on, 1+g.IntN(4), pick(g, foreignMatches...), pick(g, "j", "j", "j", "g"), to)
		}
		try(w.table, "-A %s %s", pick(g, w.hook, w.foreign), pick(g, foreignRules...))
	}
	return k.String()
}

// What others write, in the form of iptables-save.
var (
	foreignMatches = []string{
		"", "", "-p tcp ", "-p tcp -m tcp --dport 22 ", "-m addrtype --dst-type LOCAL ", "-m mark --mark 0x4000/0x4000 ",
		`-m comment --comment "kubernetes service portals" `, `-m comment --comment "a  \"quoted\" word, it\'s a \\" `, `-m comment --comment "then -j ISTIO_OUTPUT" `,
		"-m comment --comment ISTIO_OUTPUT ", "-m limit --limit 5/sec ",
	}
	foreignRules = []string{
		`-p udp -m comment --comment "only counted"`, "-p tcp", `-j LOG --log-prefix "seen by ISTIO_X: "`, "-m comment --comment ISTIO_OUTPUT",
	}
)
