package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"go.uber.org/zap"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
)

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
	switch {
	case inv.set.skipApply:
		inv.log.Info("nothing installed, as --skip-rule-apply says")
		if inv.set.dryRun || !inv.set.runValidation {
			return nil
		}
		return inv.inNetNS(inv.validate)
	case inv.set.dryRun:
		return inv.preview()
	}
	return inv.change(func(ctx context.Context, found live) error {
		err := inv.apply(ctx, found)
		if err != nil || !inv.set.runValidation {
			return err
		}
		return inv.validate(ctx)
	})
}

// inNetNS runs an action in the network namespace that was asked for, in
// bounded time.
func (inv *invocation) inNetNS(action func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(inv.ctx, inv.set.timeout)
	defer cancel()
	return netutil.InNetNS(netutil.NetNSPath(inv.set.netns), func() error { return action(ctx) })
}

// change runs an action on what the namespace holds, alone among the runs of this
// program.
func (inv *invocation) change(action func(context.Context, live) error) error {
	return inv.inNetNS(func(ctx context.Context) error {
		lock, err := netutil.LockNetNS(ctx)
		if err != nil {
			return err
		}
		defer lock.Close()
		found, err := inv.survey(ctx, lock)
		if err != nil {
			return err
		}
		return action(ctx, found)
	})
}

// families are those that are captured, and what to warn of.
func (inv *invocation) families() (families []iptables.Family, warnings []string, err error) {
	addrs, err := netutil.Addrs()
	if err != nil {
		return nil, nil, err
	}
	families, warnings = inv.set.decideFamilies(addrs, netutil.IPv6Off())
	return families, warnings, nil
}

// wanted returns the rules for both families; for one that is not captured they
// are none.
func (inv *invocation) wanted() ([]iptables.Ruleset, error) {
	families, warnings, err := inv.families()
	if err != nil {
		return nil, err
	}
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

// apply makes the live state the wanted one, or when a step fails, leaves it as
// it was. The order is such that at no time less is captured than both before and
// after: routes come before the rules that need them and go after those that
// needed them, and what an earlier run left in the other variant goes last.
func (inv *invocation) apply(ctx context.Context, found live) (err error) {
	if err := inv.refuseHost(); err != nil {
		return err
	}
	if found.blind != nil {
		inv.log.Info("rules of an earlier run may be in the legacy variant, which cannot be looked at", zap.Error(found.blind))
	}
	want, err := inv.wanted()
	if err != nil {
		return err
	}
	kernel, err := inv.choose(found.kernels, want)
	if err != nil {
		return err
	}
	var done undoStack
	defer func() {
		if err != nil && len(done) > 0 {
			if undo := done.undo(); undo != nil {
				err = errors.Join(err, undo)
			} else {
				err = fmt.Errorf("%w; what the run had changed was taken back", err)
			}
		}
	}()
	for _, rs := range want {
		if err := inv.addRoute(&done, rs); err != nil {
			return err
		}
	}
	changes, err := capture.Apply(ctx, kernel, want...)
	if err != nil {
		inv.removeEmptyTables(kernel, changes, iptables.Change.Made)
		return explainRefusal(err)
	}
	done.push(func() error {
		err := kernel.Revert(ctx, changes)
		inv.removeEmptyTables(kernel, changes, iptables.Change.Made)
		return err
	})
	inv.report(kernel, want, changes)
	if err := inv.passthroughV6(&done, len(want[iptables.IPv6].Tables) > 0); err != nil {
		return err
	}
	for _, other := range found.kernels {
		if other != kernel && other.Holds() {
			inv.log.Info("rules of an earlier run in the other variant", zap.Stringer("variant", other.Variant()))
			undo, err := inv.cleanKernel(ctx, other)
			done.push(undo)
			if err != nil {
				return err
			}
		}
	}
	for _, rs := range want { // no rule needs them any more, in neither variant
		if err := inv.removeRoutes(&done, rs.Family, inv.set.route(rs)); err != nil {
			return err
		}
	}
	inv.removeEmptyTables(kernel, changes, iptables.Change.Emptied)
	return inv.removeNative(found.native)
}

// choose picks the variant to work with.
func (inv *invocation) choose(found kernels, want []iptables.Ruleset) (*iptables.Kernel, error) {
	var captured []iptables.Family
	for _, rs := range want {
		if len(rs.Tables) > 0 {
			captured = append(captured, rs.Family)
		}
	}
	kernel, reason, err := iptables.Choose(found, inv.set.force, captured)
	if err != nil {
		return nil, fmt.Errorf("choose the variant of iptables: %w", err)
	}
	inv.log.Info("variant of iptables chosen", zap.Stringer("variant", kernel.Variant()), zap.String("reason", reason))
	return kernel, nil
}

// An undoStack takes back the steps of a run, the last one first.
type undoStack []func() error

// push adds a step; nil is one that changed nothing.
func (u *undoStack) push(undo func() error) {
	if undo != nil {
		*u = append(*u, undo)
	}
}

func (u *undoStack) undo() error {
	var errs []error
	for i := len(*u) - 1; i >= 0; i-- {
		if err := (*u)[i](); err != nil {
			errs = append(errs, fmt.Errorf("undo: %w", err))
		}
	}
	return errors.Join(errs...)
}

// addRoute adds the policy routing that the rules of a family need.
func (inv *invocation) addRoute(done *undoStack, rs iptables.Ruleset) error {
	route := inv.set.route(rs)
	if route == (netutil.TProxyRoute{}) {
		return nil
	}
	undo, err := netutil.AddTProxyRoute(rs.Family == iptables.IPv6, route)
	done.push(undo)
	if err != nil {
		return fmt.Errorf("policy routing (%s), for mode TPROXY: %w", rs.Family, err)
	}
	if undo != nil {
		inv.log.Info("policy routing added", zap.Stringer("family", rs.Family), zap.Uint32("mark", route.Mark), zap.Uint32("table", route.Table))
	}
	return nil
}

// removeRoutes takes away the policy routing of earlier runs.
func (inv *invocation) removeRoutes(done *undoStack, f iptables.Family, keep netutil.TProxyRoute) error {
	undo, err := netutil.RemoveTProxyRoutes(f == iptables.IPv6, keep)
	done.push(undo)
	if err != nil {
		return fmt.Errorf("policy routing (%s): %w", f, err)
	}
	if undo != nil {
		inv.log.Info("policy routing of an earlier run removed", zap.Stringer("family", f))
	}
	return nil
}

// passthroughV6 sees to the source address of inbound IPv6 connections.
func (inv *invocation) passthroughV6(done *undoStack, wanted bool) error {
	change, what := netutil.RemovePassthroughV6, "removed from lo"
	if wanted {
		change, what = netutil.AddPassthroughV6, "added to lo"
	}
	undo, err := change()
	done.push(undo)
	if err == nil && undo != nil {
		inv.log.Info(netutil.PassthroughV6.String() + "/128 " + what)
	}
	return err
}
