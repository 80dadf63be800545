package report

import (
	"testing"

	"istio-init/capture"
	"istio-init/iptables"
)

func TestEveryRoleHasAReason(t *testing.T) {
	t.Parallel()
	for role := capture.RoleUnknown + 1; capture.RoleName(role) != ""; role++ {
		if Reason(iptables.Rule{Role: role}) == "" {
			t.Errorf("no reason for the role %s", capture.RoleName(role))
		}
	}
	if got := Reason(iptables.Rule{}); got != "" {
		t.Errorf("a rule without a role: got the reason %q, want none", got)
	}
}
