package main

import (
	"errors"
	"fmt"
)

// Exit codes. Istio's repair controller looks for the last one.
const (
	exitDone       = 0
	exitFailed     = 1
	exitDrift      = 1   // check: drift
	exitUnknown    = 2   // check: the state could not be read
	exitValidation = 126 // the validation failed, or could not be made
)

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
