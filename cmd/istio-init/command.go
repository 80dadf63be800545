package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"istio-init/capture/picture"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/cmd/logging"
)

// streams are the arguments, the environment and the streams of the process.
type streams struct {
	args           []string
	line           []string // of the commands; nil: not known
	env            func(string) (string, bool)
	environ        []string // all of env, as NAME=VALUE
	stdin          io.Reader
	stdout, stderr io.Writer
	log            io.Writer   // stdout for a log, whose errors do not count
	answering      func() bool // something was written to stdout
	terminal       bool        // stdout is one
}

// The commands, and their names in Istio's tools.
const (
	applyCommand = "apply"
	cleanCommand = "clean"
	programName  = "istio-init"
	agentName    = "pilot-agent" // Istio's program that has the tools as commands
)

var (
	applyNames = []string{applyCommand, "istio-iptables", "istio-iptables-go", "istio-iptables.sh"}
	cleanNames = []string{cleanCommand, "istio-clean-iptables"}
)

// commandLine translates every way to call the program to the arguments of its commands.
// name is argv[0].
//
//	istio-init [apply|istio-iptables] FLAGS     istio-init FLAGS (Istio 1.0 to 1.3)
//	istio-init clean|istio-clean-iptables ...   istio-init [FLAGS-less] clean
//	istio-init pilot-agent COMMAND ...          pilot-agent COMMAND ...
//	istio-iptables FLAGS                        istio-clean-iptables FLAGS
func commandLine(name string, args []string) []string {
	switch name = filepath.Base(name); {
	case slices.Contains(applyNames, name):
		args = append([]string{applyCommand}, args...)
	case slices.Contains(cleanNames, name):
		args = append([]string{cleanCommand}, args...)
	}
	if len(args) > 0 && args[0] == agentName {
		name, args = agentName, args[1:]
	}
	if name == agentName && len(args) == 0 {
		args = []string{"--help"} // without a command it never did anything
	}
	ours := []string{"-h", "--help", "-v", "--version"}
	if len(args) == 0 || args[0] == "" || strings.HasPrefix(args[0], "-") && !slices.Contains(ours, args[0]) {
		args = append([]string{applyCommand}, args...)
	}
	if slices.Contains(applyNames, args[0]) && len(args) > 1 && args[1] == cleanCommand {
		args = args[1:] // the 1.0 script took "clean" as its first argument
	}
	return args
}

// execute runs a command line and returns the exit code. An answer that could not be written
// is an error, whoever wrote it.
func execute(ctx context.Context, s streams) int {
	line := commandLine(s.args[0], s.args[1:])
	answer := &output{name: "stdout", to: s.stdout, done: ctx.Done()}
	complaints := plainOutput{&output{name: "stderr", to: s.stderr, done: ctx.Done()}}
	s.terminal, s.log, s.stdout, s.answering = report.IsTerminal(s.stdout), s.stdout, answer, answer.begun.Load
	s.line = line
	root := newRoot(s)
	root.SetArgs(line)
	root.SetErr(complaints)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = answer.err
	}
	if _, logged := errors.AsType[*loggedError](err); isTold(err) && !logged {
		const most = 4096 // it may quote a whole argument
		_, _ = fmt.Fprintf(complaints, "Error: %.*s\n", most, err)
		_ = writeLastMessage(c.Name(), err.Error())
	}
	if isTold(err) && asksForJSON(line) && !answer.begun.Load() {
		_ = report.Write(plainOutput{answer}, report.Styler{}, failureOf(c, err), true)
	}
	return exitCode(err)
}

// A loggedError has been logged.
type loggedError struct {
	error
	said     string
	problems []error // of the input, which is the error
}

func (e *loggedError) Unwrap() error { return e.error }

// newRoot returns the command with all its subcommands.
func newRoot(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:   programName,
		Short: "redirect a pod's traffic through its sidecar proxy",
		Long: `istio-init redirects a pod's TCP traffic through its sidecar proxy.

Started with flags alone it does what "istio-init apply" does. It also answers
to the names of Istio's tools: istio-iptables, istio-clean-iptables and
pilot-agent, as a command or as the name of its file.`,
		Version:           version(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
	}
	refuseUnknown(root)
	root.SuggestionsMinimumDistance = 2 // as cobra suggests by itself
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if args := s.arguments(c); c == root && args[0] != "" && args[0][0] != '-' {
			return unknownCommand(root, args[0])
		}
		return fmt.Errorf("%w: see %s --help", err, c.CommandPath())
	})
	root.SetUsageFunc(printUsage)
	root.SetHelpCommand(newHelp())
	root.AddCommand(newApply(s), newClean(s), newTrace(s), newCheck(s), newExplain(s), newConfigSchema(), newVersion(s))
	root.SetOut(s.stdout) // which the next line takes
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		refuseUnknown(completion)
	}
	return root
}

// A command is one run of a command: its options, and where it reads and writes.
type command struct {
	opts      *options.Run
	name      func(key string) string // how messages name an option
	env       options.Env
	log       *logging.Logger
	stdin     io.Reader
	stdout    io.Writer   // for text that is safe on a terminal
	plain     io.Writer   // stdout for all other text
	answering func() bool // something was written to stdout
	styler    report.Styler
	result    *report.Change // of an apply or a clean with --output json
}

// newRuleCommand makes a command whose options come from flags, environment and a
// configuration file, and which can print their effective values.
func newRuleCommand(s streams, c *cobra.Command, takes options.Command, run func(context.Context, *command) error) *cobra.Command {
	c.Args = cobra.ArbitraryArgs // refused with all other mistakes
	var flags *options.Flags
	if s.line == nil || slices.ContainsFunc(s.line, func(word string) bool { return word == c.Name() || c.HasAlias(word) }) {
		flags = takes.Define(c.Flags()) // those of all commands take a twentieth of a run
		if len(s.line) > 0 && strings.HasPrefix(s.line[0], cobra.ShellCompRequestCmd) {
			completeValues(c, flags)
		}
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return s.run(c, flags, run) }
	c.SetFlagErrorFunc(func(c *cobra.Command, _ error) error { return c.RunE(c, nil) })
	return c
}

// run parses the options of a command and runs it. All mistakes of the input are logged together,
// and then nothing is run.
func (s streams) run(c *cobra.Command, flags *options.Flags, run func(context.Context, *command) error) error {
	mistakes := flags.Mistakes(s.arguments(c))
	parsed, problems := flags.Parse(c.Context(), s.env, s.stdin)
	problems = append(mistakes, problems...)
	bounded := c.Context()  // whose end ends the wait for the log or its reader
	if parsed.Timeout > 0 { // else it is one of the problems
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(bounded, parsed.Timeout)
		defer cancel()
	}
	log, closeLog, err := newLogger(bounded, s, parsed.Log, answersOnStdout(parsed))
	if err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", parsed.Name("log_target"), err))
		log, closeLog, _ = newLogger(bounded, s, options.Log{}, answersOnStdout(parsed))
	}
	defer closeLog()
	if len(problems) > 0 {
		for i := range problems {
			problems[i] = explainOrigin(parsed, problems[i])
		}
		return refuse(log, c.Name(), problems)
	}
	for _, w := range append(parsed.Warnings, options.UnknownVariables(s.environ)...) {
		log.Warn(w)
	}
	cmd := s.newCommand(parsed, log)
	switch {
	case parsed.Prints():
		err = parsed.Print(cmd.plain)
	case parsed.Clean:
		err = cmd.change(c.Context(), report.NewCleaned(), runClean)
	default:
		err = run(c.Context(), cmd)
	}
	return fail(log, c.Name(), parsed, err)
}

// answersOnStdout reports whether stdout is reserved for an answer that programs may read.
func answersOnStdout(p *options.Parsed) bool {
	return p.DryRun || p.Plan || p.Prints() || p.Output == options.JSON || p.Picture == picture.JSON
}

func (s streams) newCommand(parsed *options.Parsed, log *logging.Logger) *command {
	cmd := &command{
		opts: &parsed.Run, name: parsed.Name, env: s.env, log: log, stdin: s.stdin, stdout: s.stdout, plain: s.stdout, answering: s.answering,
		styler: report.NewStyler(s.terminal, s.env),
	}
	if s.terminal {
		cmd.plain = plainOutput{s.stdout}
	}
	return cmd
}

// fail logs the error of a run, as far as the user is to be told of it.
func fail(log *logging.Logger, command string, parsed *options.Parsed, err error) error {
	if err == nil {
		return nil
	}
	said := ""
	if isTold(err) {
		said = explainOrigin(parsed, report.Explain(err)).Error()
		log.Error(said)
		leaveLastMessage(log, command, said)
	}
	return &loggedError{error: err, said: said}
}

// arguments returns the arguments of a command.
func (s streams) arguments(c *cobra.Command) []string {
	i := slices.Index(s.line, c.CalledAs())
	if i < 0 {
		return s.line
	}
	return slices.Delete(slices.Clone(s.line), i, i+1)
}

// refuse logs every problem of the input, one a line.
func refuse(log *logging.Logger, command string, problems []error) error {
	var lines []string
	for _, p := range problems {
		log.Error(p.Error())
		lines = append(lines, p.Error())
	}
	err := fmt.Errorf("%d mistake(s), nothing was changed", len(problems))
	log.Error(err.Error())
	leaveLastMessage(log, command, strings.Join(append(lines, err.Error()), "\n"))
	return &loggedError{err, err.Error(), problems}
}
