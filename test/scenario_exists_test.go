package test

import (
	"strings"
	"testing"

	goiptables "github.com/coreos/go-iptables/iptables"

	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/pod"
)

// exist asks go-iptables whether every rule of the scenario is there. It is a witness that
// shares nothing with the program: iptables parses the rule and compares it with the
// kernel's, instead of us comparing texts. ip6tables-legacy of 1.8.8 and 1.8.9 compares no
// values of matches and targets; it is a witness of their kinds.
func (s stage) exist(t *testing.T, pod *pod.Pod, v xtables.Variant) {
	t.Helper()
	for f, proto := range map[inet.Family]goiptables.Protocol{inet.IPv4: goiptables.ProtocolIPv4, inet.IPv6: goiptables.ProtocolIPv6} {
		rules := s.Rules(t, f)
		err := netutil.InNetNS(pod.Pod.Path(), func() error {
			program := strings.TrimSuffix(tool(v, f), "-restore")
			ipt, err := goiptables.New(goiptables.IPFamily(proto), goiptables.Path(program), goiptables.Timeout(30))
			if err != nil {
				return err
			}
			for _, table := range rules.Tables {
				for _, chain := range table.Chains {
					for _, r := range chain.Rules {
						there, err := ipt.Exists(table.Name, chain.Name, strings.Fields(r.Text(f))...)
						if err != nil {
							return err
						}
						if !there {
							t.Errorf("go-iptables, %s %s %s: %s is not there", f, table.Name, chain.Name, r.Text(f))
						}
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatalf("go-iptables, %s: %v", f, err)
		}
	}
}
