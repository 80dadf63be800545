package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap/zapcore"

	"istio-init/capture/pod"
	"istio-init/cmd/istio-cni/decision"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/cmd/logging"
)

// setLevel sets the lowest level that is logged; "" is info.
func (p *plugin) setLevel(name string) {
	level, err := zapcore.ParseLevel(cmp.Or(name, "info"))
	if err != nil {
		p.log.Warn("plugin_log_level is unknown: info is used", logging.String("plugin_log_level", shortened(name)))
		return
	}
	p.level = level
}

// logCall writes the one line about a pod: what was decided, why, by which options from where, and
// how long it took.
func (p *plugin) logCall(message string, c *call, err error) {
	fields := []logging.Field{
		logging.String("namespace", c.pod.Namespace), logging.String("pod", c.pod.Name), logging.String("sandbox", c.args.ContainerID),
		logging.String("decision", c.Verdict.String()), logging.String("reason", shortened(c.Reason)),
	}
	if c.Verdict == decision.Apply {
		fields = append(fields, logging.Object("options", loggedValues(c.Values)), logging.String("backend", c.backend))
	}
	if err != nil {
		fields = append(fields, logging.Error(err))
	}
	fields = append(fields, logging.Int("ms", time.Since(c.start).Milliseconds()))
	switch {
	case err != nil:
		p.log.Error(message, fields...)
	case c.Suspect:
		p.log.Warn(message, fields...)
	default:
		p.log.Info(message, fields...)
	}
}

// loggedValues are the values of options with their sources, as an object.
type loggedValues []options.Value

// MarshalLogObject writes each value with its source.
func (values loggedValues) MarshalLogObject(to zapcore.ObjectEncoder) error {
	for _, v := range values {
		to.AddString(v.Option, fmt.Sprintf("%s (%s)", shortened(v.Text), v.From))
	}
	for _, option := range decision.Switches {
		if !slices.ContainsFunc(values, func(v options.Value) bool { return v.Option == option }) {
			to.AddString(option, "false (default)")
		}
	}
	return nil
}

// shortened cuts off the end of a long text.
func shortened(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes)", text[:most], len(text))
}

// logEvent logs an event of the engine.
func logEvent(log *logging.Logger, event pod.Event) {
	switch e := event.(type) {
	case pod.TablesUnreadable:
		log.Warn("some tables could not be read", logging.String("backend", string(e.Backend)), logging.Error(e.Err))
	case pod.RuleAhead:
		log.Warn("foreign rule ahead of ours, may take connections first", logging.String("family", e.Family.String()), logging.String("rule", e.Rule))
	case pod.MeshBeside:
		log.Warn(report.MeshBeside(e.Family, e.Mesh))
	case pod.NameServices:
		log.Debug("the name services of the node may be asked", logging.Error(e.Err))
	case pod.TablesStay:
		log.Debug("empty tables were not removed", logging.Error(e.Err))
	default:
		log.Debug(fmt.Sprintf("%T", event))
	}
}
