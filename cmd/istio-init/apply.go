package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
)

// timeout bounds everything that is done to the kernel.
const timeout = 30 * time.Second

// An invocation is one run of a command.
type invocation struct {
	ctx    context.Context
	set    *settings
	log    *zap.Logger
	stdout io.Writer
}

// runApply installs the rules or previews them.
func runApply(inv *invocation) error {
	warning, err := inv.set.resolveDNS(func() ([]netip.Addr, error) { return netutil.DNSServers("/etc/resolv.conf") })
	if err != nil {
		return err
	}
	if warning != "" {
		inv.log.Warn(warning)
	}
	if err := inv.set.config.Validate(); err != nil {
		return fmt.Errorf("bug: the input was accepted but is not valid: %w", err)
	}
	if inv.set.skipApply {
		inv.log.Info("nothing installed, as --skip-rule-apply says")
		return nil
	}
	if inv.set.dryRun {
		return inv.preview()
	}
	return inv.inNetNS(inv.apply)
}

// inNetNS runs an action in the network namespace that was asked for, in
// bounded time.
func (inv *invocation) inNetNS(action func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(inv.ctx, timeout)
	defer cancel()
	return netutil.InNetNS(netutil.NetNSPath(inv.set.netns), func() error { return action(ctx) })
}

// wanted returns the rules for both families; for one that is not captured they
// are none.
func (inv *invocation) wanted() ([]iptables.Ruleset, error) {
	addrs, err := netutil.Addrs()
	if err != nil {
		return nil, err
	}
	families, warnings := inv.set.decideFamilies(addrs)
	for _, w := range warnings {
		inv.log.Warn(w)
	}
	want := make([]iptables.Ruleset, len(iptables.Families))
	for _, f := range iptables.Families {
		want[f] = iptables.Ruleset{Family: f}
	}
	for _, f := range families {
		want[f] = capture.Rules(inv.set.config, f)
		if len(want[f].Tables) == 0 && inv.set.config.Mode != capture.None {
			inv.log.Warn(fmt.Sprintf("%s is not captured: the rules of Istio %s have none for it", f, inv.set.config.Generation))
		}
	}
	return want, nil
}

// preview prints the rules and touches nothing.
func (inv *invocation) preview() error {
	var want []iptables.Ruleset
	err := inv.inNetNS(func(context.Context) (err error) {
		want, err = inv.wanted()
		return err
	})
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, rs := range want {
		if len(rs.Tables) > 0 {
			fmt.Fprintf(&text, "# %s\n%s", rs.Family.SaveTool(), previewText(rs, inv.set.route(rs)))
		}
	}
	if _, err := io.WriteString(inv.stdout, text.String()); err != nil {
		return fmt.Errorf("write the rules: %w", err)
	}
	return inv.appendDryRunFile(text.String())
}

// previewText is what iptables-save prints, and the policy routing as comments in
// the syntax of ip(8).
func previewText(rs iptables.Ruleset, route netutil.TProxyRoute) string {
	text := rs.String()
	if route != (netutil.TProxyRoute{}) {
		for _, command := range route.Commands(rs.Family == iptables.IPv6) {
			text += "# " + command + "\n"
		}
	}
	return text
}

// appendDryRunFile appends to the file of DRY_RUN_FILE_PATH.
func (inv *invocation) appendDryRunFile(text string) error {
	if inv.set.dryRunFile == "" {
		return nil
	}
	file, err := os.OpenFile(inv.set.dryRunFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("env DRY_RUN_FILE_PATH: %w", err)
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// apply makes the live rules the wanted ones, in the variant that is right for
// the namespace, and takes away what an earlier run left in the other.
func (inv *invocation) apply(ctx context.Context) error {
	want, err := inv.wanted()
	if err != nil {
		return err
	}
	kernels, err := inv.survey(ctx)
	if err != nil {
		return err
	}
	var captured []iptables.Family
	for _, rs := range want {
		if len(rs.Tables) > 0 {
			captured = append(captured, rs.Family)
		}
	}
	kernel, reason, err := iptables.Choose(kernels, inv.set.force, captured)
	if err != nil {
		return fmt.Errorf("choose the variant of iptables: %w", err)
	}
	inv.log.Info("variant of iptables chosen", zap.Stringer("variant", kernel.Variant()), zap.String("reason", reason))

	// Routes come before the rules that need them and go after them.
	for _, rs := range want {
		if err := inv.addRoute(rs); err != nil {
			return err
		}
	}
	changes, err := capture.Apply(ctx, kernel, want...)
	if err != nil {
		return err
	}
	inv.report(kernel, want, changes)
	for _, rs := range want {
		if err := inv.removeRoutes(rs.Family, inv.set.route(rs)); err != nil {
			return err
		}
	}
	if err := inv.passthroughV6(len(want[iptables.IPv6].Tables) > 0); err != nil {
		return err
	}
	for _, other := range kernels {
		if other != kernel && other.Holds() {
			inv.log.Info("rules of an earlier run in the other variant", zap.Stringer("variant", other.Variant()))
			if err := inv.cleanKernel(ctx, other); err != nil {
				return err
			}
		}
	}
	return inv.removeEmptyTables(kernel, changes)
}

// survey looks at the namespace.
func (inv *invocation) survey(ctx context.Context) (kernels [len(iptables.Variants)]*iptables.Kernel, err error) {
	seen := netutil.LookAtNetfilter()
	if errors.Is(seen.NoNFT, os.ErrPermission) {
		return kernels, fmt.Errorf("look at the packet filter (needs the capability NET_ADMIN in the network namespace): %w", seen.NoNFT)
	}
	return iptables.Survey(ctx, iptables.Look{
		Tables:  [len(iptables.Variants)][len(iptables.Families)][]string{iptables.NFT: seen.NFT, iptables.Legacy: seen.Legacy},
		NoNFT:   seen.NoNFT,
		Foreign: inv.set.netns != "" || inv.set.cniMode,
	}), nil
}

// report tells what became of each family.
func (inv *invocation) report(kernel *iptables.Kernel, want []iptables.Ruleset, changes []iptables.Change) {
	changed := map[iptables.Family]iptables.Change{}
	for _, c := range changes {
		changed[c.Family] = c
	}
	for _, rs := range want {
		c, ok := changed[rs.Family]
		switch {
		case ok:
			inv.log.Debug("script for " + rs.Family.SaveTool() + ":\n" + c.Script)
			inv.log.Info("rules applied", zap.Stringer("family", rs.Family), zap.Stringer("variant", kernel.Variant()),
				zap.Int("tables", len(rs.Tables)), zap.Int("rules", rs.Len()))
			inv.log.Info("Final iptables state (" + familyTitle(rs.Family) + "):\n" + c.After.String())
		case len(rs.Tables) > 0:
			inv.log.Info("rules in order, nothing written", zap.Stringer("family", rs.Family), zap.Stringer("variant", kernel.Variant()),
				zap.Int("tables", len(rs.Tables)), zap.Int("rules", rs.Len()))
			inv.log.Debug("Final iptables state (" + familyTitle(rs.Family) + "):\n" + kernel.State(rs.Family).String())
		}
	}
}

// familyTitle is the family as Istio's log spells it.
func familyTitle(f iptables.Family) string {
	if f == iptables.IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// route is the policy routing that the rules of a family need; zero for none.
func (s *settings) route(rs iptables.Ruleset) netutil.TProxyRoute {
	if c := s.config; len(rs.Tables) > 0 && c.ProxiesInbound() {
		return netutil.TProxyRoute{Mark: c.TProxyMark, Table: c.TProxyTable}
	}
	return netutil.TProxyRoute{}
}

func (inv *invocation) addRoute(rs iptables.Ruleset) error {
	route := inv.set.route(rs)
	if route == (netutil.TProxyRoute{}) {
		return nil
	}
	added, err := netutil.AddTProxyRoute(rs.Family == iptables.IPv6, route)
	if err != nil {
		return fmt.Errorf("policy routing (%s): %w", rs.Family, err)
	}
	if added {
		inv.log.Info("policy routing added", zap.Stringer("family", rs.Family), zap.Uint32("mark", route.Mark), zap.Uint32("table", route.Table))
	}
	return nil
}

// removeRoutes takes away the policy routing of earlier runs.
func (inv *invocation) removeRoutes(f iptables.Family, keep netutil.TProxyRoute) error {
	removed, err := netutil.RemoveTProxyRoutes(f == iptables.IPv6, keep)
	if err != nil {
		return fmt.Errorf("policy routing (%s): %w", f, err)
	}
	if removed {
		inv.log.Info("policy routing of an earlier run removed", zap.Stringer("family", f))
	}
	return nil
}

// passthroughV6 sees to the source address of inbound IPv6 connections.
func (inv *invocation) passthroughV6(wanted bool) error {
	change, what := netutil.RemovePassthroughV6, "removed from lo"
	if wanted {
		change, what = netutil.AddPassthroughV6, "added to lo"
	}
	changed, err := change()
	if err == nil && changed {
		inv.log.Info(netutil.PassthroughV6.String() + "/128 " + what)
	}
	return err
}

// removeEmptyTables takes away the tables of nf_tables that held nothing but
// what is ours. One that cannot be removed is no failure: it is empty.
func (inv *invocation) removeEmptyTables(kernel *iptables.Kernel, changes []iptables.Change) error {
	if kernel.Variant() != iptables.NFT {
		return nil
	}
	var emptied [len(iptables.Families)][]string
	for _, c := range changes {
		emptied[c.Family] = c.Emptied()
	}
	if _, err := netutil.RemoveEmptyNFTTables(emptied); err != nil {
		inv.log.Debug("empty tables stay", zap.Error(err))
	}
	return nil
}

// runClean removes what is ours, of both variants and families.
func runClean(inv *invocation) error { return inv.inNetNS(inv.clean) }

func (inv *invocation) clean(ctx context.Context) error {
	kernels, err := inv.survey(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, k := range kernels {
		errs = append(errs, inv.cleanKernel(ctx, k))
	}
	if inv.set.dryRun {
		return errors.Join(errs...)
	}
	for _, f := range iptables.Families {
		errs = append(errs, inv.removeRoutes(f, netutil.TProxyRoute{}))
	}
	return errors.Join(append(errs, inv.passthroughV6(false))...)
}

// cleanKernel removes what is ours from one variant, or with --dry-run prints
// how.
func (inv *invocation) cleanKernel(ctx context.Context, k *iptables.Kernel) error {
	if inv.set.dryRun {
		return inv.previewClean(ctx, k)
	}
	changes, err := capture.Clean(ctx, k)
	if err != nil {
		return err
	}
	for _, c := range changes {
		inv.log.Debug("script for " + c.Family.SaveTool() + ":\n" + c.Script)
		inv.log.Info("rules removed", zap.Stringer("family", c.Family), zap.Stringer("variant", k.Variant()))
		inv.log.Debug("Final iptables state (" + familyTitle(c.Family) + "):\n" + c.After.String())
		if c.After.Ours() {
			err = errors.Join(err, fmt.Errorf("%s: chains of ours stay, empty: rules of others jump to them: %s",
				c.Family, strings.Join(c.After.OurChains(), ", ")))
		}
	}
	if len(changes) == 0 {
		inv.log.Info("nothing of ours is there", zap.Stringer("variant", k.Variant()))
	}
	return errors.Join(err, inv.removeEmptyTables(k, changes))
}

func (inv *invocation) previewClean(ctx context.Context, k *iptables.Kernel) error {
	for _, f := range iptables.Families {
		c, err := k.Plan(ctx, iptables.Ruleset{Family: f})
		if err != nil {
			return err
		}
		if c.Script != "" {
			fmt.Fprintf(inv.stdout, "# input for %s --noflush, variant %s\n%s",
				strings.Replace(f.SaveTool(), "-save", "-restore", 1), k.Variant(), c.Script)
		}
	}
	return nil
}
