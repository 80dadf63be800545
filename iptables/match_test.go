package iptables

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"istio-init/netutil/inet"
)

var (
	comparePrefixes = cmpopts.EquateComparable(netip.Prefix{})
	compareAddrs    = cmpopts.EquateComparable(netip.AddrPort{})
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// TestAddressesPrintAsTheCLibraryPrintsThem holds what glibc's inet_ntop
// returned.
func TestAddressesPrintAsTheCLibraryPrintsThem(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, addr, want string }{
		{"ipv4", "10.1.2.3", "10.1.2.3"},
		{"unspecified", "::", "::"},
		{"loopback", "::1", "::1"},
		{"last-16-bits", "::ffff", "::ffff"},
		{"dotted-from-17-bits-on", "::1:0", "::0.1.0.0"},
		{"dotted-low", "::0.1.0.0", "::0.1.0.0"},
		{"dotted", "::1.2.3.4", "::1.2.3.4"},
		{"dotted-highest", "::255.255.255.255", "::255.255.255.255"},
		{"not-dotted-with-a-higher-bit", "::8:0:0", "::8:0:0"},
		{"mapped", "::ffff:1.2.3.4", "::ffff:1.2.3.4"},
		{"mapped-zero", "::ffff:0.0.0.0", "::ffff:0.0.0.0"},
		{"nearly-mapped", "::fffe:1.2.3.4", "::fffe:102:304"},
		{"translated", "::ffff:0:1.2.3.4", "::ffff:0:102:304"},
		{"nat64", "64:ff9b::1.2.3.4", "64:ff9b::102:304"},
		{"first-longest-zeros-are-left-out", "1:0:0:2::", "1:0:0:2::"},
		{"first-of-equal-zeros-is-left-out", "1:0:0:2:3:0:0:4", "1::2:3:0:0:4"},
		{"one-zero-stays", "0:2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
		{"lower-case", "FE80::ABCD", "fe80::abcd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := AddrText(netip.MustParseAddr(tt.addr)); got != tt.want {
				t.Errorf("want %s, got %s", tt.want, got)
			}
		})
	}
}

// fieldSample is a value of a field of Match, what it prints as in a TCP rule,
// and as negated where it can be.
type fieldSample struct {
	name, field   string
	value         any
	text, negated string
}

var fieldSamples = []fieldSample{
	{"source", "Src", prefix("10.0.0.0/8"), "-s 10.0.0.0/8 -p tcp", "! -s 10.0.0.0/8 -p tcp"},
	{"destination", "Dst", prefix("127.0.0.6/32"), "-d 127.0.0.6/32 -p tcp", "! -d 127.0.0.6/32 -p tcp"},
	{"destination-is-masked", "Dst", prefix("10.1.2.3/15"), "-d 10.0.0.0/15 -p tcp", "! -d 10.0.0.0/15 -p tcp"},
	{"in", "In", Interface("eth+"), "-i eth+ -p tcp", "! -i eth+ -p tcp"},
	{"out", "Out", Interface("lo"), "-o lo -p tcp", "! -o lo -p tcp"},
	{"udp", "Proto", UDP, "-p udp", ""},
	{"source-port", "SPort", Port(53), "-p tcp -m tcp --sport 53", "-p tcp -m tcp ! --sport 53"},
	{"destination-port", "DPort", Port(80), "-p tcp -m tcp --dport 80", "-p tcp -m tcp ! --dport 80"},
	{"destination-ports", "DPort", PortRange{80, 90}, "-p tcp -m tcp --dport 80:90", "-p tcp -m tcp ! --dport 80:90"},
	{"opens", "SYN", true, "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"},
	{"multiport", "DPorts", []PortRange{{80, 80}, {90, 99}}, "-p tcp -m multiport --dports 80,90:99", "-p tcp -m multiport ! --dports 80,90:99"},
	{"mark", "Mark", FullMark(1337), "-p tcp -m mark --mark 0x539", "-p tcp -m mark ! --mark 0x539"},
	{"mark-bits", "Mark", Mark{1, 3}, "-p tcp -m mark --mark 0x1/0x3", "-p tcp -m mark ! --mark 0x1/0x3"},
	{"connmark", "ConnMark", FullMark(1337), "-p tcp -m connmark --mark 0x539", "-p tcp -m connmark ! --mark 0x539"},
	{"state", "State", Established | Related, "-p tcp -m conntrack --ctstate RELATED,ESTABLISHED", "-p tcp -m conntrack ! --ctstate RELATED,ESTABLISHED"},
	{"new", "State", New, "-p tcp -m conntrack --ctstate NEW", "-p tcp -m conntrack ! --ctstate NEW"},
	{"all-other-states", "State", Established | Related | Invalid, "-p tcp -m conntrack --ctstate INVALID,RELATED,ESTABLISHED", "-p tcp -m conntrack ! --ctstate INVALID,RELATED,ESTABLISHED"},
	{"uid", "UIDs", ID(1337), "-p tcp -m owner --uid-owner 1337", "-p tcp -m owner ! --uid-owner 1337"},
	{"gids", "GIDs", IDRange{1000, 2000}, "-p tcp -m owner --gid-owner 1000-2000", "-p tcp -m owner ! --gid-owner 1000-2000"},
}

// witnesses are packets of which at least one meets each sample and one does
// not, while a match of TCP alone takes all but the last.
var witnesses = func() []Packet {
	base := Packet{
		Hook: Output, Proto: TCP, State: New,
		Src: netip.MustParseAddrPort("192.0.2.1:1000"), Dst: netip.MustParseAddrPort("198.51.100.1:1000"),
	}
	packets := []Packet{base}
	for _, change := range []func(*Packet){
		func(p *Packet) { p.Src = netip.MustParseAddrPort("10.1.2.3:53") },
		func(p *Packet) { p.Dst = netip.MustParseAddrPort("127.0.0.6:80") },
		func(p *Packet) { p.Dst = netip.MustParseAddrPort("10.0.0.1:80") },
		func(p *Packet) { p.In = "eth0" },
		func(p *Packet) { p.Out = "lo" },
		func(p *Packet) { p.SYN = true },
		func(p *Packet) { p.Mark = 1337 },
		func(p *Packet) { p.ConnMark = 1337 },
		func(p *Packet) { p.State = Established },
		func(p *Packet) { p.Owner = &Owner{UID: 1337, GID: 1500} },
		func(p *Packet) { p.Proto = UDP },
	} {
		p := base
		change(&p)
		packets = append(packets, p)
	}
	return packets
}()

// set returns the TCP match with one field set to a sample, negated where asked
// for; ok is false for a field that cannot be negated. It knows the shapes of
// fields, not their names.
func (s fieldSample) set(neg bool) (m Match, ok bool) {
	m.Proto = TCP
	field := reflect.ValueOf(&m).Elem().FieldByName(s.field)
	cond := field
	switch field.Kind() {
	case reflect.Slice:
		field.Set(reflect.MakeSlice(field.Type(), 1, 1))
		cond = field.Index(0)
	case reflect.Struct:
	default:
		field.Set(reflect.ValueOf(s.value))
		return m, !neg
	}
	cond.FieldByName("Val").Set(reflect.ValueOf(s.value))
	cond.FieldByName("Set").SetBool(true)
	cond.FieldByName("Neg").SetBool(neg)
	return m, true
}

// TestEveryFieldOfAMatchPrintsParsesAndMatches fails for a field that is added
// without its text, its parser or its evaluation.
func TestEveryFieldOfAMatchPrintsParsesAndMatches(t *testing.T) {
	t.Parallel()
	sampled := map[string]bool{}
	for _, s := range fieldSamples {
		sampled[s.field] = true
		for _, neg := range []bool{false, true} {
			m, ok := s.set(neg)
			if !ok {
				continue
			}
			name, want := s.name, s.text
			if neg {
				name, want = "not-"+s.name, s.negated
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				rule := Rule{Match: m, Target: Return}
				if diff := cmp.Diff(want+" -j RETURN", rule.Text(inet.IPv4)); diff != "" {
					t.Errorf("text (-want +got):\n%s", diff)
				}
				back, err := ParseRule(inet.IPv4, want+" -j RETURN")
				if err != nil || back.Text(inet.IPv4) != rule.Text(inet.IPv4) {
					t.Errorf("parsed: want %q, got %q (%v)", rule.Text(inet.IPv4), back.Text(inet.IPv4), err)
				}
				if !changesWhatIsTaken(m) {
					t.Errorf("%q takes the same packets as -p tcp", want)
				}
			})
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Match]()) {
		if !sampled[f.Name] {
			t.Errorf("field %s of Match has no sample here", f.Name)
		}
	}
}

func changesWhatIsTaken(m Match) bool {
	var took, left bool
	for _, p := range witnesses {
		if m.Matches(p) {
			took = true
		} else if p.Proto == TCP {
			left = true
		}
	}
	return took && left
}

func TestMatchPrintsInTheKernelsOrder(t *testing.T) {
	t.Parallel()
	m := Match{
		Src: Is(prefix("10.0.0.0/8")), Dst: Not(prefix("127.0.0.1/32")), In: Is(Interface("eth0")), Out: Not(Interface("lo")),
		Proto: TCP, SPort: Is(Port(1)), DPort: Not(PortRange{2, 3}), SYN: Is(true), DPorts: Not([]PortRange{Port(53), Port(15008)}),
		Mark: Is(FullMark(1)), ConnMark: Not(FullMark(2)), State: Is(New),
		UIDs: []Cond[IDRange]{Is(ID(1)), Not(ID(2))}, GIDs: []Cond[IDRange]{Not(ID(3))},
	}
	want := "-s 10.0.0.0/8 ! -d 127.0.0.1/32 -i eth0 ! -o lo -p tcp " +
		"-m tcp --sport 1 ! --dport 2:3 --tcp-flags FIN,SYN,RST,ACK SYN -m multiport ! --dports 53,15008 " +
		"-m mark --mark 0x1 -m connmark ! --mark 0x2 -m conntrack --ctstate NEW " +
		"-m owner --uid-owner 1 -m owner ! --uid-owner 2 -m owner ! --gid-owner 3 -j RETURN"
	if diff := cmp.Diff(want, Rule{Match: m, Target: Return}.Text(inet.IPv4)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPrefixOfEveryAddressIsNotPrinted(t *testing.T) {
	t.Parallel()
	m := Match{Src: Is(prefix("0.0.0.0/0")), Dst: Is(prefix("0.0.0.0/0"))}
	if got := (Rule{Match: m, Target: Return}).Text(inet.IPv4); got != "-j RETURN" {
		t.Errorf("want %q, got %q", "-j RETURN", got)
	}
}

func TestOtherProtocolsPrintAsNumbers(t *testing.T) {
	t.Parallel()
	if got := (Rule{Match: Match{Proto: 200}, Target: Return}).Text(inet.IPv4); got != "-p 200 -j RETURN" {
		t.Errorf("want %q, got %q", "-p 200 -j RETURN", got)
	}
}
