package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"istio-init/cmd/istio-init/options"
	"istio-init/netutil"
)

// completeValues makes a shell complete the values of flags.
func completeValues(c *cobra.Command, flags *options.Flags) {
	flags.Complete(func(flag string, words []string, kind options.ValueKind) {
		_ = c.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			found := words
			switch kind {
			case options.Interfaces:
				found, _ = netutil.Interfaces()
			case options.Namespaces:
				found = namespaces()
			case options.Words:
			}
			return found, cobra.ShellCompDirectiveNoFileComp
		})
	})
	c.ValidArgsFunction = cobra.NoFileCompletions
}

// namespaces returns the names of network namespaces, and those of processes as files.
func namespaces() []string {
	var names []string
	named, _ := os.ReadDir("/run/netns")
	for _, n := range named {
		names = append(names, n.Name())
	}
	processes, _ := os.ReadDir("/proc")
	for _, p := range processes {
		if strings.Trim(p.Name(), "0123456789") == "" {
			names = append(names, "/proc/"+p.Name()+"/ns/net")
		}
	}
	return names
}
