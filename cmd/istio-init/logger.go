package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"
)

// A logger writes lines to a zapcore.Core. It replaces zap.Logger, which links an HTTP
// server: 1.7 MB and a millisecond at every start.
type logger struct {
	core   zapcore.Core
	caller bool                 // log the place in the source code
	stack  zapcore.LevelEnabler // levels that are logged with a stack trace; nil: none

	warnings []string // logged or not
}

type field = zapcore.Field

func (l *logger) Debug(message string, fields ...field) { l.log(zapcore.DebugLevel, message, fields) }

// DebugText is Debug for a long text, which is made only if it is logged.
func (l *logger) DebugText(title string, text func() string) {
	if l.core.Enabled(zapcore.DebugLevel) {
		l.log(zapcore.DebugLevel, title+":\n"+text(), nil)
	}
}

func (l *logger) Info(message string, fields ...field) { l.log(zapcore.InfoLevel, message, fields) }

// Warn logs a warning, and keeps it. Only one goroutine may call it.
func (l *logger) Warn(message string, fields ...field) {
	l.warnings = append(l.warnings, withFields(message, fields))
	l.log(zapcore.WarnLevel, message, fields)
}

func (l *logger) Error(message string, fields ...field) { l.log(zapcore.ErrorLevel, message, fields) }

// log writes a line. Only the methods above may call it: it logs their caller.
func (l *logger) log(level zapcore.Level, message string, fields []field) {
	entry := l.core.Check(zapcore.Entry{Level: level, Time: time.Now().UTC(), Message: message}, nil)
	if entry == nil {
		return
	}
	const above = 2 // this function and the method
	if l.caller {
		entry.Caller = zapcore.NewEntryCaller(runtime.Caller(above))
	}
	if l.stack != nil && l.stack.Enabled(level) {
		entry.Stack = stack(above + 1)
	}
	entry.Write(fields...)
}

// withFields returns a message with its fields in parentheses.
func withFields(message string, fields []field) string {
	var texts []string
	for _, f := range fields {
		values := zapcore.NewMapObjectEncoder()
		f.AddTo(values)
		texts = append(texts, fmt.Sprintf("%s %v", f.Key, values.Fields[f.Key]))
	}
	if len(texts) == 0 {
		return message
	}
	return message + " (" + strings.Join(texts, ", ") + ")"
}

// stack returns the stack trace, without the innermost calls.
func stack(skip int) string {
	var calls [64]uintptr
	var b strings.Builder
	frames := runtime.CallersFrames(calls[:runtime.Callers(skip+1, calls[:])])
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// The fields of lines.

func stringField(key, value string) field {
	return field{Key: key, Type: zapcore.StringType, String: value}
}

func namedField(key string, value fmt.Stringer) field {
	return field{Key: key, Type: zapcore.StringerType, Interface: value}
}

func numberField[T int | uint32](key string, value T) field {
	return field{Key: key, Type: zapcore.Int64Type, Integer: int64(value)}
}

func errorField(err error) field {
	return field{Key: "error", Type: zapcore.ErrorType, Interface: err}
}

func listField(key string, values []string) field {
	return field{Key: key, Type: zapcore.ReflectType, Interface: values}
}
