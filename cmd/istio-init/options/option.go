package options

import (
	"strings"

	"github.com/spf13/pflag"
)

// An option is a row of the option table, from which flags, variables, keys of the
// configuration file, help, errors and docs/reference.md are made.
type option struct {
	long, short string   // names of the flag; "": set by its variable, or by that name in a file
	env         []string // variables; a later one wins over an earlier one
	def         string   // the default
	form        form     // what is accepted, for errors, help and the schema
	help        string   // one clause: what it does
	boolean     bool     // the flag needs no value
	bare        string   // the value of a flag that has none, where it needs none
	warnEmpty   string   // the warning if a variable is set and empty
	also        string   // words by which users look for it, separated by spaces
	group       group
	section     section
	// set parses the value into its target, also the default. Its errors name the bad
	// element, not the origin.
	set func(*Parsed, string) error
}

// A group is the kind of an option.
type group uint8

const (
	groupRules    group = iota // which traffic is captured: no effect on clean
	groupApply                 // how rules are installed: no effect on clean
	groupRun                   // what is done, and where
	groupLog                   // logs
	groupInput                 // origin of values, printing them: of every command, not in a file
	groupQuestion              // of trace, check or explain: not in a file
	groupRemoved               // of older releases: accepted, with a warning
)

// A section is the heading of an option in help, in the man page and in the reference. The zero
// value: the option belongs to a command.
type section uint8

const (
	sectionOwn section = iota
	sectionTraffic
	sectionProxy
	sectionDNS
	sectionMode
	sectionSafety
	sectionLogging
	sectionOld // of older releases
)

// sectionTitles are the headings, in their order.
var sectionTitles = [...]string{"Flags", "Traffic", "Proxy", "DNS", "Mode", "Safety", "Logging", "Old names"}

// key returns the name of an option in a configuration file.
func (o *option) key() string {
	if o.long == "" {
		return o.env[0]
	}
	return o.long
}

// name returns the name of an option in errors, with what has supplied its value: the flag, the
// variable, or the line of the file.
func (o *option) name(from origin) string {
	name, source := o.key(), from.String()
	if o.long != "" {
		name = "--" + o.long
	}
	switch from.kind {
	case byFlag:
		if o.short == "" {
			return name
		}
		source = "-" + o.short
	case byEnv:
		if o.long == "" {
			return source
		}
	case byCaller:
		return source
	case byDefault, byFile, derived:
	}
	return name + " (" + source + ")"
}

// flag returns the flag of an option as most people write it.
func (o *option) flag() string {
	if o.short != "" {
		return "-" + o.short
	}
	return "--" + o.long
}

// A flagValue is the unparsed value of an option on the command line and in the
// configuration file.
type flagValue struct {
	option  *option
	value   string
	changed bool
	others  bool   // the command line had other values before
	inFile  origin // where the file, or the caller, has it; zero: nowhere
	file    string // its value there
}

func (f *flagValue) String() string { return f.value }

func (f *flagValue) Set(v string) error {
	f.others = f.others || f.changed && v != f.value
	f.value, f.changed = v, true
	return nil
}

// reset makes it a flag that is not given.
func (f *flagValue) reset() { f.value, f.changed, f.others = f.option.def, false, false }

// Type is the placeholder of the value in the help.
func (f *flagValue) Type() string {
	if f.option.boolean || f.option.form.placeholder == "" {
		return "bool"
	}
	return f.option.form.placeholder
}

// defineFlags defines the flags of a table for a command. Those without effect on it are
// accepted and hidden. It returns a value for every row.
func defineFlags(flags *pflag.FlagSet, table []*option, meant func(*option) bool) []*flagValue {
	flags.SortFlags = false
	values := make([]*flagValue, 0, len(table))
	for _, o := range table {
		value := &flagValue{option: o, value: o.def}
		values = append(values, value)
		if o.long == "" {
			continue
		}
		flag := flags.VarPF(value, o.long, o.short, o.usage())
		flag.NoOptDefVal = o.bare
		if o.boolean {
			flag.NoOptDefVal = "true"
		}
		flag.Hidden = o.group == groupRemoved || !o.affects(meant)
	}
	return values
}

// inFile reports whether a configuration file can set an option.
func (o *option) inFile() bool { return o.group != groupInput && o.group != groupQuestion }

// refusesEmpty reports whether an empty value is a mistake, and not the default: a script whose
// variable is empty would take the answer for another one.
func (o *option) refusesEmpty() bool { return o.group == groupQuestion && o.form.choices != nil }

// affects reports whether an option has an effect on a command that selects those of
// meant.
func (o *option) affects(meant func(*option) bool) bool { return o.group == groupInput || meant(o) }

// usage returns the help of an option.
func (o *option) usage() string {
	text := o.help
	if !o.boolean {
		text += ": " + o.form.text
	}
	if len(o.env) > 0 {
		text += " (env " + strings.Join(o.env, ", ") + ")"
	}
	return text
}
