package main

import (
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

// runPlugin answers a container runtime and returns the exit code.
func runPlugin() int {
	missing := func(*skel.CmdArgs) error { return types.NewError(types.ErrInternal, "not implemented", "") }
	versions := version.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
	if err := skel.PluginMainFuncsWithError(skel.CNIFuncs{Add: missing, Check: missing}, versions, ""); err != nil {
		_ = err.Print()
		return 1
	}
	_ = os.Stdout.Sync()
	return 0
}
