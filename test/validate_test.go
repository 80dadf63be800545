package test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
)

// uncheckable is the traffic that cannot be checked in a pod, with any privilege.
var uncheckable = regexp.MustCompile(`"reason": "only a packet from (another machine|a virtual interface) matches`)

// checks counts the lines of a log with one outcome.
func checks(log, outcome string) int { return strings.Count(log, "\t"+outcome+"\t") }

// validates runs the validation of a scenario. Only traffic that cannot be made in a pod
// may be unchecked.
func (s stage) validates(t *testing.T, run func(...string) string) {
	t.Helper()
	log := run(append([]string{applyCommand, "--skip-rule-apply", "--run-validation"}, s.Args...)...)
	if !strings.Contains(log, "Validation passed") || checks(log, "check passed") == 0 && s.Save(inet.IPv4)+s.Save(inet.IPv6) != "" {
		t.Errorf("validation:\n%s", log)
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, "\tnot checked\t") && !uncheckable.MatchString(line) {
			t.Errorf("validation: %s", line)
		}
	}
}

// ends runs a program in a pod to its end and returns its log and exit code.
func ends(t *testing.T, pod *pod.Pod, name string, args ...string) (log string, code int) {
	t.Helper()
	_, log, err := pod.Run(t.Context(), name, args...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return log, code
}

// validateOnly runs only the validation and returns its log and exit code.
func validateOnly(t *testing.T, pod *pod.Pod, flags string, more ...string) (log string, code int) {
	t.Helper()
	return ends(t, pod, built, slices.Concat(common(flags), []string{"--skip-rule-apply", "--run-validation"}, more)...)
}

// asProxy runs a program like the validation container, without capabilities, and asInit
// like the init container.
var (
	asProxy = strings.Fields("setpriv --reuid=1337 --regid=1337 --clear-groups --inh-caps=-all --bounding-set=-all")
	asInit  = strings.Fields("setpriv --inh-caps=-all,+net_admin --bounding-set=-all,+net_admin")
)

// validateOnlyAs is [validateOnly] as another user.
func validateOnlyAs(t *testing.T, pod *pod.Pod, as []string, flags string) (log string, code int) {
	t.Helper()
	args := slices.Concat(as[1:], []string{built}, common(flags), []string{"--skip-rule-apply", "--run-validation"})
	return ends(t, pod, as[0], args...)
}

func TestValidationReportsUncheckedTraffic(t *testing.T) {
	t.Parallel()
	needKernel(t)
	tests := []struct {
		name          string
		as            []string
		flags         string
		passes, lacks []string // each in both families
	}{
		{
			"proxy", asProxy, sidecarRedirect,
			[]string{"proxy (user 1337) to its own pod", "proxy (user 1337) to a captured destination", "DNS query of the proxy over udp"},
			[]string{"app to a captured destination", "DNS query of the app over udp", "proxy (group 1337) to its own pod", "inbound connection"},
		},
		{
			"proxy-tproxy", asProxy, sidecarTProxy,
			[]string{"proxy (user 1337) to its own pod"},
			[]string{"app to a captured destination", "inbound connection"},
		},
		{
			"init", asInit, sidecarRedirect,
			[]string{"app to a captured destination", "DNS query of the app over udp", "DNS query of the app over tcp", "app to an excluded port"},
			[]string{"proxy (user 1337) to its own pod", "proxy (group 1337) to a captured destination", "DNS query of the proxy over udp"},
		},
		{
			"init-tproxy", asInit, sidecarTProxy,
			[]string{"app to a captured destination", "inbound connection to a captured port", "proxy to the app, with the address of the peer"},
			[]string{"proxy (user 1337) to its own pod"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pod := podWith(t, xtables.NFT, tt.flags, "")
			log, code := validateOnlyAs(t, pod, tt.as, tt.flags)
			if code != exitDone || checks(log, "check failed") > 0 {
				t.Fatalf("exit code %d:\n%s", code, log)
			}
			for outcome, names := range map[string][]string{"info\tcheck passed": tt.passes, "warn\tnot checked": tt.lacks} {
				for _, name := range names {
					for _, f := range inet.Families {
						if line := fmt.Sprintf("%s\t{\"family\": %q, \"check\": %q", outcome, f, name); !strings.Contains(log, line) {
							t.Errorf("no line %s:\n%s", line, log)
						}
					}
				}
			}
		})
	}
}

// TestValidationWithoutAnyCheckFails runs as root without SETUID, where only connections of
// the proxy are captured; and as the proxy with a wrong port.
func TestValidationWithoutAnyCheckFails(t *testing.T) {
	t.Parallel()
	needKernel(t)
	pod := podWith(t, xtables.NFT, "-i  -b 80", "")
	log, code := validateOnlyAs(t, pod, asInit, "-i  -b 80")
	if code != exitValidation || !strings.Contains(log, "validation failed: no connection that the rules redirect could be checked") {
		t.Errorf("exit code %d:\n%s", code, log)
	}
	pod = podWith(t, xtables.NFT, "-z 16006 -b *", "")
	if log, code := validateOnlyAs(t, pod, asProxy, "-b *"); code != exitValidation {
		t.Errorf("exit code %d:\n%s", code, log)
	}
}

// echo is a server that returns what it reads.
func echo(listener *net.TCPListener) {
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn)
		}()
	}
}

// TestValidationIgnoresUnexpectedListener: another process listens on the ports of the
// proxy, or at the destination.
func TestValidationIgnoresUnexpectedListener(t *testing.T) {
	t.Parallel()
	needKernel(t)
	t.Run("on-the-ports", func(t *testing.T) {
		t.Parallel()
		pod := podWith(t, xtables.NFT, sidecarRedirect, "")
		for _, f := range inet.Families {
			for _, port := range []uint16{15001, 15006} {
				go echo(pod.Pod.Listen(t, flow.Identity{}, netip.AddrPortFrom(f.Localhost(), port), false))
			}
		}
		log, code := validateOnly(t, pod, strings.TrimSuffix(sidecarRedirect, " --redirect-dns --capture-all-dns"), "--probe-timeout", "1s")
		if code != exitValidation || !strings.Contains(log, `"check": "app to a captured destination", "connection": "0:0 -> tcp 192.0.2.1:15002", "reason": "a port that the check needs is in use`) {
			t.Errorf("exit code %d:\n%s", code, log)
		}
	})
	t.Run("at-the-destination", func(t *testing.T) {
		t.Parallel()
		pod := podWith(t, xtables.NFT, sidecarRedirect, "$IPT -t nat -F ISTIO_REDIRECT")
		at := netip.MustParseAddrPort("192.0.2.1:15002")
		pod.Reach(t, at.Addr())
		go echo(pod.Peer.Listen(t, flow.Identity{}, at, false))
		log, code := validateOnly(t, pod, sidecarRedirect)
		if code != exitValidation || !strings.Contains(log, `"saw": "another program answered"`) {
			t.Errorf("exit code %d:\n%s", code, log)
		}
	})
}

// TestValidationPacketsGoOneHop counts the packets that arrive at the peer, which would
// forward them: with correct rules and without rules.
func TestValidationPacketsGoOneHop(t *testing.T) {
	t.Parallel()
	needKernel(t)
	const watch = `
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
for t in iptables-nft ip6tables-nft; do
	hops="-m ttl ! --ttl-eq 1"
	if [ $t = ip6tables-nft ]; then hops="-m hl ! --hl-eq 1"; fi
	$t -A FORWARD -m comment --comment forwarded
	for proto in tcp udp; do $t -t mangle -A PREROUTING -p $proto $hops -m comment --comment far; done
	$t -t mangle -A PREROUTING -p tcp ! --syn -m comment --comment more-than-syn
	$t -t mangle -A PREROUTING -p tcp --syn -m comment --comment syn
done`
	const count = `for t in iptables-nft ip6tables-nft; do $t -nvxL FORWARD; $t -t mangle -nvxL PREROUTING; done | awk '/\/\*/ { n[$(NF-1)] += $1 } END { print n["forwarded"]+0, n["far"]+0, n["more-than-syn"]+0, (n["syn"] > 0) }'`
	for name, spoil := range map[string]string{"in-order": "", "no-rules": "$IPT -t nat -F; $IPT6 -t nat -F"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := podWith(t, xtables.NFT, sidecarRedirect, spoil)
			if out, code := ends(t, pod, "nsenter", "--net="+pod.Peer.Path(), "/bin/sh", "-ec", watch); code != 0 {
				t.Fatal(out)
			}
			want, timeout := exitDone, "5s"
			if spoil != "" {
				want, timeout = exitValidation, "300ms"
			}
			if log, code := validateOnly(t, pod, sidecarRedirect, "--probe-timeout", timeout); code != want {
				t.Errorf("exit code %d, want %d:\n%s", code, want, log)
			}
			stdout, stderr, err := pod.Run(t.Context(), "nsenter", "--net="+pod.Peer.Path(), "/bin/sh", "-ec", count)
			if err != nil || stdout != "0 0 0 1\n" {
				t.Errorf("forwarded, with another TTL than 1, not SYN, any SYN: got %q, want \"0 0 0 1\": %v %s", stdout, err, stderr)
			}
		})
	}
}

func TestValidationOfAnotherNamespace(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for _, v := range xtables.Variants {
		pod := pod.New(t, flow.Config{})
		args := append(in(v, common(sidecarTProxy)), "--run-validation", "--network-namespace", pod.Pod.Path())
		log, err := exec.CommandContext(t.Context(), built, args...).CombinedOutput()
		if err != nil || checks(string(log), "check passed") == 0 || checks(string(log), "not checked") > 0 {
			t.Errorf("%s: %v\n%s", v, err, log)
		}
	}
}

// TestValidationReadsRulesAfterItsTimeout lets the checks use up --timeout: the failed ones
// are explained all the same.
func TestValidationReadsRulesAfterItsTimeout(t *testing.T) {
	t.Parallel()
	needKernel(t)
	pod := podWith(t, xtables.NFT, sidecarRedirect, "$IPT -t nat -F; $IPT6 -t nat -F")
	log, code := validateOnly(t, pod, sidecarRedirect, "--timeout", "2s", "--probe-timeout", "1m")
	if code != exitValidation || !strings.Contains(log, `"by_the_rules_that_stand": "passes: not captured`) {
		t.Errorf("exit code %d:\n%s", code, log)
	}
}
