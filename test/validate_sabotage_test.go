package test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/test/flow"
	"istio-init/test/pod"
)

// A sabotage is an error in the rules, and the message of the validation. In its script
// $IPT is iptables of the variant, and $IPT6 ip6tables.
type sabotage struct {
	name  string
	flags string // of the apply, in addition to the common ones
	asked string // of the validation, if they differ
	spoil string // script
	says  string // of the line of a check that fails
}

// The flags of a sidecar in both modes.
const (
	sidecarRedirect = "-i * -b * -d 15090 -o 3306 -x 10.96.0.0/16 --redirect-dns --capture-all-dns"
	sidecarTProxy   = "-m TPROXY " + sidecarRedirect
)

var sabotages = []sabotage{
	// Errors that Istio's own validation does not detect.
	{
		name: "outbound-redirect-emptied", flags: sidecarRedirect, spoil: "$IPT -t nat -F ISTIO_REDIRECT",
		says: `"family": "ipv4", "check": "app to a captured destination", .*"saw": "reached no port.* nat ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001"`,
	},
	{
		name: "nothing-captured", flags: "-i  -b ", asked: sidecarRedirect,
		says: `"family": "ipv6", "check": "app to a captured destination"`,
	},
	{
		name: "no-flags", asked: sidecarRedirect,
		says: `"family": "ipv4", "check": "app to a captured destination"`,
	},
	{
		name: "outbound-port-wrong", flags: "-p 15011 " + sidecarRedirect, asked: sidecarRedirect,
		says: `"check": "app to a captured destination", .*"saw": "connection refused", "cause": "the rule is missing or redirects to another port:`,
	},
	{
		name: "inbound-port-wrong", flags: "-z 15016 " + sidecarRedirect, asked: sidecarRedirect,
		says: `"check": "proxy \(user 1337\) to its own pod", .*"saw": "connection refused"`,
	},
	{
		name: "ipv6-flushed", flags: sidecarRedirect, spoil: "$IPT6 -t nat -F",
		says: `"family": "ipv6", "check": "app to a captured destination", .*"by_the_rules_that_stand": "passes: not captured, because no rule jumps to ISTIO_OUTPUT"`,
	},
	{
		name: "tproxy-mangle-flushed", flags: sidecarTProxy, spoil: "$IPT -t mangle -F",
		says: `"check": "inbound connection to a captured port", .*"saw": "bypassed the proxy and reached 10.244.0.2:15002", "cause": ".* mangle ISTIO_TPROXY `,
	},
	{
		name: "tproxy-inbound-emptied", flags: sidecarTProxy, spoil: "$IPT6 -t mangle -F ISTIO_INBOUND",
		says: `"family": "ipv6", "check": "inbound connection to a captured port"`,
	},
	{
		name: "tproxy-prerouting-jump-deleted", flags: sidecarTProxy, spoil: "$IPT -t mangle -D PREROUTING -p tcp -j ISTIO_INBOUND",
		says: `"check": "proxy \(group 1337\) to its own pod", .*"saw": "bypassed the proxy`,
	},
	// Errors outside the rules.
	{
		name: "tproxy-policy-rule-missing", flags: sidecarTProxy, spoil: "ip rule del fwmark 1337 lookup 133",
		says: `"family": "ipv4", "check": "proxy to the app, with the address of the peer", .*"cause": ".*policy rule for mark 0x539 and table 133`,
	},
	{
		name: "passthrough-address-missing", flags: sidecarRedirect, spoil: "ip addr del ::6/128 dev lo",
		says: `"family": "ipv6", "check": "proxy to the app, the last step .*"cause": "::6 is not an address of lo"`,
	},
	{
		name: "rule-of-others-first", flags: sidecarRedirect, spoil: "$IPT -t nat -I OUTPUT -j ACCEPT",
		says: `"check": "app to a captured destination", .*a foreign rule ahead of it matches the connection`,
	},
	{
		name: "proxy-port-firewalled", flags: sidecarRedirect, spoil: "$IPT -A INPUT -p tcp --dport 15001 -j DROP",
		says: `"check": "app to a captured destination", .*"saw": "reached no port of the proxy in time"`,
	},
	// One rule after the other.
	{
		name: "output-jump-deleted", flags: sidecarRedirect, spoil: "$IPT -t nat -D OUTPUT -j ISTIO_OUTPUT",
		says: `"check": "proxy \(user 1337\) to its own pod", .*"saw": "bypassed the proxy and reached 10.244.0.2:15002"`,
	},
	{
		name: "inbound-redirect-emptied", flags: sidecarRedirect, spoil: "$IPT -t nat -F ISTIO_IN_REDIRECT",
		says: `"check": "proxy \(user 1337\) to its own pod", .* nat ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006"`,
	},
	{
		name: "dns-queries-not-redirected", flags: sidecarRedirect, spoil: "$IPT -t nat -F ISTIO_OUTPUT_DNS",
		says: `"check": "DNS query of the app over udp", .*"saw": "reached no port`,
	},
	{
		name: "excluded-port-captured", flags: sidecarRedirect, spoil: "$IPT -t nat -D ISTIO_OUTPUT -p tcp --dport 3306 -j RETURN",
		says: `"check": "app to an excluded port", .*"saw": "reached port 15001", "cause": "the rule that excludes it is missing or comes too late: .*3306.*"by_the_rules_that_stand": "captured: outbound -> proxy port 15001, because every destination is included by -i"`,
	},
	{
		name: "excluded-destination-captured", flags: sidecarRedirect, spoil: "$IPT -t nat -D ISTIO_OUTPUT -d 10.96.0.0/16 -j RETURN",
		says: `"check": "app to an excluded destination", .*"saw": "reached port 15001"`,
	},
	{
		name: "proxy-captured", flags: sidecarRedirect, spoil: "$IPT -t nat -D ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN",
		says: `"check": "proxy \(user 1337\) to a captured destination", .*"saw": "reached port 15001"`,
	},
	{
		name: "last-step-captured", flags: sidecarRedirect, spoil: "$IPT -t nat -D ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN",
		says: `"check": "proxy to the app, the last step .*"saw": "reached port 15006"`,
	},
	{
		name: "tproxy-excluded-port-captured", flags: sidecarTProxy, spoil: "$IPT -t mangle -D ISTIO_INBOUND -p tcp --dport 15090 -j RETURN",
		says: `"check": "inbound connection to an excluded port", .*"saw": "reached port 15006"`,
	},
}

// common are the flags of all runs.
func common(line string) []string {
	args := []string{applyCommand, "-u", "1337", "--dual-stack"}
	if line != "" {
		args = append(args, strings.Split(line, " ")...)
	}
	return args
}

// podWith returns a pod with the rules of some flags, after the sabotage.
func podWith(t *testing.T, v xtables.Variant, flags, spoil string) *pod.Pod {
	t.Helper()
	pod := pod.New(t, flow.Config{})
	if _, stderr, err := pod.Run(t.Context(), built, in(v, common(flags))...); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	script := fmt.Sprintf("IPT=iptables-%[1]s IPT6=ip6tables-%[1]s\n%[2]s", v, spoil)
	if _, stderr, err := pod.Run(t.Context(), "/bin/sh", "-ec", script); err != nil {
		t.Fatalf("%s: %v\n%s", spoil, err, stderr)
	}
	return pod
}

func TestValidationDetectsBrokenRules(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for _, v := range xtables.Variants {
		for _, tt := range sabotages {
			t.Run(v.String()+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				pod := podWith(t, v, tt.flags, tt.spoil)
				if tt.asked == "" {
					tt.asked = tt.flags
				}
				log, code := validateOnly(t, pod, tt.asked, "--probe-timeout", "500ms")
				if code != exitValidation || !regexp.MustCompile(`\terror\tcheck failed\t.*`+tt.says).MatchString(log) ||
					!regexp.MustCompile(`\terror\tvalidation failed: .*cni\.repair\.deletePods=true`).MatchString(log) {
					t.Errorf("exit code %d, want %d and %s:\n%s", code, exitValidation, tt.says, log)
				}
			})
		}
	}
}

// TestValidationReportsUncheckedInboundRules: no connection from inside the pod reaches
// these rules.
func TestValidationReportsUncheckedInboundRules(t *testing.T) {
	t.Parallel()
	needKernel(t)
	pod := podWith(t, xtables.NFT, sidecarRedirect, "$IPT -t nat -F ISTIO_INBOUND")
	log, code := validateOnly(t, pod, sidecarRedirect)
	if code != exitDone || !strings.Contains(log, `"check": "inbound connection", "reason": "only a packet from another machine`) {
		t.Errorf("exit code %d:\n%s", code, log)
	}
}

// TestValidationKeepsTheProbeTimeout fails if a run takes much longer than its flags
// allow.
func TestValidationKeepsTheProbeTimeout(t *testing.T) {
	t.Parallel()
	needKernel(t)
	pod := podWith(t, xtables.NFT, sidecarRedirect, "$IPT -t nat -F; $IPT6 -t nat -F")
	const most = "30" // seconds: the machine may be busy
	for _, flag := range []string{"--probe-timeout", "--timeout"} {
		line := slices.Concat([]string{most, built}, common(sidecarRedirect), []string{"--skip-rule-apply", "--run-validation", flag, "100ms"})
		if log, code := ends(t, pod, "timeout", line...); code != exitValidation {
			t.Errorf("%s: exit code %d:\n%s", flag, code, log)
		}
	}
}
