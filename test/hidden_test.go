package test

import (
	"strings"
	"testing"

	"istio-init/iptables/xtables"
)

// withoutIP6Tables runs a command where only the nft programs for IPv4 are installed.
const withoutIP6Tables = `mount -t tmpfs none /mnt
mkdir /mnt/sbin
mount --bind /usr/sbin /mnt/sbin
mount -t tmpfs none /usr/sbin
for program in save restore; do ln -s /mnt/sbin/xtables-nft-multi /usr/sbin/iptables-nft-$program; done
exec "$@"`

// TestUnreadableFamilyKeepsItsPolicyRouting: if the rules of IPv6 are unreadable, they
// stay, and so does their policy routing.
func TestUnreadableFamilyKeepsItsPolicyRouting(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exits(0, in(xtables.NFT, asTProxy)...)
	before := s.sh("ip -6 rule; ip -6 addr show lo; ip6tables-nft-save | grep -v ^#")
	for _, to := range [][]string{asV4Only, asClean} {
		log, code := s.confined(withoutIP6Tables, append([]string{built}, to...)...)
		want := 0
		if to[0] == cleanCommand {
			want = 1 // some of our rules remain
		}
		if code != want || !strings.Contains(log, "some tables could not be read") {
			t.Errorf("%s: exit code %d, want %d and a warning\n%s", to[0], code, want, log)
		}
		if after := s.sh("ip -6 rule; ip -6 addr show lo; ip6tables-nft-save | grep -v ^#"); after != before {
			t.Errorf("%s: before:\n%s\nafter:\n%s", to[0], before, after)
		}
	}
	if left := s.sh("ip -4 rule"); strings.Contains(left, "fwmark") {
		t.Errorf("IPv4 is readable and needs no policy routing:\n%s", left)
	}
	s.exits(0, asClean...)
	if left := s.sh("ip -6 rule; ip -6 addr show lo; ip6tables-nft-save"); strings.Contains(left, "ISTIO") || strings.Contains(left, "::6/128") || strings.Contains(left, "fwmark") {
		t.Errorf("left:\n%s", left)
	}
}
