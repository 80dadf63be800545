package iptables

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil/inet"
)

// TestParseRuleIsTheInverseOfText has the forms of rules that whole programs
// print; the single fields and targets are in match_test.go and target_test.go.
func TestParseRuleIsTheInverseOfText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		family inet.Family
		text   string
	}{
		{"nothing-but-a-target", inet.IPv4, "-j RETURN"},
		{"proxy-to-app", inet.IPv4, "-s 127.0.0.6/32 -o lo -j RETURN"},
		{"proxy-to-app-ipv6", inet.IPv6, "-s ::6/128 -o lo -j RETURN"},
		{"proxy-to-itself", inet.IPv4, "! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT"},
		{"app-to-itself", inet.IPv4, "-o lo -m owner ! --uid-owner 1337 -j RETURN"},
		{"not-in-any-group", inet.IPv4, "-m owner ! --gid-owner 888 -m owner ! --gid-owner 1000-2000 -j RETURN"},
		{"known-connection", inet.IPv4, "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT"},
		{"multiport", inet.IPv4, "! -d 127.0.0.1/32 -o lo -p tcp -m multiport ! --dports 53,15008 -j ISTIO_IN_REDIRECT"},
		{"udp-dns", inet.IPv4, "-d 10.96.0.10/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053"},
		{"udp-both-ports", inet.IPv4, "-p udp -m udp --sport 1:2 --dport 53 -j CT --zone 1"},
		{"port-zero", inet.IPv4, "-p tcp -m tcp --dport 0:80 -j RETURN"},
		{"mapped-ipv6", inet.IPv6, "-d ::ffff:1.2.3.4/128 -j RETURN"},
		{"dotted-ipv6", inet.IPv6, "-s ::1.2.0.0/112 -d ::1.2.3.4/128 -j RETURN"},
		{"without-target", inet.IPv4, "-p tcp"},
		{"nothing", inet.IPv4, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rule, err := ParseRule(tt.family, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.text, rule.Text(tt.family)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRuleTellsTheKindsOfMarkApart(t *testing.T) {
	t.Parallel()
	rule, err := ParseRule(inet.IPv4, "-m mark ! --mark 0x1/0x3 -m connmark --mark 0x2 -j RETURN")
	if err != nil {
		t.Fatal(err)
	}
	want := Rule{Match: Match{Mark: Not(Mark{1, 3}), ConnMark: Is(FullMark(2))}, Target: Return}
	if diff := cmp.Diff(want, rule, comparePrefixes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseRuleRefuses(t *testing.T) {
	t.Parallel()
	const otherForm = "not in the form that iptables-save prints"
	tests := []struct{ name, text, want string }{
		{"unknown-option", "-f -j RETURN", `"-f" is not known`},
		{"unknown-module-option", "-m addrtype --dst-type LOCAL -j RETURN", `"--dst-type" is not known`},
		{"option-without-its-module", "-p tcp --dport 80 -j RETURN", `"--dport" is not known`},
		{"option-of-another-module", "-p udp -m udp --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN", `"--tcp-flags" is not known`},
		{"comment", `-m comment --comment "a b" -j RETURN`, `"--comment" is not known`},
		{"unknown-protocol", "-p sctp -j RETURN", `protocol "sctp" is not known`},
		{"protocol-by-number", "-p 200 -j RETURN", `protocol "200" is not known`},
		{"not-tcp", "! -p tcp -j RETURN", `protocol "tcp" is not known`},
		{"protocol-by-number-that-has-a-name", "-p 6 -j RETURN", `protocol "6" is not known`},
		{"not-a-prefix", "-s localhost -j RETURN", `"localhost": `},
		{"address-without-length", "-s 10.0.0.1 -j RETURN", `"10.0.0.1": `},
		{"prefix-not-masked", "-s 10.0.0.1/8 -j RETURN", otherForm},
		{"prefix-of-every-address", "-s 0.0.0.0/0 -j RETURN", otherForm},
		{"prefix-of-other-family", "-s ::1/128 -j RETURN", "the address is not of the family ipv4"},
		{"second-source", "-s 10.0.0.0/8 -s 11.0.0.0/8 -j RETURN", `"11.0.0.0/8": a second condition of the kind`},
		{"bad-interface", `-o e"th -j RETURN`, `"e\"th": is not an interface name`},
		{"bad-port", "-p tcp -m tcp --dport http -j RETURN", `"http": is not a number from 0 to 65535`},
		{"port-with-zeros", "-p tcp -m tcp --dport 080 -j RETURN", otherForm},
		{"port-of-any-protocol", "-m tcp --dport 80 -j RETURN", "not in the form"},
		{"bad-ports", "-p tcp -m multiport --dports 80,,81 -j RETURN", `"80,,81": is not a number from 0 to 65535`},
		{"too-many-ports", "-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16 -j RETURN", "multiport holds 1 to 15 ports"},
		{"other-flags", "-p tcp -m tcp --tcp-flags SYN SYN -j RETURN", `"SYN": only --syn is known of the TCP flags`},
		{"flags-end-early", "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK", "ends too early"},
		{"bad-mark", "-m mark --mark x -j RETURN", `"x" is not a mark`},
		{"bad-mask", "-m mark --mark 0x1/x -j RETURN", `"0x1/x" is not a mark`},
		{"mark-too-high", "-m mark --mark 0x100000000 -j RETURN", "is not a mark"},
		{"mark-decimal", "-m mark --mark 1337 -j RETURN", otherForm},
		{"bad-state", "-m conntrack --ctstate NEW,OLD -j RETURN", `state "OLD" is not known`},
		{"states-in-other-order", "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN", otherForm},
		{"bad-uid", "-m owner --uid-owner root -j RETURN", `"root": is not a number from 0 to 4294967294`},
		{"no-value", "-m owner --uid-owner", "ends too early"},
		{"no-target-name", "-j", "ends too early"},
		{"words-after-the-target", "-j RETURN -p tcp", `"-p" is not known`},
		{"goto-without-chain", "-g", "ends too early"},
		{"redirect-without-port", "-p tcp -j REDIRECT", "ends too early"},
		{"redirect-to-ports", "-p tcp -j REDIRECT --to-ports 1-2", `"1-2" is not a number up to 65535`},
		{"redirect-random", "-p tcp -j REDIRECT --to-ports 1 --random", `"--random" is not known`},
		{"zone-of-replies", "-j CT --zone-reply 1", `"--zone-reply" is not known`},
		{"mark-by-and", "-j MARK --and-mark 0x1", `"--and-mark" is not known`},
		{"mark-without-mask", "-j MARK --set-xmark 0x1", otherForm},
		{"connmark-set", "-j CONNMARK --set-xmark 0x1/0xffffffff", `"--set-xmark" is not known`},
		{"connmark-part", "-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff", "is not the mask of all bits"},
		{"tproxy-to-address", "-p tcp -j TPROXY --on-port 1 --on-ip 10.0.0.1 --tproxy-mark 0x1/0xffffffff", otherForm},
		{"two-spaces", "-o lo  -j RETURN", otherForm},
		{"tab", "-o lo\t-j RETURN", otherForm},
		{"space-before", " -j RETURN", otherForm},
		{"newline", "-j RETURN\n", otherForm},
		{"negation-of-nothing", "! -j RETURN", otherForm},
		{"double-negation", "! ! -o lo -j RETURN", otherForm},
		{"other-order", "-p tcp -o lo -j RETURN", otherForm},
		{"module-without-option", "-p tcp -m tcp -j RETURN", otherForm},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rule, err := ParseRule(inet.IPv4, tt.text)
			if err == nil {
				t.Fatalf("%q: want an error with %q, got the rule %q", tt.text, tt.want, rule.Text(inet.IPv4))
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q: want an error with %q, got %v", tt.text, tt.want, err)
			}
		})
	}
}
