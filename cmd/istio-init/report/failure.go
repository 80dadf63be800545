package report

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"

	"istio-init/capture/infer"
	"istio-init/capture/pod"
)

// A Failure is why a run has failed. Its fields are the keys of the document that a command
// with --output json prints instead of its answer.
type Failure struct {
	header
	Command  string    `json:"command,omitempty" jsonschema:"apply, clean, check, trace, explain or version; missing if the command line names none"`
	ExitCode int       `json:"exit_code" jsonschema:"the exit code of the program"`
	Code     errorCode `json:"code" jsonschema:"what kind of error it is"`
	Message  string    `json:"message" jsonschema:"the error as on standard error, for people"`
	Problems []Problem `json:"problems,omitempty" jsonschema:"each problem of the input, where the code is invalid-input"`
}

// A Problem is one problem of the input.
type Problem struct {
	Message string    `json:"message" jsonschema:"the problem, for people"`
	Option  string    `json:"option,omitempty" jsonschema:"the option with an invalid value: its long name, or its variable where it has no flag; missing: another problem"`
	From    ValueFrom `json:"from,omitempty" jsonschema:"what has supplied the value"`
	At      string    `json:"at,omitempty" jsonschema:"the flag, the variable, the place in the file, or the options that it is derived from"`
}

// A ValueFrom is where a value is from.
type ValueFrom string

// An errorCode is the kind of an error.
type errorCode string

// The kinds of errors.
const (
	codeUsage        errorCode = "usage"         // there is no such command, or it takes no such words
	codeInvalidInput errorCode = "invalid-input" // unknown flags; values of flags, variables or the file
	codePermission   errorCode = "permission"    // a capability is missing, or access to a file
	codeNoBackend    errorCode = "no-backend"    // neither iptables nor nftables can be used
	codeAmbient      errorCode = "ambient"       // the pod is in Istio's ambient mode
	codeHostNetwork  errorCode = "host-network"  // the network namespace is that of a machine
	codeContended    errorCode = "contended"     // other programs kept changing the rules
	codeTimeout      errorCode = "timeout"       // --timeout is over
	codeInterrupted  errorCode = "interrupted"   // a signal has ended the run
	codeValidation   errorCode = "validation"    // the rules do not work
	codeFailed       errorCode = "failed"        // anything else
)

// NewFailure returns the document of an error, with its message. problems are those of the
// input; usage tells an error of the command line, and validation one of the validation.
func NewFailure(command string, exitCode int, err error, message string, problems []Problem, usage, validation bool) *Failure {
	f := &Failure{header: newHeader(kindError), Command: command, ExitCode: exitCode, Message: message, Problems: problems}
	switch {
	case len(problems) > 0:
		f.Code = codeInvalidInput
	case usage:
		f.Code = codeUsage
	case validation:
		f.Code = codeValidation
	default:
		f.Code = codeOf(err)
	}
	return f
}

// codeOf returns the code of an error of a run.
func codeOf(err error) errorCode {
	is := func(target error, code errorCode) errorCode {
		if errors.Is(err, target) {
			return code
		}
		return ""
	}
	if _, host := errors.AsType[*pod.HostError](err); host {
		return codeHostNetwork
	}
	if _, contended := errors.AsType[*pod.ContendedError](err); contended {
		return codeContended
	}
	return cmp.Or(
		is(infer.ErrAmbient, codeAmbient), is(context.DeadlineExceeded, codeTimeout), is(context.Canceled, codeInterrupted),
		is(os.ErrPermission, codePermission), is(pod.ErrNoBackend, codeNoBackend), is(pod.ErrNoNetlink, codeNoBackend), codeFailed,
	)
}

func (f *Failure) document() any { return f }

func (f *Failure) text(Styler) string {
	var b strings.Builder
	for _, p := range f.Problems {
		b.WriteString(p.Message + "\n")
	}
	return b.String() + f.Message + "\n"
}
