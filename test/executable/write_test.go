package executable_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"istio-init/test/executable"
)

func TestProgramsCanBeStartedWhileOthersAreWritten(t *testing.T) {
	t.Parallel()
	const writers, each = 8, 50
	errs := make(chan error)
	for range writers {
		path := filepath.Join(t.TempDir(), "program")
		go func() {
			var err error
			for n := 0; n < each && err == nil; n++ {
				if err = executable.Write(path, []byte("#!/bin/sh\n")); err == nil {
					err = exec.Command(path).Run()
				}
			}
			errs <- err
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
