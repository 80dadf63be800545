package selftest

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"istio-init/iptables"
)

// evaluate compares what was observed of a probe with where it must arrive.
func evaluate(p Probe, o observation) Result {
	result := func(outcome Outcome, saw, why string) Result { return Result{p, outcome, saw, why} }
	switch {
	case p.Lost:
		return result(Failed, "nothing, it was not made", p.Skip)
	case p.Skip != "":
		return result(NotChecked, "", p.Skip)
	case o.dialErr != nil:
		return result(NotChecked, "", dialFailure(o.dialErr))
	case p.Want.Away && !o.arrived && !o.control:
		return result(NotChecked, "", "the control connection did not arrive in time")
	case landed(p, p.Want, o):
		return result(Passed, "", "")
	}
	for _, to := range p.Istio {
		if landed(p, to, o) {
			return result(Differs, to.String(), "")
		}
	}
	return result(Failed, saw(p, o), cause(p, o))
}

// landed reports whether a connection arrived at a target, and has its answer.
func landed(p Probe, at Target, o observation) bool {
	switch {
	case at.Away || !o.arrived:
		return at.Away && !o.arrived
	case !o.answered && !p.OneWay || !sent(p, o):
		return false
	case at.Port == 0:
		return !o.at.Proxy && o.at.At == p.To
	}
	return o.at.Proxy && o.at.At.Port() == at.Port && o.kept == at.TProxy
}

// sent reports whether the original destination is that of the probe. Of UDP it is not
// known.
func sent(p Probe, o observation) bool { return p.Proto == iptables.UDP || o.dst == p.To }

// dialErr is why a connection could not be begun, in the words of a user.
func dialFailure(err error) string {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Sprintf("a port that the check needs is in use; does the proxy run already? (%v)", err)
	}
	return err.Error()
}

// saw returns what was observed of a connection that did not arrive where it must.
func saw(p Probe, o observation) string {
	switch {
	case o.arrived && !o.at.Proxy:
		return "bypassed the proxy and reached " + o.at.At.String()
	case o.arrived && !sent(p, o):
		return fmt.Sprintf("reached port %d with %s as its original destination", o.at.At.Port(), o.dst)
	case o.arrived && o.at.At.Port() == p.Want.Port && p.Want.TProxy && !o.kept:
		return fmt.Sprintf("reached port %d by REDIRECT", o.at.At.Port())
	case o.arrived && o.at.At.Port() == p.Want.Port:
		return fmt.Sprintf("reached port %d, and the answer did not come back", o.at.At.Port())
	case o.arrived:
		return fmt.Sprintf("reached port %d", o.at.At.Port())
	case o.err == nil, errors.Is(o.err, os.ErrDeadlineExceeded):
		return "reached no port of the proxy in time"
	}
	return o.err.Error()
}

// cause returns what is probably wrong then.
func cause(p Probe, o observation) string {
	switch {
	case p.Hint != "" && !o.answered && !o.arrived:
		return p.Hint
	case p.Want.Port == 0 && p.Rule == "":
		return "a rule that is not of this configuration matches the connection"
	case p.Want.Port == 0:
		return fmt.Sprintf("the rule that excludes it is missing or comes too late: %s", p.Rule)
	case errors.Is(o.err, syscall.ECONNREFUSED):
		return fmt.Sprintf("the rule is missing or redirects to another port: %s", p.Rule)
	}
	return fmt.Sprintf("the rule or a jump to it is missing, or a foreign rule ahead of it matches the connection: %s", p.Rule)
}

// A Failure is the error of rules that failed the check.
type Failure struct {
	Failed  []Result // those that arrived where they must not
	Checked int      // how many were checked, the failed ones included
	Planned int
}

// Error returns how many failed, and the first of them by name.
func (f *Failure) Error() string {
	if len(f.Failed) == 0 {
		return fmt.Sprintf("no connection that the rules redirect could be checked (%d of %d were checked, none of them redirected)", f.Checked, f.Planned)
	}
	first := f.Failed[0]
	return fmt.Sprintf("%d of %d connections arrived where they must not (%s, %s: %s)", len(f.Failed), f.Checked, first.Family, first.Name, first.Saw)
}

// Verdict returns a [Failure] unless the rules passed the check: nothing failed, and if
// anything must be redirected, something was.
func Verdict(results []Result) error {
	f := Failure{Planned: len(results)}
	redirects, proved := false, false
	for _, r := range results {
		redirects = redirects || r.Want.Port != 0
		if r.Outcome != NotChecked {
			f.Checked++
		}
		if r.Outcome == Failed {
			f.Failed = append(f.Failed, r)
		}
		proved = proved || r.Outcome == Passed && r.Want.Port != 0
	}
	if len(f.Failed) > 0 || len(results) > 0 && f.Checked == 0 || redirects && !proved {
		return &f
	}
	return nil
}
