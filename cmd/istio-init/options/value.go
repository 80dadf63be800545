package options

import (
	"encoding"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"istio-init/capture/pod"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
)

// The functions of this file parse single values for the option table.

// quote quotes a value for a message, and shortens a long one.
func quote(v string) string {
	const most = 60
	if len(v) > most {
		return fmt.Sprintf("%q... (%d bytes)", v[:most], len(v))
	}
	return strconv.Quote(v)
}

// valueError is the error of a value, with what is wrong with it. With "" the value
// alone is the error: it is not of the form that the option takes.
func valueError(v, format string, args ...any) error {
	if format == "" {
		return errors.New(quote(v))
	}
	return fmt.Errorf("%s %s", quote(v), fmt.Sprintf(format, args...))
}

type (
	portList = []iptables.PortRange
	linkList = []iptables.Interface
)

// A textUnmarshaler is a value that parses its own text.
type textUnmarshaler = encoding.TextUnmarshaler

// text parses a value that implements [encoding.TextUnmarshaler].
func text(target func(*Parsed) textUnmarshaler) func(*Parsed, string) error {
	return func(s *Parsed, v string) error {
		w, err := token(v)
		if err != nil {
			return err
		}
		if err := target(s).UnmarshalText([]byte(w)); err != nil {
			return valueError(v, "")
		}
		return nil
	}
}

func flag(target func(*Parsed) *bool) func(*Parsed, string) error {
	return func(s *Parsed, v string) error {
		on, err := strconv.ParseBool(v)
		if err != nil {
			return valueError(v, "")
		}
		if target != nil {
			*target(s) = on
		}
		return nil
	}
}

func port(target func(*Parsed) *uint16) func(*Parsed, string) error {
	return func(s *Parsed, v string) error {
		w, err := token(v)
		if err != nil {
			return err
		}
		if w == "" {
			return valueError(v, "")
		}
		r, err := parsePort(w)
		if err == nil && !r.Single() {
			err = valueError(v, "is a range")
		}
		*target(s) = r.Lo
		return err
	}
}

func loopback(s *Parsed, v string) error {
	w, err := token(v)
	if err != nil {
		return err
	}
	p, err := parseCIDR(w)
	if err != nil {
		return err
	}
	if !p.Addr().Is4() || !p.Addr().IsLoopback() || p.Bits() < 8 {
		return valueError(v, "")
	}
	s.Config.LoopbackV4 = p
	return nil
}

// number parses 1 to 4294967295, decimal or hexadecimal.
func number(target func(*Parsed) *uint32) func(*Parsed, string) error {
	return func(s *Parsed, v string) error {
		w, err := token(v)
		if err != nil {
			return err
		}
		digits, base := w, 10
		if hex, ok := strings.CutPrefix(strings.ToLower(w), "0x"); ok {
			digits, base = hex, 16
		}
		n, err := strconv.ParseUint(digits, base, 32)
		if err != nil || n == 0 {
			return valueError(v, "")
		}
		*target(s) = uint32(n)
		return nil
	}
}

// routeTable refuses the routing tables that the kernel fills (ip-route(8)): a
// default route there breaks the network of the pod.
func routeTable(s *Parsed, v string) error {
	err := number(func(s *Parsed) *uint32 { return &s.Config.TProxyTable })(s, v)
	if err == nil && s.Config.TProxyTable >= 253 && s.Config.TProxyTable <= 255 {
		return valueError(v, "is a routing table of the kernel (253 default, 254 main, 255 local)")
	}
	return err
}

type durationValue = time.Duration

func duration(target func(*Parsed) *durationValue) func(*Parsed, string) error {
	return func(s *Parsed, v string) error {
		v = strings.Trim(v, " ")
		d, err := time.ParseDuration(v)
		if _, unit := time.ParseDuration(v + "s"); err != nil && unit == nil {
			return valueError(v, "has no unit at its end, as in %ss", v)
		}
		if err != nil || d <= 0 {
			return valueError(v, "")
		}
		*target(s) = d
		return nil
	}
}

// path takes any file name; nothing is made of it but a name to open.
func path(target func(*Parsed) *string) func(*Parsed, string) error {
	return func(s *Parsed, v string) error {
		for _, c := range v {
			if unicode.IsControl(c) {
				return valueError(v, "contains %q", c)
			}
		}
		const most = 4095 // linux/limits.h, PATH_MAX less the zero
		if len(v) > most {
			return valueError(v, "is longer than %d bytes", most)
		}
		*target(s) = v
		return nil
	}
}

// mode parses a mode, in upper or lower case; "" is REDIRECT.
func mode(s *Parsed, v string) error {
	return text(func(s *Parsed) textUnmarshaler { return &s.Config.Mode })(s, v)
}

// deferred marks an option that is parsed in resolve, after all others.
func deferred(*Parsed, string) error { return nil }

func ipFamily(s *Parsed, v string) error {
	choices := map[string]pod.FamilyChoice{"auto": pod.FamiliesByAddress, "ipv4": pod.FamiliesIPv4, "dual": pod.FamiliesDual}
	choice, ok := choices[v]
	if !ok {
		return valueError(v, "")
	}
	s.Families = choice
	return nil
}

func forceBinary(s *Parsed, v string) error {
	switch v {
	case "":
		return nil
	case "nftables", "native":
		return valueError(v, "is no variant of iptables: rules in nftables itself are made by --native-nftables")
	}
	s.Force = new(xtables.Variant)
	return text(func(s *Parsed) textUnmarshaler { return s.Force })(s, v)
}
