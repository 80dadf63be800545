package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
)

// helpWidth is the width of the help of flags in columns.
const helpWidth = 100

// printUsage prints the usage of a command as cobra does, with the help of flags wrapped.
// It is not a template: a template may call any method by name, so the linker would keep
// every exported method (github.com/spf13/cobra/pull/1956).
func printUsage(cmd *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:")
	if cmd.Runnable() && !cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n  %s", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n  %s [command]", cmd.CommandPath())
	}
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(&b, "\n\nAliases:\n  %s", cmd.NameAndAliases())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\n\nExamples:\n%s", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\n\nAvailable Commands:")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() || c.Name() == "help" {
				fmt.Fprintf(&b, "\n  %-*s %s", c.NamePadding(), c.Name(), c.Short)
			}
		}
	}
	writeFlags(&b, cmd)
	writeReference(&b, cmd)
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n\nUse \"%s [command] --help\" for more information about a command.", cmd.CommandPath())
	}
	_, err := fmt.Fprintln(cmd.OutOrStderr(), b.String())
	return err
}

// takesOptions reports whether a command has the options of the option table.
func takesOptions(cmd *cobra.Command) bool { return cmd.Flags().Lookup("config") != nil }

// writeFlags writes the flags under their headings.
func writeFlags(b *strings.Builder, cmd *cobra.Command) {
	ofTable := takesOptions(cmd)
	for _, s := range options.Sections(cmd.LocalFlags()) {
		title := s.Title
		if title != "Flags" {
			title += " flags"
		}
		fmt.Fprintf(b, "\n\n%s:\n%s", title, strings.TrimRight(s.Flags.FlagUsagesWrapped(helpWidth), " \n"))
	}
	if ofTable {
		b.WriteString("\n\nFlags of older releases, without effect:\n" + strings.TrimRight(report.Indent(options.OldNames(), "  "), "\n"))
	}
}

// writeReference writes what else belongs to a command: the environment, files, exit codes.
func writeReference(b *strings.Builder, cmd *cobra.Command) {
	if takesOptions(cmd) {
		for _, part := range []struct {
			title string
			rows  []row
		}{{"Environment", environmentRows(cmd.Name())}, {"Files", fileRows(cmd.Name())}} {
			fmt.Fprintf(b, "\n\n%s:", part.title)
			for _, r := range part.rows {
				b.WriteString("\n  " + r.name + "\n" + strings.TrimRight(report.Indent(r.text, "        "), "\n"))
			}
		}
	}
	if statuses := exitStatuses[cmd.Name()]; len(statuses) > 0 {
		b.WriteString("\n\nExit status:")
		for _, s := range statuses {
			b.WriteString("\n" + strings.TrimRight(report.IndentFrom(s.when, fmt.Sprintf("  %-4d", s.code), "      "), "\n"))
		}
	}
}

// A row is a name and what it is.
type row struct{ name, text string }

// environmentRows are the variables without a flag that a command reads.
func environmentRows(command string) []row {
	var rows []row
	for _, v := range options.Variables(command) {
		rows = append(rows, row{v.Name, v.Usage})
	}
	return append(rows,
		row{"PATH", "where the programs of iptables are looked for"},
		row{"NO_COLOR", "if set, no colours on a terminal"},
		row{"XTABLES_LOCKFILE", "the lock file of iptables-legacy, by default /run/xtables.lock"})
}

// fileRows are the files that a command reads and writes besides the network namespace.
func fileRows(command string) []row {
	var rows []row
	if command != cleanCommand { // for which no flag describes rules
		rows = append(rows,
			row{"/etc/resolv.conf", "the DNS servers, with --redirect-dns"},
			row{"/etc/passwd, /etc/group, /etc/services", "names of users, groups and ports"})
	}
	rows = append(rows, row{"/run/netns", "the network namespaces that have names"})
	if leavesLastMessage(command) {
		rows = append(rows, row{terminationLog, "the last error, if the program is process 1 of a container"})
	}
	return rows
}

// newHelp returns the command that prints the help of another one.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "print the help of a command",
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			about, rest, err := root.Find(commandLine("", args))
			switch {
			case len(args) == 0:
				about = root
			case err != nil || about == root:
				return unknownCommand(root, args[0])
			case len(rest) > 0:
				return noArguments(c, rest)
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}

// refuseUnknown makes a command that has commands refuse others; without one it prints its help.
func refuseUnknown(c *cobra.Command) {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		return unknownCommand(c, args[0])
	}
}

// noArguments refuses arguments of a command that has no options of the option table.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q: see %s --help", args[0], c.CommandPath())
}

// unknownCommand is the error of a command that does not exist.
func unknownCommand(parent *cobra.Command, name string) error {
	const most = 64 // letters that are compared
	err := fmt.Errorf("unknown command %q", name)
	if strings.HasPrefix(name, "–") || strings.HasPrefix(name, "—") {
		return fmt.Errorf("%w: it begins with a typographic dash: want - or --", err)
	}
	if len(name) <= most {
		if near := parent.SuggestionsFor(name); len(near) > 0 {
			return fmt.Errorf("%w (did you mean %s?)", err, strings.Join(near, " or "))
		}
	}
	var names []string
	for _, c := range parent.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return fmt.Errorf("%w: want one of %s", err, strings.Join(names, ", "))
}
