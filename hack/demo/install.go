package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// needs are the programs that are shown or that the rules are applied by, and the
// packages of Debian and Ubuntu that have them.
var needs = []struct{ program, pkg string }{
	{"iptables-save", "iptables"},
	{"ip6tables-save", "iptables"},
	{"nft", "nftables"},
	{"ip", "iproute2"},
}

// missing returns the programs that are not there, and their packages.
func missing() (programs, packages []string) {
	for _, n := range needs {
		if _, err := exec.LookPath(n.program); err != nil {
			programs = append(programs, n.program)
			if !slices.Contains(packages, n.pkg) {
				packages = append(packages, n.pkg)
			}
		}
	}
	return programs, packages
}

// install installs what is missing, and says so.
func install(ctx context.Context) error {
	// su without - leaves these out.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return err
	}
	programs, packages := missing()
	if len(packages) == 0 {
		return nil
	}
	fmt.Printf("Not here: %s. Installing by apt-get: %s.\n\n", strings.Join(programs, ", "), strings.Join(packages, ", "))
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("there is no apt-get: install %s yourself", strings.Join(packages, ", "))
	}
	for _, args := range [][]string{
		{"update"},
		append([]string{"install", "--yes", "--no-install-recommends"}, packages...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	if programs, _ := missing(); len(programs) > 0 {
		return fmt.Errorf("apt-get has installed %s, and still not here: %s", strings.Join(packages, ", "), strings.Join(programs, ", "))
	}
	return nil
}
