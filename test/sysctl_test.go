package test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"istio-init/capture"
	engine "istio-init/capture/pod"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
	"istio-init/test/scenario"
	"istio-init/test/size"
)

// A sysctlPod is a pod in mode TPROXY whose sysctls change.
type sysctlPod struct {
	*pod.Pod
	t     *testing.T
	flows []flow.Flow
}

// newSysctlPod makes a pod with connections into it by eth0, and out of it.
func newSysctlPod(t *testing.T, name string) *sysctlPod {
	t.Helper()
	s := scenario.Load(t, testdata, name)
	p := &sysctlPod{Pod: pod.New(t, s.Config(t)), t: t}
	for _, f := range s.Flows {
		if slices.Contains([]string{"peer -> pod:8080 = proxy 15006", "app -> ext:80 = proxy 15001"}, f.Line) {
			p.flows = append(p.flows, f)
		}
	}
	if len(p.flows) != 2 {
		t.Fatalf("%s has not both flows", s.Path)
	}
	if _, stderr, err := p.RunWith(t, strings.Fields(s.Section("env")), "", built, append([]string{applyCommand}, s.Args...)...); err != nil {
		t.Fatal(stderr)
	}
	p.Serve(t, p.flows)
	return p
}

func (p *sysctlPod) set(settings ...capture.Setting) {
	p.t.Helper()
	for _, s := range settings {
		p.Pod.Pod.Do(p.t, func() error {
			return os.WriteFile("/proc/sys/"+strings.ReplaceAll(s.Name, ".", "/"), fmt.Append(nil, s.Value), 0)
		})
	}
}

func (p *sysctlPod) obstacles() (found []capture.Obstacle) {
	p.t.Helper()
	p.Pod.Pod.Do(p.t, func() (err error) {
		found, err = engine.TProxyObstacles()
		return err
	})
	return slices.DeleteFunc(found, func(o capture.Obstacle) bool { return o.Interface != "" && o.Interface != "eth0" })
}

// lost returns the flows that do not arrive.
func (p *sysctlPod) lost(families ...inet.Family) (lost []string) {
	p.t.Helper()
	for _, fl := range p.flows {
		for _, f := range families {
			if got, _ := p.Observe(fl, f); got != fl.Outcome {
				lost = append(lost, fmt.Sprintf("%s %s: %s", f, fl.Line, got))
			}
		}
	}
	return lost
}

// TestSourceValidationInModeTPROXY makes connections under values of src_valid_mark,
// accept_local and rp_filter, for all interfaces and for eth0: they are lost where we say
// so, and each remedy helps. IPv6 knows none of the three.
func TestSourceValidationInModeTPROXY(t *testing.T) {
	needKernel(t)
	const conf = "net.ipv4.conf."
	for n := range 16 * 9 {
		at := func(bit int, name string) capture.Setting {
			return capture.Setting{Name: conf + name, Value: n >> bit & 1}
		}
		settings := []capture.Setting{
			at(0, "all.src_valid_mark"), at(1, "eth0.src_valid_mark"), at(2, "all.accept_local"), at(3, "eth0.accept_local"),
			{Name: conf + "all.rp_filter", Value: n / 16 % 3},
			{Name: conf + "eth0.rp_filter", Value: n / 48},
		}
		if n&3 == 0 && n/16 > 1 || !size.Stress() && n%26 != 1 { // without src_valid_mark nothing of it counts
			continue
		}
		t.Run(strings.ReplaceAll(fmt.Sprint(settings), conf, ""), func(t *testing.T) {
			t.Parallel()
			p := newSysctlPod(t, "tproxy-default")
			p.set(settings...)
			obstacles, lost := p.obstacles(), p.lost(inet.IPv4)
			if want := len(obstacles) > 0; want != (len(lost) == len(p.flows)) || !want && len(lost) > 0 {
				t.Fatalf("%v says lost=%t, the sockets: %q", obstacles, want, lost)
			}
			if lost := p.lost(inet.IPv6); len(lost) > 0 {
				t.Errorf("IPv6: %q", lost)
			}
			for _, o := range obstacles {
				for _, remedy := range o.Remedies {
					p.set(settings...)
					p.set(remedy...)
					if lost := p.lost(inet.IPv4); len(lost) > 0 || len(p.obstacles()) > 0 {
						t.Errorf("%v does not help: %q, %v", remedy, lost, p.obstacles())
					}
				}
			}
		})
	}
}

// TestMarkOfAcceptedConnectionsInModeTPROXY: with tcp_fwmark_accept nothing comes in.
func TestMarkOfAcceptedConnectionsInModeTPROXY(t *testing.T) {
	needKernel(t)
	t.Parallel()
	p := newSysctlPod(t, "tproxy-default")
	p.set(capture.Setting{Name: "net.ipv4.tcp_fwmark_accept", Value: 1})
	if lost := p.lost(inet.Families[:]...); len(lost) != 2 || !strings.Contains(lost[0], "ipv4 peer -> ") || !strings.Contains(lost[1], "ipv6 peer -> ") {
		t.Errorf("want the inbound ones lost, got %q", lost)
	}
	obstacles := p.obstacles()
	if len(obstacles) != 1 || obstacles[0].Interface != "" {
		t.Fatalf("want one obstacle of all interfaces, got %v", obstacles)
	}
	p.set(obstacles[0].Remedies[0]...)
	if lost := p.lost(inet.Families[:]...); len(lost) > 0 || len(p.obstacles()) > 0 {
		t.Errorf("the remedy does not help: %q", lost)
	}
}

// TestModeREDIRECTNeedsNoSysctl: neither source validation nor route_localnet matters, with the source 127.0.0.6 and redirects to 127.0.0.1.
func TestModeREDIRECTNeedsNoSysctl(t *testing.T) {
	needKernel(t)
	t.Parallel()
	p := newSysctlPod(t, "redirect-default")
	for _, s := range []string{"all.rp_filter=1", "all.rp_filter=2", "lo.rp_filter=1", "all.src_valid_mark=1", "all.accept_local=1", "all.route_localnet=1", "all.route_localnet=0"} {
		name, value, _ := strings.Cut(s, "=")
		p.set(capture.Setting{Name: "net.ipv4.conf." + name, Value: int(value[0] - '0')})
		if lost := p.lost(inet.IPv4); len(lost) > 0 {
			t.Errorf("%s: %q", s, lost)
		}
	}
}
