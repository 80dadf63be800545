// Command netlink sends a transaction of nf_tables from a file ("send FILE"), or lists the rules
// of as many families ("list 1"). Benchmarks use it as the lower bound of the native backend.
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"istio-init/netutil"
	"istio-init/netutil/inet"
)

func main() {
	do := map[string]func(string) error{"send": send, "list": list}[os.Args[1]]
	if err := do(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func send(file string) error {
	batch, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return netutil.SendNFT(batch)
}

func list(families string) error {
	n, err := strconv.Atoi(families)
	if err != nil {
		return err
	}
	for _, f := range inet.Families[:n] {
		for _, what := range []int{unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETRULE} {
			if _, err := netutil.DumpNFT(what, f, nil); err != nil {
				return err
			}
		}
		sets, err := netutil.DumpNFT(unix.NFT_MSG_GETSET, f, nil)
		if err != nil {
			return err
		}
		for _, set := range sets {
			if err := elements(f, set); err != nil {
				return err
			}
		}
	}
	return nil
}

// elements lists those of a set. The attributes that name it have the same numbers as those
// of the request.
func elements(f inet.Family, set []byte) error {
	var of []byte
	for _, kind := range []int{unix.NFTA_SET_TABLE, unix.NFTA_SET_NAME} {
		of = append(of, nl.NewRtAttr(kind, netutil.Attribute(set, kind)).Serialize()...)
	}
	_, err := netutil.DumpNFT(unix.NFT_MSG_GETSETELEM, f, of)
	return err
}
