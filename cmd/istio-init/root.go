package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
)

// A process is what the program gets from the system.
type process struct {
	args           []string
	env            func(string) (string, bool)
	stdin          io.Reader
	stdout, stderr io.Writer
}

// The commands, and the names under which Istio's tools had them.
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

// commandLine turns every way in which the program is called into the arguments
// of its own commands. name is the file it was started as.
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
		args = []string{"--help"} // it never did anything without a command
	}
	ours := []string{"-h", "--help", "--version"}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") && !slices.Contains(ours, args[0]) {
		args = append([]string{applyCommand}, args...)
	}
	if slices.Contains(applyNames, args[0]) && len(args) > 1 && args[1] == cleanCommand {
		args = args[1:] // the 1.0 script took "clean" as its first argument
	}
	return args
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, p process) int {
	line := commandLine(p.args[0], p.args[1:])
	root := newRoot(p)
	root.SetArgs(line)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	err := root.ExecuteContext(ctx)
	var logged *loggedError
	if err != nil && !errors.As(err, &logged) {
		const most = 4096 // what the user wrote may be in it, whole
		_, _ = fmt.Fprintf(p.stderr, "Error: %.*s\n", most, err)
	}
	return exitCode(err)
}

// A loggedError has been shown to the user already.
type loggedError struct{ error }

func (e *loggedError) Unwrap() error { return e.error }

// newRoot makes the commands.
func newRoot(p process) *cobra.Command {
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
	root.SetUsageFunc(printUsage)
	root.AddCommand(newApply(p), newClean(p), newTrace(p), newCheck(p), newExplain(p), newConfigSchema(), newVersion())
	return root
}

func newApply(p process) *cobra.Command {
	return newRuleCommand(p, &cobra.Command{
		Use:     applyCommand,
		Aliases: applyNames[1:],
		Short:   "install the rules, or preview them with --dry-run",
		Long: `Install the rules in the network namespace, in one transaction for each address
family. Running it again changes nothing; running it with other flags turns the
rules into the new ones. With --dry-run nothing is touched: the rules are printed
as iptables-save and ip6tables-save would print them. With --plan nothing is changed:
the steps that a run would take here and now are printed, the input of iptables-restore
and, as comments, commands of ip and nft.`,
		Example: `  istio-init apply -p 15001 -z 15006 -u 1337 -m REDIRECT -i '*' -x '' -b '*' -d 15090,15021,15020
  istio-init apply -i '*' -b '*' --dry-run`,
	}, options.Apply, runApply)
}

func newClean(p process) *cobra.Command {
	return newRuleCommand(p, &cobra.Command{
		Use:     cleanCommand,
		Aliases: cleanNames[1:],
		Short:   "remove the rules, whatever flags made them",
		Long: `Remove the rules. No flags are needed: what is ours is found in the live rules, of
both variants of iptables and both families. Flags that describe rules are
accepted, since scripts pass them, and mean nothing here. With --dry-run or --plan
the steps are printed and not taken: the input of iptables-restore and, as comments,
commands of ip and nft.`,
		Example: `  istio-init clean
  istio-init clean --network-namespace /proc/4711/ns/net`,
	}, options.Clean, runClean)
}

// newRuleCommand makes a command that takes options from flags, environment and a
// configuration file, and can print which of them count.
func newRuleCommand(p process, cmd *cobra.Command, takes options.Command, run func(*invocation) error) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error { return options.NoArguments(cmd.Flags(), args) }
	flags := takes.Define(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inv := &invocation{ctx: cmd.Context(), env: p.env, stdin: p.stdin, stdout: p.stdout, styler: report.NewStyler(p.stdout, p.env)}
		set, problems := flags.Parse(inv.ctx, p.env, p.stdin)
		reserved := set.DryRun || set.Plan || set.Prints()
		log, closeLog, err := newLogger(p, set.Log, reserved)
		if err != nil {
			problems = append(problems, err)
			log, closeLog, _ = newLogger(p, options.Log{}, reserved)
		}
		defer closeLog()
		inv.set, inv.log = &set.Run, log
		if len(problems) > 0 {
			return refuse(log, problems)
		}
		for _, w := range set.Warnings {
			log.Warn(w)
		}
		switch {
		case set.Prints():
			err = set.Print(p.stdout)
		case set.Clean:
			err = runClean(inv)
		default:
			err = run(inv)
		}
		var coded *exitError
		if err != nil && (!errors.As(err, &coded) || coded.err != nil) {
			log.Error(err.Error())
		}
		if err != nil {
			return &loggedError{err}
		}
		return nil
	}
	return cmd
}

// refuse shows every problem of the input, each on a line of its own.
func refuse(log *logger, problems []error) error {
	for _, p := range problems {
		log.Error(p.Error())
	}
	err := fmt.Errorf("%d invalid value(s), nothing was touched", len(problems))
	log.Error(err.Error())
	return &loggedError{err}
}

func newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "config-schema",
		Short: "print the JSON schema of the configuration file",
		Long: `Print the JSON schema (draft 2020-12) of the configuration file that --config names,
for editors and for checks before the file is used.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := options.Schema()
			if err == nil {
				_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			}
			return err
		},
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), programName, version())
			return err
		},
	}
}

// release is the version that the build was told; "": that of its build info.
var release string // the linker writes it: go build -ldflags '-X main.release=v1.2.3'

// version is what the build was told, or else that of the module, or the revision
// it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if release != "" {
		return release + " " + info.GoVersion
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return v + " " + info.GoVersion
}
