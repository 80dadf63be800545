package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"istio-init/capture/path"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
)

func newTrace(s streams) *cobra.Command {
	return newRuleCommand(s, &cobra.Command{
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

var errNoTarget = errors.New("--to is missing: it says where the connection goes, as in --to 10.0.0.5:3306, or --to :8080 for the pod itself")

// runTrace tells where a connection lands, and which rule says so.
func runTrace(ctx context.Context, cmd *command) error {
	q := question(cmd.opts.Query)
	if q.To == (options.Endpoint{}) {
		return errNoTarget
	}
	f, err := q.family()
	if err != nil {
		return err
	}
	cmd.explainRules()
	return cmd.inNetNS(ctx, func(ctx context.Context) error {
		src, err := cmd.source(ctx)
		if err != nil {
			return err
		}
		c, err := q.connection(src, f)
		if err != nil {
			return err
		}
		rules := src.Rules[f]
		routes := path.Routes{Route: src.route, Proxy: proxyOwner(src.Config)}
		return cmd.show(report.Path{Source: src.Source, Rules: rules, Hops: path.Follow(rules, src.Config, routes, c)})
	})
}

// show writes an answer in the form that was asked for.
func (cmd *command) show(a report.Answer) error {
	return report.Write(cmd.stdout, cmd.styler, a, cmd.opts.Output == options.JSON)
}
