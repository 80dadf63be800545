package main

import (
	"errors"
	"fmt"
	"strings"

	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// familyTitle is the family as Istio's log spells it.
func familyTitle(f inet.Family) string {
	if f == inet.IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// moduleOptions are the options for which a module of the kernel is needed.
var moduleOptions = map[string]string{
	"xt_owner":     "--proxy-uid, --proxy-gid and ISTIO_OUTBOUND_OWNER_GROUPS",
	"xt_REDIRECT":  "-m REDIRECT and all outbound capture",
	"xt_multiport": "--redirect-dns",
	"xt_CT":        "--redirect-dns",
	"xt_conntrack": "-m TPROXY and --drop-invalid",
	"xt_mark":      "-m TPROXY",
	"xt_connmark":  "-m TPROXY",
	"xt_TPROXY":    "-m TPROXY",
}

// explainRefusal says what the parts of the kernel are for that a refused line
// needs.
func explainRefusal(err error) error {
	var refused *xtables.RestoreError
	if !errors.As(err, &refused) {
		return err
	}
	var uses []string
	for _, module := range refused.Needs {
		if use := moduleOptions[module]; use != "" {
			uses = append(uses, module+" for "+use)
		}
	}
	if len(uses) == 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.Join(uses, "; "))
}

// reportTaken names the rules of Istio's that stood in built-in chains and went.
func (inv *invocation) reportTaken(c iptables.Change) {
	for _, rule := range c.Taken() {
		say := inv.log.Info
		if strings.HasPrefix(rule, iptables.Filter+" ") {
			say = inv.log.Warn // a guardrail: it stopped traffic
		}
		say("a rule of Istio's in a built-in chain was removed", namedField("family", c.Family), stringField("rule", rule))
	}
}
