package options

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A Command is the options of a command.
type Command struct {
	meant func(*option) bool // which have an effect; the others are accepted
	own   []*option          // besides those of the option table
}

// The commands that take options.
var (
	Apply   = Command{meant: allOptions, own: []*option{outputOption}}
	Clean   = Command{meant: cleanOptions, own: []*option{outputOption}}
	Trace   = Command{meant: questionOptions, own: traceOptions}
	Check   = Command{meant: questionOptions, own: checkOptions}
	Explain = Command{meant: questionOptions, own: explainOptions}
)

func allOptions(*option) bool { return true }

// cleanOptions selects the options that have an effect on clean.
func cleanOptions(o *option) bool {
	return o.group == groupRun || o.group == groupLog || o == outputOption
}

// questionOptions selects the options that have an effect on trace, check and explain.
func questionOptions(o *option) bool {
	return o.group == groupRules || o.group == groupQuestion || o.group == groupLog || slices.Contains(questionRuns, o.long)
}

// questionRuns are the options of groupRun and groupApply among them.
var questionRuns = []string{"network-namespace", "force-iptables-binary", "timeout", "cni-mode"}

// Flags are the flags of a command, from which, with the environment and the
// configuration file, its options are parsed.
type Flags struct {
	command Command
	values  []*flagValue
}

// Define gives a command its flags.
func (c Command) Define(flags *pflag.FlagSet) *Flags {
	return &Flags{command: c, values: defineFlags(flags, slices.Concat(c.own, options), c.meant)}
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

// NoArguments refuses positional arguments. The false of "--redirect-dns false" is one;
// ignoring it would turn the option on.
func NoArguments(flags *pflag.FlagSet, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "write the value of a boolean flag with =, as in --dry-run=false, and a list as one word, as in -b 80,443"
	flags.Visit(func(f *pflag.Flag) {
		if f.Name == "print-config" {
			hint = fmt.Sprintf("write the format with =, as in --%[1]s=%[2]s", f.Name, printNames[1])
		}
		if value := f.Value.String(); strings.HasPrefix(value, "-") {
			hint = fmt.Sprintf("--%s has the value %s; is its own value missing? Write an empty one as ''", f.Name, quote(value))
		}
	})
	return fmt.Errorf("unexpected argument %s: %s", quote(args[0]), hint)
}
