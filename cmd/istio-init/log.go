package main

import (
	"context"
	"os"

	"go.uber.org/zap/zapcore"

	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/logging"
)

// newLogger returns the logger. If stdout is reserved for the answer, a log for stdout goes
// to stderr. A log that cannot be written is no error of a run; the end of ctx ends the wait
// for its reader.
func newLogger(ctx context.Context, s streams, set options.Log, reserved bool) (log *logging.Logger, closeLog func(), err error) {
	to, closeLog := &output{name: "stderr", to: s.stderr, done: ctx.Done()}, func() {}
	switch {
	case set.Target == "" || set.Target == "stderr" || set.Target == "stdout" && reserved:
	case set.Target == "stdout":
		to.to = s.log
	default:
		file, err := options.UntilDone(ctx, "open "+set.Target, func() (*os.File, error) { return openToAppend(set.Target) })
		if err != nil {
			return nil, closeLog, err
		}
		to.to, closeLog = file, func() { _ = file.Close() }
	}
	encoder := zapcore.NewConsoleEncoder
	if set.JSON {
		encoder = zapcore.NewJSONEncoder
	}
	log = logging.New(plainOutput{to}, encoder, set.Level)
	log.Caller = set.Caller
	if set.Traces {
		log.Stack = set.Stacktrace
	}
	return log, closeLog, nil
}
