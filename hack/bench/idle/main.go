// Command idle does nothing, with the libraries for a command line and a log. Benchmarks
// use it as the lower bound for the start of a program.
package main

import (
	"os"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

func main() {
	log := zap.NewNop()
	root := &cobra.Command{Use: "idle", Run: func(*cobra.Command, []string) { log.Info("nothing done") }}
	if root.Execute() != nil {
		os.Exit(1)
	}
}
