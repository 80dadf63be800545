package test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// marksAhead and marksBehind are rules of an administrator who marks packets and connections,
// ahead of Istio's rules and behind them. Each differs from a rule of Istio's in one part, but
// for the last three: those have Istio's text, and are the second of it in their chain.
const (
	marksAhead = `*mangle
[1:60] -A PREROUTING -i eth1 -j MARK --set-xmark 0x539/0xffffffff
[2:120] -A PREROUTING -j CONNMARK --save-mark
[3:180] -A PREROUTING -p tcp -m mark --mark 0x7 -j CONNMARK --save-mark
[4:240] -A PREROUTING -p tcp -m mark --mark 0x539/0xfff -j CONNMARK --save-mark
[5:300] -A OUTPUT -p tcp -m mark --mark 0x539 -j RETURN
[6:360] -A OUTPUT -p tcp -m connmark --mark 0x7 -j CONNMARK --restore-mark
[7:420] -A OUTPUT -p tcp -o lo -m owner --uid-owner 1337 -j MARK --set-xmark 0x53a/0xffffffff
[8:480] -A OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m owner --uid-owner 1337 -j MARK --set-xmark 0x53b/0xffffffff
COMMIT
`
	marksBehind = `*mangle
[9:540] -A PREROUTING -p udp -m mark --mark 0x539 -j CONNMARK --save-mark
[10:600] -A PREROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff
[11:660] -A OUTPUT -o eth0 -p tcp -m mark --mark 0x539 -j RETURN
[12:720] -A OUTPUT ! -d 127.0.0.1/32 -o eth0 -p tcp -m owner --uid-owner 1337 -j MARK --set-xmark 0x53a/0xffffffff
[13:780] -A OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -j MARK --set-xmark 0x53a/0xffffffff
[14:840] -A OUTPUT -m connmark --mark 0x539 -j CONNMARK --restore-mark
[15:900] -A POSTROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark
[16:960] -A PREROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark
[17:1020] -A OUTPUT -o lo -p tcp -m mark --mark 0x539 -j RETURN
[18:1080] -A OUTPUT -p tcp -m connmark --mark 0x539 -j CONNMARK --restore-mark
COMMIT
`
)

// mark installs rules of an administrator with their counters.
func (s *site) mark(v xtables.Variant, rules string) {
	s.t.Helper()
	s.Run(s.t, rules, tool(v, inet.IPv4), "--noflush", "--counters")
	s.Run(s.t, toIPv6.Replace(rules), tool(v, inet.IPv6), "--noflush", "--counters")
}

func TestCleanKeepsMarksBesideIstioTPROXY(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for _, g := range generations(t) {
		if !strings.Contains(g.sections["both"], "-j TPROXY") {
			continue
		}
		for _, v := range xtables.Variants {
			t.Run(g.name+"/"+v.String(), func(t *testing.T) {
				t.Parallel()
				fresh, s := newSite(t), newSite(t)
				fresh.mark(v, marksAhead)
				fresh.mark(v, marksBehind)

				s.mark(v, marksAhead)
				g.in(s, v)
				s.mark(v, marksBehind)
				log := s.exits(0, cleanCommand)
				if diff := cmp.Diff(fresh.foreign(v), s.foreign(v)); diff != "" {
					t.Errorf("an administrator's rules (-want +got):\n%s\n%s", diff, log)
				}
				if diff := cmp.Diff(fresh.rules(), s.rules()); diff != "" {
					t.Errorf("all rules (-want +got):\n%s\n%s", diff, log)
				}
			})
		}
	}
}
