package pod

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
)

var tokens atomic.Uint64

// Observe makes the connection of a flow in one family and returns its outcome as the
// sockets saw it, and their answers. An outcome that no flow can have describes an error:
// a loop, a lost answer, another destination.
func (p *Pod) Observe(f flow.Flow, family inet.Family) (outcome, said string) {
	token := fmt.Sprintf("token-%d\n", tokens.Add(1))
	said, err := p.ask(f, family, token, timeout)
	switch {
	case errors.Is(err, unix.ECONNREFUSED) && said == "":
		return "refused", ""
	case errors.Is(err, os.ErrDeadlineExceeded) && said == "", isTimeout(err) && said == "":
		return "timeout", ""
	case err != nil:
		return "error: " + err.Error(), said
	}
	return p.judge(said, netip.AddrPortFrom(f.Dst(family), f.Port), token), said
}

// Ask makes the connection of a flow in one family and returns the first answer that comes
// in that time: "via PORT DESTINATION" of a proxy, or "end ADDRESS" of a server; "" for none.
func (p *Pod) Ask(f flow.Flow, family inet.Family, wait time.Duration) string {
	said, _ := p.ask(f, family, fmt.Sprintf("token-%d\n", tokens.Add(1)), wait)
	line, _, _ := strings.Cut(said, "\n")
	words := strings.Fields(line)
	if len(words) > 2 && words[0] == "end" {
		words = words[:2]
	}
	return strings.Join(words, " ")
}

// ask makes the connection of a flow and returns all answers.
func (p *Pod) ask(f flow.Flow, family inet.Family, token string, wait time.Duration) (said string, err error) {
	node, who := p.Pod, flow.Identity{}
	if id, inside := f.Identity(p.config.Proxy()); inside {
		who = id
	} else if f.Who == "vm" {
		node = p.VM
	} else {
		node = p.Peer
	}
	dst := netip.AddrPortFrom(f.Dst(family), f.Port)
	switch {
	case f.Stray:
		return "", sendStray(node, flow.Addr(f.Who, family), dst)
	case f.Proto == iptables.UDP:
		return askUDP(node, who, dst, f.From, token, wait)
	}
	return ask(node, who, dst, f.From, token, wait)
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// ask connects, sends the token and reads all answers.
func ask(node *Node, who flow.Identity, dst, from netip.AddrPort, token string, wait time.Duration) (string, error) {
	conn, err := dialTCP(node, who, dst, from, 0, wait)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(conn, token); err != nil {
		return "", err
	}
	said, err := io.ReadAll(bufio.NewReader(conn))
	return string(said), err
}

// judge parses the answers of the proxies and the server.
func (p *Pod) judge(said string, dst netip.AddrPort, token string) string {
	outcome := "direct"
	lines := strings.Split(strings.TrimSuffix(said, "\n"), "\n")
	for i, line := range lines {
		words := strings.Fields(line)
		switch {
		case i < len(lines)-1 && len(words) == 3 && words[0] == "via":
			if i > 0 {
				continue // a second proxy: the inbound one, for a connection of the pod to itself
			}
			outcome = "proxy " + words[1]
			if words[2] != "-" && words[2] != dst.String() {
				return fmt.Sprintf("error: the proxy took it for a connection to %s", words[2])
			}
		case len(words) == 4 && words[0] == "end" && words[3] == strings.TrimSpace(token):
			onePort := p.config.InboundPort == p.config.ProxyPort && words[1] == atLocalhost(dst).String()
			if words[1] != dst.String() && outcome != fmt.Sprintf("proxy %d", agentPort) && !onePort {
				return "error: it ended at " + words[1]
			}
			return outcome
		default:
			return fmt.Sprintf("error: %q is not the end", line)
		}
	}
	return "error: the answer got lost"
}
