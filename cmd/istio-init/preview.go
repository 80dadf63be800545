package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"istio-init/capture"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/nftables"
)

// preview prints the rules of the flags.
func (cmd *command) preview(ctx context.Context) error {
	if cmd.opts.RunValidation {
		cmd.log.Info("nothing validated: --dry-run is set")
	}
	var want pod.Want
	err := cmd.inNetNS(ctx, func(context.Context) (err error) {
		want, err = cmd.wanted()
		return err
	})
	if err != nil {
		return err
	}
	var text strings.Builder
	rules := want.Rules()
	if cmd.opts.NativeNFT {
		rules = want.RulesFor(pod.NFTables)
	}
	cmd.result.Wants(rules)
	for _, f := range want.Families {
		if !cmd.opts.NativeNFT {
			if err := rules[f].Validate(); err != nil {
				return fmt.Errorf("bug in the rules for %s: %w", f, err)
			}
			fmt.Fprintf(&text, "# %s\n%s", xtables.SaveTool(f), previewText(rules[f], want.Routes[f]))
			continue
		}
		table, err := nftables.Compile(rules[f])
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		text.WriteString(table.String() + routeText(f, want.Routes[f]))
	}
	if cmd.opts.Config.Mode == capture.None {
		cmd.log.Info("nothing is captured: mode NONE has no rules")
	}
	return cmd.answer(ctx, text.String())
}

// answer prints the text of a dry run, and appends it to the file of DRY_RUN_FILE_PATH.
func (cmd *command) answer(ctx context.Context, text string) error {
	if err := cmd.print(text); err != nil {
		return err
	}
	return cmd.appendDryRunFile(ctx, text)
}

func (cmd *command) print(text string) error {
	if cmd.result != nil {
		cmd.result.Text = text
		return nil
	}
	if _, err := io.WriteString(cmd.plain, text); err != nil {
		return fmt.Errorf("write the rules: %w", err)
	}
	return nil
}

// previewText returns what iptables-save prints, and the policy routing as comments in the
// syntax of ip(8).
func previewText(rs iptables.Ruleset, route netutil.TProxyRoute) string {
	return rs.String() + routeText(rs.Family, route)
}

// routeText returns the policy routing as comments; "" for none.
func routeText(f inet.Family, route netutil.TProxyRoute) string {
	if route == (netutil.TProxyRoute{}) {
		return ""
	}
	var b strings.Builder
	for _, command := range route.Commands(f) {
		b.WriteString("# " + command + "\n")
	}
	return b.String()
}

// appendDryRunFile appends to the file of DRY_RUN_FILE_PATH.
func (cmd *command) appendDryRunFile(ctx context.Context, text string) error {
	if cmd.opts.DryRunFile == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cmd.opts.Timeout)
	defer cancel()
	_, err := options.UntilDone(ctx, "write "+cmd.opts.DryRunFile, func() (int, error) {
		file, err := openToAppend(cmd.opts.DryRunFile)
		if err != nil {
			return 0, err
		}
		_, err = file.WriteString(text)
		return 0, errors.Join(err, file.Close())
	})
	if err != nil {
		return fmt.Errorf("%s: %w", cmd.name("DRY_RUN_FILE_PATH"), err)
	}
	return nil
}

// openToAppend opens a file for writing at its end. To open a FIFO that nobody reads blocks.
func openToAppend(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}
