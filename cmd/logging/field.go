package logging

import (
	"fmt"

	"go.uber.org/zap/zapcore"
)

// A Field is a key of a line with its value.
type Field = zapcore.Field

// String returns a field with a text.
func String(key, value string) Field {
	return Field{Key: key, Type: zapcore.StringType, String: value}
}

// Stringer returns a field with the text of a value, which is made only if it is logged.
func Stringer(key string, value fmt.Stringer) Field {
	return Field{Key: key, Type: zapcore.StringerType, Interface: value}
}

// Strings returns a field with a list of texts.
func Strings(key string, values []string) Field {
	return Field{Key: key, Type: zapcore.ReflectType, Interface: values}
}

// Int returns a field with a number.
func Int[T int | int64 | uint32](key string, value T) Field {
	return Field{Key: key, Type: zapcore.Int64Type, Integer: int64(value)}
}

// Object returns a field with an object.
func Object(key string, value zapcore.ObjectMarshaler) Field {
	return Field{Key: key, Type: zapcore.ObjectMarshalerType, Interface: value}
}

// Error returns the field "error".
func Error(err error) Field {
	return Field{Key: "error", Type: zapcore.ErrorType, Interface: err}
}
