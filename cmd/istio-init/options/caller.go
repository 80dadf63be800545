package options

import (
	"errors"
	"slices"
	"strings"
)

// A Value is the value of an option that a caller takes from elsewhere: neither from flags
// nor from the environment.
type Value struct {
	Option string // its long name, or its variable if it has no flag
	Text   string
	From   string // where it comes from, as messages name it
}

// ParseValues returns what values say, and every problem with them; if there is one, the
// result must not be used. An option without a value has its default. Nothing is read: names
// of users, groups and services, which mean something on one machine alone, are refused.
func (c Command) ParseValues(values []Value) (*Parsed, []error) {
	of := make(map[string]Value, len(values))
	for _, v := range values {
		of[v.Option] = v
	}
	flags := make([]*flagValue, 0, len(options))
	for _, o := range options {
		f := &flagValue{option: o, value: o.def}
		if v, given := of[o.key()]; given {
			f.inFile, f.file = origin{byCaller, v.From}, v.Text
		}
		flags = append(flags, f)
	}
	nothing := func(string) (string, bool) { return "", false }
	return parseSettings(flags, nothing, noNames{}, c.meant)
}

// NativeNFT is the name of the option that says how rules are made and not which.
const NativeNFT = "native-nftables"

// RuleOption returns the name of an option that describes rules, or of [NativeNFT], from its
// name with dashes or underscores, in upper or lower case. ok: there is such an option.
func RuleOption(name string) (key string, ok bool) {
	spelled := func(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "-")) }
	i := slices.IndexFunc(options, func(o *option) bool {
		return (o.group == groupRules || o.long == NativeNFT) && spelled(o.key()) == spelled(name)
	})
	if i < 0 {
		return "", false
	}
	return options[i].key(), true
}

// RuleOptions returns the names that RuleOption knows, in the order of the table.
func RuleOptions() []string {
	var names []string
	for _, o := range options {
		if o.group == groupRules || o.long == NativeNFT {
			names = append(names, o.key())
		}
	}
	return names
}

// Boolean reports whether an option is on or off.
func Boolean(name string) bool {
	return slices.ContainsFunc(options, func(o *option) bool { return o.key() == name && o.boolean })
}

// noNames knows no name.
type noNames struct{}

var errNoNames = errors.New("names are not looked up")

func (noNames) uid(string) (string, error) { return "", errNoNames }
func (noNames) gid(string) (string, error) { return "", errNoNames }
func (noNames) port(string) (int, error)   { return 0, errNoNames }
