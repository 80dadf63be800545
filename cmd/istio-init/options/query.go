package options

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"istio-init/iptables"
)

// A Query is the connection that trace follows. A zero field was not given.
type Query struct {
	UID, GID *uint32
	From, To Endpoint
	In, Out  string
	Proto    iptables.Proto
	Mark     uint32
	State    iptables.States
}

// An Endpoint is an address, a port, or both.
type Endpoint struct {
	Addr netip.Addr
	Port uint16
}

// outboundExcludePorts parses the ports of -o, which other programs take for the format.
func outboundExcludePorts(s *Parsed, v string) (err error) {
	if slices.Contains(append(pictureNames(), formOutput.choices...), v) || v == "yaml" || v == "wide" {
		return valueError(v, "is not a port: -o takes ports, and the format of an answer is --output, as in --output json")
	}
	s.Config.OutboundExcludePorts, err = list(v, s.parsePorts)
	return err
}

// endpointValue parses ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT or :PORT.
func endpointValue(target func(*Parsed) *Endpoint) func(*Parsed, string) error {
	return func(s *Parsed, v string) error {
		w, err := token(v)
		if err != nil || w == "" {
			return err
		}
		e := target(s)
		if digits, ok := strings.CutPrefix(w, ":"); ok && !strings.Contains(digits, ":") {
			e.Port, err = onePort(v, digits)
			return err
		}
		if addr, err := netip.ParseAddr(withoutBrackets(w)); err == nil {
			e.Addr = addr
		} else if both, err := netip.ParseAddrPort(w); err == nil && both.Port() > 0 {
			e.Addr, e.Port = both.Addr(), both.Port()
		} else if strings.ContainsFunc(w, func(c rune) bool { return c > 'f' && unicode.IsLetter(c) }) {
			return valueError(v, "has a name: give the address, as of kubectl get service,endpointslice,pod -o wide, and the port as a number")
		} else {
			return valueError(v, "")
		}
		if e.Addr.Zone() != "" || e.Addr.Is4In6() {
			return valueError(v, "is an address with a zone, or an IPv4 address in IPv6 form")
		}
		return nil
	}
}

// withoutBrackets removes the brackets around an IPv6 address.
func withoutBrackets(v string) string {
	if inner, ok := strings.CutPrefix(v, "["); ok && strings.HasSuffix(inner, "]") && strings.Contains(inner, ":") {
		return inner[:len(inner)-1]
	}
	return v
}

// onePort parses the digits of a value.
func onePort(v, digits string) (uint16, error) {
	r, err := parsePort(digits)
	switch {
	case digits == "":
		return 0, valueError(v, "has no port")
	case err != nil:
		return 0, valueError(v, "")
	case !r.Single():
		return 0, valueError(v, "is a range")
	}
	return r.Lo, nil
}

// ownerValue parses one user or group, by id or by name.
func ownerValue(target func(*Parsed) **uint32, kind string, lookup func(*Parsed) func(string) (string, error)) func(*Parsed, string) error {
	return func(s *Parsed, v string) error {
		w, err := token(v)
		if err != nil || w == "" {
			return err
		}
		id, err := parseID(w, kind, lookup(s))
		if err == nil && id.Lo != id.Hi {
			err = valueError(v, "is a range")
		}
		*target(s) = &id.Lo
		return err
	}
}

func linkName(target func(*Parsed) *string) func(*Parsed, string) error {
	return func(s *Parsed, v string) error {
		w, err := token(v)
		if err != nil || w == "" {
			return err
		}
		if _, err := link(w); err != nil {
			return err
		}
		if strings.HasSuffix(w, "+") {
			return valueError(v, "is a pattern")
		}
		*target(s) = w
		return nil
	}
}

func protocol(s *Parsed, v string) error {
	for _, p := range []iptables.Proto{iptables.TCP, iptables.UDP} {
		if strings.EqualFold(v, p.String()) {
			s.Query.Proto = p
			return nil
		}
	}
	return valueError(v, "")
}

// packetMark accepts 0: the mark of an unmarked packet.
func packetMark(s *Parsed, v string) error {
	n, err := strconv.ParseUint(strings.TrimSpace(v), 0, 32)
	if err != nil {
		return valueError(v, "")
	}
	s.Query.Mark = uint32(n)
	return nil
}

// connectionStates are the conntrack states of --state.
var connectionStates = []iptables.States{iptables.New, iptables.Established, iptables.Related, iptables.Invalid}

func connectionState(s *Parsed, v string) error {
	for _, state := range connectionStates {
		if strings.EqualFold(v, state.String()) {
			s.Query.State = state
			return nil
		}
	}
	return valueError(v, "")
}

func podAddresses(s *Parsed, v string) (err error) {
	s.PodAddrs, err = list(v, func(v string) (netip.Addr, error) {
		a, err := netip.ParseAddr(v)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return a, valueError(v, "")
		}
		return a, nil
	})
	return err
}

// The values of --rules besides files.
const (
	RulesLive    = "live"
	RulesPlanned = "planned"
	RulesStdin   = "-"
)

// RulesFrom returns where the rules are taken from: as given by --rules, or planned if
// flags describe rules, else live.
func (r *Run) RulesFrom() string {
	switch {
	case r.Rules != "":
		return r.Rules
	case r.RulesGiven:
		return RulesPlanned
	}
	return RulesLive
}
