package selftest

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"istio-init/iptables"
)

// judge compares what was seen of a probe with where it must land.
func judge(p Probe, o observation) Result {
	result := func(outcome Outcome, saw, why string) Result { return Result{p, outcome, saw, why} }
	switch {
	case p.Lack != "":
		return result(NotChecked, "", p.Lack)
	case o.unmade != nil:
		return result(NotChecked, "", unmade(o.unmade))
	case p.Lands.Away && !o.arrived && !o.control:
		return result(NotChecked, "", "the control connection did not arrive in time")
	case landed(p, o):
		return result(Passed, "", "")
	}
	return result(Failed, saw(p, o), cause(p, o))
}

// landed tells whether a connection is where it must be, and has its answer.
func landed(p Probe, o observation) bool {
	switch {
	case p.Lands.Away || !o.arrived:
		return p.Lands.Away && !o.arrived
	case !o.answered && !p.OneWay || !sent(p, o):
		return false
	case p.Lands.Port == 0:
		return !o.at.Proxy && o.at.At == p.To
	}
	return o.at.Proxy && o.at.At.Port() == p.Lands.Port && o.kept == p.Lands.TProxy
}

// sent tells whether the original destination is the one of the probe, where it can
// be known.
func sent(p Probe, o observation) bool { return p.Proto == iptables.UDP || o.dst == p.To }

// unmade is why a connection could not be begun, in the words of a user.
func unmade(err error) string {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Sprintf("a port is in use that the check needs; does the proxy run already? (%v)", err)
	}
	return err.Error()
}

// saw is what became of a connection that did not land where it must.
func saw(p Probe, o observation) string {
	switch {
	case o.arrived && !o.at.Proxy:
		return "went past the proxy to " + o.at.At.String()
	case o.arrived && !sent(p, o):
		return fmt.Sprintf("came to port %d with %s as its original destination", o.at.At.Port(), o.dst)
	case o.arrived && o.at.At.Port() == p.Lands.Port && p.Lands.TProxy && !o.kept:
		return fmt.Sprintf("came to port %d by REDIRECT", o.at.At.Port())
	case o.arrived && o.at.At.Port() == p.Lands.Port:
		return fmt.Sprintf("came to port %d, and the answer did not come back", o.at.At.Port())
	case o.arrived:
		return fmt.Sprintf("came to port %d", o.at.At.Port())
	case o.err == nil, errors.Is(o.err, os.ErrDeadlineExceeded):
		return "came to no port of the proxy in time"
	}
	return o.err.Error()
}

// cause is what is likely wrong then.
func cause(p Probe, o observation) string {
	switch {
	case p.Hint != "" && !o.answered && !o.arrived:
		return p.Hint
	case p.Lands.Port == 0 && p.Rule == "":
		return "a rule that is not of this configuration takes the connection"
	case p.Lands.Port == 0:
		return fmt.Sprintf("the rule that leaves it alone is missing or comes too late: %s", p.Rule)
	case errors.Is(o.err, syscall.ECONNREFUSED):
		return fmt.Sprintf("the rule is missing, or sends to another port: %s", p.Rule)
	}
	return fmt.Sprintf("the rule or a jump on the way to it is missing, or a rule of others takes the connection before: %s", p.Rule)
}

// A Failure is the error of rules that are not proved.
type Failure struct {
	Failed  []Result // those that landed where they must not
	Checked int      // how many were seen to land, these among them
	Planned int
}

// Error tells how much has failed, and the first of it by name.
func (f *Failure) Error() string {
	if len(f.Failed) == 0 {
		return fmt.Sprintf("no connection that the rules redirect could be checked (%d of %d were checked, and none of these)", f.Checked, f.Planned)
	}
	first := f.Failed[0]
	return fmt.Sprintf("%d of %d connections landed where they must not (%s, %s: %s)", len(f.Failed), f.Checked, first.Family, first.Name, first.Saw)
}

// Verdict tells whether the rules are proved: nothing has failed, and where anything
// is to be redirected, something was. The error is a [Failure].
func Verdict(results []Result) error {
	f := Failure{Planned: len(results)}
	redirects, proved := false, false
	for _, r := range results {
		redirects = redirects || r.Lands.Port != 0
		if r.Outcome != NotChecked {
			f.Checked++
		}
		if r.Outcome == Failed {
			f.Failed = append(f.Failed, r)
		}
		proved = proved || r.Outcome == Passed && r.Lands.Port != 0
	}
	if len(f.Failed) > 0 || len(results) > 0 && f.Checked == 0 || redirects && !proved {
		return &f
	}
	return nil
}
