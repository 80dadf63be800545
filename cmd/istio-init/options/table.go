package options

import (
	"strconv"

	"istio-init/capture"
)

// options is the option table. Names, aliases and defaults are Istio's.
var options = []*option{
	{
		long: "envoy-port", short: "p", env: []string{"ENVOY_PORT"}, def: strconv.Itoa(capture.DefaultProxyPort), form: formPort,
		also: "outbound-port proxy-port outbound-capture-port",
		help: "port of the proxy for outbound connections",
		set:  port(func(s *Parsed) *uint16 { return &s.Config.ProxyPort }),
	},
	{
		long: "inbound-capture-port", short: "z", env: []string{"INBOUND_CAPTURE_PORT"}, def: strconv.Itoa(capture.DefaultInboundPort), form: formPort,
		also: "inbound-port inbound-proxy-port",
		help: "port of the proxy for inbound connections",
		set:  port(func(s *Parsed) *uint16 { return &s.Config.InboundPort }),
	},
	{
		long: "inbound-tunnel-port", short: "e", env: []string{"INBOUND_TUNNEL_PORT"}, def: strconv.Itoa(capture.DefaultTunnelPort), form: formPort,
		help: "port of the proxy for HBONE tunnels, never redirected",
		set:  port(func(s *Parsed) *uint16 { return &s.Config.TunnelPort }),
	},
	{
		long: "proxy-uid", short: "u", env: []string{"PROXY_UID"}, form: formIDs,
		also: "envoy-uid sidecar-uid",
		help: "users of the proxy, whose traffic is not captured; by default ENVOY_USER, else " + strconv.Itoa(capture.DefaultProxyID),
		set:  deferred,
	},
	{
		long: "proxy-gid", short: "g", env: []string{"PROXY_GID"}, form: formIDs,
		also: "envoy-gid sidecar-gid",
		help: "groups of the proxy, whose traffic is not captured; by default the ids of --proxy-uid",
		set:  deferred,
	},
	{
		long: "istio-inbound-interception-mode", short: "m", env: []string{"ISTIO_INBOUND_INTERCEPTION_MODE"}, form: formMode,
		also: "mode interception-mode tproxy redirect",
		help: "how inbound connections are redirected; with NONE nothing is captured, inbound or outbound",
		set:  mode,
	},
	{
		long: "istio-inbound-ports", short: "b", env: []string{"ISTIO_INBOUND_PORTS"}, form: formAllPorts,
		also: "include-inbound-ports inbound-ports port ports",
		help: "ports of the pod whose inbound connections are captured; none by default",
		set:  inboundPorts,
	},
	{
		long: "istio-local-exclude-ports", short: "d", env: []string{"ISTIO_LOCAL_EXCLUDE_PORTS"}, form: formPorts,
		also: "exclude-inbound-ports istio-inbound-exclude-ports local-exclude-ports exclude-ports",
		help: "ports of the pod whose inbound connections are not captured; only with -b '*'",
		set:  inboundExcludePorts,
	},
	{
		long: "istio-exclude-interfaces", short: "c", env: []string{"ISTIO_EXCLUDE_INTERFACES"}, form: formLinks,
		also: "exclude-interfaces",
		help: "interfaces whose traffic is not captured, inbound or outbound",
		set:  links(func(s *Parsed) *linkList { return &s.Config.ExcludeInterfaces }),
	},
	{
		long: "istio-service-cidr", short: "i", env: []string{"ISTIO_SERVICE_CIDR"}, form: formAllCIDRs,
		also: "include-outbound-ip-ranges service-cidr cidr cidrs include-ip-ranges",
		help: "destinations whose outbound connections are captured; none by default",
		set:  outboundCIDRs,
	},
	{
		long: "istio-service-exclude-cidr", short: "x", env: []string{"ISTIO_SERVICE_EXCLUDE_CIDR"}, form: formCIDRs,
		also: "exclude-outbound-ip-ranges exclude-cidr exclude-cidrs service-exclude-cidr exclude-ip-ranges",
		help: "destinations whose outbound connections are not captured, also within those of -i",
		set:  outboundExcludeCIDRs,
	},
	{
		long: "istio-outbound-ports", short: "q", env: []string{"ISTIO_OUTBOUND_PORTS"}, form: formPorts,
		also: "include-outbound-ports outbound-ports",
		help: "ports whose outbound connections are captured, in addition to the destinations of -i",
		set:  ports(func(s *Parsed) *portList { return &s.Config.OutboundPorts }),
	},
	{
		long: "istio-local-outbound-ports-exclude", short: "o", env: []string{"ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE"}, form: formPorts,
		also: "exclude-outbound-ports istio-outbound-exclude-ports outbound-exclude-ports",
		help: "ports whose outbound connections are not captured, also those of the proxy",
		set:  outboundExcludePorts,
	},
	{
		long: "kube-virt-interfaces", short: "k", env: []string{"KUBE_VIRT_INTERFACES"}, form: formLinks,
		help: "interfaces of virtual machines: connections from there are outbound, captured for the destinations of -i",
		set:  links(func(s *Parsed) *linkList { return &s.Config.VirtualInterfaces }),
	},
	{
		long: "istio-inbound-tproxy-mark", short: "t", env: []string{"ISTIO_INBOUND_TPROXY_MARK"}, def: strconv.Itoa(capture.DefaultTProxyMark), form: formNumber,
		also: "tproxy-mark",
		help: "mark of inbound packets in TPROXY mode",
		set:  number(func(s *Parsed) *uint32 { return &s.Config.TProxyMark }),
	},
	{
		long: "istio-inbound-tproxy-route-table", short: "r", env: []string{"ISTIO_INBOUND_TPROXY_ROUTE_TABLE"}, def: strconv.Itoa(capture.DefaultTProxyTable), form: formNumber,
		also: "tproxy-route-table route-table",
		help: "routing table of inbound packets in TPROXY mode",
		set:  routeTable,
	},
	{
		long: "redirect-dns", env: []string{"REDIRECT_DNS", "ISTIO_META_DNS_CAPTURE"}, def: "false", form: formBool, boolean: true,
		also: "dns dns-capture capture-dns",
		help: "capture DNS queries to the servers in /etc/resolv.conf",
		set:  flag(func(s *Parsed) *bool { return &s.RedirectDNS }),
	},
	{
		long: "capture-all-dns", env: []string{"CAPTURE_ALL_DNS"}, def: "false", form: formBool, boolean: true,
		help: "with --redirect-dns: capture DNS queries to any server",
		set:  flag(func(s *Parsed) *bool { return &s.CaptureAllDNS }),
	},
	{
		long: "drop-invalid", env: []string{"DROP_INVALID", "INVALID_DROP"}, def: "false", form: formBool, boolean: true,
		help: "drop inbound packets in conntrack state INVALID",
		set:  flag(func(s *Parsed) *bool { return &s.Config.DropInvalid }),
	},
	{
		long: "dual-stack", env: []string{"DUAL_STACK", "ISTIO_DUAL_STACK"}, def: "false", form: formBool, boolean: true,
		also: "ipv6 enable-ipv6",
		help: "capture IPv6 if the pod has an IPv6 address, not only if its first address is one",
		set:  flag(func(s *Parsed) *bool { return &s.DualStack }),
	},
	{
		long: "ip-family", env: []string{"ISTIO_INIT_IP_FAMILY"}, def: "auto", form: formFamilies,
		also: "family address-family ipv4",
		help: "address families to capture; auto decides by the addresses of the namespace, as Istio does",
		set:  ipFamily,
	},
	{
		long: "compat", env: []string{"ISTIO_INIT_COMPAT"}, def: capture.Current.String(), form: formGeneration,
		also: "generation istio-version",
		help: "make the rules of this Istio release, line for line",
		set:  text(func(s *Parsed) textUnmarshaler { return &s.Config.Generation }),
	},
	{
		env: []string{"ISTIO_OUTBOUND_OWNER_GROUPS"}, def: "*", form: formAllGroups,
		help:      "groups whose processes are captured",
		warnEmpty: emptyOwnerGroups,
		set:       ownerGroups,
	},
	{
		env: []string{"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"}, form: formIDs,
		help: "groups whose processes are not captured; only if ISTIO_OUTBOUND_OWNER_GROUPS is *",
		set:  ownerGroupsExclude,
	},
	{
		env: []string{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"}, def: "127.0.0.1/32", form: formLoopback,
		help: "IPv4 destinations that count as the pod itself",
		set:  loopback,
	},
	{
		env: []string{"ENVOY_USER"}, def: capture.DefaultProxyUser, form: formUser,
		help: "user of the proxy, if --proxy-uid is not given",
		set:  func(s *Parsed, v string) error { s.envoyUser = v; return nil },
	},
	{
		long: "dry-run", short: "n", env: []string{"DRY_RUN"}, def: "false", form: formBool, boolean: true, group: groupRun,
		also: "preview simulate noop",
		help: "change nothing, print the rules as iptables-save does",
		set:  flag(func(s *Parsed) *bool { return &s.DryRun }),
	},
	{
		long: "plan", def: "false", form: formBool, boolean: true, group: groupRun,
		also: "diff steps",
		help: "change nothing, print the steps that a run would take here and now",
		set:  flag(func(s *Parsed) *bool { return &s.Plan }),
	},
	{
		env: []string{"DRY_RUN_FILE_PATH"}, form: formPath, group: groupRun,
		help: "file to which a dry run appends its output",
		set:  path(func(s *Parsed) *string { return &s.DryRunFile }),
	},
	{
		long: "network-namespace", env: []string{"NETWORK_NAMESPACE"}, form: formNetNS, group: groupRun,
		also: "netns namespace ns pid pod net-ns",
		help: "network namespace to work in; by default the current one",
		set:  path(func(s *Parsed) *string { return &s.NetNS }),
	},
	{
		long: "force-iptables-binary", env: []string{"FORCE_IPTABLES_BINARY"}, form: formVariant, group: groupApply,
		also: "backend variant iptables legacy",
		help: "variant of iptables to use; by default the one that has rules in the namespace",
		set:  forceBinary,
	},
	{
		long: "native-nftables", env: []string{"NATIVE_NFTABLES"}, def: "false", form: formBool, boolean: true, group: groupApply,
		also: "nftables nft",
		help: "make the rules in nftables itself, without iptables",
		set:  flag(func(s *Parsed) *bool { return &s.NativeNFT }),
	},
	{
		long: "cni-mode", env: []string{"CNI_MODE"}, def: "false", form: formBool, boolean: true, group: groupRun,
		help: "run on the node, with its file system",
		set:  flag(func(s *Parsed) *bool { return &s.CNIMode }),
	},
	{
		long: "allow-host-network", env: []string{"ISTIO_INIT_ALLOW_HOST_NETWORK"}, def: "false", form: formBool, boolean: true, group: groupApply,
		also: "host-network force",
		help: "allow the network namespace of a machine, as on a VM of the mesh",
		set:  flag(func(s *Parsed) *bool { return &s.AllowHost }),
	},
	{
		long: "timeout", env: []string{"ISTIO_INIT_TIMEOUT"}, def: "30s", form: formDuration, group: groupRun,
		help: "time limit of a run",
		set:  duration(func(s *Parsed) *durationValue { return &s.Timeout }),
	},
	{
		long: "cleanup-only", env: []string{"CLEANUP_ONLY"}, def: "false", form: formBool, boolean: true, group: groupApply,
		also: "clean cleanup uninstall remove delete",
		help: "remove the rules, as the command clean does",
		set:  flag(func(s *Parsed) *bool { return &s.Clean }),
	},
	{
		long: "skip-rule-apply", env: []string{"SKIP_RULE_APPLY"}, def: "false", form: formBool, boolean: true, group: groupRun,
		help: "change no rules: neither install nor remove",
		set:  flag(func(s *Parsed) *bool { return &s.SkipApply }),
	},
	{
		long: "reconcile", env: []string{"RECONCILE"}, def: "false", form: formBool, boolean: true, group: groupApply,
		help: "accepted; every run reconciles",
		set:  flag(nil),
	},
	{
		long: "force-apply", env: []string{"FORCE_APPLY"}, def: "false", form: formBool, boolean: true, group: groupApply,
		help: "accepted; a run writes only what differs",
		set:  flag(nil),
	},
	{
		long: "run-validation", env: []string{"RUN_VALIDATION"}, def: "false", form: formBool, boolean: true, group: groupApply,
		also: "validate validation",
		help: "test the rules by connections, after installing them or with --skip-rule-apply",
		set:  flag(func(s *Parsed) *bool { return &s.RunValidation }),
	},
	{
		long: "iptables-probe-port", env: []string{"IPTABLES_PROBE_PORT"}, def: strconv.Itoa(capture.DefaultProbePort), form: formPort, group: groupApply,
		help: "port that the validation connects to by default",
		set:  port(func(s *Parsed) *uint16 { return &s.ProbePort }),
	},
	{
		long: "probe-timeout", env: []string{"PROBE_TIMEOUT"}, def: "5s", form: formWait, group: groupApply,
		help: "time limit of the validation",
		set:  duration(func(s *Parsed) *durationValue { return &s.ProbeTimeout }),
	},
	{
		long: "config", env: []string{"ISTIO_INIT_CONFIG"}, form: formConfig, group: groupInput,
		also: "config-file values",
		help: "file with options by their long names; flags and environment take precedence",
		set:  path(func(s *Parsed) *string { return &s.configFile }),
	},
	{
		long: "print-config", bare: "text", form: formPrint, group: groupInput,
		also: "show-config",
		help: "change nothing, print the effective value of each option and its origin",
		set:  printConfigAs,
	},
	{
		long: "log_output_level", def: "info", form: formLevel, group: groupLog,
		also: "verbose debug log-level quiet level loglevel",
		help: "lowest level that is logged",
		set:  logLevel,
	},
	{
		long: "log_as_json", def: "false", form: formBool, boolean: true, group: groupLog,
		also: "log-json log-format",
		help: "log as JSON, one object a line",
		set:  flag(func(s *Parsed) *bool { return &s.Log.JSON }),
	},
	{
		long: "log_caller", form: formScopes, group: groupLog,
		help: "log the place in the source code, for the scopes default or all",
		set:  logCaller,
	},
	{
		long: "log_stacktrace_level", def: "none", form: formLevel, group: groupLog,
		help: "lowest level that is logged with a stack trace",
		set:  logStacktrace,
	},
	{
		long: "log_target", def: "stderr", form: formLogTarget, group: groupLog,
		also: "log-file",
		help: "destination of logs",
		set:  path(func(s *Parsed) *string { return &s.Log.Target }),
	},
	{long: "vklog", group: groupRemoved, help: "level of a library that this program does not use"},
	{long: "log_rotate", group: groupRemoved, help: "log files are not rotated"},
	{long: "log_rotate_max_age", group: groupRemoved, help: "log files are not rotated"},
	{long: "log_rotate_max_backups", group: groupRemoved, help: "log files are not rotated"},
	{long: "log_rotate_max_size", group: groupRemoved, help: "log files are not rotated"},
	{long: "restore-format", short: "f", group: groupRemoved, boolean: true, help: "rules are always installed by iptables-restore"},
	{long: "output-paths", group: groupRemoved, help: "use --dry-run"},
	{long: "host-nsenter-exec", group: groupRemoved, boolean: true, help: "use --network-namespace"},
	{long: "iptables-version", group: groupRemoved, help: "use --force-iptables-binary"},
	{long: "iptables-trace-logging", env: []string{"IPTABLES_TRACE_LOGGING"}, group: groupRemoved, boolean: true, help: "Istio removed it in 1.26"},
	{env: []string{"DISABLE_REDIRECTION_ON_LOCAL_LOOPBACK"}, group: groupRemoved, help: "Istio removed it after 1.4"},
	{env: []string{"ENABLE_INBOUND_IPV6"}, group: groupRemoved, help: "use --dual-stack or --ip-family"},
}
