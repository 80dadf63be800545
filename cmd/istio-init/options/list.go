package options

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"istio-init/iptables"
)

// word takes the spaces around a value away and refuses what is not one plain
// word, so that nothing but a value can ever come out of one.
func word(v string) (string, error) {
	trimmed := strings.Trim(v, " ")
	for _, c := range trimmed {
		switch {
		case '-' <= c && c <= ':' || 'a' <= c && c <= 'z': // nearly all of a long list
		case unicode.IsSpace(c) || unicode.IsControl(c) || c == unicode.ReplacementChar:
			return "", bad(v, "contains %q", c)
		case strings.ContainsRune("\"'`\\", c):
			return "", bad(v, "contains a quote or backslash")
		}
	}
	if strings.HasPrefix(trimmed, "-") {
		return "", bad(v, "looks like an option: is the value before it missing?")
	}
	return trimmed, nil
}

// few collects errors, up to a number that can still be read.
type few struct {
	most int
	errs []error
	more int
}

// mostElements of a list are told when they are wrong.
const mostElements = 10

func (f *few) add(err error) {
	switch {
	case err == nil:
	case f.full():
		f.more++
	default:
		f.errs = append(f.errs, err)
	}
}

// full tells whether one more would not be kept.
func (f *few) full() bool { return len(f.errs) == f.most }

// all are the errors, and last how many more there were.
func (f *few) all() []error {
	if f.more == 0 {
		return f.errs
	}
	return append(f.errs, fmt.Errorf("and %d more", f.more))
}

// list splits a comma list and parses its elements. Empty elements are skipped,
// and repeated ones kept once. All elements that are wrong are reported, up to a
// number that can still be read.
func list[T comparable](v string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	wrong := few{most: mostElements}
	const room = 1 << 13 // more are let in, and room made for them when they are there
	elements := min(strings.Count(v, ",")+1, room)
	seen := make(map[T]bool, elements)
	for element := range strings.SplitSeq(v, ",") {
		text, err := word(element)
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

// joinLine joins errors on one line.
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

// scope parses a list that may be "*" as a whole.
func scope[T comparable](v string, parse func(string) (T, error)) (all bool, only []T, err error) {
	if strings.Trim(v, " ") == "*" {
		return true, nil, nil
	}
	only, err = list(v, parse)
	return false, only, err
}

func parsePort(v string) (iptables.PortRange, error) {
	var r iptables.PortRange
	if v == "*" {
		return r, bad(v, "is not a port: it cannot stand for all here, or has to be the whole value")
	}
	if unicode.IsLetter(rune(v[0])) {
		return r, bad(v, "is not a port: names of services are not looked up")
	}
	if err := r.UnmarshalText([]byte(v)); err != nil {
		return r, bad(v, "is not a port or range of ports: it %v", err)
	}
	return r, nil
}

func ports(target func(*Parsed) *portList) func(*Parsed, string) error {
	return func(s *Parsed, v string) (err error) {
		*target(s), err = list(v, parsePort)
		return err
	}
}

func inboundPorts(s *Parsed, v string) (err error) {
	c := &s.Config.InboundPorts
	c.All, c.Only, err = scope(v, parsePort)
	return err
}

func inboundExcludePorts(s *Parsed, v string) (err error) {
	s.Config.InboundPorts.Except, err = list(v, parsePort)
	return err
}

func parseCIDR(v string) (netip.Prefix, error) {
	if v == "*" {
		return netip.Prefix{}, bad(v, "is not a CIDR: it cannot stand for all here, or has to be the whole value")
	}
	if strings.Contains(v, "%") {
		return netip.Prefix{}, bad(v, "is not a CIDR: rules know no zones")
	}
	p, err := netip.ParsePrefix(v)
	if err == nil {
		return p, nil
	}
	if a, err := netip.ParseAddr(v); err == nil {
		return p, bad(v, "is an address, not a CIDR: write %s/%d", a, a.BitLen())
	}
	return p, bad(v, "is not a CIDR")
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

func links(target func(*Parsed) *linkList) func(*Parsed, string) error {
	return func(s *Parsed, v string) (err error) {
		*target(s), err = list(v, func(v string) (i iptables.Interface, err error) {
			if err := i.UnmarshalText([]byte(v)); err != nil {
				return i, bad(v, "%v", err)
			}
			return i, nil
		})
		return err
	}
}
