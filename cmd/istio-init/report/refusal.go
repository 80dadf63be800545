package report

import (
	"errors"
	"fmt"
	"strings"

	"istio-init/iptables/xtables"
)

// moduleOptions are the options that need a kernel module.
var moduleOptions = map[string]string{
	"xt_owner":     "--proxy-uid, --proxy-gid and ISTIO_OUTBOUND_OWNER_GROUPS",
	"xt_REDIRECT":  "-m REDIRECT and all outbound capture",
	"xt_multiport": "--redirect-dns",
	"xt_CT":        "--redirect-dns",
	"xt_conntrack": "-m TPROXY and --drop-invalid",
	"xt_mark":      "-m TPROXY",
	"xt_connmark":  "-m TPROXY",
	"xt_TPROXY":    "-m TPROXY",
}

// ExplainRefusal adds to the error of a refused line which options need the kernel
// modules that it is about.
func ExplainRefusal(err error) error {
	var refused *xtables.RestoreError
	if !errors.As(err, &refused) {
		return err
	}
	var uses []string
	for _, module := range refused.Needs {
		if use := moduleOptions[module]; use != "" {
			uses = append(uses, module+" for "+use)
		}
	}
	if len(uses) == 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.Join(uses, "; "))
}
