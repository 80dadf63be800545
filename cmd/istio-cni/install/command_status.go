package install

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// The exit codes of status, besides 0: installed, and nothing is wrong.
const (
	exitProblems   = 1
	exitUnreadable = 2
)

func newStatus() *cobra.Command {
	var node nodeFlags
	var what entryFlags
	var output string
	c := &cobra.Command{
		Use:   "status",
		Short: "report whether the plugin is installed on a node, and what is wrong",
		Long: `status reads the directories that install writes, and changes nothing.

Exit codes: 0 installed and nothing is wrong, 1 problems, 2 the node could not be read.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			write, ok := map[string]func(io.Writer, Status) error{"text": printText, "json": printJSON}[output]
			if !ok {
				return fmt.Errorf("--output: %q: want text or json", output)
			}
			target, m, err := node.target()
			if err != nil {
				return err
			}
			var want Expectation
			if want.Method, want.Entry, err = what.parse(m); err != nil {
				return err
			}
			if what.netconf == "" {
				want.Entry = nil
			}
			if want.Binary, err = ownBinary(); err != nil {
				return &ExitError{exitUnreadable, err}
			}
			n, err := target.Read(c.Context())
			if err != nil {
				return &ExitError{exitUnreadable, err}
			}
			s := Inspect(n, want)
			if err := write(c.OutOrStdout(), s); err != nil {
				return err
			}
			if len(s.Problems) > 0 {
				return &ExitError{Code: exitProblems}
			}
			return nil
		},
	}
	node.define(c.Flags())
	what.define(c.Flags())
	c.Flags().StringVar(&output, "output", "text", "text or json")
	return c
}

func printJSON(w io.Writer, s Status) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(s)
}

// printText prints what is wrong first.
func printText(w io.Writer, s Status) error {
	var lines []string
	line := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if s.Installed {
		line("installed: the plugin is called for pods that start")
	} else {
		line("not installed: pods that start are not captured by it")
	}
	for _, p := range s.Problems {
		line("problem: %s: %s", p.Code, p.Text)
	}
	line("binary:  %s: %s", s.Binary.Path, s.Binary.State)
	if s.Main != nil {
		line("main:    %s: network %s, cniVersion %s", s.Main.File, s.Main.Network, s.Main.CNIVersion)
	}
	for _, e := range s.Entries {
		use := "in use"
		switch {
		case !e.InUse:
			use = "not in use"
		case e.Assumed:
			use = "in use if the runtime loads drop-in files, which is not known"
		}
		line("entry:   %s: method %s, %s", e.File, e.Method, use)
	}
	for _, r := range s.Runtimes {
		line("runtime: %s", r)
	}
	if len(s.Runtimes) == 0 {
		line("runtime: unknown, no program of one is readable; %s", AnnotationsNeed)
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return err
		}
	}
	return nil
}
