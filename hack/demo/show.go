package main

import (
	"errors"
	"fmt"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/test/flow"
	netpod "istio-init/test/pod"
)

// published is the command of an injected pod, as it stands in Istio's documents.
var published = []string{
	"istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT",
	"-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020",
}

// standIn is what the tiny proxy has to know of it: the ports and the ids.
func standIn() flow.Config {
	proxy := []iptables.IDRange{{Lo: 1337, Hi: 1337}}
	return flow.Config{
		Config: capture.Config{
			Mode: capture.Redirect, ProxyPort: 15001, InboundPort: 15006, TunnelPort: 15008,
			ProxyUIDs: proxy, ProxyGIDs: proxy,
		},
		Captured: iptables.Families[:],
	}
}

// expected is where the connections land with the rules.
const expected = `
	peer  -> pod:8080       = proxy 15006  # into the pod
	peer  -> pod:15021      = direct       # a port of the proxy's own (-d)
	peer  -> pod:15008      = direct       # the tunnel port, which ends in the proxy
	app   -> ext:80         = proxy 15001  # out of the pod
	app   -> ext:443        = proxy 15001
	app   -> 240.0.0.7:80   = proxy 15001  # a service address of another cluster
	proxy -> ext:80         = direct       # the proxy itself
	app   -> pod:8080       = direct       # the pod to itself
	app   -> localhost:8080 = direct
	proxy -> pod:8080       = proxy 15006  # the app called its own service
	app   -> udp ext:53     = direct       # not TCP
`

// errWrong says that something is not as it has to be.
var errWrong = errors.New("not everything was as expected: look for WRONG above")

const introduction = `A pod made of network namespaces: an app (uid 1000), a tiny proxy whose sockets are those of
uid 1337, and a peer that has every address outside. No packet leaves these namespaces.
ISTIO_DUAL_STACK is set as Istio sets it for a pod with both families; else IPv4 alone is captured.
`

// show is the whole of it.
func show(s *stage, path string) error {
	fmt.Print(introduction)
	flows, err := flow.Parse(expected)
	if err != nil {
		return err
	}
	p := &pod{Pod: netpod.New(s, standIn()), stage: s, program: path}
	before := p.state()

	title("What the published command would install")
	p.show(append(published, "--dry-run")...)
	title("Installed")
	p.show(published...)

	title("Who got a connection first, and where SO_ORIGINAL_DST says it was going")
	p.Serve(s, flows)
	asExpected := p.connect(flows)

	title("The same command again: nothing to do")
	installed := p.state()
	p.show(published...)
	asExpected = p.compare("rules in the kernel, and their handles", installed) && asExpected

	title("Cleaned, without any flags")
	p.show("clean")
	title("What is left")
	fmt.Print(p.state().listing())
	asExpected = p.compare("namespace as before the first command", before) && asExpected
	asExpected = p.connectDirect(flows) && asExpected
	if !asExpected {
		return errWrong
	}
	fmt.Print("\nEverything was as expected.\n")
	return nil
}
