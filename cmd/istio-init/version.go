package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"istio-init/capture/pod"
	"istio-init/cmd/buildinfo"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
)

func newVersion(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "print the version, and the releases of iptables that are installed",
		Args:  noArguments,
	}
	format := options.DefineOutput(c.Flags())
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if short, is := errors.AsType[*pflag.NotExistError](err); is && short.GetSpecifiedName() == "o" {
			return errors.New("unknown flag -o: the format of an answer is --output, as in --output json")
		}
		return c.Root().FlagErrorFunc()(c, err)
	})
	c.RunE = func(c *cobra.Command, _ []string) error {
		output, err := format()
		if err != nil {
			return err
		}
		var found []report.IPTables
		for _, v := range xtables.Variants {
			found = append(found, installed(c.Context(), s, v))
		}
		number, built, _ := strings.Cut(version(), " ")
		return report.Write(s.stdout, report.Styler{}, report.NewVersion(number, built, found), output == options.JSON)
	}
	return c
}

// installed returns the release of a variant of iptables, and where it is.
func installed(ctx context.Context, s streams, v xtables.Variant) report.IPTables {
	var programs xtables.Config
	if !netutil.HasMoreRights() { // as for the programs of a run
		programs.Path, _ = s.env("PATH")
	}
	found, err := options.UntilDone(ctx, "run it", func() (report.IPTables, error) {
		release, path, err := programs.Release(ctx, v)
		return report.IPTables{Found: true, Version: release, Path: path}, err
	})
	if err != nil {
		found = report.IPTables{Error: err.Error()}
	}
	found.Backend = pod.Name(v.String())
	return found
}

// release is the version that the build was told; "": that of its build info.
var release string // the linker writes it: go build -ldflags '-X main.release=v1.2.3'

func version() string { return buildinfo.Version(release) }
