package selftest

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"istio-init/iptables"
)

func TestEvaluate(t *testing.T) {
	t.Parallel()
	to := netip.MustParseAddrPort("10.244.0.2:15002")
	at := func(port uint16, proxy bool) Listener {
		return Listener{Proto: iptables.TCP, At: netip.AddrPortFrom(netip.IPv4Unspecified(), port), Proxy: proxy}
	}
	came := func(l Listener, dst netip.AddrPort, kept bool) observation {
		return observation{arrival: arrival{l, dst, kept}, arrived: true, answered: true, control: true}
	}
	end := Listener{At: to}
	captured, tproxied, alone, away := Target{Port: 15006}, Target{Port: 15006, TProxy: true}, Target{}, Target{Away: true}
	lost := came(at(15006, true), to, false)
	lost.answered = false
	tests := []struct {
		name  string
		lands Target
		seen  observation
		want  string // outcome, what was seen and the cause
	}{
		{"captured", captured, came(at(15006, true), to, false), "passed"},
		{"captured-by-tproxy", tproxied, came(at(15006, true), to, true), "passed"},
		{"left-alone", alone, came(end, to, true), "passed"},
		{"left-the-pod", away, observation{err: os.ErrDeadlineExceeded, control: true}, "passed"},
		{"refused-outside", away, observation{err: syscall.ECONNREFUSED, control: true}, "passed"},
		{"no-control", away, observation{err: os.ErrDeadlineExceeded}, "not checked: the control connection did not arrive in time"},
		{"captured-on-its-way-out", away, came(at(15001, true), to, false), "failed: reached port 15001: the rule that excludes it is missing or comes too late: RULE"},
		{"as-by-istio", captured, came(at(15008, true), to, false), "differs: port 15008"},
		{"another-port", captured, came(at(15001, true), to, false), "failed: reached port 15001: the rule or a jump"},
		{"another-destination", captured, came(at(15006, true), netip.MustParseAddrPort("10.0.0.1:80"), false), "failed: reached port 15006 with 10.0.0.1:80 as its original destination"},
		{"redirect-for-tproxy", tproxied, came(at(15006, true), to, false), "failed: reached port 15006 by REDIRECT"},
		{"past-the-proxy", captured, came(end, to, true), "failed: bypassed the proxy and reached 10.244.0.2:15002"},
		{"answer-lost", captured, lost, "failed: reached port 15006, and the answer did not come back"},
		{"refused", captured, observation{err: syscall.ECONNREFUSED}, "failed: connection refused: the rule is missing or redirects to another port: RULE"},
		{"no-end", captured, observation{err: os.ErrDeadlineExceeded}, "failed: reached no port of the proxy in time: the rule or a jump to it is missing"},
		{"another-program", captured, observation{err: errForeignAnswer}, "failed: another program answered"},
		{"in-use", captured, observation{dialErr: fmt.Errorf("listen tcp4 0.0.0.0:15006: %w", syscall.EADDRINUSE)}, "not checked: a port that the check needs is in use; does the proxy run already? (listen tcp4 0.0.0.0:15006: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := evaluate(Probe{Proto: iptables.TCP, To: to, Want: tt.lands, Istio: []Target{{Port: 15008}}, Rule: "RULE"}, tt.seen)
			got := r.Outcome.String()
			for _, text := range []string{r.Saw, r.Why} {
				if text != "" {
					got += ": " + text
				}
			}
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("want %q, got %q", tt.want, got)
			}
		})
	}
}

func TestVerdictNeedsARedirectedConnection(t *testing.T) {
	t.Parallel()
	result := func(port uint16, o Outcome) Result {
		return Result{Probe: Probe{Want: Target{Port: port}}, Outcome: o}
	}
	tests := []struct {
		name    string
		results []Result
		want    string // of the error
	}{
		{"nothing", nil, ""},
		{"one", []Result{result(15001, Passed), result(0, Passed)}, ""},
		{"one-of-several", []Result{result(15001, NotChecked), result(15006, Passed)}, ""},
		{"none-wanted", []Result{result(0, Passed)}, ""},
		{"one-failed", []Result{result(15001, Passed), result(0, Failed)}, "1 of 2 connections arrived where they must not"},
		{"none-redirected", []Result{result(15001, NotChecked), result(0, Passed)}, "no connection that the rules redirect could be checked (1 of 2 were checked"},
		{"none-checked", []Result{result(0, NotChecked)}, "no connection that the rules redirect could be checked (0 of 1 were checked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := Verdict(tt.results); err != nil {
				got = err.Error()
			}
			if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) {
				t.Errorf("want %q, got %q", tt.want, got)
			}
		})
	}
}
