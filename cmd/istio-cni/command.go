package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"istio-init/cmd/buildinfo"
	"istio-init/cmd/istio-cni/install"
)

const programName = "istio-cni"

// runCommand runs a command line and returns the exit code.
func runCommand(ctx context.Context, args []string) int {
	root := &cobra.Command{
		Use:   programName,
		Short: "redirect the traffic of pods through their sidecar proxies, as a CNI plugin",
		Long: `istio-cni is a CNI plugin. A container runtime calls it with CNI_COMMAND set, and it makes
the rules that istio-init makes, in pods that Istio's injector has prepared for a CNI
plugin. With the commands below it is installed on a node.`,
		Version:           buildinfo.Version(release),
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(install.Commands()...)
	root.SetHelpCommand(&cobra.Command{
		Use:   "help [command]",
		Short: "print the help of a command",
		RunE: func(_ *cobra.Command, args []string) error { // that of cobra has exit code 0 for no command
			c, _, err := root.Find(args)
			if err != nil {
				return err
			}
			return c.Help()
		},
	})
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	coded, ok := errors.AsType[*install.ExitError](err)
	if !ok {
		coded = &install.ExitError{Code: 1, Err: err}
	}
	if coded.Err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "Error:", coded.Err)
	}
	return coded.Code
}
