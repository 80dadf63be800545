package main

import (
	"strings"

	"github.com/spf13/pflag"
)

// An option is one thing the user can set: one row of the table below, which
// flags, environment, help, errors and the README all come from.
type option struct {
	long, short string   // flags; an option without is set by the environment alone
	env         []string // variables; a later one wins over an earlier one
	def         string   // the value when nobody says anything
	form        string   // what is accepted, for errors and help
	help        string   // one clause: what it does
	boolean     bool     // the flag needs no value
	warnEmpty   string   // what to warn of when a variable is set and empty
	group       group
	// set parses the value into its target. It is called for defaults too. Its
	// errors say what is wrong with which element, not where it came from.
	set func(*settings, string) error
}

// A group says what an option is about.
type group uint8

const (
	groupRules    group = iota // which traffic is captured: means nothing to clean
	groupApply                 // how rules are installed: means nothing to clean
	groupRun                   // what is done, and where
	groupLog                   // logs
	groupQuestion              // what is asked, of one command
	groupRemoved               // of older releases: accepted, with a warning
)

func allOptions(option) bool { return true }

// cleanOptions are those that mean something when rules are removed.
func cleanOptions(o option) bool { return o.group == groupRun || o.group == groupLog }

// name is how errors speak of an option: its flag and its variable.
func (o option) name(env string) string {
	switch {
	case o.long == "":
		return "env " + env
	case env == "":
		return "--" + o.long
	}
	return "--" + o.long + " (env " + env + ")"
}

// A flagValue keeps what the command line says, as it is.
type flagValue struct {
	option  option
	value   string
	changed bool
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
func defineFlags(flags *pflag.FlagSet, table []option, meant func(option) bool) []*flagValue {
	flags.SortFlags = false
	var values []*flagValue
	for _, o := range table {
		value := &flagValue{option: o, value: o.def}
		values = append(values, value)
		if o.long == "" {
			continue
		}
		flag := flags.VarPF(value, o.long, o.short, o.usage())
		if o.boolean {
			flag.NoOptDefVal = "true"
		}
		flag.Hidden = o.group == groupRemoved || !meant(o)
	}
	return values
}

// usage is the line of help of an option.
func (o option) usage() string {
	text := o.help + ": " + o.form
	if o.boolean {
		text = o.help
	}
	if len(o.env) > 0 {
		text += " (env " + strings.Join(o.env, ", ") + ")"
	}
	return text
}
