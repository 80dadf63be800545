package netutil

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
)

// DNSServers returns the name servers of a file in the form of resolv.conf(5),
// in their order. A file that is not there names none.
func DNSServers(path string) ([]netip.Addr, error) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the name servers: %w", err)
	}
	defer file.Close()
	servers, err := ParseDNSServers(file)
	if err != nil {
		return nil, fmt.Errorf("read the name servers of %s: %w", path, err)
	}
	return servers, nil
}

// maxResolvConf limits the bytes of a resolv.conf.
const maxResolvConf = 1 << 20

// ParseDNSServers reads the nameserver lines of a resolv.conf. Lines that are
// none, or name no address, are passed over, as the resolver does; the zone of a
// link-local address is dropped, since rules cannot name it.
func ParseDNSServers(r io.Reader) ([]netip.Addr, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxResolvConf+1))
	if err == nil && len(text) > maxResolvConf {
		err = fmt.Errorf("more than %d bytes", maxResolvConf)
	}
	var servers []netip.Addr
	seen := map[netip.Addr]bool{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(words[1])
		addr = addr.WithZone("").Unmap()
		if err != nil || seen[addr] {
			continue
		}
		seen[addr] = true
		servers = append(servers, addr)
	}
	return servers, err
}
