package decision

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"istio-init/capture"
	"istio-init/cmd/istio-cni/netconf"
	"istio-init/cmd/istio-init/options"
)

// HintPrefix is the prefix of the annotations that tell what those of Istio do not. The name of
// the option follows, in lower case and with dashes.
const HintPrefix = "hints.istio-init/"

// The names of options that are treated in some way of their own.
const (
	optionMode          = "istio-inbound-interception-mode"
	optionExcludedPorts = "istio-local-exclude-ports"
	optionUID           = "proxy-uid"
	optionGID           = "proxy-gid"
	optionDNS           = "redirect-dns"
	optionAllDNS        = "capture-all-dns"
)

const modeKey = "sidecar.istio.io/interceptionMode"

// own are the options that have annotations of their own. Of two the first that is there counts.
// Where there is none, Istio's plugin takes the last column.
var own = []struct {
	option      string
	annotations []string
	absent      string
}{
	{optionMode, []string{modeKey}, "REDIRECT"},
	{"istio-service-cidr", []string{"traffic.sidecar.istio.io/includeOutboundIPRanges"}, "*"},
	{"istio-service-exclude-cidr", []string{"traffic.sidecar.istio.io/excludeOutboundIPRanges"}, ""},
	{"istio-inbound-ports", []string{"traffic.sidecar.istio.io/includeInboundPorts"}, "*"},
	{optionExcludedPorts, []string{"traffic.sidecar.istio.io/excludeInboundPorts"}, "15020"},
	{"istio-local-outbound-ports-exclude", []string{"traffic.sidecar.istio.io/excludeOutboundPorts"}, "15020"},
	{"istio-outbound-ports", []string{"traffic.sidecar.istio.io/includeOutboundPorts"}, ""},
	{"kube-virt-interfaces", []string{"istio.io/reroute-virtual-interfaces", "traffic.sidecar.istio.io/kubevirtInterfaces"}, ""},
	{"istio-exclude-interfaces", []string{"traffic.sidecar.istio.io/excludeInterfaces"}, ""},
}

// variables are the options that the proxy has as variables.
var variables = []struct{ option, name string }{
	{optionDNS, "ISTIO_META_DNS_CAPTURE"},
	{"dual-stack", "ISTIO_DUAL_STACK"},
	{"drop-invalid", "INVALID_DROP"},
	{"ISTIO_OUTBOUND_OWNER_GROUPS", "ISTIO_OUTBOUND_OWNER_GROUPS"},
	{"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"},
	{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"},
}

// Switches are the options that are off where nobody says anything, which no validation notices:
// mesh-wide settings are in no annotation.
var Switches = []string{optionDNS, "dual-stack", "drop-invalid"}

// proxyPorts are ports of the proxy that are never captured, as Istio's plugin adds them.
var proxyPorts = []string{"15020", "15021", "15090"}

// sourceDefault is the source of what Istio's plugin takes where nobody says anything.
const sourceDefault = "default"

// values returns the values of options for a pod that is captured.
func (r *reader) values(entry netconf.Conf) []options.Value {
	defaults := map[string]options.Value{}
	for _, v := range entry.Defaults {
		defaults[v.Option] = v
	}
	var values []options.Value
	add := func(v options.Value, there bool) {
		if there {
			values = append(values, v)
		}
		delete(defaults, v.Option)
	}
	for _, o := range own {
		add(r.list(o.option, o.annotations, o.absent, defaults))
	}
	proxied := strings.EqualFold(strings.TrimSpace(values[0].Text), "TPROXY")
	uid, gid := r.ids(proxied, defaults)
	add(uid, true)
	add(gid, true)
	for _, o := range variables {
		add(r.setting(o.option, o.name, defaults))
	}
	for _, v := range entry.Defaults {
		if v, left := defaults[v.Option]; left {
			values = append(values, v)
		}
	}
	return r.allDNS(values)
}

// list returns the value of an option that has annotations of its own.
func (r *reader) list(option string, annotations []string, absent string, defaults map[string]options.Value) (options.Value, bool) {
	v, given := defaults[option]
	if !given {
		v = options.Value{Option: option, Text: absent, From: sourceDefault}
	}
	for _, key := range annotations {
		if text, there := r.annotation(key); there {
			v.Text, v.From = text, from(key)
			break
		}
	}
	if option == optionExcludedPorts {
		v.Text = withPorts(v.Text)
	}
	return v, true
}

// withPorts returns a list of ports with those of the proxy.
func withPorts(list string) string {
	var ports []string
	if strings.TrimSpace(list) != "" {
		ports = strings.Split(list, ",")
	}
	for _, p := range proxyPorts {
		if !slices.ContainsFunc(ports, func(there string) bool { return strings.TrimSpace(there) == p }) {
			ports = append(ports, p)
		}
	}
	return strings.Join(ports, ",")
}

// ids returns the user and the group of the proxy. In TPROXY it runs as root, and its rules are
// for the user of Istio's default all the same.
func (r *reader) ids(proxied bool, defaults map[string]options.Value) (uid, gid options.Value) {
	find := func(option, field string, overridden *json.Number) options.Value {
		v := options.Value{Option: option, Text: strconv.Itoa(capture.DefaultProxyID), From: sourceDefault}
		hint, hinted := r.hint(option)
		configured, given := defaults[option]
		switch {
		case overridden != nil && *overridden != "0":
			v.Text, v.From = overridden.String(), from(overridesKey)+" "+field
		case proxied:
		case hinted:
			return hint
		case given:
			return configured
		}
		return v
	}
	context := r.own.SecurityContext
	user := context.RunAsUser
	if proxied {
		user = nil
	}
	uid = find(optionUID, "runAsUser", user)
	if uid.From == sourceDefault && !proxied {
		r.refuseOpenShift()
	}
	return uid, find(optionGID, "runAsGroup", context.RunAsGroup)
}

// refuseOpenShift refuses a pod of OpenShift: the user of its proxy is another one in each
// namespace, and rules for the wrong user redirect the proxy to itself.
func (r *reader) refuseOpenShift() {
	var seen string
	for _, key := range sortedKeys(r.annotations) {
		if strings.HasPrefix(key, "openshift.io/") {
			seen = key
			break
		}
	}
	if seen == "" {
		networks, _ := r.annotation(networksKey)
		if !slices.ContainsFunc(strings.FieldsFunc(networks, isNetworkSeparator), func(name string) bool { return name == attachment }) {
			return
		}
		seen = networksKey
	}
	r.wrong(seen, "shows OpenShift, whose proxies run as a user of their namespace, and no user is configured: want %s (a template of istiod can write it), "+
		"defaults.proxy_uid in the network configuration, or runAsUser of an own %s container", HintPrefix+optionUID, proxyName)
}

// isNetworkSeparator separates the names in a list of networks: NAMESPACE/NAME@INTERFACE,... or JSON.
func isNetworkSeparator(c rune) bool { return strings.ContainsRune(`,/@"[]{}: `, c) }

// setting returns the value of an option that the proxy has as a variable.
func (r *reader) setting(option, variable string, defaults map[string]options.Value) (v options.Value, there bool) {
	v, there = defaults[option]
	if hint, given := r.hint(option); given {
		v, there = hint, true
	}
	v.Option = option
	text, source := r.variable(variable)
	switch {
	case source == "":
		return v, there
	case options.Boolean(option):
		text = cmp.Or(text, "false") // as the proxy reads it
	case text == "":
		return v, there // as if it were not set
	}
	return options.Value{Option: option, Text: text, From: source}, true
}

// hintKey returns the annotation that is the hint for an option.
func hintKey(option string) string {
	return HintPrefix + strings.ToLower(strings.ReplaceAll(option, "_", "-"))
}

// unknownHints returns the annotations that have the prefix of hints and are for no option. They
// are no errors, since a template of hints may be newer than the plugin of a node.
func (r *reader) unknownHints() []string {
	known := []string{hintKey(optionUID), hintKey(optionGID)}
	for _, v := range variables {
		known = append(known, hintKey(v.option))
	}
	return slices.DeleteFunc(sortedKeys(r.annotations), func(key string) bool {
		return !strings.HasPrefix(key, HintPrefix) || slices.Contains(known, key)
	})
}

// hint returns the value of a hint annotation.
func (r *reader) hint(option string) (v options.Value, given bool) {
	key := hintKey(option)
	text, _ := r.annotation(key)
	return options.Value{Option: option, Text: text, From: from(key)}, strings.TrimSpace(text) != ""
}

// allDNS has DNS captured whatever the server, if at all.
func (r *reader) allDNS(values []options.Value) []options.Value {
	of := func(option string) (v options.Value, on bool) {
		i := slices.IndexFunc(values, func(v options.Value) bool { return v.Option == option })
		if i < 0 {
			return v, false
		}
		on, err := strconv.ParseBool(values[i].Text)
		return values[i], on || err != nil
	}
	dns, captured := of(optionDNS)
	switch all, given := of(optionAllDNS); {
	case !captured:
	case all.Option == "":
		values = append(values, options.Value{Option: optionAllDNS, Text: "true", From: dns.From})
	case !given:
		r.problems = append(r.problems, fmt.Errorf("%s %s: want true: queries to any server are captured, since the resolv.conf of the node is not the pod's", all.From, all.Text))
	}
	return values
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
