package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
)

// isTold reports whether an error is told to the user. Drift has been, by the answer, and
// nobody waits for an answer whose reader has gone.
func isTold(err error) bool {
	coded, ok := errors.AsType[*exitError](err)
	return err != nil && (!ok || coded.err != nil) && !errors.Is(err, errReaderGone)
}

// asksForJSON reports whether a command line has --output json. It may be one that cannot be
// parsed.
func asksForJSON(line []string) bool {
	if end := slices.Index(line, "--"); end >= 0 {
		line = line[:end]
	}
	asks := false
	for i, word := range line {
		value, is := strings.CutPrefix(word, "--output=")
		if word == "--output" && i+1 < len(line) {
			value, is = line[i+1], true
		}
		if is {
			asks = value == "json"
		}
	}
	return asks
}

// An inputError is a problem of the input that shows only with what was read.
type inputError struct{ error }

func (e *inputError) Unwrap() error { return e.error }

// failureOf returns the document of the error of a command.
func failureOf(c *cobra.Command, err error) *report.Failure {
	name := c.Name()
	if !c.HasParent() {
		name = ""
	}
	code, message := exitCode(err), withoutCode(err).Error()
	logged, ran := errors.AsType[*loggedError](err)
	var problems []report.Problem
	if ran {
		message = logged.said
		for _, p := range logged.problems {
			problems = append(problems, problemOf(p))
		}
		if invalid, is := errors.AsType[*inputError](err); is {
			problems = append(problems, problemOf(invalid))
		}
	}
	return report.NewFailure(name, code, withoutCode(err), message, problems, !ran, code == exitValidation)
}

func problemOf(err error) report.Problem {
	p := report.Problem{Message: err.Error()}
	if invalid, ok := errors.AsType[*options.InvalidValue](err); ok {
		p.Option, p.From, p.At = invalid.Option, report.ValueFrom(invalid.From), invalid.At
	}
	return p
}

// withoutCode returns the error that a user is told of.
func withoutCode(err error) error {
	if coded, ok := errors.AsType[*exitError](err); ok && coded.err != nil {
		return coded.err
	}
	if logged, ok := errors.AsType[*loggedError](err); ok {
		return logged.error
	}
	return err
}
