package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// Exit codes. Istio's repair controller looks for the last one.
const (
	exitDone       = 0
	exitFailed     = 1
	exitDrift      = 1   // check, trace: the answer is no
	exitUnknown    = 2   // check, trace: there is no answer
	exitValidation = 126 // the validation failed, or could not be made
)

// An exitStatus says when a command ends with a code.
type exitStatus struct {
	code int
	when string
}

// exitStatuses are the exit codes of each command.
var exitStatuses = map[string][]exitStatus{
	applyCommand: {
		{exitDone, "the rules are installed, or were; or they are printed, or skipped"},
		{exitFailed, "the input is invalid, or the namespace is refused, and nothing was changed; or a step failed, and what was changed was taken back"},
		{exitValidation, "--run-validation: a connection was not captured as it should be, or could not be tested; the rules stay"},
	},
	cleanCommand: {
		{exitDone, "our rules are removed, or there were none"},
		{exitFailed, "the input is invalid, or some of our rules remain: they could not be read or removed"},
	},
	"check": {
		{exitDone, "without flags that describe rules: the state was read, whatever it is; with them: the rules are theirs"},
		{exitDrift, "drift, with --all-namespaces in any namespace; or with --require captured: no connection is captured, or a problem is known"},
		{exitUnknown, "no answer: the input is invalid, the state could not be read, a table that may capture is not printed by iptables, or flags were given and the pod is in Istio's ambient mode"},
	},
	"trace": {
		{exitDone, "the path is shown; with --expect: it is the expected one, for certain"},
		{exitDrift, "with --expect: the connection is captured, or not, against what is expected"},
		{exitUnknown, "no answer: the input is invalid, or the rules could not be read; with --expect: the answer is not certain"},
	},
	"explain": {
		{exitDone, "the rules are shown"},
		{exitFailed, "the input is invalid, or the rules could not be read"},
	},
	"version":       {{exitDone, "the version is printed"}, {exitFailed, "the input is invalid"}},
	"config-schema": {{exitDone, "the schema is printed"}, {exitFailed, "the input is invalid"}},
	"help":          {{exitDone, "the help is printed"}, {exitFailed, "the command does not exist"}},
	"completion":    {{exitDone, "the script is printed"}, {exitFailed, "there is none for that shell"}},
}

// withExitUnknown gives every error of a command that answers a question the exit code 2, also
// that of invalid flags: 1 is an answer.
func withExitUnknown(cmd *cobra.Command) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if _, coded := errors.AsType[*exitError](err); err == nil || coded {
			return err
		}
		return &exitError{code: exitUnknown, err: err}
	}
	return cmd
}

// An exitError sets the exit code. Its error is nil if all has been printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exitCode returns the exit code of a run.
func exitCode(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &e):
		return e.code
	}
	return exitFailed
}
