package main

import (
	"context"
	"fmt"
	"io"

	"istio-init/capture/infer"
	"istio-init/capture/picture"
	"istio-init/cmd/istio-init/report"
)

// shown are the readings to show: of rules that are not live, those of the families
// that have any.
func (sc *scene) shown() []*infer.Inference {
	var some []*infer.Inference
	for _, r := range sc.Rules {
		if len(r.Rules.Tables) > 0 {
			some = append(some, r)
		}
	}
	if sc.Live || len(some) == 0 {
		return sc.Rules
	}
	return some
}

// runExplain shows rules as people read them.
func runExplain(inv *invocation) error {
	return inv.inNetNS(func(ctx context.Context) error {
		sc, err := inv.scene(ctx)
		if err != nil {
			return err
		}
		for _, doubt := range sc.Caveats {
			inv.log.Warn("what is shown is not all there is: " + doubt)
		}
		text := picture.Draw(inv.set.Picture, picture.Terminal{Width: report.Width, Colour: inv.styler.Colour}, report.Reason, sc.shown()...)
		if _, err := io.WriteString(inv.stdout, text); err != nil {
			return fmt.Errorf("write the rules: %w", err)
		}
		return nil
	})
}
