package main

import (
	"context"
	"fmt"

	"go.uber.org/zap/zapcore"

	"istio-init/cmd/istio-init/options"
)

// newLogger returns the logger. If stdout is reserved for the answer, a log for stdout goes
// to stderr.
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
	sink, closeLog := zapcore.AddSync(s.stderr), func() {}
	switch {
	case set.Target == "" || set.Target == "stderr" || set.Target == "stdout" && reserved:
	case set.Target == "stdout":
		sink = zapcore.AddSync(s.stdout)
	default:
		file, err := openToAppend(ctx, set.Target)
		if err != nil {
			return nil, closeLog, fmt.Errorf("--log_target: %w", err)
		}
		sink, closeLog = zapcore.AddSync(file), func() { _ = file.Close() }
	}
	log = &logger{core: zapcore.NewCore(encoder, zapcore.Lock(sink), set.Level), caller: set.Caller}
	if set.Traces {
		log.stack = set.Stacktrace
	}
	return log, closeLog, nil
}
