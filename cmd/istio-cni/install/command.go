package install

import (
	"errors"

	"github.com/spf13/cobra"
)

// Commands returns the commands install, uninstall and status.
func Commands() []*cobra.Command {
	missing := func(*cobra.Command, []string) error { return errors.New("not implemented") }
	return []*cobra.Command{
		{Use: "install", Short: "put the plugin and its configuration on the node", Args: cobra.NoArgs, RunE: missing},
		{Use: "uninstall", Short: "take them away", Args: cobra.NoArgs, RunE: missing},
		{Use: "status", Short: "tell what the node has", Args: cobra.NoArgs, RunE: missing},
	}
}
