package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables/xtables"
)

func newTrace(s streams) *cobra.Command {
	return withExitUnknown(newRuleCommand(s, &cobra.Command{
		Use:        "trace --to ENDPOINT",
		Short:      "show the path of a connection, and the rule that decides it",
		SuggestFor: []string{"route", "path", "test", "connect"},
		Long: `Show where a connection goes: captured by the proxy, not captured, dropped, or redirected
by a foreign rule; which rules match, which of them decides, and the reason of that rule.
If the proxy captures the connection, the one that it opens is followed too. Nothing is
sent, and nothing is changed. The answer is not certain where something may decide that
is not understood, and names it. eBPF (at sockets, tc or XDP) and IPVS are not read.

The rules are those of the network namespace; with flags that describe rules, those
that "apply" would make; with --rules those of a file.`,
		Example: `  istio-init trace --uid 1000 --to 10.0.0.5:3306
  istio-init trace --from 10.244.1.1 --to :8080 --in eth0 --expect captured
  istio-init trace --proto udp --to 10.96.0.10:53 -i '*' --redirect-dns --capture-all-dns
  iptables-save | istio-init trace --to 10.0.0.5:443 --rules -`,
	}, options.Trace, runTrace))
}

var errNoTarget = errors.New("--to is missing: want the destination of the connection, as in --to 10.0.0.5:3306, or --to :8080 for the pod itself")

// runTrace shows the path of a connection.
func runTrace(ctx context.Context, cmd *command) error {
	q := question(cmd.opts.Query)
	if q.To == (options.Endpoint{}) {
		return &inputError{errNoTarget}
	}
	f, err := q.family()
	if err != nil {
		return &inputError{err}
	}
	cmd.explainRules()
	return cmd.ask(ctx, func(ctx context.Context) error {
		src, err := cmd.source(ctx, f)
		if err != nil {
			return err
		}
		if !src.network.Assumed {
			if err := q.checkDevices(); err != nil {
				return err
			}
		}
		c, err := q.connection(src, f)
		if err != nil {
			return &inputError{err}
		}
		if cmd.opts.Rules == "" && cmd.opts.RulesGiven && cmd.liveDiffers(ctx) {
			src.Warnings = append(src.Warnings, "the live rules are not those of these flags, and were not asked: omit the flags, or use --rules live "+
				"(the user of the connection is --uid; -u is that of the proxy)")
		}
		rules := src.Rules[f]
		src.network.Proxy = proxyOwner(src.Config)
		hops := path.Follow(rules, src.Config, src.network, c)
		if src.assumed.IsValid() && c.Dst.Addr() == src.assumed {
			src.sayAssumed(hops[0], func() path.Hop { return path.Follow(rules, src.Config, src.network, c)[0] })
		}
		answer := report.Path{Source: src.Source, Rules: rules, Hops: hops}
		switch unprinted := unprintedNames(src.states[f]); {
		case src.absent[f]:
			answer.Unknown = fmt.Sprintf("no %s in this dump", xtables.SaveTool(f))
		case len(unprinted) > 0:
			answer.Unknown = strings.Join(unprinted, "; ")
		}
		if err := cmd.show(answer); err != nil {
			return err
		}
		return expected(cmd.opts.Expect, answer)
	})
}

// expected compares the answer with that of --expect.
func expected(want options.Expectation, answer report.Path) error {
	captured, certain := answer.Captured()
	switch {
	case want == options.ExpectNothing:
		return nil
	case !certain:
		return &exitError{code: exitUnknown}
	case captured != (want == options.ExpectCaptured):
		return &exitError{code: exitDrift}
	}
	return nil
}

// liveDiffers reports whether the namespace has rules of a mesh that are not those of the flags, if it
// can be read.
func (cmd *command) liveDiffers(ctx context.Context) bool {
	engine := cmd.engine()
	engine.Report = func(pod.Event) {}
	found, err := engine.Survey(ctx)
	if err != nil {
		return false
	}
	defer found.Close()
	return slices.ContainsFunc(found.States, func(s pod.State) bool {
		return slices.ContainsFunc(s.Families[:], func(f pod.FamilyState) bool {
			r := infer.Infer(f.Rules.Ruleset())
			return r.Captures() && !r.MadeBy(cmd.opts.Config) || r.Ambient || len(r.Meshes()) > 0
		})
	})
}

// show writes an answer in the format of --output.
func (cmd *command) show(a report.Answer) error {
	if cmd.opts.Output == options.JSON {
		return report.Write(cmd.plain, cmd.styler, a, true)
	}
	return report.Write(cmd.stdout, cmd.styler, a, false)
}
