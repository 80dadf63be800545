package options

import (
	"strings"

	"github.com/spf13/pflag"
)

// A Section is the flags under one heading.
type Section struct {
	Title string
	Flags *pflag.FlagSet
}

// A Variable is an option that has no flag, and its help.
type Variable struct{ Name, Usage string }

// Sections returns the visible flags of a command by heading, its own first. Flags of older
// releases are named by OldNames.
func Sections(flags *pflag.FlagSet) []Section {
	sections := make([]Section, len(sectionTitles))
	for i, title := range sectionTitles {
		sections[i] = Section{Title: title, Flags: pflag.NewFlagSet(title, pflag.ContinueOnError)}
		sections[i].Flags.SortFlags = false
	}
	flags.VisitAll(func(f *pflag.Flag) {
		at := sectionOwn
		if v, ok := f.Value.(*flagValue); ok {
			at = v.option.section
		}
		sections[at].Flags.AddFlag(f)
	})
	var some []Section
	for _, s := range sections {
		if s.Flags.HasAvailableFlags() {
			some = append(some, s)
		}
	}
	return some
}

// Variables returns the options without a flag that have an effect on a command.
func Variables(command string) []Variable {
	var variables []Variable
	for _, c := range commands {
		for _, o := range options {
			if c.name == command && o.long == "" && o.group != groupRemoved && o.affects(c.meant) {
				variables = append(variables, Variable{strings.Join(o.env, ", "), o.help + ": " + o.form.text})
			}
		}
	}
	return variables
}

// OldNames returns the flags of older releases, which are accepted and have no effect.
func OldNames() string {
	var names []string
	for _, o := range options {
		if o.group == groupRemoved && o.long != "" {
			names = append(names, "--"+o.long)
		}
	}
	return strings.Join(names, ", ")
}

// Complete calls register for each flag whose values can be completed. kind is that of the
// values, where they are not words.
func (f *Flags) Complete(register func(flag string, words []string, kind ValueKind)) {
	for _, v := range f.values {
		switch o := v.option; {
		case o.long == "" || o.group == groupRemoved:
		case o.form.choices != nil:
			register(o.long, o.form.choices, Words)
		case o.form.boolean:
			register(o.long, []string{"true", "false"}, Words)
		case o.form.text == formLinks.text || o.form.text == formLink.text:
			register(o.long, nil, Interfaces)
		case o.form.text == formNetNS.text:
			register(o.long, nil, Namespaces)
		case o.form.text == formLevel.text:
			register(o.long, []string{"debug", "info", "warn", "error", "fatal", "none"}, Words)
		case o.form.placeholder != "FILE":
			register(o.long, nil, Words)
		}
	}
}

// A ValueKind is the kind of values that a shell completes.
type ValueKind uint8

// The kinds of values.
const (
	Words ValueKind = iota
	Interfaces
	Namespaces
)
