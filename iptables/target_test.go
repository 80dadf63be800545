package iptables

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil/inet"
)

func TestTargetText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		target Target
		family inet.Family
		want   string
	}{
		{"jump", Jump{"ISTIO_REDIRECT"}, inet.IPv4, "-j ISTIO_REDIRECT"},
		{"return", Return, inet.IPv4, "-j RETURN"},
		{"accept", Accept, inet.IPv4, "-j ACCEPT"},
		{"drop", Drop, inet.IPv4, "-j DROP"},
		{"redirect", Redirect{15001}, inet.IPv4, "-j REDIRECT --to-ports 15001"},
		{"tproxy-ipv4", TProxy{15006, FullMark(1337)}, inet.IPv4, "-j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff"},
		{"tproxy-ipv6", TProxy{15006, FullMark(1337)}, inet.IPv6, "-j TPROXY --on-port 15006 --on-ip :: --tproxy-mark 0x539/0xffffffff"},
		{"mark", SetMark{FullMark(1337)}, inet.IPv4, "-j MARK --set-xmark 0x539/0xffffffff"},
		{"mark-bits", SetMark{Mark{0x1, 0x3}}, inet.IPv4, "-j MARK --set-xmark 0x1/0x3"},
		{"mark-zero", SetMark{FullMark(0)}, inet.IPv4, "-j MARK --set-xmark 0x0/0xffffffff"},
		{"save-mark", SaveMark{}, inet.IPv4, "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff"},
		{"restore-mark", RestoreMark{}, inet.IPv4, "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff"},
		{"zone", Zone{ID: 2}, inet.IPv4, "-j CT --zone 2"},
		{"zone-of-one-direction", Zone{ID: 1, Original: true}, inet.IPv4, "-j CT --zone-orig 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rule := Rule{Target: tt.target}
			if diff := cmp.Diff(tt.want, rule.Text(tt.family)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			back, err := ParseRule(tt.family, tt.want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(rule, back, comparePrefixes); diff != "" {
				t.Errorf("parsed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRuleWithoutTargetPrintsItsMatch(t *testing.T) {
	t.Parallel()
	if got := (Rule{Match: Match{Proto: TCP}}).Text(inet.IPv4); got != "-p tcp" {
		t.Errorf("want %q, got %q", "-p tcp", got)
	}
}

func TestTargetsBelongToTheirTables(t *testing.T) {
	t.Parallel()
	anywhere := []string{Raw, Mangle, NAT, Filter, "security"}
	tests := []struct {
		name   string
		target Target
		want   []string
	}{
		{"jump", Jump{"ISTIO_A"}, anywhere},
		{"return", Return, anywhere},
		{"accept", Accept, anywhere},
		{"redirect", Redirect{1}, []string{NAT}},
		{"tproxy", TProxy{Port: 1}, []string{Mangle}},
		{"mark", SetMark{}, []string{Mangle}},
		{"save-mark", SaveMark{}, anywhere},
		{"restore-mark", RestoreMark{}, anywhere},
		{"zone", Zone{ID: 1}, []string{Raw}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, table := range anywhere {
				if tt.target.legalIn(table) {
					got = append(got, table)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
