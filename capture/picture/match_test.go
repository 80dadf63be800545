package picture_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/capture/picture"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// samples are values of the types that conditions have. No two of a type are met by
// the same packets of [packets].
var samples = map[reflect.Type][]any{
	reflect.TypeFor[netip.Prefix]():         {netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.128.0.0/9")},
	reflect.TypeFor[iptables.Interface]():   {iptables.Interface("eth0"), iptables.Interface("eth+")},
	reflect.TypeFor[iptables.Proto]():       {iptables.TCP, iptables.UDP},
	reflect.TypeFor[iptables.PortRange]():   {iptables.Port(80), iptables.PortRange{Lo: 80, Hi: 90}},
	reflect.TypeFor[[]iptables.PortRange](): {[]iptables.PortRange{{Lo: 80, Hi: 80}}, []iptables.PortRange{{Lo: 80, Hi: 80}, {Lo: 85, Hi: 99}}},
	reflect.TypeFor[bool]():                 {true},
	reflect.TypeFor[iptables.Mark]():        {iptables.FullMark(1), iptables.Mark{Value: 1, Mask: 3}},
	reflect.TypeFor[iptables.States]():      {iptables.New, iptables.Related | iptables.Established},
	reflect.TypeFor[iptables.IDRange]():     {iptables.ID(1337), iptables.IDRange{Lo: 1000, Hi: 2000}},
}

// packets are the ways out of a packet that differs in one property.
var packets = func() []iptables.Packet {
	base := iptables.Packet{
		Hook: iptables.Output, Proto: iptables.TCP, State: iptables.New,
		Src: netip.MustParseAddrPort("192.0.2.1:1000"), Dst: netip.MustParseAddrPort("198.51.100.1:1000"),
	}
	all := []iptables.Packet{base}
	vary := func(change func(*iptables.Packet)) {
		p := base
		change(&p)
		all = append(all, p)
	}
	for _, addr := range []string{"10.1.1.1:1000", "10.200.1.1:1000", "192.0.2.1:80", "192.0.2.1:85", "192.0.2.1:95"} {
		vary(func(p *iptables.Packet) { p.Src = netip.MustParseAddrPort(addr) })
		vary(func(p *iptables.Packet) { p.Dst = netip.MustParseAddrPort(addr) })
	}
	for _, name := range []string{"eth0", "eth1"} {
		vary(func(p *iptables.Packet) { p.In = name })
		vary(func(p *iptables.Packet) { p.Out = name })
	}
	for _, mark := range []uint32{1, 5} {
		vary(func(p *iptables.Packet) { p.Mark = mark })
		vary(func(p *iptables.Packet) { p.ConnMark = mark })
	}
	for _, id := range []uint32{0, 1337, 1500} {
		vary(func(p *iptables.Packet) { p.Owner = &iptables.Owner{UID: id} })
		vary(func(p *iptables.Packet) { p.Owner = &iptables.Owner{GID: id} })
	}
	vary(func(p *iptables.Packet) { p.Proto = iptables.UDP })
	vary(func(p *iptables.Packet) { p.SYN = true })
	for _, state := range []iptables.States{iptables.Invalid, iptables.Related} {
		vary(func(p *iptables.Packet) { p.State = state })
	}
	return all
}()

// variants are matches of TCP that differ in one field: without it, with each sample,
// and with each negated where it can be.
func variants(t *testing.T, field string) []iptables.Match {
	t.Helper()
	all := []iptables.Match{{Proto: iptables.TCP}}
	with := func(set func(reflect.Value)) {
		m := iptables.Match{Proto: iptables.TCP}
		set(reflect.ValueOf(&m).Elem().FieldByName(field))
		all = append(all, m)
	}
	of, _ := reflect.TypeFor[iptables.Match]().FieldByName(field)
	conds := func(of reflect.Type) (list []reflect.Value) {
		val, _ := of.FieldByName("Val")
		for _, sample := range samplesOf(t, val.Type) {
			for _, neg := range []bool{false, true} {
				c := reflect.New(of).Elem()
				c.FieldByName("Val").Set(reflect.ValueOf(sample))
				c.FieldByName("Neg").SetBool(neg)
				c.FieldByName("Set").SetBool(true)
				list = append(list, c)
			}
		}
		return list
	}
	switch of.Type.Kind() {
	case reflect.Struct:
		for _, c := range conds(of.Type) {
			with(func(v reflect.Value) { v.Set(c) })
		}
	case reflect.Slice:
		list := conds(of.Type.Elem())
		for _, c := range list {
			with(func(v reflect.Value) { v.Set(reflect.Append(v, c)) })
		}
		with(func(v reflect.Value) { v.Set(reflect.Append(v, list[1], list[2])) })
	default:
		for _, sample := range samplesOf(t, of.Type) {
			if m := (iptables.Match{Proto: iptables.TCP}); reflect.ValueOf(m).FieldByName(field).Interface() != sample {
				with(func(v reflect.Value) { v.Set(reflect.ValueOf(sample)) })
			}
		}
		with(func(v reflect.Value) { v.SetZero() })
	}
	return all
}

func samplesOf(t *testing.T, of reflect.Type) []any {
	t.Helper()
	if len(samples[of]) == 0 {
		t.Fatalf("there are no samples of the type %s", of)
	}
	return samples[of]
}

// taken tells which of the packets a match takes.
func taken(m iptables.Match) string {
	var b strings.Builder
	rs := rules(iptables.Filter, iptables.Output, iptables.Rule{Match: m, Target: iptables.Drop})
	for _, p := range packets {
		fmt.Fprint(&b, rs.Trace(p).Verdict, " ")
	}
	return b.String()
}

func rules(table, chain string, list ...iptables.Rule) iptables.Ruleset {
	return iptables.Ruleset{Tables: []iptables.Table{{Name: table, Chains: []iptables.Chain{{Name: chain, Rules: list}}}}}
}

// drawn is the picture of a rule with a match that no option makes.
func drawn(form picture.Format, m iptables.Match) string {
	rs := rules(iptables.NAT, capture.ChainOutput, iptables.Rule{Match: m, Target: iptables.Return})
	enter := iptables.Rule{Target: iptables.Jump{Chain: capture.ChainOutput}}
	rs.Tables[0].Chains = append(rs.Tables[0].Chains, iptables.Chain{Name: iptables.Output, Rules: []iptables.Rule{enter}})
	return picture.Draw(form, picture.Terminal{}, report.Reason, infer.Infer(rs))
}

// matchOfJSON is what JSON says of the conditions of a rule, apart from its text.
func matchOfJSON(t *testing.T, m iptables.Match) string {
	t.Helper()
	type chain struct {
		Chain string
		Rules []struct{ Match json.RawMessage }
	}
	var doc struct {
		Families []struct{ Tables []struct{ Chains []chain } }
	}
	if err := json.Unmarshal([]byte(drawn(picture.JSON, m)), &doc); err != nil {
		t.Fatal(err)
	}
	chains := doc.Families[0].Tables[0].Chains
	at := slices.IndexFunc(chains, func(c chain) bool { return c.Chain == capture.ChainOutput })
	return string(chains[at].Rules[0].Match)
}

// A notation is one of the ways in which a match is shown.
type notation struct {
	name string
	of   func(*testing.T, iptables.Match) string
}

func notations() []notation {
	all := []notation{
		{"text", func(_ *testing.T, m iptables.Match) string { return ruleOf(m).Text(inet.IPv4) }},
		{"trace", func(_ *testing.T, m iptables.Match) string { return taken(m) }},
		{"match of json", matchOfJSON},
	}
	for _, form := range picture.Formats {
		all = append(all, notation{form.String(), func(_ *testing.T, m iptables.Match) string { return drawn(form, m) }})
	}
	return all
}

func ruleOf(m iptables.Match) iptables.Rule { return iptables.Rule{Match: m, Target: iptables.Return} }

// TestEveryFieldOfAMatchShowsInEveryNotation fails for a field that is added to
// iptables.Match without its text, its parser, its evaluation, its place in pictures
// and JSON, or its part in inference.
func TestEveryFieldOfAMatchShowsInEveryNotation(t *testing.T) {
	t.Parallel()
	for _, field := range reflect.VisibleFields(reflect.TypeFor[iptables.Match]()) {
		t.Run(field.Name, func(t *testing.T) {
			t.Parallel()
			matches := variants(t, field.Name)
			for _, n := range notations() {
				shown := map[string]string{}
				for _, m := range matches {
					rule, text := ruleOf(m).Text(inet.IPv4), n.of(t, m)
					if other, there := shown[text]; there {
						t.Errorf("%s: %q and %q are shown alike:\n%s", n.name, other, rule, text)
					}
					shown[text] = rule
				}
			}
			for _, m := range matches {
				want := ruleOf(m)
				if got, err := iptables.ParseRule(inet.IPv4, want.Text(inet.IPv4)); err != nil || !reflect.DeepEqual(want, got) {
					t.Errorf("parsed: want %+v, got %+v (%v)", want, got, err)
				}
			}
		})
	}
}

// TestInferenceTakesNoRuleWithAnotherConditionForAKnownOne adds each field to a rule
// that inference knows.
func TestInferenceTakesNoRuleWithAnotherConditionForAKnownOne(t *testing.T) {
	t.Parallel()
	for _, field := range reflect.VisibleFields(reflect.TypeFor[iptables.Match]()) {
		matches := variants(t, field.Name)
		if inferred(matches[0]) == 0 {
			t.Fatal("a REDIRECT of all TCP tells no port")
		}
		for _, m := range matches[1:] {
			if inferred(m) != 0 {
				t.Errorf("%s: the condition %q is not seen", field.Name, ruleOf(m).Text(inet.IPv4))
			}
		}
	}
}

// inferred is the proxy's outbound port, as a rule with a match tells it in the chain
// where the rule for all TCP does.
func inferred(m iptables.Match) uint16 {
	r := iptables.Rule{Match: m, Target: iptables.Redirect{Port: 15001}}
	return infer.Configuration(infer.Infer(rules(iptables.NAT, capture.ChainRedirect, r))).ProxyPort
}
