// Command idle does nothing, with the libraries of a command line and a log. It is
// what the benchmarks measure the start of the program against.
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
