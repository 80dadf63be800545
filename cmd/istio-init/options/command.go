package options

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// A Command says which options a command has.
type Command struct {
	meant func(*option) bool // those that have an effect; the others are accepted
	own   []*option          // besides those of the option table
}

// The commands that take options.
var (
	Apply   = Command{meant: allOptions}
	Clean   = Command{meant: cleanOptions}
	Trace   = Command{meant: questionOptions, own: traceOptions}
	Check   = Command{meant: questionOptions, own: checkOptions}
	Explain = Command{meant: questionOptions, own: explainOptions}
)

func allOptions(*option) bool { return true }

// cleanOptions are those that mean something when rules are removed.
func cleanOptions(o *option) bool { return o.group == groupRun || o.group == groupLog }

// questionOptions are those that mean something where nothing is changed.
func questionOptions(o *option) bool {
	return o.group == groupRules || o.group == groupQuestion || o.group == groupLog || slices.Contains(questionRuns, o.long)
}

// questionRuns are the options of how a command runs that questions have too.
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
// log. The file may be a pipe, whose end is awaited until ctx ends.
func (f *Flags) Parse(ctx context.Context, env Env, stdin io.Reader) (*Parsed, []error) {
	inFile := readConfig(ctx, f.values, env, stdin)
	p, problems := parseSettings(f.values, env, systemAccounts{}, f.command.meant)
	switch {
	case p.print != printNothing:
		p.Log.Target = "" // a log file would be a trace
	case p.Clean: // whatever rules the other options describe
		p, problems = parseSettings(f.values, env, systemAccounts{}, cleanOptions)
		p.Clean = true
	}
	return p, append(inFile, problems...)
}

// NoArguments refuses positional arguments: what follows a boolean flag is one,
// and "--redirect-dns false" would turn it on.
func NoArguments(flags *pflag.FlagSet, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "a boolean flag takes its value with =, as in --dry-run=false; a list is one word, as in -b 80,443"
	flags.Visit(func(f *pflag.Flag) {
		if f.Name == "print-config" {
			hint = fmt.Sprintf("--%s takes its form with =, as in --%s=%s", f.Name, f.Name, printNames[1])
		}
		if value := f.Value.String(); strings.HasPrefix(value, "-") {
			hint = fmt.Sprintf("--%s took %s for its value: is its own missing? An empty one is written ''", f.Name, quote(value))
		}
	})
	return fmt.Errorf("unexpected argument %s: %s", quote(args[0]), hint)
}
