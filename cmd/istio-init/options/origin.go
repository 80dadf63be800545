package options

import (
	"cmp"
	"fmt"
)

// An origin is where the value of an option comes from. The zero value: it is the
// default.
type origin struct {
	kind originKind
	text string // the flag, the variable, the place in the file, or the options it is derived from
}

type originKind uint8

const (
	byDefault originKind = iota
	byFlag
	byEnv
	byFile
	derived  // computed from other options
	byCaller // of a caller that has neither flags nor an environment
)

// String returns the place as messages name it.
func (o origin) String() string {
	switch o.kind {
	case byFlag, byFile, byCaller:
		return o.text
	case byEnv:
		return "env " + o.text
	case derived:
		return "derived from " + o.text
	case byDefault:
	}
	return "default"
}

// A setting is an option with its effective value and the origin of that.
type setting struct {
	option *option
	text   string
	from   origin
}

// name is how messages name it.
func (s setting) name() string { return s.option.name(s.from) }

// invalid is the error of a value: it names the option, where the value is, and what
// is accepted.
func (s setting) invalid(err error) error {
	said := fmt.Errorf("%s: %w: want %s", s.name(), err, s.option.form.text)
	if s.from.kind == byCaller {
		said = fmt.Errorf("%s %w: want %s", s.name(), err, cmp.Or(s.option.form.numbers, s.option.form.text))
	}
	return &InvalidValue{said, s.option.key(), s.from.kind.String(), s.from.text}
}

// An InvalidValue is the error of the value of an option.
type InvalidValue struct {
	error
	Option string // its long name, or its variable where it has no flag
	From   string // what has supplied it: flag, environment, file, derived, caller or default
	At     string // the flag, the variable, the place in the file, or what it is derived from
}

// Unwrap returns the error in words.
func (e *InvalidValue) Unwrap() error { return e.error }

// String returns the kind for programs.
func (k originKind) String() string {
	return [...]string{"default", "flag", "environment", "file", "derived", "caller"}[k]
}
