package iptables

import (
	"encoding"
	"fmt"
	"strings"
	"testing"
)

// textType is a type that is the inverse of its text.
type textType[T any] interface {
	*T
	encoding.TextUnmarshaler
}

// A textTest is one text and its value. An empty print means the text itself; an empty
// refusal means that the text is accepted.
type textTest[T comparable] struct {
	name, text string
	want       T
	print      string
	refusal    string
}

func testTexts[T interface {
	comparable
	encoding.TextMarshaler
}, P textType[T]](t *testing.T, tests []textTest[T]) {
	t.Helper()
	t.Parallel()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got T
			err := P(&got).UnmarshalText([]byte(tt.text))
			if tt.refusal != "" {
				var zero T
				if err == nil || !strings.Contains(err.Error(), tt.refusal) {
					t.Errorf("%q: want an error with %q, got %v (%v)", tt.text, tt.refusal, err, got)
				}
				if got != zero {
					t.Errorf("%q: refused, but the value became %v", tt.text, got)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Fatalf("%q: want %v, got %v (%v)", tt.text, tt.want, got, err)
			}
			want := tt.print
			if want == "" {
				want = tt.text
			}
			if text, err := got.MarshalText(); string(text) != want || err != nil {
				t.Errorf("%q: want it printed as %q, got %q (%v)", tt.text, want, text, err)
			}
		})
	}
}

func TestPortRangeText(t *testing.T) {
	const noPort, backwards = "is not a number from 1 to 65535", "ends before it starts"
	testTexts(t, []textTest[PortRange]{
		{name: "one", text: "80", want: PortRange{80, 80}},
		{name: "lowest", text: "1", want: PortRange{1, 1}},
		{name: "highest", text: "65535", want: PortRange{65535, 65535}},
		{name: "range-as-iptables-prints", text: "80:90", want: PortRange{80, 90}},
		{name: "range-with-hyphen", text: "80-90", want: PortRange{80, 90}, print: "80:90"},
		{name: "all", text: "1-65535", want: PortRange{1, 65535}, print: "1:65535"},
		{name: "range-of-one", text: "80:80", want: PortRange{80, 80}, print: "80"},
		{name: "leading-zeros", text: "0080", want: PortRange{80, 80}, print: "80"},
		{name: "empty", text: "", refusal: noPort},
		{name: "zero", text: "0", refusal: noPort},
		{name: "range-from-zero", text: "0:80", want: PortRange{0, 80}},
		{name: "range-from-zero-with-hyphen", text: "0-80", want: PortRange{0, 80}, print: "0:80"},
		{name: "zero-to-zero", text: "0:0", refusal: noPort},
		{name: "above-the-highest", text: "65536", refusal: noPort},
		{name: "range-above-the-highest", text: "1:65536", refusal: noPort},
		{name: "above-64-bits", text: "99999999999999999999", refusal: noPort},
		{name: "backwards", text: "90:80", refusal: backwards},
		{name: "negative", text: "-80", refusal: noPort},
		{name: "open-start", text: ":80", want: PortRange{0, 80}, print: "0:80"},
		{name: "open-end", text: "80:", want: PortRange{80, 65535}, print: "80:65535"},
		{name: "open-end-with-hyphen", text: "80-", want: PortRange{80, 65535}, print: "80:65535"},
		{name: "open-start-of-all", text: ":65535", want: PortRange{1, 65535}, print: "1:65535"},
		{name: "all-from-zero", text: "0:65535", want: PortRange{1, 65535}, print: "1:65535"},
		{name: "open-at-both-ends", text: ":", refusal: noPort},
		{name: "open-start-to-zero", text: ":0", refusal: noPort},
		{name: "two-colons", text: "::", refusal: noPort},
		{name: "colon-and-hyphen", text: ":-80", refusal: noPort},
		{name: "three", text: "80:90:100", refusal: noPort},
		{name: "double-hyphen", text: "80--90", refusal: noPort},
		{name: "plus", text: "+80", refusal: noPort},
		{name: "underscore", text: "8_0", refusal: noPort},
		{name: "hexadecimal", text: "0x50", refusal: noPort},
		{name: "service-name", text: "http", refusal: noPort},
		{name: "letter-behind", text: "80a", refusal: noPort},
		{name: "space", text: "80 ", refusal: noPort},
		{name: "newline", text: "80\n", refusal: noPort},
		{name: "foreign-digits", text: "٨٠", refusal: noPort},
	})
}

func TestIDRangeText(t *testing.T) {
	const noID, backwards = "is not a number from 0 to 4294967294", "ends before it starts"
	testTexts(t, []textTest[IDRange]{
		{name: "one", text: "1337", want: IDRange{1337, 1337}},
		{name: "root", text: "0", want: IDRange{0, 0}},
		{name: "highest", text: "4294967294", want: IDRange{MaxID, MaxID}},
		{name: "range", text: "1000-2000", want: IDRange{1000, 2000}},
		{name: "all", text: "0-4294967294", want: IDRange{0, MaxID}},
		{name: "range-of-one", text: "5-5", want: IDRange{5, 5}, print: "5"},
		{name: "empty", text: "", refusal: noID},
		{name: "no-id", text: "4294967295", refusal: noID},
		{name: "above-32-bits", text: "4294967296", refusal: noID},
		{name: "backwards", text: "2000-1000", refusal: backwards},
		{name: "colon", text: "1000:2000", refusal: noID},
		{name: "negative", text: "-1", refusal: noID},
		{name: "open-end", text: "1-", refusal: noID},
		{name: "name", text: "istio-proxy", refusal: noID},
		{name: "space", text: " 1337", refusal: noID},
	})
}

func TestInterfaceText(t *testing.T) {
	testTexts(t, []textTest[Interface]{
		{name: "loopback", text: "lo", want: "lo"},
		{name: "longest", text: "abcdefghijklmno", want: "abcdefghijklmno"},
		{name: "all-of-a-prefix", text: "eth+", want: "eth+"},
		{name: "longest-prefix", text: "abcdefghijklmn+", want: "abcdefghijklmn+"},
		{name: "plus-inside", text: "a+b", want: "a+b"},
		{name: "two-plus", text: "a++", want: "a++"},
		{name: "dots-inside", text: "eth0.100", want: "eth0.100"},
		{name: "three-dots", text: "...", want: "..."},
		{name: "odd-but-one-word", text: "a$b;{%s}#", want: "a$b;{%s}#"},
		{name: "hash-first", text: "#a", want: "#a"},
		{name: "empty", text: "", refusal: "it is empty"},
		{name: "only-plus", text: "+", refusal: "it is empty"},
		{name: "too-long", text: "abcdefghijklmnop", refusal: "longer than 15 bytes"},
		{name: "dot", text: ".", refusal: "the kernel reserves it"},
		{name: "dot-dot", text: "..", refusal: "the kernel reserves it"},
		{name: "option", text: "-j", refusal: "starts with '-'"},
		{name: "negation", text: "!lo", refusal: "starts with '!'"},
		{name: "slash", text: "a/b", refusal: "contains '/'"},
		{name: "colon", text: "eth0:1", refusal: "contains ':'"},
		{name: "comma", text: "lo,eth0", refusal: "contains ','"},
		{name: "star", text: "eth*", refusal: "contains '*'"},
		{name: "space", text: "a b", refusal: "contains ' '"},
		{name: "tab", text: "a\tb", refusal: `contains '\t'`},
		{name: "newline", text: "a\n-X", refusal: `contains '\n'`},
		{name: "zero-byte", text: "a\x00", refusal: `contains '\x00'`},
		{name: "double-quote", text: `a"b`, refusal: `contains '"'`},
		{name: "single-quote", text: "a'b", refusal: `contains '\''`},
		{name: "backslash", text: `a\b`, refusal: `contains '\\'`},
		{name: "not-ascii", text: "é", refusal: "contains"},
		{name: "delete", text: "a\x7f", refusal: "contains"},
	})
}

func TestMarkText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		mark Mark
		want string
	}{
		{"full-mask-is-left-out", FullMark(1337), "0x539"},
		{"zero-of-all-bits", FullMark(0), "0x0"},
		{"all-bits", FullMark(1<<32 - 1), "0xffffffff"},
		{"part-of-the-bits", Mark{0x100, 0xf00}, "0x100/0xf00"},
		{"no-bits", Mark{}, "0x0/0x0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.mark.String(); got != tt.want {
				t.Errorf("want %s, got %s", tt.want, got)
			}
			if back, err := parseMark(tt.want); back != tt.mark || err != nil {
				t.Errorf("%s: want %+v back, got %+v (%v)", tt.want, tt.mark, back, err)
			}
		})
	}
}

func TestMarkMatchesOnlyBitsThatCount(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		mark Mark
		bits uint32
		want bool
	}{
		{"equal", FullMark(0x539), 0x539, true},
		{"another", FullMark(0x539), 0x53a, false},
		{"other-bits-do-not-count", Mark{0x500, 0xf00}, 0x1539, true},
		{"bits-that-count-differ", Mark{0x500, 0xf00}, 0x639, false},
		{"zero-value-takes-all", Mark{}, 0x539, true},
		{"value-outside-its-mask-takes-none", Mark{0x1, 0}, 0x1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.mark.Matches(tt.bits); got != tt.want {
				t.Errorf("%s matches %#x: want %t, got %t", tt.mark, tt.bits, tt.want, got)
			}
		})
	}
}

func TestInterfaceMatches(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		condition Interface
		is        string
		want      bool
	}{
		{"equal", "eth0", "eth0", true},
		{"longer", "eth0", "eth01", false},
		{"prefix", "eth+", "eth01", true},
		{"prefix-alone", "eth+", "eth", true},
		{"other-prefix", "eth+", "veth0", false},
		{"two-plus-mean-one", "a++", "a+b", true},
		{"two-plus-need-one", "a++", "ab", false},
		{"no-interface", "eth+", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.condition.Matches(tt.is); got != tt.want {
				t.Errorf("%s matches %q: want %t, got %t", tt.condition, tt.is, tt.want, got)
			}
		})
	}
}

func TestRangesContainTheirEnds(t *testing.T) {
	t.Parallel()
	ports, ids := PortRange{80, 90}, IDRange{80, 90}
	for n, want := range map[uint16]bool{79: false, 80: true, 85: true, 90: true, 91: false} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			if ports.Contains(n) != want || ids.Contains(uint32(n)) != want {
				t.Errorf("%d in %s and %s: want %t, got %t and %t", n, ports, ids, want, ports.Contains(n), ids.Contains(uint32(n)))
			}
		})
	}
}
