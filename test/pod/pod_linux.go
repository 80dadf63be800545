// Package pod builds a pod from network namespaces, with an app, a proxy and servers, and
// observes the outcomes of connections. Package flow describes the network. It needs root.
package pod

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
)

// A Pod is the network of the truth table, for one configuration: three
// namespaces, an app, a proxy, and servers wherever a flow goes.
type Pod struct {
	Pod, Peer, VM *Node
	// EndsAtProxy says that the proxy and the agent answer by themselves: those of other meshes
	// connect to the destination in ways of their own.
	EndsAtProxy bool

	config flow.Config
	known  map[netip.Addr]bool // addresses of the peer
	serves map[endpoint]bool   // endpoints with a listener
	closes []func() error
	wg     sync.WaitGroup
}

// An endpoint is an address of a listener.
type endpoint struct {
	node  *Node
	proto iptables.Proto
	addr  netip.AddrPort
}

// New builds the network, without rules.
func New(t TB, c flow.Config) *Pod {
	t.Helper()
	p := &Pod{
		Pod: newNode(t, "pod"), Peer: newNode(t, "peer"), VM: newNode(t, "vm"),
		config: c, known: map[netip.Addr]bool{}, serves: map[endpoint]bool{},
	}
	link(t, p.Pod, "eth0", p.Peer, "eth0")
	link(t, p.Pod, "eth1", p.VM, "eth0")
	p.Pod.forward(t)
	for _, f := range inet.Families {
		bits := []int{24, 64}[f]
		p.Pod.addAddr(t, "eth0", flow.Addr("pod", f), bits)
		p.Pod.addAddr(t, "eth1", flow.Addr("pod2", f), bits)
		p.Peer.addAddr(t, "eth0", flow.Addr("peer", f), bits)
		p.VM.addAddr(t, "eth0", flow.Addr("vm", f), bits)
		everywhere := netip.PrefixFrom(f.Any(), 0)
		p.Pod.addRoute(t, everywhere, flow.Addr("peer", f))
		p.VM.addRoute(t, everywhere, flow.Addr("pod2", f))
		p.Peer.addRoute(t, netip.PrefixFrom(flow.Addr("vm", f), bits).Masked(), flow.Addr("pod", f))
		p.known[flow.Addr("peer", f)] = true
	}
	t.Cleanup(p.close)
	p.settle(t)
	return p
}

// close ends all servers and waits for them.
func (p *Pod) close() {
	for _, c := range p.closes {
		_ = c()
	}
	p.wg.Wait()
}

// Run runs a program inside the pod's namespace and returns its output.
func (p *Pod) Run(ctx context.Context, name string, args ...string) (stdout, stderr string, err error) {
	return p.run(exec.CommandContext(ctx, name, args...))
}

// RunWith runs a program with its own environment and resolv.conf inside the pod's network
// namespace.
func (p *Pod) RunWith(t TB, env []string, resolvConf, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte(resolvConf), 0o644); err != nil {
		t.Fatalf("%v", err)
	}
	const bindAndRun = `mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && shift && exec "$@"`
	cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", bindAndRun, "sh", file, name}, args...)...)
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return p.run(cmd)
}

func (p *Pod) run(cmd *exec.Cmd) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = netutil.InNetNS(p.Pod.Path(), cmd.Run)
	return out.String(), errs.String(), err
}

// Serve starts the proxy, and a server for the destination of each flow.
func (p *Pod) Serve(t TB, flows []flow.Flow) {
	t.Helper()
	p.serveProxy(t)
	for _, f := range flows {
		for _, family := range f.In(inet.Families[:]) {
			dst := netip.AddrPortFrom(f.Dst(family), f.Port)
			switch {
			case f.Outcome == "refused":
			case flow.Device(dst.Addr()) == "eth1":
				p.serveEnd(t, p.VM, flow.Identity{}, f.Proto, dst)
			case dst.Addr().IsLoopback(), flow.Device(dst.Addr()) == "lo":
				p.serveEnd(t, p.Pod, flow.App, f.Proto, dst)
			default:
				if !p.known[dst.Addr()] {
					p.known[dst.Addr()] = true
					p.Peer.addAddr(t, "lo", dst.Addr(), dst.Addr().BitLen())
				}
				p.serveEnd(t, p.Peer, flow.Identity{}, f.Proto, dst)
			}
		}
	}
	p.settle(t)
}

// settle waits until every address of the network can be reached.
func (p *Pod) settle(t TB) {
	for _, n := range []*Node{p.Pod, p.Peer, p.VM} {
		n.settle(t)
	}
}

// serveEnd starts a server that is the end of a flow. In the pod a TCP server
// listens on all addresses, as apps do.
func (p *Pod) serveEnd(t TB, node *Node, who flow.Identity, proto iptables.Proto, dst netip.AddrPort) {
	t.Helper()
	if proto == iptables.UDP {
		p.serveUDP(t, node, who, dst, answerEnd)
		return
	}
	if node == p.Pod {
		if p.isProxyPort(dst.Port()) {
			return
		}
		dst = netip.AddrPortFrom(anyOf(dst.Addr()), dst.Port())
	}
	p.serveTCP(t, node, who, dst, false, (*Pod).handleEnd)
}

// serveProxy starts the proxy's and the agent's sockets.
func (p *Pod) serveProxy(t TB) {
	t.Helper()
	c, who := p.config, p.config.Proxy()
	for _, f := range inet.Families {
		on := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(f.Any(), port) }
		p.serveTCP(t, p.Pod, who, on(c.ProxyPort), false, (*Pod).handleOutbound)
		if c.InboundPort != c.ProxyPort {
			p.serveTCP(t, p.Pod, who, on(c.InboundPort), c.Mode == capture.TProxy, (*Pod).handleInbound)
		}
		if c.DNS.Captures() {
			local := netip.AddrPortFrom(f.Localhost(), agentPort)
			p.serveTCP(t, p.Pod, who, local, false, (*Pod).handleOutbound)
			p.serveUDP(t, p.Pod, who, local, p.answerAgent)
		}
	}
}

// agentPort is the port on which the agent answers DNS queries: Istio's constant.
const agentPort = 15053

func (p *Pod) isProxyPort(port uint16) bool {
	return port == p.config.ProxyPort || port == p.config.InboundPort || port == agentPort
}

func anyOf(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// once reports whether an endpoint has no listener yet, and records that it has one.
func (p *Pod) once(e endpoint) bool {
	if p.serves[e] {
		return false
	}
	p.serves[e] = true
	return true
}

func (e endpoint) String() string { return fmt.Sprintf("%s %s %s", e.node.name, e.proto, e.addr) }
