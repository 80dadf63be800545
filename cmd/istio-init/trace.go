package main

import (
	"context"

	"istio-init/capture/path"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
)

// runTrace tells where a connection lands, and which rule says so.
func runTrace(inv *invocation) error {
	q := question(inv.set.Query)
	if q.To == (options.Endpoint{}) {
		return errNoTarget
	}
	f, err := q.family()
	if err != nil {
		return err
	}
	inv.explainRules()
	return inv.inNetNS(func(ctx context.Context) error {
		sc, err := inv.scene(ctx)
		if err != nil {
			return err
		}
		c, err := q.connection(sc, f)
		if err != nil {
			return err
		}
		rules := sc.Rules[f]
		routes := path.Routes{Route: sc.route, Proxy: proxyOwner(sc.Config)}
		return inv.show(report.Path{Source: sc.Source, Rules: rules, Hops: path.Follow(rules, sc.Config, routes, c)})
	})
}

// show writes an answer in the form that was asked for.
func (inv *invocation) show(a report.Answer) error {
	return report.Write(inv.stdout, inv.styler, a, inv.set.Output == options.JSON)
}
