package netutil

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// NFTWriters watches which other programs change nf_tables in a network namespace. A nil
// *NFTWriters sees none.
type NFTWriters struct{ socket *nl.NetlinkSocket }

// WatchNFTWriters begins to watch the current network namespace.
func WatchNFTWriters() (*NFTWriters, error) {
	socket, err := nl.Subscribe(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if err != nil {
		return nil, os.NewSyscallError("watch nf_tables", err)
	}
	return &NFTWriters{socket}, nil
}

// Close ends the watch.
func (w *NFTWriters) Close() {
	if w != nil {
		w.socket.Close()
	}
}

// Names returns the names of the programs that have changed nf_tables since the watch began,
// each once, without this one and those whose names are ours. The kernel has 15 characters of
// a name (linux/sched.h, TASK_COMM_LEN), and tells one for each transaction
// (net/netfilter/nf_tables_api.c, nf_tables_gen_notify).
func (w *NFTWriters) Names(ours []string) []string {
	const procName = 3 // linux/netfilter/nf_tables.h, NFTA_GEN_PROC_NAME
	if w == nil {
		return nil
	}
	self, _ := os.ReadFile("/proc/thread-self/comm")
	known := []string{"", strings.TrimSpace(string(self))}
	for _, name := range ours {
		const longest = 15
		known = append(known, name[:min(len(name), longest)])
	}
	var names []string
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(w.socket.GetFd(), buffer, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EINTR): // some are lost
			continue
		case err != nil:
			return names
		}
		messages, _ := syscall.ParseNetlinkMessage(buffer[:n])
		for _, m := range messages {
			if m.Header.Type != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN || len(m.Data) < nl.SizeofNfgenmsg {
				continue
			}
			if name := cString(attribute(m.Data[nl.SizeofNfgenmsg:], procName)); !slices.Contains(known, name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
}
