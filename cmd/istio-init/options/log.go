package options

import (
	"slices"
	"strings"

	"go.uber.org/zap/zapcore"
)

// Log says what is logged and where. The zero value: info and above, as text, to
// stderr.
type Log struct {
	Level      zapcore.Level
	Stacktrace zapcore.Level // stack traces from here on; zero with !Traces: none
	Traces     bool
	JSON       bool
	Caller     bool
	Target     string // stderr, stdout or a file; "" is stderr
}

// noLevel is above every level: nothing is logged.
const noLevel = zapcore.FatalLevel + 1

func logLevel(s *Parsed, v string) error {
	level, given, err := parseLevel(v)
	if given {
		s.Log.Level = level
	}
	return err
}

func logStacktrace(s *Parsed, v string) error {
	level, given, err := parseLevel(v)
	s.Log.Stacktrace, s.Log.Traces = level, given && level != noLevel
	return err
}

func logCaller(s *Parsed, v string) error {
	for scope := range strings.SplitSeq(v, ",") {
		s.Log.Caller = s.Log.Caller || slices.Contains([]string{"default", "all"}, strings.Trim(scope, " "))
	}
	return nil
}

// parseLevel parses a level as Istio writes it: a comma-separated list of "level" or
// "scope:level". Only the scopes "default" and "all" exist here.
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
			return 0, false, valueError(item, "")
		}
		if scope == "default" || scope == "all" {
			level, given = l, true
		}
	}
	return level, given, nil
}
