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

// exist checks with go-iptables that every rule of the scenario exists. It is independent
// of the program: iptables parses the rule and compares it with the kernel's, where the
// program compares texts. ip6tables-legacy 1.8.8 and 1.8.9 compares only the names of
// matches and targets, not their values.
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
