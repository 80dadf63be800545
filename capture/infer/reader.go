package infer

import (
	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A reader reads rules chain by chain, in their order, and collects the configuration
// they come from.
type reader struct {
	family inet.Family
	own    iptables.Ownership
	c      *capture.Config
	dns    bool // DNS queries are captured
	istio  istioMarks

	chain   chainID // the one that is read
	tunnel  bool    // the rule for the tunnel, or for SSH, was met in the chain
	all     bool    // the chain redirects all ports to the proxy
	returns int     // rules of the chain that return the packets of an interface
	seen    int     // how many of them were met

	knowsTunnel bool // the rule for the tunnel was met in a chain

	proxied  bool // nat ISTIO_OUTPUT: the rules for the proxy's own traffic were met
	loopback bool // ... and the one for localhost
	captured bool // ... and one that captures
	selfs    owners
}

// A chainID names a chain.
type chainID struct{ table, name string }

// at reports whether a chain is the one that is read.
func (r *reader) at(table, name string) bool { return r.chain == chainID{table, name} }

// owners are the ids that are known as the proxy's by its calls to its own pod.
type owners struct{ uids, gids []iptables.IDRange }

// chains are the functions that read the rules of our chains.
var chains = map[chainID]func(*reader, shape, iptables.Rule) iptables.Role{
	{iptables.NAT, capture.ChainOutput}:       (*reader).natOutput,
	{iptables.NAT, capture.ChainOutputApp}:    (*reader).natOutput,
	{iptables.NAT, capture.ChainExclude}:      (*reader).natOutput,
	{iptables.NAT, capture.ChainInclude}:      (*reader).natOutput,
	{iptables.NAT, capture.ChainOutputGroup}:  (*reader).natOutput,
	{iptables.NAT, capture.ChainExcludeGroup}: (*reader).natOutput,
	{iptables.NAT, capture.ChainOutputDNS}:    (*reader).dnsQueries,
	{iptables.NAT, capture.ChainInbound}:      (*reader).natInbound,
	{iptables.NAT, capture.ChainInRedirect}:   (*reader).redirect,
	{iptables.NAT, capture.ChainRedirect}:     (*reader).redirect,
	{iptables.Mangle, capture.ChainInbound}:   (*reader).mangleInbound,
	{iptables.Mangle, capture.ChainDivert}:    (*reader).divert,
	{iptables.Mangle, capture.ChainTProxy}:    (*reader).tproxy,
	{iptables.Mangle, capture.ChainOutput}:    (*reader).mangleOutput,
	{iptables.Mangle, capture.ChainDrop}:      (*reader).drop,
	{iptables.Raw, capture.ChainInbound}:      (*reader).zones,
	{iptables.Raw, capture.ChainOutputDNS}:    (*reader).zones,
}

// read sets the roles of the rules of a chain.
func (r *reader) read(table, name string, rules []iptables.Rule) {
	read := (*reader).builtin
	if r.own.Has(table, name) {
		read = chains[chainID{table, capture.ListChain(name)}]
	}
	r.chain, r.tunnel, r.all, r.seen, r.returns = chainID{table, name}, false, false, 0, 0
	shapes := make([]shape, len(rules))
	for i, rule := range rules {
		shapes[i] = shapeOf(rule)
		if shapes[i] == hasIn|toReturn {
			r.returns++
		}
		r.all = r.all || shapes[i] == hasTCP|toInRedirect
	}
	for i, rule := range rules {
		rules[i].Role = read(r, shapes[i], rule)
	}
}
