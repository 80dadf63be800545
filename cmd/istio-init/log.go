package main

import (
	"fmt"
	"os"
	"strings"

	"go.uber.org/zap/zapcore"
)

// logSettings say what is logged and where. The zero value: info and above, as
// text, to stderr.
type logSettings struct {
	level      zapcore.Level
	stacktrace zapcore.Level // stack traces from here on; zero with !traces: none
	traces     bool
	json       bool
	caller     bool
	target     string // stderr, stdout or a file; "" is stderr
}

// noLevel is above every level: nothing is logged.
const noLevel = zapcore.FatalLevel + 1

// newLogger builds the logger. With reserved stdout carries the answer and no
// log: a log that was asked to go there goes to stderr.
func newLogger(p process, set logSettings, reserved bool) (log *logger, closeLog func(), err error) {
	config := zapcore.EncoderConfig{ // the names are those of zap, and so of Istio's logs
		TimeKey: "ts", LevelKey: "level", CallerKey: "caller", MessageKey: "msg", StacktraceKey: "stacktrace",
		EncodeTime: zapcore.ISO8601TimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.SecondsDurationEncoder, EncodeCaller: zapcore.ShortCallerEncoder,
	}
	encoder := zapcore.NewConsoleEncoder(config)
	if set.json {
		encoder = zapcore.NewJSONEncoder(config)
	}
	sink, closeLog := zapcore.AddSync(p.stderr), func() {}
	switch {
	case set.target == "" || set.target == "stderr" || set.target == "stdout" && reserved:
	case set.target == "stdout":
		sink = zapcore.AddSync(p.stdout)
	default:
		file, err := os.OpenFile(set.target, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, closeLog, fmt.Errorf("--log_target: %w", err)
		}
		sink, closeLog = zapcore.AddSync(file), func() { _ = file.Close() }
	}
	log = &logger{core: zapcore.NewCore(encoder, zapcore.Lock(sink), set.level), caller: set.caller}
	if set.traces {
		log.stack = set.stacktrace
	}
	return log, closeLog, nil
}

// parseLevel reads Istio's form of a level: a comma list of "level" or
// "scope:level". Only the scopes "default" and "all" are ours.
func parseLevel(value string) (level zapcore.Level, given bool, err error) {
	levels := map[string]zapcore.Level{
		"debug": zapcore.DebugLevel, "info": zapcore.InfoLevel, "warn": zapcore.WarnLevel,
		"error": zapcore.ErrorLevel, "fatal": zapcore.FatalLevel, "none": noLevel,
	}
	for item := range strings.SplitSeq(value, ",") {
		scope, name, scoped := strings.Cut(strings.TrimSpace(item), ":")
		if !scoped {
			scope, name = "default", scope
		}
		l, ok := levels[name]
		if !ok {
			return 0, false, fmt.Errorf("%s is not a level", quote(item))
		}
		if scope == "default" || scope == "all" {
			level, given = l, true
		}
	}
	return level, given, nil
}
