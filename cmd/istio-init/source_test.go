package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/test/scenario"
)

func TestAnInterruptEndsTheWaitForADump(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never, writer := io.Pipe()
	defer writer.Close()
	cmd := &command{stdin: never}
	if _, _, err := cmd.readDump(ctx, options.RulesStdin); !errors.Is(err, context.Canceled) {
		t.Errorf("the wait for a dump ends with %v", err)
	}
}

// TestAShellReadsACommandAsItIs is for the arguments that check says made the rules.
func TestAShellReadsACommandAsItIs(t *testing.T) {
	t.Parallel()
	for _, s := range parseScenarios(t) {
		args, _ := options.Arguments(s.config.Config, true)
		line := report.ShellLine(args)
		if again, err := scenario.Words(line); err != nil || !slices.Equal(args, again) {
			t.Errorf("%s: %s is read as %q, %v", s.Name(), line, again, err)
		}
		if strings.Contains(line, "\n") {
			t.Errorf("%s: more than one line: %q", s.Name(), line)
		}
	}
}
