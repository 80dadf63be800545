package test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
)

// A peer that makes many connections reuses its ports while the pod's conntrack still
// has entries of older connections. On the SYN of such a connection conntrack starts a
// new entry if the old connection was closed by FIN, or if its last packet was a reset
// from the peer (nf_conntrack_proto_tcp.c, nf_conntrack_tcp_packet, "reopen a
// closed/aborted connection"). It does not after a reset from the pod, or if a packet
// of the pod crossed the reset of the peer: then the SYN belongs to the old connection,
// in state ESTABLISHED. A rule that exempts ESTABLISHED packets from TPROXY sends it
// past the proxy: to the app or, if only the proxy listens, as here, to a closed port,
// which refuses it. That is a reset from the pod again, so all later ones are refused.

// endings are the ways in which the previous connection ended.
var endings = []byte{closedByProxy, resetByPeer, resetByProxy}

const (
	closedByProxy = 'c'
	resetByPeer   = 'p'
	resetByProxy  = 'r'
)

// reuseTimeout limits every wait for one connection.
const reuseTimeout = 10 * time.Second

// reuses is the number of connections: 60,000 with STRESS=1.
func reuses() int { return rounds(3000, 60000) }

// Not parallel: it loads the machine, and other tests have timeouts.
func TestTPROXYReusedSourcePortIsANewConnection(t *testing.T) {
	needKernel(t)
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			pod := reusePod(t, v)
			if got := reusePorts(pod, reuses()); got[landed] != reuses() {
				t.Errorf("of %d connections by %d source ports: %v; want all of them at the proxy", reuses(), reusers*portsEach, got)
			}
		})
	}
}

// TestTPROXYReusedSourcePortIsRefusedWithoutSYNMatch shows that the test above can fail.
func TestTPROXYReusedSourcePortIsRefusedWithoutSYNMatch(t *testing.T) {
	needKernel(t)
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			pod := reusePod(t, v)
			for _, f := range inet.Families {
				divertSYNs(t, pod, v, f)
			}
			got := reusePorts(pod, reuses())
			t.Logf("of %d connections: %v", reuses(), got)
			if got[unix.ECONNREFUSED.Error()] == 0 {
				t.Errorf("of %d connections none was refused: %v", reuses(), got)
			}
		})
	}
}

// divertSYNs removes the match on SYN from the rules, as in Istio.
func divertSYNs(t *testing.T, pod *pod.Pod, v xtables.Variant, f inet.Family) {
	t.Helper()
	const condition = " -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"
	save := strings.Replace(xtables.SaveTool(f), "-save", "-"+v.String()+"-save", 1)
	rules, stderr, err := pod.Run(t.Context(), save, "-t", "mangle")
	if err != nil {
		t.Fatalf("%s: %v: %s", save, err, stderr)
	}
	if n := strings.Count(rules, condition); n != 1 {
		t.Fatalf("%d rules have%s, want 1:\n%s", n, condition, rules)
	}
	file := filepath.Join(t.TempDir(), "mangle")
	if err := os.WriteFile(file, []byte(strings.Replace(rules, condition, "", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	restore := strings.Replace(save, "-save", "-restore", 1)
	if _, stderr, err := pod.Run(t.Context(), restore, file); err != nil {
		t.Fatalf("%s: %v: %s", restore, err, stderr)
	}
}

// reusePod makes a pod in mode TPROXY whose proxy answers itself. No app listens:
// connections that bypass the proxy are refused.
func reusePod(t *testing.T, v xtables.Variant) *pod.Pod {
	t.Helper()
	pod := pod.New(t, flow.Config{})
	applyIn(t, pod, v, "TPROXY")
	proxy := flow.Identity{GID: 1337}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	for _, f := range inet.Families {
		listener := pod.Pod.Listen(t, proxy, netip.AddrPortFrom(f.Any(), 15006), true)
		serving.Go(func() {
			_ = pod.Pod.As(proxy, func() error {
				for {
					conn, err := listener.AcceptTCP()
					if err != nil {
						return err
					}
					serving.Go(func() {
						defer conn.Close()
						_ = conn.SetDeadline(time.Now().Add(reuseTimeout))
						_ = answerAndEnd(conn)
					})
				}
			})
		})
	}
	return pod
}

// answerAndEnd is the proxy: it reads how the connection will end, says which connection
// it has, and ends it.
func answerAndEnd(conn *net.TCPConn) error {
	ending := make([]byte, 1)
	if _, err := io.ReadFull(conn, ending); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(conn, conn.LocalAddr(), conn.RemoteAddr()); err != nil {
		return err
	}
	switch ending[0] {
	case closedByProxy:
		return nil
	case resetByPeer:
		_, err := conn.Read(ending)
		return err
	}
	// The peer confirms that it has read the answer.
	if _, err := io.ReadFull(conn, ending); err != nil {
		return err
	}
	return conn.SetLinger(0)
}
