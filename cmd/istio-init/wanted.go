package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// complete adds the DNS servers of the pod to the configuration.
func (cmd *command) complete(ctx context.Context) error {
	const resolvConf = "/etc/resolv.conf"
	ctx, cancel := context.WithTimeout(ctx, cmd.opts.Timeout)
	defer cancel()
	warning, err := resolveDNS(cmd.opts, func() ([]netip.Addr, error) {
		return options.UntilDone(ctx, "read "+resolvConf, func() ([]netip.Addr, error) { return netutil.DNSServers(resolvConf) })
	})
	if err != nil {
		return err
	}
	if warning != "" {
		cmd.log.Warn(warning)
	}
	if err := cmd.opts.Config.Validate(); err != nil {
		return fmt.Errorf("bug: the input was accepted but is not valid: %w", err)
	}
	return nil
}

// planned returns the rules of the flags, for a command that changes nothing.
func (cmd *command) planned(ctx context.Context) (pod.Want, error) {
	if err := cmd.complete(ctx); err != nil {
		return pod.Nothing(), err
	}
	return cmd.wanted()
}

// families returns the families to capture, and warnings.
func (cmd *command) families() (families []inet.Family, warnings []string, err error) {
	addrs, err := netutil.Addrs(capture.Passthrough(inet.IPv6))
	if err != nil {
		return nil, nil, err
	}
	families, warnings = decideFamilies(cmd.opts, addrs, netutil.IPv6Off)
	return families, warnings, nil
}

// wanted returns what the namespace should have.
func (cmd *command) wanted() (pod.Want, error) {
	families, warnings, err := cmd.families()
	if err != nil {
		return pod.Nothing(), err
	}
	for _, w := range warnings {
		cmd.log.Warn(w)
	}
	return cmd.wantedIn(families), nil
}

// wantedIn returns what a namespace should have in which these families are captured.
func (cmd *command) wantedIn(families []inet.Family) pod.Want {
	want := pod.Wanted(cmd.opts.Config, families)
	for _, f := range families {
		if !slices.Contains(want.Families, f) && cmd.opts.Config.Mode != capture.None {
			cmd.log.Warn(fmt.Sprintf("%s is not captured: Istio %s has no rules for it", f, cmd.opts.Config.Generation))
		}
	}
	return want
}
