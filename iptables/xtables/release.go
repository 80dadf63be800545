package xtables

import (
	"context"
	"fmt"
	"strings"

	goiptables "github.com/coreos/go-iptables/iptables"

	"istio-init/netutil/inet"
)

// Release returns the release of the iptables that a variant runs, as "1.8.9", and its
// absolute path. It starts programs with --version.
func (c Config) Release(ctx context.Context, v Variant) (release, path string, err error) {
	_, restore, err := c.findTools(ctx, v, inet.IPv4)
	if err != nil {
		return "", "", err
	}
	path = strings.TrimSuffix(restore, "-restore")
	found, err := goiptables.New(goiptables.Path(path))
	if err != nil {
		return "", "", fmt.Errorf("%s --version: %w", path, err)
	}
	major, minor, patch := found.GetIptablesVersion()
	return fmt.Sprintf("%d.%d.%d", major, minor, patch), path, nil
}
