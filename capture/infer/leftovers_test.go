package infer_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/fake"
)

const fullMasks = "--nfmask 0xffffffff --ctmask 0xffffffff"

// takeovers are states in which the lines that begin with "~" are Istio's or ours,
// in the forms in which Istio's tools write them into built-in chains. The others
// are somebody else's, however alike they are.
var takeovers = []struct {
	name  string
	lines []string
}{
	{"virtual-interfaces", []string{
		"*nat", "~:ISTIO_INBOUND - [0:0]", "~:ISTIO_REDIRECT - [0:0]", "~-A PREROUTING -i eth2 -j ISTIO_REDIRECT", "~-A PREROUTING -d 10.0.0.0/8 -i eth1 -j ISTIO_REDIRECT",
		"~-A PREROUTING -i eth2 -j RETURN", "~-A PREROUTING -i eth1 -j RETURN", "~-A PREROUTING -p tcp -j ISTIO_INBOUND", "-A PREROUTING -i eth3 -j RETURN",
	}},
	{"excluded-interfaces-with-virtual-ones", []string{
		"*nat", "~:ISTIO_INBOUND - [0:0]", "~:ISTIO_OUTPUT - [0:0]", "~:ISTIO_REDIRECT - [0:0]", "-A PREROUTING -i docker0 -j ACCEPT",
		"~-A PREROUTING -i net1 -j RETURN", "~-A PREROUTING -i eth2 -j ISTIO_REDIRECT", "~-A PREROUTING -i eth2 -j RETURN", "~-A PREROUTING -p tcp -j ISTIO_INBOUND",
		"~-A OUTPUT -o net1 -j RETURN", "~-A OUTPUT -j ISTIO_OUTPUT",
	}},
	{"lookups-before-1.25", []string{
		"*nat", "~:ISTIO_OUTPUT - [0:0]", "~-A OUTPUT -p udp -m udp --dport 53 -m owner --uid-owner 1337 -j RETURN", "~-A OUTPUT -p udp -m udp --dport 53 -m owner --gid-owner 1337 -j RETURN",
		"~-A OUTPUT -d 10.96.0.10/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053", "~-A OUTPUT -p tcp -j ISTIO_OUTPUT", "-A OUTPUT -p udp -m udp --dport 53 -j REDIRECT --to-ports 53",
	}},
	{"zones-before-1.25", []string{
		"*nat", "~:ISTIO_OUTPUT - [0:0]", "COMMIT", "*raw", "~-A PREROUTING -s 10.96.0.10/32 -p udp -m udp --sport 53 -j CT --zone 1",
		"~-A OUTPUT -p udp -m udp --dport 53 -m owner --uid-owner 1337 -j CT --zone 1", "~-A OUTPUT -p udp -m udp --sport 15053 -m owner --gid-owner 1337 -j CT --zone 2",
		"~-A OUTPUT -d 10.96.0.10/32 -p udp -m udp --dport 53 -j CT --zone 2", "-A OUTPUT -p udp -m udp --dport 53 -j CT --notrack", "-A OUTPUT -p udp -m udp --dport 53 -j CT --zone 3",
		"-A OUTPUT -p udp -m udp --dport 53 -m owner --uid-owner 1337 -j CT --zone-orig 1",
	}},
	{"marks-of-tproxy", []string{
		"*mangle", "~:ISTIO_DIVERT - [0:0]", "~:ISTIO_INBOUND - [0:0]", "~:ISTIO_TPROXY - [0:0]", "~-A PREROUTING -p tcp -j ISTIO_INBOUND",
		"~-A ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff",
		"~-A PREROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark " + fullMasks,
		"~-A OUTPUT -o lo -p tcp -m mark --mark 0x539 -j RETURN",
		"~-A OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m owner --uid-owner 1337 -j MARK --set-xmark 0x53a/0xffffffff",
		"~-A OUTPUT -p tcp -m connmark --mark 0x539 -j CONNMARK --restore-mark " + fullMasks,
		"-A OUTPUT -p udp -m connmark --mark 0x1 -j CONNMARK --restore-mark " + fullMasks,
	}},
	{"marks-of-an-administrator-beside-tproxy", []string{
		"*mangle", "~:ISTIO_INBOUND - [0:0]", "~:ISTIO_TPROXY - [0:0]", "~-A PREROUTING -p tcp -j ISTIO_INBOUND",
		"-A PREROUTING -p tcp -m mark --mark 0x7 -j CONNMARK --save-mark " + fullMasks,
		"~-A PREROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark " + fullMasks,
		"-A PREROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark " + fullMasks,
		"-A OUTPUT -o lo -p tcp -m mark --mark 0x7 -j RETURN",
		"~-A OUTPUT -o lo -p tcp -m mark --mark 0x539 -j RETURN",
		"-A OUTPUT -o lo -p tcp -m owner --uid-owner 1000 -j MARK --set-xmark 0x53a/0xffffffff",
		"-A OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m owner --uid-owner 1000 -j MARK --set-xmark 0x7/0xffffffff",
		"~-A OUTPUT -p tcp -m connmark --mark 0x539 -j CONNMARK --restore-mark " + fullMasks,
		"-A OUTPUT -p tcp -m connmark --mark 0x7 -j CONNMARK --restore-mark " + fullMasks,
		"~-A ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff",
	}},
	{"marks-without-a-tproxy-rule", []string{
		"*mangle", "~:ISTIO_INBOUND - [0:0]", "~-A PREROUTING -p tcp -j ISTIO_INBOUND",
		"-A PREROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark " + fullMasks,
		"-A OUTPUT -p tcp -m connmark --mark 0x539 -j CONNMARK --restore-mark " + fullMasks,
	}},
	{"guardrails-that-stayed", []string{
		"*filter", "~-A INPUT -p udp -j DROP", "~-A INPUT -p tcp -j DROP", "~-A FORWARD -p udp -j DROP", "~-A FORWARD -p tcp -j DROP",
		"~-A OUTPUT -p udp -j DROP", "~-A OUTPUT -p tcp -j DROP", "-A INPUT -i lo -j ACCEPT", "COMMIT", "*nat", "~:ISTIO_OUTPUT - [0:0]",
	}},
	{"drops-of-others-behind-the-guardrails", []string{
		"*filter", "~-A INPUT -p udp -j DROP", "~-A INPUT -p tcp -j DROP", "~-A FORWARD -p udp -j DROP", "~-A FORWARD -p tcp -j DROP",
		"~-A OUTPUT -p udp -j DROP", "~-A OUTPUT -p tcp -j DROP", "-A INPUT -i lo -j ACCEPT", "-A INPUT -p tcp -j DROP", "-A OUTPUT -p udp -j DROP", "COMMIT", "*nat", "~:ISTIO_OUTPUT - [0:0]",
	}},

	{"interface-that-somebody-exempts", []string{
		"*nat", "~:ISTIO_INBOUND - [0:0]", "~:ISTIO_OUTPUT - [0:0]", "-A PREROUTING -i docker0 -j RETURN", "~-A PREROUTING -p tcp -j ISTIO_INBOUND",
		"-A OUTPUT -o docker0 -j RETURN", "~-A OUTPUT -j ISTIO_OUTPUT",
	}},
	{"interface-redirected-and-exempted-elsewhere", []string{
		"*nat", "~:ISTIO_REDIRECT - [0:0]", "~-A PREROUTING -i eth1 -j ISTIO_REDIRECT", "-A PREROUTING -i eth10 -j RETURN", "-A OUTPUT -o eth1 -j RETURN",
	}},
	{"drops-in-two-chains", []string{
		"*filter", "-A INPUT -p udp -j DROP", "-A INPUT -p tcp -j DROP", "-A OUTPUT -p udp -j DROP", "-A OUTPUT -p tcp -j DROP", "COMMIT", "*nat", "~:ISTIO_OUTPUT - [0:0]",
	}},
	{"drops-behind-exceptions", []string{
		"*filter", "-A INPUT -i lo -j ACCEPT", "-A INPUT -p udp -j DROP", "-A INPUT -p tcp -j DROP", "-A FORWARD -p udp -j DROP", "-A FORWARD -p tcp -j DROP",
		"-A OUTPUT -p udp -j DROP", "-A OUTPUT -p tcp -j DROP", "COMMIT", "*nat", "~:ISTIO_OUTPUT - [0:0]",
	}},
	{"lookups-of-a-resolver-where-no-mesh-is", []string{
		"*nat", "-A OUTPUT -p udp -m udp --dport 53 -m owner --uid-owner 1337 -j RETURN", "-A OUTPUT -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053",
		"COMMIT", "*raw", "-A OUTPUT -p udp -m udp --dport 53 -j CT --zone 1",
	}},
	{"lookups-of-a-resolver-beside-the-mesh", []string{
		"*nat", "~:ISTIO_OUTPUT - [0:0]", "-A OUTPUT -p udp -m udp --dport 53 -m owner --uid-owner 1337 -j RETURN", "-A OUTPUT -p udp -m udp --dport 53 -j REDIRECT --to-ports 5353",
	}},
	{"lookups-of-kuma", []string{
		"*nat", ":KUMA_MESH_OUTBOUND - [0:0]", "~:ISTIO_OUTPUT - [0:0]", "-A OUTPUT -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053", "-A OUTPUT -p tcp -j KUMA_MESH_OUTBOUND",
	}},
	{"marks-of-a-load-balancer", []string{
		"*mangle", "-A PREROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark " + fullMasks, "-A OUTPUT -p tcp -m connmark --mark 0x539 -j CONNMARK --restore-mark " + fullMasks,
		"COMMIT", "*nat", "~:ISTIO_OUTPUT - [0:0]", "~-A OUTPUT -j ISTIO_OUTPUT",
	}},
}

func TestCleanRemovesLeftoversOfIstio(t *testing.T) {
	t.Parallel()
	for _, tt := range takeovers {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var all, others []string
			for _, line := range tt.lines {
				rest, istios := strings.CutPrefix(line, "~")
				all = append(all, rest)
				if !istios {
					others = append(others, line)
				}
			}
			have := state(t, all...)
			k, err := fake.Load(have)
			if err != nil {
				t.Fatal(err)
			}
			script := cleanScript(t, have)
			if err := k.Restore(script); err != nil {
				t.Fatalf("refused: %v\n%s", err, script)
			}
			if diff := cmp.Diff(fake.InUse(state(t, others...)), fake.InUse(k.String())); diff != "" {
				t.Errorf("after\n%s\n(-want +got):\n%s", script, diff)
			}
			if again := cleanScript(t, k.String()); again != "" {
				t.Errorf("a second plan is not empty:\n%s", again)
			}
		})
	}
}

// cleanScript returns the script that removes our chains and rules from a state.
func cleanScript(t *testing.T, save string) string {
	t.Helper()
	s, err := iptables.ParseSnapshot(inet.IPv4, save)
	if err != nil {
		t.Fatal(err)
	}
	return xtables.Script(iptables.Plan(s, infer.Ownership(s), iptables.Ruleset{}))
}

// state returns the state with some tables, chains and rules, as iptables-save prints it.
func state(t *testing.T, lines ...string) string {
	t.Helper()
	if len(lines) == 0 {
		return ""
	}
	script := strings.Join(append(lines, "COMMIT", ""), "\n")
	k, err := fake.Load(script)
	if err != nil {
		t.Fatal(err)
	}
	return k.String()
}
