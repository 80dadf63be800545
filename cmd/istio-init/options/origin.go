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
	if s.from.kind == byCaller {
		return fmt.Errorf("%s %w: want %s", s.name(), err, cmp.Or(s.option.form.numbers, s.option.form.text))
	}
	return fmt.Errorf("%s: %w: want %s", s.name(), err, s.option.form.text)
}
