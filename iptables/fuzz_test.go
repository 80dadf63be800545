package iptables

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"istio-init/netutil/inet"
)

// addDumps seeds a fuzz target with what the real programs printed.
func addDumps(f *testing.F, add func(text string)) {
	f.Helper()
	addFiles(f, "testdata/*.save", add)
}

func addFiles(f *testing.F, pattern string, add func(text string)) {
	f.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		f.Fatalf("no files %s (%v)", pattern, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		add(string(text))
	}
}

// FuzzParseSnapshot: what was read prints in the form that was read.
func FuzzParseSnapshot(f *testing.F) {
	addDumps(f, func(text string) { f.Add(text) })
	for _, seed := range []string{
		"", "*nat\nCOMMIT\n", "*\nCOMMIT\n", "*nat\n:A - [0:0]\n-A A\nCOMMIT\n", "*nat\r\n:A -\r\nCOMMIT", "# Table `nat' is incompatible\n",
		"*nat\n:A -\n[1:2] -A A -j B\n[1:2\nCOMMIT\n", "*nat\n:A - [0:0]\n-A A  x\nCOMMIT\n*nat\nCOMMIT\n", "*f\n:I A\n-A I \"a\nb\"\nCOMMIT\n",
		"*nat\n:A - [0:0]\n[0:0 -A A \"x] -A A y\n-A A z\" w\nCOMMIT\n", // no counters, and a quote that opens in them
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSnapshot(inet.IPv4, text)
		if err != nil {
			return
		}
		printed := s.String()
		back, err := ParseSnapshot(inet.IPv4, printed)
		if err != nil {
			t.Fatalf("printed\n%s\nis not read again: %v", printed, err)
		}
		if again := back.String(); again != printed {
			t.Errorf("want\n%s\ngot\n%s", printed, again)
		}
		own, again := OwnISTIO(s).Names(), OwnISTIO(back).Names()
		if s.Rules() != back.Rules() || len(own) != len(again) {
			t.Errorf("%d rules, our chains %v became %d, %v", s.Rules(), own, back.Rules(), again)
		}
	})
}

// FuzzParseRule: a rule that is accepted prints as itself, on one line, and its
// numbers are within the limits of their types.
func FuzzParseRule(f *testing.F) {
	addDumps(f, func(text string) {
		for line := range strings.Lines(text) {
			if rule, ok := strings.CutPrefix(strings.TrimSpace(line), "-A "); ok {
				_, rule, _ = strings.Cut(rule, " ")
				f.Add(rule, false)
				f.Add(rule, true)
			}
		}
	})
	for _, s := range fieldSamples {
		f.Add(s.text+" -j RETURN", false)
		f.Add(s.negated+" -j ACCEPT", false)
	}
	f.Add("-p tcp -j TPROXY --on-port 1 --on-ip :: --tproxy-mark 0x1/0xffffffff", true)
	f.Add("-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff", true)
	f.Add("-j \x00", false)
	f.Fuzz(func(t *testing.T, text string, six bool) {
		family := inet.IPv4
		if six {
			family = inet.IPv6
		}
		rule, err := ParseRule(family, text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Errorf("the error is not one line: %q", err)
			}
			return
		}
		if got := rule.Text(family); got != text {
			t.Errorf("want %q, got %q", text, got)
		}
		if strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%q has a control character", text)
		}
	})
}

func FuzzPortRange(f *testing.F) {
	for _, seed := range []string{"80", "1:65535", "80-90", "0", "65536", "90-80", "", "-", "80-", "+1", "٨٠", "1-2-3", "000000000001"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r, back PortRange
		if r.UnmarshalText([]byte(text)) != nil {
			return
		}
		if r.Lo < 1 || r.Lo > r.Hi || strings.Trim(text, "0123456789:-") != "" {
			t.Errorf("%q was taken for %+v", text, r)
		}
		if err := back.UnmarshalText([]byte(r.String())); err != nil || back != r {
			t.Errorf("%q: want %+v back, got %+v (%v)", text, r, back, err)
		}
	})
}

func FuzzIDRange(f *testing.F) {
	for _, seed := range []string{"0", "1337", "1-2", "4294967294", "4294967295", "2-1", "", "1:2", "-1", "root"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r, back IDRange
		if r.UnmarshalText([]byte(text)) != nil {
			return
		}
		if r.Lo > r.Hi || r.Hi > MaxID || strings.Trim(text, "0123456789-") != "" {
			t.Errorf("%q was taken for %+v", text, r)
		}
		if err := back.UnmarshalText([]byte(r.String())); err != nil || back != r {
			t.Errorf("%q: want %+v back, got %+v (%v)", text, r, back, err)
		}
	})
}

// FuzzInterface: a name that is accepted is one word for iptables-restore, and
// stays in its place in a rule.
func FuzzInterface(f *testing.F) {
	for _, seed := range []string{"lo", "eth+", "+", "-j", "!lo", "a b", "a\n-X", `a"`, "..", "é", "abcdefghijklmnop", "a++", "#", "*", "[0:0]", ":A"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		i, err := parseText[Interface](name)
		if err != nil {
			return
		}
		if string(i) != name || len(name) > MaxInterfaceLen || strings.ContainsAny(name, `"'\`) ||
			strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q was taken for %q", name, i)
		}
		want := Rule{Match: Match{In: Is(i), Out: Not(i)}, Target: Return}
		rule, err := ParseRule(inet.IPv4, want.Text(inet.IPv4))
		if err != nil || rule.In.Val != i || rule.Out.Val != i {
			t.Errorf("%q does not come back from %q: %v", name, want.Text(inet.IPv4), err)
		}
	})
}

// FuzzForeignRules: whatever stands in the kernel can be read, printed as it was,
// and traced.
func FuzzForeignRules(f *testing.F) {
	f.Add("-p tcp -m comment --comment \"a \\\" b\" -m set ! --match-set x src -j DNAT --to-destination 1.2.3.4:5")
	f.Add("-m tcp --dport 80 -g KUBE")
	f.Fuzz(func(t *testing.T, rule string) {
		s, err := ParseSnapshot(inet.IPv4, "*nat\n:OUTPUT ACCEPT [0:0]\n:KUBE - [0:0]\n-A OUTPUT "+rule+"\nCOMMIT\n")
		if err != nil {
			return
		}
		for _, table := range s.Ruleset().Tables {
			for _, c := range table.Chains {
				for i, r := range c.Rules {
					if want := s.At(Place{table.Name, c.Name, i}).Text; r.Text(inet.IPv4) != want {
						t.Errorf("%q became %q", want, r.Text(inet.IPv4))
					}
				}
			}
		}
		s.Ruleset().Trace(outbound)
	})
}
