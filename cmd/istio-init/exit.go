package main

import (
	"errors"
	"fmt"
)

// Exit codes. Istio's repair controller looks for the last one.
const (
	exitDone      = 0
	exitFailed    = 1
	exitDrifted   = 1   // check: the rules are not those of the flags
	exitNotLooked = 2   // check: that could not be told
	exitUnproved  = 126 // the validation failed, whatever the reason
)

// An exitError ends the program with a code of its own; without an error there is
// nothing to say that has not been said.
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

// exitCode is the exit code of a run.
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
