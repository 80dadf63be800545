package netutil

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// IPv4Sysctls are those of the source validation of one interface, or of "all" (ip-sysctl in
// the documentation of the kernel).
type IPv4Sysctls struct {
	Interface    string
	SrcValidMark int
	AcceptLocal  int
	RPFilter     int
}

// A ReceivingSysctls are the sysctls that decide about received packets with a mark.
type ReceivingSysctls struct {
	All        IPv4Sysctls
	Interfaces []IPv4Sysctls // without lo, whose packets are not routed again
	MarkAccept int           // net.ipv4.tcp_fwmark_accept, for IPv6 too
}

const ipv4Sysctls = "/proc/sys/net/ipv4/" // of the namespace of the thread that opens it

// ReadReceivingSysctls reads them. A kernel or a container may hide them.
func ReadReceivingSysctls() (s ReceivingSysctls, err error) {
	dirs, err := os.ReadDir(ipv4Sysctls + "conf")
	if err != nil {
		return s, err
	}
	if s.MarkAccept, err = readSysctl("tcp_fwmark_accept"); err != nil {
		return s, err
	}
	for _, dir := range dirs {
		name := dir.Name()
		if name == "default" || name == "lo" {
			continue
		}
		one := IPv4Sysctls{Interface: name}
		for key, value := range map[string]*int{"src_valid_mark": &one.SrcValidMark, "accept_local": &one.AcceptLocal, "rp_filter": &one.RPFilter} {
			if *value, err = readSysctl(filepath.Join("conf", name, key)); err != nil {
				return s, err
			}
		}
		if name == "all" {
			s.All = one
		} else {
			s.Interfaces = append(s.Interfaces, one)
		}
	}
	return s, nil
}

func readSysctl(name string) (int, error) {
	text, err := os.ReadFile(ipv4Sysctls + name)
	if err != nil {
		return 0, err
	}
	value, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s%s: %w", ipv4Sysctls, name, err)
	}
	return value, nil
}
