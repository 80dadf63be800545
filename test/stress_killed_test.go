package test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/test/size"
)

// Additional configurations for changes that are killed.
var (
	asLists   = flags("-m REDIRECT -i * -x 10.9.0.0/16,2001:db8:9::/48 -b * -d 15020 -o 9000,9001 --drop-invalid")
	asDNS     = flags("-m REDIRECT -i * -b * -d 15090,15021,15020 --redirect-dns --capture-all-dns")
	asPorts   = flags("-m TPROXY -i * -b 8080,9090 --drop-invalid")
	asV4Only  = flags("-m REDIRECT -i * -b * --ip-family ipv4")
	asClean   = []string{cleanCommand}
	asRanges  = flags("-m REDIRECT -i 198.51.100.0/24,203.0.113.0/24,2001:db8:9::/48,2001:db8:e::/48 -b 8080-8081,9090-9095")
	asOthers  = flags("-m REDIRECT -i 198.51.100.0/24,192.0.2.0/24,2001:db8:9::/48,2001:db8:d::/48 -b 8080,9090-9095")
	asNothing []string
)

// killedChanges are the runs that are killed: from one configuration to another.
var killedChanges = []struct {
	name     string
	from, to []string
	moves    bool // the old rules are in another backend
}{
	{name: "redirect-to-tproxy", from: asRedirect, to: asPorts},
	{name: "tproxy-to-redirect", from: asPorts, to: asLists},
	{name: "nothing-to-redirect", from: asNothing, to: asRedirect},
	{name: "nothing-to-tproxy", from: asNothing, to: asOther},
	{name: "lists", from: asRedirect, to: asLists},
	{name: "ranges", from: asRanges, to: asOthers},
	{name: "ranges-to-tproxy", from: asRanges, to: asTProxy},
	{name: "dns-on", from: asRedirect, to: asDNS},
	{name: "dns-off", from: asDNS, to: asRedirect},
	{name: "mark", from: asPorts, to: asOther},
	{name: "moves-tproxy-to-redirect", from: asTProxy, to: asRedirect, moves: true},
	{name: "moves-redirect", from: asRedirect, to: asRedirect, moves: true},
	{name: "moves-tproxy", from: asTProxy, to: asTProxy, moves: true},
	{name: "ipv6-on", from: asV4Only, to: asRedirect},
	{name: "ipv6-off", from: asOther, to: asV4Only},
	{name: "clean", from: asLists, to: asClean},
	{name: "clean-tproxy", from: asTProxy, to: asClean},
}

// TestKilledRunLeaksNothingAndNextRunConverges kills a run before each of its relevant
// system calls; without STRESS=1 only of the first change, of native changes of ranges, and of
// the move of TPROXY between iptables-nft and native, before every third call.
func TestKilledRunLeaksNothingAndNextRunConverges(t *testing.T) {
	needKernel(t)
	for i, change := range killedChanges {
		for _, b := range backends {
			froms := []backend{b}
			if change.moves {
				froms = others(b)
			}
			for _, from := range froms {
				if sampled := i == 0 || b == native && strings.HasPrefix(change.name, "ranges") || change.name == "moves-tproxy" && b != xtables.Legacy && from != xtables.Legacy; !sampled && !size.Stress() {
					continue
				}
				for _, who := range victimsOf(from, b) {
					if change.moves && who != everybody && !size.Stress() {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s-from-%s/%s", b, change.name, from, strings.ReplaceAll(who.String(), " ", "-")), func(t *testing.T) {
						t.Parallel()
						killedAtEachCall(t, newKilledRun(t, from, b, change.from, change.to), who)
					})
				}
			}
		}
	}
}

// victimsOf returns whom to kill of a run that changes the rules of one backend to those of
// another. Where both are native it starts no program.
func victimsOf(was, b backend) []victims {
	if was == native && b == native {
		return []victims{everybody, asked}
	}
	return []victims{everybody, childOnly, programOnly, asked}
}

func killedAtEachCall(t *testing.T, k *killedRun, who victims) {
	t.Helper()
	fewest, step := 8, rounds(3, 1) // of the relevant calls of a run
	if !slices.Contains(victimsOf(k.was, k.backend), childOnly) {
		fewest, step = 2, 1
	}
	n := 1 + int(who)%fewest
	for k.killedAt(n, who) {
		n += step
	}
	t.Logf("killed before every %d. call, up to %d", step, n-step)
	if n < fewest && who != childOnly {
		t.Errorf("a whole run has less than %d calls that matter", n)
	}
}

// A killedRun is a run that is killed repeatedly.
type killedRun struct {
	*site
	was, backend  backend
	from, to      []string
	before, after liveState
}

// newKilledRun has a run that changes the rules of one backend to those of another, or of the
// same one.
func newKilledRun(t *testing.T, was, b backend, from, to []string) *killedRun {
	t.Helper()
	k := &killedRun{site: newSite(t), was: was, backend: b, from: asClean, to: to}
	if from != nil {
		k.from = in(was, from)
	}
	if to[0] != cleanCommand {
		k.to = in(b, to)
	}
	k.exits(0, k.from...)
	k.before = k.see()
	k.exits(0, k.to...)
	k.after = k.see()
	if k.before.String() == k.after.String() {
		t.Fatal("the run changes nothing")
	}
	return k
}

// killedAt kills the run at its n-th call and checks the state, then runs the same command
// again and checks it again. It reports whether the run makes that many calls.
func (k *killedRun) killedAt(n int, who victims) bool {
	k.t.Helper()
	k.exits(0, k.from...)
	if diff := cmp.Diff(k.before.String(), k.see().String()); diff != "" {
		k.t.Fatalf("cannot begin anew (-before +now):\n%s", diff)
	}
	tr := &tracer{n: n, victims: who}
	cmd := exec.Command(built, k.to...)
	cmd.Env = k.env
	exit, said, err := tr.run(k.Path(), cmd)
	if err != nil {
		k.t.Fatal(err)
	}
	if tr.killed == "" {
		if exit != 0 {
			k.t.Errorf("a run that was not killed: exit code %d\n%s", exit, said)
		}
		return false
	}
	left := k.see()
	if now := left.String(); k.backend == native && k.to[0] == applyCommand && now != k.before.String() && now != k.after.String() {
		k.exits(1, append([]string{"check"}, k.to[1:]...)...)
	}
	for _, wrong := range left.between(k.t, k.before, k.after, configOf(k.t, k.from), configOf(k.t, k.to)) {
		k.t.Errorf("killed %s: %s\n%s", tr.killed, wrong, said)
	}
	if who == childOnly || who == asked {
		k.checkRollback(tr.killed, exit, left, said)
	}
	k.exits(0, k.to...)
	if diff := cmp.Diff(k.after.String(), k.see().String()); diff != "" {
		k.t.Errorf("killed %s: the same command again (-want +got):\n%s", tr.killed, diff)
	}
	return true
}

// checkRollback checks that a run whose child was killed, or that got a signal, has
// succeeded or rolled back. Clean removes what it can.
func (k *killedRun) checkRollback(where string, exit int, left liveState, output string) {
	k.t.Helper()
	want := k.before
	if exit == 0 {
		want = k.after
	} else if k.to[0] == cleanCommand {
		return
	}
	if diff := cmp.Diff(want.String(), left.String()); diff != "" {
		k.t.Errorf("killed %s: exit code %d, and (-want +got):\n%s\n%s", where, exit, diff, output)
	}
}
