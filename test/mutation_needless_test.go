package test

import "strings"

// A needlessKey is a scenario and a change of its rules.
type needlessKey struct{ scenario, change string }

// needless are the changes of the default scenarios that change no flow, and why. Rules
// with the same effect may have any order; they are not listed.
var needless = needlessByChange()

func needlessByChange() map[needlessKey]string {
	all := map[needlessKey]string{}
	for _, n := range needlessChanges {
		for scenario := range strings.FieldsSeq(n.in) {
			for _, change := range n.changes {
				all[needlessKey{scenario, change}] = n.why
			}
		}
	}
	return all
}

// Which scenarios: by mode, without DNS capture and with it.
const (
	plain       = "redirect-default tproxy-default"
	dns         = "dns-servers tproxy-dns"
	tproxy      = "tproxy-default tproxy-dns"
	tproxyPlain = "tproxy-default"
	tproxyDNS   = "tproxy-dns"
	redirectDNS = "dns-servers"
)

// The rules that are mentioned more than once.
const (
	uidSelf    = "! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT"
	gidSelf    = "! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT"
	uidLo      = "-o lo -m owner ! --uid-owner 1337 -j RETURN"
	gidLo      = "-o lo -m owner ! --gid-owner 1337 -j RETURN"
	uidSelfDNS = "! -d 127.0.0.1/32 -o lo -p tcp -m multiport ! --dports 53,15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT"
	gidSelfDNS = "! -d 127.0.0.1/32 -o lo -p tcp -m multiport ! --dports 53,15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT"
	uidLoDNS   = "-o lo -p tcp -m tcp ! --dport 53 -m owner ! --uid-owner 1337 -j RETURN"
	gidLoDNS   = "-o lo -p tcp -m tcp ! --dport 53 -m owner ! --gid-owner 1337 -j RETURN"
	uidOut     = "-m owner --uid-owner 1337 -j RETURN"
	toLoopback = "-d 127.0.0.1/32 -j RETURN"
	uidMark    = "! -d 127.0.0.1/32 -o lo -p tcp -m owner --uid-owner 1337 -j MARK --set-xmark 0x53a/0xffffffff"
	gidMark    = "! -d 127.0.0.1/32 -o lo -p tcp -m owner --gid-owner 1337 -j MARK --set-xmark 0x53a/0xffffffff"
	restore    = "-p tcp -m connmark --mark 0x539 -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff"
	divertRule = "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT"
)

var needlessChanges = []struct {
	in, why string
	changes []string
}{
	{plain, "no packet meets both: one is about the user, the other about all but the user", []string{
		"swap nat ISTIO_OUTPUT: " + uidSelf + " | " + uidLo,
	}},
	{dns, "no packet meets both: one is about the user, the other about all but the user", []string{
		"swap nat ISTIO_OUTPUT: " + uidSelfDNS + " | " + uidLoDNS,
	}},
	{plain, "with one user the rules on lo that ask for the group are never reached: the rules before take the user and all others", []string{
		"drop nat ISTIO_OUTPUT: " + gidSelf,
		"drop nat ISTIO_OUTPUT: " + gidLo,
		"swap nat ISTIO_OUTPUT: " + gidSelf + " | " + gidLo,
		"swap nat ISTIO_OUTPUT: " + uidOut + " | " + gidSelf,
	}},
	{dns, "with one user the rules on lo that ask for the group are reached by port 53 alone, which they leave out", []string{
		"drop nat ISTIO_OUTPUT: " + gidSelfDNS,
		"drop nat ISTIO_OUTPUT: " + gidLoDNS,
		"swap nat ISTIO_OUTPUT: " + gidSelfDNS + " | " + gidLoDNS,
		"swap nat ISTIO_OUTPUT: " + uidOut + " | " + gidSelfDNS,
	}},
	{plain, "what is for localhost leaves by lo, and nothing that does gets as far", []string{
		"drop nat ISTIO_OUTPUT: " + toLoopback,
		"swap nat ISTIO_OUTPUT: " + toLoopback + " | -j ISTIO_REDIRECT",
	}},
	{tproxyDNS, "only port 53 of localhost gets as far, and here a server is there, so it went to the agent before (dns-servers tells)", []string{
		"drop nat ISTIO_OUTPUT: " + toLoopback,
		"swap nat ISTIO_OUTPUT: " + toLoopback + " | -j ISTIO_REDIRECT",
	}},
	{redirectDNS, "no server is localhost itself here (tproxy-dns tells)", []string{
		"swap nat ISTIO_OUTPUT: -j ISTIO_OUTPUT_DNS | " + toLoopback,
	}},
	{tproxy, "nothing leads to that chain in mode TPROXY; Istio has it too", []string{
		"drop nat ISTIO_INBOUND: -p tcp -m tcp --dport 15008 -j RETURN",
	}},
	{tproxy, "a packet with that mark comes by lo, where a rule below leaves every mark but the one of self calls alone", []string{
		"drop mangle ISTIO_INBOUND: -p tcp -m mark --mark 0x539 -j RETURN",
	}},
	{tproxy, "later packets of a connection that is not captured reach its socket with or without the mark", []string{
		"swap mangle ISTIO_INBOUND: -p tcp -m tcp --dport 15020 -j RETURN | " + divertRule,
	}},
	{tproxy, "who marks its connections is root; a proxy that runs as that user is redirected by nat first", []string{
		"swap mangle ISTIO_OUTPUT: -o lo -p tcp -m mark --mark 0x539 -j RETURN | " + uidMark,
	}},
	{tproxyPlain, "nat redirects every self call of the user that the mark would bring back (tproxy-dns tells, by port 53)", []string{
		"drop mangle ISTIO_OUTPUT: " + uidMark,
	}},
	{tproxy, "a connection with that mark is one of the proxy to the app, and what the proxy sends on it has left the chain by then", []string{
		"swap mangle ISTIO_OUTPUT: " + gidMark + " | " + restore,
	}},
}
