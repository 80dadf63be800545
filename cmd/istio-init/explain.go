package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"istio-init/capture/infer"
	"istio-init/capture/picture"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/netutil/inet"
)

func newExplain(s streams) *cobra.Command {
	return newRuleCommand(s, &cobra.Command{
		Use:        "explain",
		Short:      "show rules and the reason of each, as a tree, a table or a picture",
		SuggestFor: []string{"list", "dump", "print", "save", "rules", "tree"},
		Long: `Show rules and the reason of each. The rules are those of the network namespace; with
flags that describe rules, those that "apply" would make; with --rules those of a file.
Nothing is changed.

Formats: save is the text of iptables-save; tree and table are for a terminal; json is
for programs; dot (for graphviz) and mermaid draw the path of a packet.`,
		Example: `  istio-init explain --output tree
  istio-init explain --output dot -i '*' -b '*' -d 15090 | dot -Tsvg >rules.svg
  iptables-save | istio-init explain --output table --rules -`,
	}, options.Explain, runExplain)
}

// shown returns the rules to show: of rules that are not live, those of families that have
// any.
func (src *ruleSource) shown() []*infer.Inference {
	var some []*infer.Inference
	for _, r := range src.Rules {
		if len(r.Rules.Tables) > 0 {
			some = append(some, r)
		}
	}
	if src.Live || len(some) == 0 {
		return src.Rules
	}
	return some
}

// runExplain shows the rules in a format.
func runExplain(ctx context.Context, cmd *command) error {
	return cmd.ask(ctx, func(ctx context.Context) error {
		src, err := cmd.source(ctx, inet.Families[:]...)
		if err != nil {
			return err
		}
		for _, note := range src.Notes {
			cmd.log.Info(note)
		}
		for _, caveat := range src.Caveats {
			cmd.log.Warn("the output is incomplete: " + caveat)
		}
		text := picture.Draw(cmd.opts.Picture, picture.Terminal{Width: report.Width, Colour: cmd.styler.Colour}, report.Reason, src.shown()...)
		if text == "" { // as iptables-save prints nothing
			cmd.log.Info("there are no rules of a mesh")
		}
		if f := cmd.opts.Picture; f == picture.Save || f == picture.JSON {
			return cmd.print(text)
		}
		if _, err := io.WriteString(cmd.stdout, text); err != nil {
			return fmt.Errorf("write the rules: %w", err)
		}
		return nil
	})
}
