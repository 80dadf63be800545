package main

import (
	"context"
	"os"

	"go.uber.org/zap/zapcore"

	"istio-init/cmd/istio-init/options"
)

// newLogger returns the logger. If stdout is reserved for the answer, a log for stdout goes
// to stderr. A log that cannot be written is no error of a run; the end of ctx ends the wait
// for its reader.
func newLogger(ctx context.Context, s streams, set options.Log, reserved bool) (log *logger, closeLog func(), err error) {
	config := zapcore.EncoderConfig{ // the names of zap, and of Istio's logs
		TimeKey: "ts", LevelKey: "level", CallerKey: "caller", MessageKey: "msg", StacktraceKey: "stacktrace",
		EncodeTime: zapcore.ISO8601TimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.SecondsDurationEncoder, EncodeCaller: zapcore.ShortCallerEncoder,
	}
	encoder := zapcore.NewConsoleEncoder(config)
	if set.JSON {
		encoder = zapcore.NewJSONEncoder(config)
	}
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
	sink := zapcore.AddSync(plainOutput{to})
	log = &logger{core: zapcore.NewCore(encoder, zapcore.Lock(sink), set.Level), caller: set.Caller}
	if set.Traces {
		log.stack = set.Stacktrace
	}
	return log, closeLog, nil
}
