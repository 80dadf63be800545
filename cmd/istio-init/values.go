package main

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"istio-init/iptables"
)

// The functions of this file make the set functions of the option table.

// quote shows a value in a message, shortened when it is long.
func quote(v string) string {
	const most = 60
	if len(v) > most {
		return fmt.Sprintf("%q... (%d bytes)", v[:most], len(v))
	}
	return strconv.Quote(v)
}

// bad is the error of a value.
func bad(v, format string, args ...any) error {
	return fmt.Errorf("%s %s", quote(v), fmt.Sprintf(format, args...))
}

// word takes the spaces around a value away and refuses what is not one plain
// word, so that nothing but a value can ever come out of one.
func word(v string) (string, error) {
	trimmed := strings.Trim(v, " ")
	for _, c := range trimmed {
		switch {
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

// list splits a comma list and parses its elements. Empty elements are skipped,
// and repeated ones kept once. All elements that are wrong are reported, up to a
// number that can still be read.
func list[T comparable](v string, parse func(string) (T, error)) ([]T, error) {
	const most = 10
	var out []T
	var errs []error
	wrong := 0
	seen := map[T]bool{}
	for element := range strings.SplitSeq(v, ",") {
		text, err := word(element)
		if err == nil && text == "" {
			continue
		}
		var item T
		if err == nil {
			item, err = parse(text)
		}
		switch {
		case err != nil && wrong < most:
			errs = append(errs, err)
			wrong++
		case err != nil:
			wrong++
		case !seen[item]:
			seen[item] = true
			out = append(out, item)
		}
	}
	if wrong > most {
		errs = append(errs, fmt.Errorf("and %d more", wrong-most))
	}
	return out, joinLine(errs...)
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

type (
	portList = []iptables.PortRange
	linkList = []iptables.Interface
)

// textUnmarshaler is a value that reads its own text.
type textUnmarshaler = encoding.TextUnmarshaler

// text sets a value that reads its own text.
func text(target func(*settings) textUnmarshaler) func(*settings, string) error {
	return func(s *settings, v string) error {
		w, err := word(v)
		if err != nil {
			return err
		}
		if err := target(s).UnmarshalText([]byte(w)); err != nil {
			return bad(v, "%v", err)
		}
		return nil
	}
}

func flag(target func(*settings) *bool) func(*settings, string) error {
	return func(s *settings, v string) error {
		on, err := strconv.ParseBool(v)
		if err != nil {
			return bad(v, "is not a boolean")
		}
		if target != nil {
			*target(s) = on
		}
		return nil
	}
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

func port(target func(*settings) *uint16) func(*settings, string) error {
	return func(s *settings, v string) error {
		w, err := word(v)
		if err != nil {
			return err
		}
		if w == "" {
			return bad(v, "is not a port")
		}
		r, err := parsePort(w)
		if err == nil && !r.Single() {
			err = bad(v, "is a range, where one port is wanted")
		}
		*target(s) = r.Lo
		return err
	}
}

func ports(target func(*settings) *portList) func(*settings, string) error {
	return func(s *settings, v string) (err error) {
		*target(s), err = list(v, parsePort)
		return err
	}
}

func inboundPorts(s *settings, v string) (err error) {
	c := &s.config.InboundPorts
	c.All, c.Only, err = scope(v, parsePort)
	return err
}

func inboundExcludePorts(s *settings, v string) (err error) {
	s.config.InboundPorts.Except, err = list(v, parsePort)
	return err
}

func parseCIDR(v string) (netip.Prefix, error) {
	if v == "*" {
		return netip.Prefix{}, bad(v, "is not a CIDR: it cannot stand for all here, or has to be the whole value")
	}
	if strings.Contains(v, "%") {
		return netip.Prefix{}, bad(v, "is not a CIDR: rules know no zones")
	}
	if a, err := netip.ParseAddr(v); err == nil {
		return netip.Prefix{}, bad(v, "is an address, not a CIDR: write %s/%d", a, a.BitLen())
	}
	p, err := netip.ParsePrefix(v)
	if err != nil {
		return p, bad(v, "is not a CIDR")
	}
	return p, nil
}

func outboundCIDRs(s *settings, v string) (err error) {
	c := &s.config.OutboundPrefixes
	c.All, c.Only, err = scope(v, parseCIDR)
	return err
}

func outboundExcludeCIDRs(s *settings, v string) (err error) {
	s.config.OutboundPrefixes.Except, err = list(v, parseCIDR)
	return err
}

func loopback(s *settings, v string) error {
	w, err := word(v)
	if err != nil {
		return err
	}
	p, err := parseCIDR(w)
	if err != nil {
		return err
	}
	if !p.Addr().Is4() || !p.Addr().IsLoopback() || p.Bits() < 8 {
		return bad(v, "is not within 127.0.0.0/8")
	}
	s.config.LoopbackV4 = p
	return nil
}

func links(target func(*settings) *linkList) func(*settings, string) error {
	return func(s *settings, v string) (err error) {
		*target(s), err = list(v, func(v string) (i iptables.Interface, err error) {
			if err := i.UnmarshalText([]byte(v)); err != nil {
				return i, bad(v, "%v", err)
			}
			return i, nil
		})
		return err
	}
}

// number takes 1 to 4294967295, decimal or hexadecimal.
func number(target func(*settings) *uint32) func(*settings, string) error {
	return func(s *settings, v string) error {
		w, err := word(v)
		if err != nil {
			return err
		}
		digits, base := w, 10
		if hex, ok := strings.CutPrefix(strings.ToLower(w), "0x"); ok {
			digits, base = hex, 16
		}
		n, err := strconv.ParseUint(digits, base, 32)
		if err != nil || n == 0 {
			return bad(v, "is not a number in the range")
		}
		*target(s) = uint32(n)
		return nil
	}
}

// routeTable refuses the tables that the kernel itself fills (ip-route(8)):
// what is put there breaks the network of the pod.
func routeTable(s *settings, v string) error {
	err := number(func(s *settings) *uint32 { return &s.config.TProxyTable })(s, v)
	if err == nil && s.config.TProxyTable >= 253 && s.config.TProxyTable <= 255 {
		return bad(v, "is a table of the kernel (253 default, 254 main, 255 local)")
	}
	return err
}

type durationValue = time.Duration

func duration(target func(*settings) *durationValue) func(*settings, string) error {
	return func(s *settings, v string) error {
		d, err := time.ParseDuration(strings.Trim(v, " "))
		if err != nil || d <= 0 {
			return bad(v, "is not a duration above zero")
		}
		*target(s) = d
		return nil
	}
}

// path takes any file name; nothing is made of it but a name to open.
func path(target func(*settings) *string) func(*settings, string) error {
	return func(s *settings, v string) error {
		for _, c := range v {
			if unicode.IsControl(c) {
				return bad(v, "contains %q", c)
			}
		}
		const most = 4095 // linux/limits.h, PATH_MAX less the zero
		if len(v) > most {
			return bad(v, "is longer than %d bytes", most)
		}
		*target(s) = v
		return nil
	}
}

// mode takes a mode in any case; nothing is REDIRECT.
func mode(s *settings, v string) error {
	return text(func(s *settings) textUnmarshaler { return &s.config.Mode })(s, v)
}

func runValidation(s *settings, v string) error {
	var on bool
	err := flag(func(*settings) *bool { return &on })(s, v)
	if err == nil && on {
		return errors.New("validation is not supported yet")
	}
	return err
}

// A familyChoice says which address families are captured.
type familyChoice uint8

const (
	familiesAuto familyChoice = iota // as the addresses of the namespace say
	familiesV4                       // IPv4 alone
	familiesDual                     // both
)

func ipFamily(s *settings, v string) error {
	i := slices.Index([]string{"auto", "ipv4", "dual"}, v)
	if i < 0 {
		return bad(v, "is not a choice of families")
	}
	s.families = familyChoice(i)
	return nil
}

func forceBinary(s *settings, v string) error {
	if v == "" {
		return nil
	}
	s.force = new(iptables.Variant)
	return text(func(s *settings) textUnmarshaler { return s.force })(s, v)
}

func logLevel(s *settings, v string) error {
	level, given, err := parseLevel(v)
	if given {
		s.log.level = level
	}
	return err
}

func logStacktrace(s *settings, v string) error {
	level, given, err := parseLevel(v)
	s.log.stacktrace, s.log.traces = level, given && level != noLevel
	return err
}

func logCaller(s *settings, v string) error {
	for scope := range strings.SplitSeq(v, ",") {
		s.log.caller = s.log.caller || slices.Contains([]string{"default", "all"}, strings.Trim(scope, " "))
	}
	return nil
}
