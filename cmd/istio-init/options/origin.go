package options

import "fmt"

// An origin is where the value of an option comes from. The zero value: nobody
// said anything, it is the default.
type origin struct {
	kind originKind
	text string // the flag, the variable, the place in the file, or what it follows from
}

type originKind uint8

const (
	byDefault originKind = iota
	byFlag
	byEnv
	byFile
	derived // it follows from other options
)

// String is how the user finds the place.
func (o origin) String() string {
	switch o.kind {
	case byFlag, byFile:
		return o.text
	case byEnv:
		return "env " + o.text
	case derived:
		return "derived from " + o.text
	case byDefault:
	}
	return "default"
}

// A setting is an option with the value that counts for it, and where that comes
// from.
type setting struct {
	option *option
	text   string
	from   origin
}

// name is how errors speak of it.
func (s setting) name() string { return s.option.name(s.from) }

// refused is the error of a value: it names the option, where the value was, and
// what is accepted.
func (s setting) refused(err error) error {
	return fmt.Errorf("%s: %w; it takes %s", s.name(), err, s.option.form.text)
}
