package iptables

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil/inet"
)

// TestUnreadableRulesMayBeWanted has live chains beside the chains of
// mangleSave, which are wanted.
func TestUnreadableRulesMayBeWanted(t *testing.T) {
	t.Parallel()
	const (
		jump = "-A ISTIO_A -p tcp -j ISTIO_B\n"
		web  = "-A ISTIO_A -p tcp -m tcp --dport 80 -j RETURN\n"
		save = "-A ISTIO_B -p tcp -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff\n"

		tproxy = "-A ISTIO_B -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff\n"
	)
	x := unreadableRule{"ISTIO_A", "-p tcp -m tcp --port-of-web -j RETURN", "-p tcp -m tcp --dport 80 -j RETURN"}
	y := unreadableRule{"ISTIO_B", "-p tcp -j CONNMARK --save", "-p tcp -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff"}
	printsX, printsY := "-A ISTIO_A "+x.text+"\n", "-A ISTIO_B "+y.text+"\n"
	tests := []struct {
		name, replace string // pairs of old and new, separated by |
		want          []unreadableRule
	}{
		{"none", "", nil},
		{"one", web + "|" + printsX, []unreadableRule{x}},
		{"unknown-target", save + "|" + printsY, []unreadableRule{y}},
		{"one-in-each-chain", web + "|" + printsX + "|" + save + "|" + printsY, []unreadableRule{x, y}},
		{"beside-other-words-for-another-rule", web + "|" + printsX + "|-p tcp -j ISTIO_B|-p 6 -j ISTIO_B", []unreadableRule{x}},
		{"a-readable-one", "--dport 80|--dport 81", nil},
		{"a-comment-is-unreadable", web + "|" + strings.Replace(web, "-j", "-m comment --comment web -j", 1), []unreadableRule{
			{"ISTIO_A", "-p tcp -m tcp --dport 80 -m comment --comment web -j RETURN", x.wanted},
		}},
		{"at-another-place", web + jump + "|" + jump + printsX, nil},
		{"two-in-a-chain", web + jump + "|" + printsX + strings.Replace(printsX, "web", "jump", 1), nil},
		{"one-and-a-readable-one", web + jump + "|" + printsX + "-A ISTIO_A -p udp -j ISTIO_B\n", nil},
		{"one-more", web + "|" + web + printsX, nil},
		{"one-less", web + jump + "|" + printsX, nil},
		{"the-wanted-one-is-there-too", jump + "|" + web, nil},
		{"the-wanted-one-is-there-in-other-words", web + jump + "|" + printsX + strings.Replace(web, "-p tcp", "-p 6", 1), nil},
		{"of-a-built-in-chain", "-A PREROUTING -p tcp|-A PREROUTING --proto-of-web", nil},
		{"chain-without-rules", save + tproxy + "|", nil},
		{"chain-that-is-not-there", ":ISTIO_B - [0:0]\n||" + save + tproxy + "|", nil},
	}
	want := ours(parse(t, mangleSave))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := mangleSave
			if tt.replace != "" {
				text = strings.NewReplacer(strings.Split(tt.replace, "|")...).Replace(mangleSave)
			}
			if tt.replace != "" && text == mangleSave {
				t.Fatalf("nothing is replaced by %q", tt.replace)
			}
			have := parse(t, text)
			var got []unreadableRule
			for _, r := range have.UnreadableRules(OwnISTIO(have), want) {
				if r.Table != Mangle || have.At(r.Place).Text != r.Text || r.Wanted.Rule.Text(inet.IPv4) != r.Wanted.Text {
					t.Errorf("%+v is of another place", r)
				}
				got = append(got, unreadableRule{r.Chain, r.Text, r.Wanted.Text})
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(unreadableRule{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("the-wanted-one-is-wanted-twice", func(t *testing.T) {
		t.Parallel()
		twice := ours(parse(t, strings.Replace(mangleSave, web, web+web, 1)))
		have := parse(t, strings.Replace(mangleSave, web, web+printsX, 1))
		if got := have.UnreadableRules(OwnISTIO(have), twice); got != nil {
			t.Errorf("want none, since iptables would mean the other one, got %v", got)
		}
	})
}

type unreadableRule struct{ chain, text, wanted string }
