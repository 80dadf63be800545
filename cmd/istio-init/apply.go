package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"istio-init/capture"
	"istio-init/cmd/istio-init/options"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// An invocation is one run of a command.
type invocation struct {
	ctx    context.Context
	set    *options.Run
	log    *logger
	stdin  io.Reader
	stdout io.Writer
	pen    pen // for what people read on stdout
}

// runApply installs the rules or previews them.
func runApply(inv *invocation) error {
	if err := inv.complete(); err != nil {
		return err
	}
	switch {
	case inv.set.SkipApply:
		inv.log.Info("nothing installed, as --skip-rule-apply says")
		if inv.set.DryRun || !inv.set.RunValidation {
			return nil
		}
		return inv.inNetNS(inv.validate)
	case inv.set.DryRun:
		return inv.preview()
	}
	return inv.change(func(ctx context.Context, found live) error {
		err := inv.apply(ctx, found)
		if err != nil || !inv.set.RunValidation {
			return err
		}
		return inv.validate(ctx)
	})
}

// inNetNS runs an action in the network namespace that was asked for, in bounded
// time.
func (inv *invocation) inNetNS(action func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(inv.ctx, inv.set.Timeout)
	defer cancel()
	return netutil.InNetNS(netutil.NetNSPath(inv.set.NetNS), func() error { return action(ctx) })
}

// change runs an action on what the namespace holds, alone among the runs of this
// program.
func (inv *invocation) change(action func(context.Context, live) error) error {
	return inv.inNetNS(func(ctx context.Context) error {
		return inv.amongFiles(func() error {
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
	})
}

// amongFiles calls fn, when we are called from the node, where programs do not ask
// its name services.
func (inv *invocation) amongFiles(fn func() error) error {
	if !inv.set.CNIMode {
		return fn()
	}
	return netutil.WithoutNameServices(func(why error) error {
		if why != nil {
			inv.log.Debug("name services of the node may be asked (needs CAP_SYS_ADMIN)", errorField(why))
		}
		return fn()
	})
}

// apply makes the live state the wanted one, or when a step fails, leaves it as
// it was.
func (inv *invocation) apply(ctx context.Context, found live) error {
	if err := inv.refuseHost(); err != nil {
		return err
	}
	if err := found.lost(); err != nil {
		return err
	}
	if found.blind != nil {
		inv.log.Info("rules of an earlier run may be in the legacy variant, which cannot be looked at", errorField(found.blind))
	}
	want, err := inv.wanted()
	if err != nil {
		return err
	}
	kernel, err := inv.choose(found.kernels, want)
	if err != nil {
		return err
	}
	caveats, err := identify(ctx, kernel, want)
	if err != nil {
		return err
	}
	for _, caveat := range caveats {
		inv.log.Warn(caveat)
	}
	var done undoStack
	if err = inv.converge(ctx, &done, found, kernel, want); err == nil || len(done) == 0 {
		return err
	}
	if undo := done.undo(); undo != nil {
		return errors.Join(err, undo)
	}
	return fmt.Errorf("%w; what the run had changed was taken back", err)
}

// converge makes the steps of apply. Their order, which package capture explains, is
// such that at no time less is captured than both before and after: what rules need,
// routes and the passthrough address, comes before them and goes after them.
func (inv *invocation) converge(ctx context.Context, done *undoStack, found live, kernel *iptables.Kernel, want []iptables.Ruleset) error {
	if err := inv.addNeeds(done, want); err != nil {
		return err
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
	if err := inv.cleanOther(ctx, done, found.kernels[1-kernel.Variant()], found.generation); err != nil {
		return err
	}
	if err := inv.removeNeeds(done, found, want); err != nil {
		return err
	}
	inv.removeEmptyTables(kernel, changes, iptables.Change.Emptied)
	return inv.removeNative(found.native)
}

// addNeeds adds what the wanted rules need besides themselves.
func (inv *invocation) addNeeds(done *undoStack, want []iptables.Ruleset) error {
	for _, rs := range want {
		if err := inv.addRoute(done, rs); err != nil {
			return err
		}
	}
	if len(want[inet.IPv6].Tables) == 0 {
		return nil
	}
	return inv.passthroughV6(done, true)
}

// removeNeeds takes away what no rule needs any more, in neither variant. Rules that
// cannot be looked at may need it.
func (inv *invocation) removeNeeds(done *undoStack, found live, want []iptables.Ruleset) error {
	keep := map[inet.Family]netutil.TProxyRoute{}
	for _, rs := range want {
		if !found.hidden(rs.Family) {
			keep[rs.Family] = routeFor(inv.set.Config, rs)
		}
	}
	if err := inv.removeRoutes(done, keep); err != nil {
		return err
	}
	if len(want[inet.IPv6].Tables) > 0 || found.hidden(inet.IPv6) {
		return nil
	}
	return inv.passthroughV6(done, false)
}

// cleanOther removes what an earlier run left in the variant that was not chosen.
func (inv *invocation) cleanOther(ctx context.Context, done *undoStack, other *iptables.Kernel, generation uint32) error {
	if !other.Holds() {
		return nil
	}
	inv.log.Info("rules of an earlier run in the other variant", namedField("variant", other.Variant()))
	undo, err := inv.cleanKernel(ctx, other, generation)
	done.push(undo)
	return err
}

// choose picks the variant to work with.
func (inv *invocation) choose(found kernels, want []iptables.Ruleset) (*iptables.Kernel, error) {
	kernel, reason, err := iptables.Choose(found, inv.set.Force, captured(want))
	if err != nil {
		return nil, fmt.Errorf("choose the variant of iptables: %w", err)
	}
	inv.log.Info("variant of iptables chosen", namedField("variant", kernel.Variant()), stringField("reason", reason))
	return kernel, nil
}

// captured returns the families of which rules are wanted.
func captured(want []iptables.Ruleset) []inet.Family {
	var families []inet.Family
	for _, rs := range want {
		if len(rs.Tables) > 0 {
			families = append(families, rs.Family)
		}
	}
	return families
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

// tproxyRoutes is the policy routing of mode TPROXY. No other program has the route
// that Istio makes by default, so it is known as the mesh's whoever made it.
var tproxyRoutes = netutil.TProxyRoutes{Known: netutil.TProxyRoute{Mark: capture.DefaultTProxyMark, Table: capture.DefaultTProxyTable}}

// passthroughV6 is the source address of inbound IPv6 connections.
var passthroughV6 = capture.Passthrough(inet.IPv6)

// addRoute adds the policy routing that the rules of a family need.
func (inv *invocation) addRoute(done *undoStack, rs iptables.Ruleset) error {
	route := routeFor(inv.set.Config, rs)
	if route == (netutil.TProxyRoute{}) {
		return nil
	}
	undo, err := tproxyRoutes.Add(rs.Family, route)
	done.push(undo)
	if err != nil {
		return fmt.Errorf("policy routing (%s), for mode TPROXY: %w", rs.Family, err)
	}
	if undo != nil {
		inv.log.Info("policy routing added", namedField("family", rs.Family), numberField("mark", route.Mark), numberField("table", route.Table))
	}
	return nil
}

// removeRoutes takes away the policy routing of earlier runs from some families, but for
// one route of each that is to stay (zero: none).
func (inv *invocation) removeRoutes(done *undoStack, keep map[inet.Family]netutil.TProxyRoute) error {
	there, err := tproxyRoutes.Families()
	if err != nil {
		return fmt.Errorf("policy routing: %w", err)
	}
	var errs []error
	for _, f := range inet.Families {
		route, ok := keep[f]
		if !ok || !there[f] {
			continue
		}
		undo, err := tproxyRoutes.Remove(f, route)
		done.push(undo)
		if err != nil {
			errs = append(errs, fmt.Errorf("policy routing (%s): %w", f, err))
		} else if undo != nil {
			inv.log.Info("policy routing of an earlier run removed", namedField("family", f))
		}
	}
	return errors.Join(errs...)
}

// passthroughV6 sees to the source address of inbound IPv6 connections.
func (inv *invocation) passthroughV6(done *undoStack, wanted bool) error {
	change, what := netutil.RemoveLoopbackAddr, "removed from lo"
	if wanted {
		change, what = netutil.AddLoopbackAddr, "added to lo"
	}
	undo, err := change(passthroughV6)
	done.push(undo)
	if err == nil && undo != nil {
		inv.log.Info(passthroughV6.String() + "/128 " + what)
	}
	return err
}
