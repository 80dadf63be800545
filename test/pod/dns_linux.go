package pod

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
)

// serveUDP answers each packet with the result of answer.
func (p *Pod) serveUDP(t TB, node *Node, who flow.Identity, addr netip.AddrPort, answer func(local netip.AddrPort, packet string) string) {
	t.Helper()
	e := endpoint{node, iptables.UDP, addr}
	if !p.once(e) {
		return
	}
	conn, err := node.ListenUDP(who, addr)
	if err != nil {
		t.Fatalf("listen on %s: %v", e, err)
	}
	p.closes = append(p.closes, conn.Close)
	p.wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort([]byte(answer(addr, string(buf[:n]))), from)
		}
	})
}

func answerEnd(local netip.AddrPort, packet string) string {
	return fmt.Sprintf("end %s - %s", local, packet)
}

// answerAgent is how the agent answers a DNS query: it queries its own server, whose
// answer may come from the same address and port that the app queried.
func (p *Pod) answerAgent(local netip.AddrPort, packet string) string {
	family := inet.IPv4
	if local.Addr().Is6() {
		family = inet.IPv6
	}
	answer := fmt.Sprintf("via %d -\n", agentPort)
	if p.EndsAtProxy {
		return answer + answerEnd(local, packet)
	}
	server := p.upstreamDNS(family)
	// It gives up before the app does, which so learns that its query came here.
	reply, err := askUDP(p.Pod, p.config.Proxy(), netip.AddrPortFrom(server, 53), netip.AddrPort{}, packet, timeout/2)
	if err != nil {
		return answer + err.Error()
	}
	return answer + reply
}

// upstreamDNS is the server that the agent queries: the first captured one.
func (p *Pod) upstreamDNS(f inet.Family) netip.Addr {
	for _, s := range p.config.DNS.Servers {
		if f.Has(s) {
			return s
		}
	}
	return flow.Addr("ext", f)
}

// askUDP sends a packet as a user of a node, optionally from an address and a port, and
// returns the answer, which has to come from the destination of the packet. Without a port
// it takes one that no packet of the node had: conntrack sends a packet where the last one
// of the same addresses and ports went, whatever the rules say of it.
func askUDP(node *Node, who flow.Identity, dst, from netip.AddrPort, packet string, wait time.Duration) (answer string, err error) {
	if from.Port() == 0 {
		from = netip.AddrPortFrom(from.Addr(), uint16(node.newPort()))
	}
	conn, err := node.DialUDP(who, dst, from)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(conn, packet); err != nil {
		return "", err
	}
	buf := make([]byte, 2048)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}
