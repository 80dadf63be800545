package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"go.uber.org/zap/zapcore"

	"istio-init/capture/pod"
	"istio-init/cmd/istio-cni/decision"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
)

// A logger writes lines of JSON. It replaces zap.Logger, which links an HTTP server.
type logger struct {
	core  zapcore.Core
	level *zapcore.Level // of the core
}

type field = zapcore.Field

func newLogger(to io.Writer) *logger {
	config := zapcore.EncoderConfig{ // the names of istio-init's log
		TimeKey: "ts", LevelKey: "level", MessageKey: "msg",
		EncodeTime: zapcore.ISO8601TimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder,
	}
	level := new(zapcore.InfoLevel)
	return &logger{zapcore.NewCore(zapcore.NewJSONEncoder(config), zapcore.Lock(zapcore.AddSync(to)), level), level}
}

// setLevel sets the lowest level that is logged; "" is info.
func (l *logger) setLevel(name string) {
	level, err := zapcore.ParseLevel(cmp.Or(name, "info"))
	if err != nil {
		l.Warn("plugin_log_level is unknown: info is used", stringField("plugin_log_level", shortened(name)))
		return
	}
	*l.level = level
}

// muted returns a logger that writes nothing.
func (l *logger) muted() *logger { return &logger{zapcore.NewNopCore(), l.level} }

func (l *logger) Debug(message string, fields ...field) { l.log(zapcore.DebugLevel, message, fields) }

func (l *logger) Info(message string, fields ...field) { l.log(zapcore.InfoLevel, message, fields) }

func (l *logger) Warn(message string, fields ...field) { l.log(zapcore.WarnLevel, message, fields) }

func (l *logger) Error(message string, fields ...field) { l.log(zapcore.ErrorLevel, message, fields) }

func (l *logger) log(level zapcore.Level, message string, fields []field) {
	if entry := l.core.Check(zapcore.Entry{Level: level, Time: time.Now().UTC(), Message: message}, nil); entry != nil {
		entry.Write(fields...)
	}
}

// logCall writes the one line about a pod: what was decided, why, by which options from where, and
// how long it took.
func (l *logger) logCall(message string, c *call, err error) {
	fields := []field{
		stringField("namespace", c.pod.Namespace), stringField("pod", c.pod.Name), stringField("sandbox", c.args.ContainerID),
		stringField("decision", c.Verdict.String()), stringField("reason", shortened(c.Reason)),
	}
	if c.Verdict == decision.Apply {
		fields = append(fields, field{Key: "options", Type: zapcore.ObjectMarshalerType, Interface: loggedValues(c.Values)}, stringField("backend", c.backend))
	}
	if err != nil {
		fields = append(fields, errorField(err))
	}
	fields = append(fields, field{Key: "ms", Type: zapcore.Int64Type, Integer: time.Since(c.start).Milliseconds()})
	switch {
	case err != nil:
		l.Error(message, fields...)
	case c.Suspect:
		l.Warn(message, fields...)
	default:
		l.Info(message, fields...)
	}
}

// loggedValues are the values of options with their sources, as an object.
type loggedValues []options.Value

// MarshalLogObject writes each value with its source.
func (values loggedValues) MarshalLogObject(to zapcore.ObjectEncoder) error { //nolint:unparam // as zapcore.ObjectMarshaler has it
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

// event logs an event of the engine.
func (l *logger) event(event pod.Event) {
	switch e := event.(type) {
	case pod.TablesUnreadable:
		l.Warn("some tables could not be read", stringField("backend", string(e.Backend)), errorField(e.Err))
	case pod.RuleAhead:
		l.Warn("foreign rule ahead of ours, may take connections first", stringField("family", e.Family.String()), stringField("rule", e.Rule))
	case pod.MeshBeside:
		l.Warn(report.MeshBeside(e.Family, e.Mesh))
	case pod.NameServices:
		l.Debug("the name services of the node may be asked", errorField(e.Err))
	case pod.TablesStay:
		l.Debug("empty tables were not removed", errorField(e.Err))
	default:
		l.Debug(fmt.Sprintf("%T", event))
	}
}

// The fields of lines.

func stringField(key, value string) field {
	return field{Key: key, Type: zapcore.StringType, String: value}
}

func errorField(err error) field {
	return field{Key: "error", Type: zapcore.ErrorType, Interface: err}
}
