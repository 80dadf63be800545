package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// preview prints the rules and touches nothing.
func (inv *invocation) preview() error {
	if inv.set.RunValidation {
		inv.log.Info("nothing validated, as --dry-run says")
	}
	var want []iptables.Ruleset
	err := netutil.InNetNS(netutil.NetNSPath(inv.set.NetNS), func() (err error) {
		want, err = inv.wanted()
		return err
	})
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, rs := range want {
		if len(rs.Tables) > 0 {
			fmt.Fprintf(&text, "# %s\n%s", iptables.SaveTool(rs.Family), previewText(rs, routeFor(inv.set.Config, rs)))
		}
	}
	return inv.answer(text.String())
}

// answer prints what a dry run is for, and appends it to the file of
// DRY_RUN_FILE_PATH.
func (inv *invocation) answer(text string) error {
	if _, err := io.WriteString(inv.stdout, text); err != nil {
		return fmt.Errorf("write the rules: %w", err)
	}
	return inv.appendDryRunFile(text)
}

// previewText is what iptables-save prints, and the policy routing as comments in
// the syntax of ip(8).
func previewText(rs iptables.Ruleset, route netutil.TProxyRoute) string {
	text := rs.String()
	if route != (netutil.TProxyRoute{}) {
		for _, command := range route.Commands(rs.Family) {
			text += "# " + command + "\n"
		}
	}
	return text
}

// appendDryRunFile appends to the file of DRY_RUN_FILE_PATH.
func (inv *invocation) appendDryRunFile(text string) error {
	if inv.set.DryRunFile == "" {
		return nil
	}
	file, err := os.OpenFile(inv.set.DryRunFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("env DRY_RUN_FILE_PATH: %w", err)
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// routeFor is the policy routing that the rules of a family need; zero for none.
func routeFor(c capture.Config, rs iptables.Ruleset) netutil.TProxyRoute {
	if len(rs.Tables) > 0 && c.ProxiesInbound() {
		return netutil.TProxyRoute{Mark: c.TProxyMark, Table: c.TProxyTable}
	}
	return netutil.TProxyRoute{}
}

// previewClean prints the changes that would remove what is ours.
func (inv *invocation) previewClean(found live) error {
	var text strings.Builder
	for _, k := range found.kernels {
		for _, f := range inet.Families {
			c, err := k.Plan(iptables.Ruleset{Family: f})
			if err != nil {
				return err
			}
			if c.Script != "" {
				fmt.Fprintf(&text, "# input for %s --noflush, variant %s\n%s",
					strings.Replace(iptables.SaveTool(f), "-save", "-restore", 1), k.Variant(), c.Script)
			}
		}
	}
	return inv.answer(text.String())
}
