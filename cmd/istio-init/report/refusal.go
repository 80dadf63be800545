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

// A foreignRoute is the error of netutil that a routing table has a foreign default route.
type foreignRoute interface {
	error
	ForeignRoute() (table uint32)
}

// Explain adds to an error what the user can do: which options need the kernel modules
// of a refused line, or which option avoids the conflict.
func Explain(err error) error {
	if refused, ok := errors.AsType[*xtables.RestoreError](err); ok {
		return explainModules(err, refused.Needs)
	}
	if in, ok := errors.AsType[*xtables.NFTRulesError](err); ok && len(in.Ours) > 0 {
		return fmt.Errorf("%w: remove the rules of nft", err)
	} else if ok {
		return fmt.Errorf("%w: remove them, or use the other variant (--force-iptables-binary)", err)
	}
	if _, ok := errors.AsType[foreignRoute](err); ok {
		return fmt.Errorf("%w; remove that route, or use another table (--istio-inbound-tproxy-route-table)", err)
	}
	return err
}

func explainModules(err error, modules []string) error {
	var uses []string
	for _, module := range modules {
		if use := moduleOptions[module]; use != "" {
			uses = append(uses, module+" for "+use)
		}
	}
	if len(uses) == 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.Join(uses, "; "))
}
