package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"istio-init/cmd/istio-init/options"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
)

func newVersion(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version, and the releases of iptables that are installed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lines := []string{programName + " " + version()}
			for _, v := range xtables.Variants {
				lines = append(lines, installed(cmd.Context(), s, v))
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(lines, "\n"))
			return err
		},
	}
}

// installed names the release of a variant of iptables, and where it is.
func installed(ctx context.Context, s streams, v xtables.Variant) string {
	var programs xtables.Config
	if !netutil.HasMoreRights() { // as for the programs of a run
		programs.Path, _ = s.env("PATH")
	}
	text, err := options.UntilDone(ctx, "run it", func() (string, error) {
		release, path, err := programs.Release(ctx, v)
		return fmt.Sprintf("iptables %s (%s) %s", release, v, path), err
	})
	if err != nil {
		return fmt.Sprintf("iptables (%s): %v", v, err)
	}
	return text
}

// release is the version that the build was told; "": that of its build info.
var release string // the linker writes it: go build -ldflags '-X main.release=v1.2.3'

// version is what the build was told, or else that of the module, or the revision
// it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if release != "" {
		return release + " " + info.GoVersion
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return v + " " + info.GoVersion
}
