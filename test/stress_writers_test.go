package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// The other programs that change rules while ours run, until there is the file $stop or the test
// is killed. They fail where a rule that they have added is not there. To add one to nft is tried
// again: where an empty table is deleted between look and change, iptables 1.8.9 does not make
// it anew ("RULE_APPEND failed (No such file or directory)").
const (
	iptablesWriter = `
add() {
	for try in 1 2 3 4 5; do
		if said=$($iptables -w 60 "$@" 2>&1); then return; fi
	done
	echo "$said"
	exit 1
}
n=0
while [ ! -e "$stop" ] && [ -e "$test" ]; do
	n=$((n % 60000 + 1))
	add -t nat -A POSTROUTING -p tcp --dport $n -j RETURN
	add -t nat -I OUTPUT -p icmp -j RETURN
	add -t mangle -I PREROUTING -p icmp -j RETURN
	$iptables -w 60 -t nat -R POSTROUTING 1 -p tcp --dport $n -j ACCEPT
	$iptables -w 60 -t nat -D OUTPUT -p icmp -j RETURN
	$iptables -w 60 -t mangle -D PREROUTING -p icmp -j RETURN
	$iptables -w 60 -t nat -D POSTROUTING -p tcp --dport $n -j ACCEPT
done
echo "$n rounds"
`
	nftWriter = `
n=0
while [ ! -e "$stop" ] && [ -e "$test" ]; do
	n=$((n + 1))
	nft add table inet theirs
	nft "add chain inet theirs output { type filter hook output priority 0; }"
	nft add rule inet theirs output tcp dport $((n % 60000 + 1)) counter
	nft delete table inet theirs
done
echo "$n rounds"
`
)

// TestOtherWritersLoseNothingAndNeitherDoWe runs apply, check and clean beside a loop of
// iptables and one of nft. Every run ends well, and check finds no drift: nothing is lost, and
// nothing is there twice.
func TestOtherWritersLoseNothingAndNeitherDoWe(t *testing.T) {
	t.Parallel()
	const all, inStress = 3, 1000 // rounds, each of five changes
	for _, b := range backends {
		t.Run(b.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			v, is := b.(xtables.Variant)
			if !is {
				v = xtables.NFT // of the others
			}
			stopWriters := s.writers(iptablesOf(v, inet.IPv4), iptablesOf(v, inet.IPv6))
			for i := range rounds(all, inStress) {
				for _, args := range [][]string{asRedirect, asTProxy, asDNS, asOther} {
					s.exits(0, in(b, args)...)
					if answer := s.exits(0, checkOf(b, args)...); !strings.Contains(answer, "in order: ") {
						t.Fatalf("round %d: drift:\n%s", i, answer)
					}
				}
				s.exits(0, cleanCommand)
				for _, f := range inet.Families {
					if left := s.saved(b, f); strings.Contains(left, ":ISTIO_") {
						t.Fatalf("round %d: after clean there is still %s", i, left)
					}
				}
			}
			stopWriters()
			for _, f := range inet.Families {
				if held := heldText(s.Save(t, v, f)); held != "" {
					t.Errorf("%s rules of the other programs stay:\n%s", f, held)
				}
			}
		})
	}
}

// writers starts the other programs, and returns what ends them and checks that they have ended
// well.
func (s *site) writers(iptables ...string) (stop func()) {
	s.t.Helper()
	file := filepath.Join(s.wrappers, "stop")
	scripts := []string{nftWriter}
	for _, name := range iptables {
		scripts = append(scripts, "iptables="+name+"\n"+iptablesWriter)
	}
	var ended sync.WaitGroup
	for _, script := range scripts {
		ended.Go(func() {
			said, code := s.start("/bin/sh", "-euc", fmt.Sprintf("stop=%s test=/proc/%d\n%s", file, os.Getpid(), script))
			if code != 0 {
				s.t.Errorf("another program: exit code %d: %s", code, said)
			}
		})
	}
	stop = sync.OnceFunc(func() {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			s.t.Error(err)
		}
		ended.Wait()
	})
	s.t.Cleanup(stop)
	return stop
}
