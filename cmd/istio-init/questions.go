package main

import (
	"errors"

	"github.com/spf13/cobra"

	"istio-init/cmd/istio-init/options"
)

func newTrace(p process) *cobra.Command {
	return newRuleCommand(p, &cobra.Command{
		Use:   "trace --to ENDPOINT",
		Short: "tell where a connection lands, and which rule says so",
		Long: `Tell where a connection lands: captured by the proxy, left alone, dropped, or taken
by a rule of others; which rules it meets, which of them decides, and why that rule is
there. Where the proxy takes the connection, the one it opens is followed as well.
Nothing is sent, and nothing is changed.

The rules are those of the network namespace; with flags that describe rules, those
that "apply" would make of them; with --rules those of a file.`,
		Example: `  istio-init trace --uid 1000 --to 10.0.0.5:3306
  istio-init trace --from 10.244.1.1 --to :8080 --in eth0
  istio-init trace --proto udp --to 10.96.0.10:53 -i '*' --redirect-dns --capture-all-dns
  iptables-save | istio-init trace --to 10.0.0.5:443 --rules -`,
	}, options.Trace, runTrace)
}

func newCheck(p process) *cobra.Command {
	return endsNotLooked(newRuleCommand(p, &cobra.Command{
		Use:   "check",
		Short: "tell what is captured, or whether the rules are those of the flags",
		Long: `Without flags that describe rules: tell what is captured in the network namespace,
and which flags make those rules. With such flags: compare what stands with what
"apply" would make of them, rules, policy routes and the address ::6, in both families
and both variants of iptables. Nothing is changed.

Exit codes: 0 in order, 1 drifted, 2 could not look.`,
		Example: `  istio-init check
  istio-init check -u 1337 -i '*' -b '*' -d 15090,15021,15020
  istio-init check --rules dump.txt`,
	}, options.Check, runCheck))
}

func newExplain(p process) *cobra.Command {
	return newRuleCommand(p, &cobra.Command{
		Use:   "explain",
		Short: "show rules as people read them: as a tree, a table or a picture",
		Long: `Show rules and why each is there. The rules are those of the network namespace; with
flags that describe rules, those that "apply" would make of them; with --rules those
of a file. Nothing is changed.

Forms: save is the text of iptables-save; tree and table are for a terminal; json is
for programs; dot (for graphviz) and mermaid are pictures of the way of a packet.`,
		Example: `  istio-init explain --output tree
  istio-init explain --output dot -i '*' -b '*' -d 15090 | dot -Tsvg >rules.svg
  iptables-save | istio-init explain --output table --rules -`,
	}, options.Explain, runExplain)
}

var errNoTarget = errors.New("--to is missing: it says where the connection goes, as in --to 10.0.0.5:3306, or --to :8080 for the pod itself")
