// Package logging writes the logs of the programs, through a zapcore.Core. It replaces zap.Logger,
// which links an HTTP server: 1.7 MB and a millisecond at every start.
package logging

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"
)

// A Logger writes lines. Only one goroutine may call its Warn, several may call the others.
type Logger struct {
	Caller bool                 // log the place in the source code
	Stack  zapcore.LevelEnabler // levels that are logged with a stack trace; nil: none

	// Warnings are the messages of Warn with their fields, logged or not.
	Warnings []string

	core zapcore.Core
}

// New returns a logger that writes the levels that are enabled, with one of the encoders of zapcore.
func New(to io.Writer, encoder func(zapcore.EncoderConfig) zapcore.Encoder, level zapcore.LevelEnabler) *Logger {
	config := zapcore.EncoderConfig{ // the names of zap, and of Istio's logs
		TimeKey: "ts", LevelKey: "level", CallerKey: "caller", MessageKey: "msg", StacktraceKey: "stacktrace",
		EncodeTime: zapcore.ISO8601TimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.SecondsDurationEncoder, EncodeCaller: zapcore.ShortCallerEncoder,
	}
	return &Logger{core: zapcore.NewCore(encoder(config), zapcore.Lock(zapcore.AddSync(to)), level)}
}

// Discard returns a logger that writes nothing.
func Discard() *Logger { return &Logger{core: zapcore.NewNopCore()} }

// Debug logs at level debug.
func (l *Logger) Debug(message string, fields ...Field) { l.log(zapcore.DebugLevel, message, fields) }

// DebugText is Debug for a long text, which is made only if it is logged.
func (l *Logger) DebugText(title string, text func() string) {
	if l.core.Enabled(zapcore.DebugLevel) {
		l.log(zapcore.DebugLevel, title+":\n"+text(), nil)
	}
}

// Info logs at level info.
func (l *Logger) Info(message string, fields ...Field) { l.log(zapcore.InfoLevel, message, fields) }

// Warn logs at level warn, and adds to Warnings.
func (l *Logger) Warn(message string, fields ...Field) {
	l.Warnings = append(l.Warnings, withFields(message, fields))
	l.log(zapcore.WarnLevel, message, fields)
}

// Error logs at level error.
func (l *Logger) Error(message string, fields ...Field) { l.log(zapcore.ErrorLevel, message, fields) }

// log writes a line. Only the methods above may call it: it logs their caller.
func (l *Logger) log(level zapcore.Level, message string, fields []Field) {
	entry := l.core.Check(zapcore.Entry{Level: level, Time: time.Now().UTC(), Message: message}, nil)
	if entry == nil {
		return
	}
	const above = 2 // this function and the method
	if l.Caller {
		entry.Caller = zapcore.NewEntryCaller(runtime.Caller(above))
	}
	if l.Stack != nil && l.Stack.Enabled(level) {
		entry.Stack = stack(above + 1)
	}
	entry.Write(fields...)
}

// withFields returns a message with its fields in parentheses.
func withFields(message string, fields []Field) string {
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
