package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"istio-init/cmd/istio-init/options"
)

func newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "config-schema",
		Short: "print the JSON schema of the configuration file",
		Long: `Print the JSON schema (draft 2020-12) of the configuration file that --config names,
for editors and for checks before the file is used.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := options.Schema()
			if err == nil {
				_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			}
			return err
		},
	}
}
