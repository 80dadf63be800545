package options

import (
	"strings"

	"github.com/spf13/pflag"
)

// An option is one thing the user can set: one row of the table below, which
// flags, environment, configuration file, help, errors and the README all come
// from.
type option struct {
	long, short string   // flags; an option without is set by its variable, or by that name in a file
	env         []string // variables; a later one wins over an earlier one
	def         string   // the value when nobody says anything
	form        form     // what is accepted, for errors, help and the schema
	help        string   // one clause: what it does
	boolean     bool     // the flag needs no value
	bare        string   // the value of a flag that has none, where it needs none
	warnEmpty   string   // what to warn of when a variable is set and empty
	group       group
	// set parses the value into its target. It is called for defaults too. Its
	// errors say what is wrong with which element, not where it came from.
	set func(*Parsed, string) error
}

// A group says what an option is about.
type group uint8

const (
	groupRules    group = iota // which traffic is captured: means nothing to clean
	groupApply                 // how rules are installed: means nothing to clean
	groupRun                   // what is done, and where
	groupLog                   // logs
	groupInput                 // where values come from and which they are: for every command, not in a file
	groupQuestion              // what is asked, of one command: not in a file
	groupRemoved               // of older releases: accepted, with a warning
)

// key is the name of an option in a configuration file.
func (o *option) key() string {
	if o.long == "" {
		return o.env[0]
	}
	return o.long
}

// name is how errors speak of an option whose value comes from there: its flag,
// and its variable or the place in the file.
func (o *option) name(from origin) string {
	place := from.String()
	if from.kind != byEnv && from.kind != byFile {
		if len(o.env) == 0 {
			return "--" + o.long
		}
		place = "env " + o.env[0]
	}
	switch {
	case o.long != "":
		return "--" + o.long + " (" + place + ")"
	case from.kind == byFile:
		return o.key() + " (" + place + ")"
	}
	return place
}

// A flagValue keeps what the command line says, and for an option of which it
// says nothing what the configuration file does, as it is.
type flagValue struct {
	option  *option
	value   string
	changed bool
	inFile  origin // where the file has it; zero: nowhere
	file    string // its value there
}

func (f *flagValue) String() string { return f.value }

func (f *flagValue) Set(v string) error {
	f.value, f.changed = v, true
	return nil
}

// Type is the word that stands for the value in the help.
func (f *flagValue) Type() string {
	if f.option.boolean {
		return "bool"
	}
	return "value"
}

// defineFlags gives a command the flags of a table; those that mean nothing
// to it are accepted and not shown. It returns a value for every row.
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
		flag.Hidden = o.group == groupRemoved || !o.means(meant)
	}
	return values
}

// inFile tells whether a configuration file can set an option.
func (o *option) inFile() bool { return o.group != groupInput && o.group != groupQuestion }

// means tells whether an option means something to a command that selects those
// of meant.
func (o *option) means(meant func(*option) bool) bool { return o.group == groupInput || meant(o) }

// usage is the line of help of an option.
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
