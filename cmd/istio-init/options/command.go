package options

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/spf13/pflag"
)

// A Command is the options of a command.
type Command struct {
	name  string
	meant func(*option) bool // which have an effect; the others are accepted
	own   []*option          // besides those of the option table
}

// The commands that take options.
var (
	Apply   = Command{name: "apply", meant: allOptions, own: []*option{outputOption}}
	Clean   = Command{name: "clean", meant: cleanOptions, own: []*option{outputOption}}
	Trace   = Command{name: "trace", meant: questionOptions, own: traceOptions}
	Check   = Command{name: "check", meant: comparedOptions, own: checkOptions}
	Explain = Command{name: "explain", meant: questionOptions, own: explainOptions}
)

// commands are all of them.
var commands = []Command{Apply, Clean, Trace, Check, Explain}

func allOptions(*option) bool { return true }

// cleanOptions selects the options that have an effect on clean.
func cleanOptions(o *option) bool {
	return o.group == groupRun || o.group == groupLog || o == outputOption || o.long == "force-iptables-binary"
}

// questionOptions selects the options that have an effect on trace, check and explain.
func questionOptions(o *option) bool {
	return o.group == groupRules || o.group == groupQuestion || o.group == groupLog || slices.Contains(questionRuns, o.long)
}

// comparedOptions selects those that have an effect on check, which compares with an apply.
func comparedOptions(o *option) bool { return questionOptions(o) || o.long == NativeNFT }

// questionRuns are the options of groupRun and groupApply among them.
var questionRuns = []string{"network-namespace", "force-iptables-binary", "timeout", "cni-mode"}

// Flags are the flags of a command, from which, with the environment and the
// configuration file, its options are parsed.
type Flags struct {
	command Command
	values  []*flagValue
	set     *pflag.FlagSet
}

// Define gives a command its flags.
func (c Command) Define(flags *pflag.FlagSet) *Flags {
	return &Flags{command: c, values: defineFlags(flags, slices.Concat(c.own, options), c.meant), set: flags}
}

// Parse returns what flags, environment and configuration file say, and every
// problem with it; if there is one, the result is not to be used for more than its
// log. The file may be a pipe, whose end is awaited until ctx or --timeout ends.
func (f *Flags) Parse(ctx context.Context, env Env, stdin io.Reader) (*Parsed, []error) {
	bounded, cancel := context.WithTimeout(ctx, f.timeout(env))
	defer cancel()
	inFile := readConfig(bounded, f.values, env, stdin)
	names := &systemNames{ctx: func() context.Context { return bounded }}
	p, problems := parseSettings(f.values, env, names, f.command.meant)
	switch {
	case p.print != printNothing:
		p.Log.Target = "" // printing leaves no file behind
	case p.Clean: // whatever rules the other options describe
		p, problems = parseSettings(f.values, env, names, cleanOptions)
		p.Clean = true
	}
	switch { // where time is over, a name that was not found may be there
	case bounded.Err() != nil && len(inFile) > 0:
		problems = nil
	case names.err != nil:
		problems = []error{names.err}
	}
	return p, append(inFile, problems...)
}

// timeout returns --timeout of the command line or the environment, before the file is read.
func (f *Flags) timeout(env Env) time.Duration {
	var set Parsed
	for _, v := range f.values {
		if v.option.long != "timeout" {
			continue
		}
		if err := v.option.set(&set, v.given(env, &set).text); err != nil { // reported with all other values
			_ = v.option.set(&set, v.option.def)
		}
	}
	return set.Timeout
}
