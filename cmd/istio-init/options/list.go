package options

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"istio-init/iptables"
)

// token trims spaces and returns the value if it is one plain word: no spaces, control
// characters or quotes inside, no dash at the start. So no value can add a word or a
// line to a rule.
func token(v string) (string, error) {
	trimmed := strings.Trim(v, " ")
	for _, c := range trimmed {
		switch {
		case '-' <= c && c <= ':' || 'a' <= c && c <= 'z': // most characters of a long list
		case unicode.IsSpace(c) || unicode.IsControl(c) || c == unicode.ReplacementChar:
			return "", valueError(v, "contains %q", c)
		case strings.ContainsRune("\"'`\\", c):
			return "", valueError(v, "contains a quote or backslash")
		}
	}
	if strings.HasPrefix(trimmed, "-") {
		return "", valueError(v, "looks like a flag (is the value before it missing?)")
	}
	return trimmed, nil
}

// An errorList keeps the first errors and counts the rest.
type errorList struct {
	most int
	errs []error
	more int
}

// mostElements is how many bad elements of a list are reported.
const mostElements = 10

func (l *errorList) add(err error) {
	switch {
	case err == nil:
	case l.full():
		l.more++
	default:
		l.errs = append(l.errs, err)
	}
}

// full reports whether one more would only be counted.
func (l *errorList) full() bool { return len(l.errs) == l.most }

// all returns the errors, and last how many more there were.
func (l *errorList) all() []error {
	if l.more == 0 {
		return l.errs
	}
	return append(l.errs, fmt.Errorf("and %d more", l.more))
}

// list splits a comma-separated list and parses its elements. Empty elements are
// skipped, and repeated ones kept once. The first bad elements are reported together.
func list[T comparable](v string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	wrong := errorList{most: mostElements}
	const room = 1 << 13 // allocated at once; longer lists grow
	elements := min(strings.Count(v, ",")+1, room)
	seen := make(map[T]bool, elements)
	for element := range strings.SplitSeq(v, ",") {
		text, err := token(element)
		if strings.Contains(strings.Trim(element, " "), " ") && !strings.ContainsFunc(element, unicode.IsControl) {
			err = valueError(element, "contains ' ': separate the elements of a list by commas")
		}
		if err == nil && text == "" {
			continue
		}
		var item T
		if err == nil {
			item, err = parse(text)
		}
		if err != nil {
			wrong.add(err)
			continue
		}
		if seen[item] = true; len(seen) > len(out) { // it is new
			if out == nil {
				out = make([]T, 0, elements)
			}
			out = append(out, item)
		}
	}
	return out, joinLine(wrong.all()...)
}

// joinLine joins errors to one of one line; nil if all are nil.
func joinLine(errs ...error) error {
	var texts []string
	for _, err := range errs {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New(strings.Join(texts, ", "))
}

// scope parses a list, or "*" for all.
func scope[T comparable](v string, parse func(string) (T, error)) (all bool, only []T, err error) {
	if strings.Trim(v, " ") == "*" {
		return true, nil, nil
	}
	only, err = list(v, parse)
	return false, only, err
}

func parsePort(v string) (iptables.PortRange, error) {
	var r iptables.PortRange
	if err := r.UnmarshalText([]byte(v)); err != nil {
		return r, valueError(v, "")
	}
	return r, nil
}

// parsePorts parses a port, a range or the name of a service.
func (s *Parsed) parsePorts(v string) (iptables.PortRange, error) {
	if !strings.ContainsFunc(v, unicode.IsLetter) {
		return parsePort(v)
	}
	switch port, err := s.names.port(v); {
	case err == nil && 1 <= port && port <= 65535:
		return iptables.Port(uint16(port)), nil
	case errors.Is(err, errNoNames):
		return iptables.PortRange{}, valueError(v, "")
	case !unicode.IsLetter(rune(v[0])):
		return iptables.PortRange{}, valueError(v, "")
	}
	return iptables.PortRange{}, valueError(v, "is no TCP service of this system")
}

func ports(target func(*Parsed) *portList) func(*Parsed, string) error {
	return func(s *Parsed, v string) (err error) {
		*target(s), err = list(v, s.parsePorts)
		return err
	}
}

func inboundPorts(s *Parsed, v string) (err error) {
	c := &s.Config.InboundPorts
	c.All, c.Only, err = scope(v, s.parsePorts)
	return err
}

func inboundExcludePorts(s *Parsed, v string) (err error) {
	s.Config.InboundPorts.Except, err = list(v, s.parsePorts)
	return err
}

func parseCIDR(v string) (netip.Prefix, error) {
	if strings.Contains(v, "%") {
		return netip.Prefix{}, valueError(v, "has a zone, which iptables cannot match")
	}
	p, err := netip.ParsePrefix(v)
	if err == nil {
		return p, nil
	}
	if a, err := netip.ParseAddr(v); err == nil {
		return p, valueError(v, "is an address (its CIDR is %s/%d)", a, a.BitLen())
	}
	return p, valueError(v, "")
}

func outboundCIDRs(s *Parsed, v string) (err error) {
	c := &s.Config.OutboundPrefixes
	c.All, c.Only, err = scope(v, parseCIDR)
	return err
}

func outboundExcludeCIDRs(s *Parsed, v string) (err error) {
	s.Config.OutboundPrefixes.Except, err = list(v, parseCIDR)
	return err
}

// link parses the name of an interface. ip(8) prints "net1@if7" for net1 whose other end or
// lower interface is 7.
func link(v string) (i iptables.Interface, err error) {
	if name, lower, ok := strings.Cut(v, "@"); ok {
		return i, valueError(v, "is not an interface name: what ip prints behind @ is %q, another interface; the name is %q", lower, name)
	}
	if err := i.UnmarshalText([]byte(v)); err != nil {
		return i, valueError(v, "%v", err)
	}
	return i, nil
}

func links(target func(*Parsed) *linkList) func(*Parsed, string) error {
	return func(s *Parsed, v string) (err error) {
		*target(s), err = list(v, link)
		return err
	}
}
