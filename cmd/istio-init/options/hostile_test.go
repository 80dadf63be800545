package options

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"istio-init/test/size"
)

// hostile are values that no option, or not every one, should take.
func hostile() []string {
	values := []string{
		"", " ", ",", ",,,", "*", "**", "*,*", "*,80", " * ", "-", "--", "-b", "!", "! 80", "0", "-1", "+1", "00", "1e3", "0x50", "0x", "1_000",
		"65535", "65536", "4294967294", "4294967295", "4294967296", "18446744073709551616", "99999999999999999999", "1.5", "NaN", "null", "nil",
		"1-", "-1-2", "1-2-3", "2-1", "1:2", "2:1", "1:2:3", "0-65535", "1-65535", "80-80", "1-65535,1-65535,80", "http", "domain", "none", "evil",
		"negative", "lines", "root", "high", "0.0.0.0/0", "::/0", "0.0.0.0", "::", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0/8",
		"010.0.0.0/8", "0xa.0.0.0/8", "::ffff:10.0.0.1/128", "::1/128", "::10.0.0.1/128", "fe80::1%eth0", "fe80::1%eth0/64", "fe80::%$(id)/64", "10.0.0.0/8/8",
		"127.0.0.0/7", "127.0.0.1/8", "lo", "eth0", "eth+", "+", "e+h", ".", "..", "a/b", "a:b", "fifteen-bytes-a", "sixteen-bytes-ab", "\u00fcn\u00ef", "\u540d\u524d", "\u202e80",
		"80", "\uff18\uff10", "\u0663", "80\u00a0", "\ufeff80", "\u200b80", "80\u2028", "1.15", "1.0", "current", "CURRENT", "nft", "legacy", "auto", "dual", "TPROXY", "redirect",
		"true", "false", "TRUE", "yes", "on", "debug", "default:debug", "all:none", "default:", ":debug", "5s", "-5s", "5", "1h1h", "9999999h", "stdout", "/dev/null",
		"../../etc/passwd", "/proc/self/mem", "%s%n%d", "{{.}}", "${PATH}", "$(id)", "`id`", ";id", "|id", "&&id", "#80", "80#", "\\", "\\n", "80\\", "'80'", "\"80\"", "\"", "'",
	}
	for _, good := range []string{"80", "10.0.0.0/8", "eth0", "1337", "true"} {
		for _, evil := range []string{
			"\n", "\r\n", "\t", "\x00", "\x1b[31m", "\x7f", "\xff", "\u0085", " ", " -j ACCEPT", " --dport 1", "\nCOMMIT", "\n-A OUTPUT -j DROP",
			"\n*filter\n:INPUT DROP [0:0]\nCOMMIT", " ! -d 0/0", "\t-j\tDROP", "\"", "'", "\\", ";", ",*", ",,", ", ,", " ,", ",-j", ",\n,",
		} {
			values = append(values, good+evil, evil+good)
		}
	}
	return values
}

// huge are values of sizes that nobody means.
var huge = sync.OnceValue(func() map[string]string {
	var ports, cidrs, ids, links []string
	for i := range 10_000 {
		ports = append(ports, fmt.Sprint(i+1))
		cidrs = append(cidrs, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), fmt.Sprintf("fd00:%x::/32", i))
		ids = append(ids, fmt.Sprint(i*7))
		links = append(links, fmt.Sprintf("eth%d", i))
	}
	return map[string]string{
		"10000-ports":    strings.Join(ports, ","),
		"20000-cidrs":    strings.Join(cidrs, ","),
		"10000-ids":      strings.Join(ids, ","),
		"10000-links":    strings.Join(links, ","),
		"same-port":      strings.Repeat("80,", 10_000),
		"overlapping":    "10.0.0.0/8,10.0.0.0/9,10.1.2.3/8,10.0.0.0/8,1-65535,80,80-90,85-95",
		"megabyte-word":  strings.Repeat("a", 1<<20),
		"megabyte-digit": strings.Repeat("9", 1<<20),
		"megabyte-comma": strings.Repeat(",", 1<<20),
		"megabyte-bad":   strings.Repeat("\x00,", 1<<19),
		"megabyte-quote": strings.Repeat("\"", 1<<20),
	}
})

// of returns those of a list that an option is tried with: every one with STRESS=1,
// else another part of them for each option, so that each is tried with some.
func of[T any](option int, all []T, stride int) (some []T) {
	for i, v := range all {
		if (option+i)%stride == 0 {
			some = append(some, v)
		}
	}
	return some
}

func TestAnyValueGivesAClearErrorOrRulesAndNothingElse(t *testing.T) {
	t.Parallel()
	values := hostile()
	if len(values) < 200 {
		t.Fatalf("only %d values", len(values))
	}
	for n, name := range names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, v := range of(n, values, size.Of(11, 5, 1)) {
				input{name: v}.check(t)
				// With all else that the option may need to count.
				in := input{"istio-inbound-ports": "*", "istio-service-cidr": "10.0.0.0/8,fd00::/8", "dry-run": "true"}
				in[name] = v
				in.check(t)
				if t.Failed() {
					t.Fatalf("of %s=%q", name, v)
				}
			}
		})
	}
}

func TestHugeValuesGiveAClearErrorOrRulesAndNothingElse(t *testing.T) {
	t.Parallel()
	for n, o := range options {
		name := o.key() // each option once: its variables are read by the same code
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, kind := range of(n, slices.Sorted(maps.Keys(huge())), size.Of(11, 3, 1)) {
				in := input{name: huge()[kind]}
				if in.check(t); t.Failed() {
					t.Fatalf("of %s, %s", name, kind)
				}
			}
		})
	}
}

// All options at once are no worse than one.
func TestAnyValueForAllOptionsAtOnce(t *testing.T) {
	t.Parallel()
	for _, v := range of(0, hostile(), size.Of(5, 1, 1)) {
		flags, env := input{}, input{}
		for _, o := range options {
			if o.long != "" {
				flags[o.long] = v
			}
			for _, name := range o.env {
				env[name] = v
			}
		}
		flags.check(t)
		env.check(t)
		if t.Failed() {
			t.Fatalf("of %q", v)
		}
	}
}

func TestAValueOfAFileIsRightOrWrongAsThatOfAFlag(t *testing.T) {
	t.Parallel()
	for n, o := range fileOptions() {
		t.Run(o.key(), func(t *testing.T) {
			t.Parallel()
			for _, v := range of(n, hostile(), size.Of(11, 5, 1)) {
				if !utf8.ValidString(v) || readable(v) != nil {
					continue // TestAnyTextOfAFileGivesAClearErrorOrRules has them
				}
				if v == "" && o.long == "" {
					continue // a variable that is empty is not set
				}
				byFlag, wrong := input{o.key(): v}.parse(t)
				byFile, inFile := input{}.parseWithFile(t, o.key()+": "+strconv.Quote(v))
				if len(wrong) != len(inFile) {
					t.Fatalf("%q: %v as a flag, %v in a file", v, wrong, inFile)
				}
				if diff := cmp.Diff(meaning(byFlag), meaning(byFile)); diff != "" && len(wrong) == 0 {
					t.Fatalf("%q: as a flag and in a file (-want +got):\n%s", v, diff)
				}
			}
		})
	}
}

// What is in a file goes to rules only as values, whatever it is and however it is
// written.
func TestAnyTextOfAFileGivesAClearErrorOrRules(t *testing.T) {
	t.Parallel()
	forms := []string{"%s: %s\n", "%s: %q\n", "%s:\n- '%s'\n", "%s: |\n  %s\n", "{\"%s\": [%q]}"}
	for n, o := range fileOptions() {
		t.Run(o.key(), func(t *testing.T) {
			t.Parallel()
			for _, v := range of(n, hostile(), size.Of(11, 7, 1)) {
				for _, form := range forms {
					text := fmt.Sprintf(form, o.key(), v)
					set, problems := input{}.parseWithFile(t, text)
					checkSettings(t, set, problems)
					if t.Failed() {
						t.Fatalf("of %q", text)
					}
				}
			}
		})
	}
}

// Each would be slow, endless or large if it were read without care.
func TestAHugeFileGivesAClearError(t *testing.T) {
	t.Parallel()
	var keys strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&keys, "unknown-%d: 1\n", i)
	}
	for name, text := range map[string]string{
		"too-large":       strings.Repeat("#", maxConfigBytes+1),
		"unknown-keys":    keys.String(),
		"same-key":        strings.Repeat("envoy-port: 1\n", maxConfigBytes/14),
		"deep-list":       "envoy-port: " + strings.Repeat("[", maxConfigBytes/2),
		"deep-closed":     "envoy-port: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"deep-json":       `{"envoy-port":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}",
		"long-key":        strings.Repeat("k", 1000) + ": 1",
		"long-value":      "envoy-port: " + strings.Repeat("9", maxConfigBytes/2),
		"bad-elements":    "istio-inbound-ports: [" + strings.Repeat("x,", maxConfigBytes/4) + "]",
		"alias-bomb":      "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\nenvoy-port: [*d,*d]\n",
		"merge-keys":      "a: &a {envoy-port: 1}\n<<: *a\n",
		"many-documents":  strings.Repeat("---\n", maxConfigBytes/4),
		"unclosed-string": `envoy-port: "` + strings.Repeat("a", maxConfigBytes/2),
		"nul":             strings.Repeat("\x00", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, problems := input{}.parseWithFile(t, text)
			if len(problems) == 0 || len(problems) > 25 {
				t.Errorf("%d problems", len(problems))
			}
			checkSettings(t, set, problems)
		})
	}
}
