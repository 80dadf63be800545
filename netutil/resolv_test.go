package netutil

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseDNSServers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"cluster", "search a.svc b.svc\nnameserver 10.96.0.10\noptions ndots:5\n", []string{"10.96.0.10"}},
		{"order-and-both-families", "nameserver 2001:db8::53\nnameserver 10.96.0.10", []string{"2001:db8::53", "10.96.0.10"}},
		{"twice", "nameserver 1.1.1.1\nnameserver 1.1.1.1\n", []string{"1.1.1.1"}},
		{"tabs-and-comments", "# nameserver 9.9.9.9\n; nameserver 9.9.9.9\nnameserver\t127.0.0.53 # local\n", []string{"127.0.0.53"}},
		{"zone-is-dropped", "nameserver fe80::1%eth0\n", []string{"fe80::1"}},
		{"mapped-is-what-it-maps", "nameserver ::ffff:10.0.0.1\n", []string{"10.0.0.1"}},
		{"no-address", "nameserver dns.example\nnameserver\n", nil},
		{"long-comment", "# " + strings.Repeat("x", 1<<17) + "\nnameserver 10.0.0.1\n", []string{"10.0.0.1"}},
		{"another-word", "nameservers 10.0.0.1\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseDNSServers(strings.NewReader(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			var texts []string
			for _, a := range got {
				texts = append(texts, a.String())
			}
			if diff := cmp.Diff(tt.want, texts, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDNSServersOfAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if got, err := DNSServers(path); err != nil || got != nil {
		t.Errorf("a file that is not there: want none, got %v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("nameserver 10.96.0.10\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := DNSServers(path); err != nil || len(got) != 1 || got[0] != netip.MustParseAddr("10.96.0.10") {
		t.Errorf("want 10.96.0.10, got %v, %v", got, err)
	}
	for _, file := range []string{t.TempDir(), "/dev/zero"} {
		if got, err := DNSServers(file); err == nil {
			t.Errorf("%s: want an error, got %v", file, got)
		}
	}
}

func FuzzParseDNSServers(f *testing.F) {
	for _, seed := range []string{"nameserver 1.1.1.1\n", "nameserver fe80::1%x\nnameserver ::", "# x\n\tnameserver 1.1.1.1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		servers, _ := ParseDNSServers(strings.NewReader(text))
		seen := map[netip.Addr]bool{}
		for _, s := range servers {
			if !s.IsValid() || s.Zone() != "" || s.Is4In6() || seen[s] {
				t.Errorf("%q: %v is not a server to be named in a rule once", text, s)
			}
			seen[s] = true
		}
	})
}
