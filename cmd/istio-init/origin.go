package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"istio-init/cmd/istio-init/options"
	"istio-init/netutil"
)

// explainOrigin adds to an error which option it is about, and what has supplied its value.
func explainOrigin(p *options.Parsed, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: the run takes longer than the %s of %s", err, p.Timeout, p.Name("timeout"))
	}
	if _, is := errors.AsType[*netutil.NetNSError](err); !is {
		return err
	}
	err = fmt.Errorf("%s: %w", p.Name("network-namespace"), err)
	switch {
	case strings.Trim(p.NetNS, "0123456789") == "":
		return fmt.Errorf("%w: that of the process %s is /proc/%[2]s/ns/net", err, p.NetNS)
	case !errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: want a file such as /proc/PID/ns/net, or a name under /run/netns", err)
	}
	return err
}
