package pod

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// A memory is a backend whose rules are in memory.
type memory struct {
	name     Name
	families inet.PerFamily[FamilyState]
	asked    []string // which of its methods changed something
	noCommit error    // what Commit fails with, after its change
	noRevert error    // what Revert fails with
}

func (m *memory) Name() Name { return m.name }

func (m *memory) Read(context.Context) State { return State{Backend: m, Families: m.families} }

func (m *memory) Identify(_ context.Context, have State, _ Rules) (State, []Unidentified, error) {
	return have, nil, nil
}

func (m *memory) Plan(have State, want Rules) (Change, error) {
	var change Change
	var errs []error
	for _, rs := range want {
		live := have.Families[rs.Family]
		c := iptables.Plan(live.Rules, live.Own, rs)
		switch {
		case live.Err != nil && (len(rs.Tables) > 0 || len(want.captured()) == 0 && live.Present):
			errs = append(errs, live.Err)
		case live.Err == nil && !c.Empty():
			change.Families = append(change.Families, c)
			change.Text += fmt.Sprintf("# %s %s\n", m.name, rs.Family)
		}
	}
	return change, errors.Join(errs...)
}

func (m *memory) Commit(_ context.Context, c Change) error {
	m.asked = append(m.asked, "commit")
	for _, c := range c.Families {
		m.families[c.Family].Rules = c.After
	}
	return m.noCommit
}

func (m *memory) Close() {}

func (m *memory) Revert(_ context.Context, c Change) error {
	m.asked = append(m.asked, "revert")
	if m.noRevert != nil {
		return m.noRevert
	}
	for _, c := range c.Families {
		m.families[c.Family].Rules = c.Before
	}
	return nil
}

// survey returns a namespace with both variants and nothing in it.
func emptySurvey() (s *Survey, nft, legacy *memory) {
	nft, legacy = &memory{name: NFT}, &memory{name: Legacy}
	for _, m := range []*memory{nft, legacy} {
		for _, f := range inet.Families {
			m.families[f].Rules.Family = f
		}
	}
	return &Survey{States: []State{nft.Read(context.Background()), legacy.Read(context.Background())}}, nft, legacy
}

var testConfig = capture.Config{
	Mode: capture.TProxy, ProxyPort: 15001, InboundPort: 15006, TProxyMark: 1337, TProxyTable: 133, Generation: capture.Istio1_15,
	InboundPorts: capture.Selector[iptables.PortRange]{All: true}, OutboundPrefixes: capture.Selector[netip.Prefix]{All: true},
}

func quiet() Engine { return Engine{Report: func(Event) {}} }

func applied(t *testing.T, e Engine, s *Survey, want Want) *Plan {
	t.Helper()
	p, err := e.Apply(t.Context(), s, want)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// holding gives a backend the rules of a configuration.
func (m *memory) holding(want Want) {
	for _, f := range inet.Families {
		m.families[f].Present = true
		c := iptables.Plan(m.families[f].Rules, iptables.Ownership{}, want.Rules()[f])
		m.families[f].Rules, m.families[f].Own = c.After, c.Own
	}
}

func TestStepsAreInTheOrderOfTheDocumentation(t *testing.T) {
	t.Parallel()
	s, nft, legacy := emptySurvey()
	want := Wanted(testConfig, inet.Families[:])
	nft.holding(Wanted(capture.Config{Generation: capture.Istio1_15, ProxyPort: 15001, OutboundPrefixes: testConfig.OutboundPrefixes}, inet.Families[:]))
	legacy.holding(want)
	s.States = []State{nft.Read(t.Context()), legacy.Read(t.Context())}
	s.Native = []string{"istio-proxy-nat"}
	s.Routing[inet.IPv4] = netutil.Routing{Rules: []netutil.TProxyRoute{{Mark: 1, Table: 2}, {Mark: 1337, Table: 133}, {Mark: 1337, Table: 133}}, Tables: []uint32{2}}
	got := applied(t, quiet(), s, want).String()
	if diff := cmp.Diff(`# ip route add local default dev lo table 133 protocol 133
# ip -6 route add local default dev lo table 133 protocol 133
# ip -6 rule add fwmark 0x539 lookup 133 protocol 133
# ip -6 address add ::6/128 dev lo nodad preferred_lft 0
# nft ipv4
# nft ipv6
# legacy ipv4
# legacy ipv6
# ip rule del fwmark 0x1 lookup 2
# ip rule del fwmark 0x539 lookup 133
# ip route del local default dev lo table 2
# nft delete table inet istio-proxy-nat
`, got); diff != "" {
		t.Errorf("the steps (-want +got):\n%s", diff)
	}
}

func TestCleaningGoesFromRulesToWhatTheyNeed(t *testing.T) {
	t.Parallel()
	s, nft, legacy := emptySurvey()
	want := Wanted(testConfig, inet.Families[:])
	nft.holding(want)
	legacy.holding(want)
	s.States = []State{nft.Read(t.Context()), legacy.Read(t.Context())}
	s.Native = []string{"istio-proxy-nat", "istio-proxy-mangle"}
	s.Routing[inet.IPv6] = netutil.Routing{Rules: []netutil.TProxyRoute{{Mark: 1337, Table: 133}}, Tables: []uint32{133}}
	s.Address = Address{Present: true, Ours: true}
	p, err := quiet().Clean(s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`# nft ipv4
# nft ipv6
# legacy ipv4
# legacy ipv6
# nft delete table inet istio-proxy-nat
# nft delete table inet istio-proxy-mangle
# ip -6 rule del fwmark 0x539 lookup 133
# ip -6 route del local default dev lo table 133
# ip -6 address del ::6/128 dev lo
`, p.String()); diff != "" {
		t.Errorf("the steps (-want +got):\n%s", diff)
	}
}

func TestNothingIsPlannedWhereEverythingIsInOrder(t *testing.T) {
	t.Parallel()
	s, nft, _ := emptySurvey()
	want := Wanted(testConfig, inet.Families[:])
	nft.holding(want)
	s.States[0] = nft.Read(t.Context())
	for _, f := range inet.Families {
		s.Routing[f] = netutil.Routing{Rules: []netutil.TProxyRoute{want.Routes[f]}, Tables: []uint32{want.Routes[f].Table}}
	}
	s.Address = Address{Present: true, Ours: true}
	if p := applied(t, quiet(), s, want); !p.Empty() || p.String() != "" {
		t.Errorf("planned:\n%s", p)
	}
}

// A mark is a step that writes down what becomes of it.
type mark struct {
	name string
	fail error
	log  *[]string
}

func (m *mark) String() string { return "# " + m.name + "\n" }

func (m *mark) Do(context.Context) error {
	*m.log = append(*m.log, m.name)
	return m.fail
}

func (m *mark) Undo(context.Context) error {
	*m.log = append(*m.log, "undo "+m.name)
	return nil
}

func TestAFailedStepIsTakenBackAndThoseBeforeIt(t *testing.T) {
	t.Parallel()
	var log []string
	refused := errors.New("refused")
	p := &Plan{Steps: []Step{&mark{"a", nil, &log}, &mark{"b", nil, &log}, &mark{"c", refused, &log}, &mark{"d", nil, &log}}}
	err := p.Run(t.Context(), func(Event) {})
	if !errors.Is(err, refused) || !strings.HasSuffix(err.Error(), "taken back") {
		t.Errorf("the error is %v", err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "undo c", "undo b", "undo a"}, log); diff != "" {
		t.Errorf("the steps (-want +got):\n%s", diff)
	}
}

func TestAPartialRunGoesOn(t *testing.T) {
	t.Parallel()
	var log []string
	refused, stays := errors.New("refused"), errors.New("stays")
	p := &Plan{Partial: true, Remains: []error{stays}, Steps: []Step{&mark{"a", refused, &log}, &mark{"b", nil, &log}}}
	err := p.Run(t.Context(), func(Event) {})
	if !errors.Is(err, refused) || !errors.Is(err, stays) {
		t.Errorf("the error is %v", err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, log); diff != "" {
		t.Errorf("the steps (-want +got):\n%s", diff)
	}
}

func TestNothingIsTouchedWhereSomethingOfOursWouldStay(t *testing.T) {
	t.Parallel()
	var log []string
	stays := errors.New("stays")
	p := &Plan{Remains: []error{stays}, Steps: []Step{&mark{"a", nil, &log}}}
	if err := p.Run(t.Context(), func(Event) {}); !errors.Is(err, stays) || len(log) > 0 {
		t.Errorf("the error is %v, after %v", err, log)
	}
}
