package netutil

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Netfilter is what can be seen of the namespace's packet filter without a
// process and without changing it. The indexes are 0 for IPv4 and 1 for IPv6.
type Netfilter struct {
	Legacy [2][]string // tables that xtables has set up here
	NFT    [2][]string // tables of nf_tables, whoever made them
	// LegacyHidden says that the tables of xtables may not be listed, which
	// only root may.
	LegacyHidden bool
	// NoNFT and NoLegacy say why a variant of iptables cannot work here; nil when
	// nothing stands against it.
	NoNFT, NoLegacy error
	// Native are the tables that Istio makes with --native-nftables.
	Native []string
}

// nativeTable starts the names of Istio's own tables, which are of the family inet.
const nativeTable = "istio-proxy-"

// nfAccept is the policy ACCEPT (linux/netfilter.h, NF_ACCEPT).
const nfAccept = 1

var nftFamilies = [2]uint8{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}

// LookAtNetfilter reads which tables exist. Reading creates none (measured: a
// listing by iptables-legacy does).
func LookAtNetfilter() Netfilter {
	var n Netfilter
	for i, file := range [2]string{"ip_tables_names", "ip6_tables_names"} {
		// thread-self: /proc/net is that of the process, whose main thread
		// may be in another namespace. A file that is not there is a variant
		// that is not in use here.
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		n.LegacyHidden = n.LegacyHidden || errors.Is(err, os.ErrPermission)
		n.Legacy[i] = strings.Fields(string(text))
	}
	if !HasCap(unix.CAP_NET_RAW) {
		n.NoLegacy = errors.New("iptables-legacy needs the capability NET_RAW")
	}
	tables, err := nftDump(unix.NFT_MSG_GETTABLE, unix.NFPROTO_UNSPEC)
	if err != nil {
		n.NoNFT = fmt.Errorf("nf_tables does not answer: %w", err)
		return n
	}
	for _, t := range tables {
		name := t.text(unix.NFTA_TABLE_NAME)
		if i := slices.Index(nftFamilies[:], t.family); i >= 0 {
			n.NFT[i] = append(n.NFT[i], name)
		}
		if t.family == unix.NFPROTO_INET && strings.HasPrefix(name, nativeTable) {
			n.Native = append(n.Native, name)
		}
	}
	if err := nftSpeaksIptables(); err != nil {
		n.NoNFT = fmt.Errorf("nf_tables has no iptables support (nft_compat, xt_REDIRECT): %w", err)
	}
	return n
}

// nftSpeaksIptables asks whether nf_tables knows the REDIRECT target of
// iptables, which is how iptables-nft itself asks (linux/netfilter/
// nf_tables_compat.h); a question, nothing is changed.
func nftSpeaksIptables() error {
	const compatGet, attrName, attrRev, attrType = 0, 1, 2, 3 // nf_tables_compat.h
	req := nftRequest(unix.NFNL_SUBSYS_NFT_COMPAT, compatGet, unix.NFPROTO_IPV4, unix.NLM_F_ACK)
	req.AddData(nl.NewRtAttr(attrName, nl.ZeroTerminated("REDIRECT")))
	req.AddData(nl.NewRtAttr(attrRev, binary.BigEndian.AppendUint32(nil, 0)))
	req.AddData(nl.NewRtAttr(attrType, binary.BigEndian.AppendUint32(nil, 1))) // 1: a target
	_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	return err
}

// RemoveEmptyNFTTables removes those of the tables, by family index and name,
// that hold nothing but empty built-in chains with policy ACCEPT, which is how
// iptables-nft leaves a table. The kernel itself refuses when anything is in
// them, so a rule that is added meanwhile is never lost. It returns how many
// tables went.
func RemoveEmptyNFTTables(tables [2][]string) (removed int, err error) {
	for i, family := range nftFamilies {
		for _, name := range tables[i] {
			chains, err := emptyBaseChains(family, name)
			if err != nil {
				return removed, err
			}
			if chains == nil {
				continue
			}
			switch err := deleteNFTTable(family, name, chains); {
			case errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOENT): // in use, or gone
			case err != nil:
				return removed, fmt.Errorf("delete nf_tables table %s: %w", name, err)
			default:
				removed++
			}
		}
	}
	return removed, nil
}

// RemoveNativeTables removes tables of Istio's own with all that is in them, in
// one transaction. One that is gone already makes it fail with nothing changed.
func RemoveNativeTables(names []string) error {
	var batch []*nl.NetlinkRequest
	for _, name := range names {
		req := nftRequest(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_DELTABLE, unix.NFPROTO_INET, unix.NLM_F_ACK)
		req.AddData(nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(name)))
		batch = append(batch, req)
	}
	if err := nftCommit(batch); err != nil {
		return fmt.Errorf("delete the nf_tables tables %s: %w", strings.Join(names, ", "), err)
	}
	return nil
}

// emptyBaseChains returns the chains of a table when all of them are base chains
// with policy ACCEPT, else nil.
func emptyBaseChains(family uint8, table string) ([]string, error) {
	found, err := nftDump(unix.NFT_MSG_GETCHAIN, family)
	if err != nil {
		return nil, fmt.Errorf("list nf_tables chains: %w", err)
	}
	chains := []string{}
	for _, c := range found {
		if c.text(unix.NFTA_CHAIN_TABLE) != table {
			continue
		}
		policy := c.attr(unix.NFTA_CHAIN_POLICY)
		if c.attr(unix.NFTA_CHAIN_HOOK) == nil || len(policy) != 4 || binary.BigEndian.Uint32(policy) != nfAccept {
			return nil, nil
		}
		chains = append(chains, c.text(unix.NFTA_CHAIN_NAME))
	}
	return chains, nil
}

// deleteNFTTable deletes empty chains and then their table in one transaction.
// NLM_F_NONREC makes the kernel refuse with EBUSY what is not empty
// (net/netfilter/nf_tables_api.c, nf_tables_delchain and nf_tables_deltable).
func deleteNFTTable(family uint8, table string, chains []string) error {
	const flags = unix.NLM_F_ACK | unix.NLM_F_NONREC
	var batch []*nl.NetlinkRequest
	for _, chain := range chains {
		req := nftRequest(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_DELCHAIN, family, flags)
		req.AddData(nl.NewRtAttr(unix.NFTA_CHAIN_TABLE, nl.ZeroTerminated(table)))
		req.AddData(nl.NewRtAttr(unix.NFTA_CHAIN_NAME, nl.ZeroTerminated(chain)))
		batch = append(batch, req)
	}
	req := nftRequest(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_DELTABLE, family, flags)
	req.AddData(nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(table)))
	return nftCommit(append(batch, req))
}

// nftCommit sends requests as one transaction. The kernel answers each with an
// acknowledgement; the first error is returned and nothing is changed then.
func nftCommit(batch []*nl.NetlinkRequest) error {
	begin := nftRequest(0, unix.NFNL_MSG_BATCH_BEGIN, unix.NFPROTO_UNSPEC, 0)
	end := nftRequest(0, unix.NFNL_MSG_BATCH_END, unix.NFPROTO_UNSPEC, 0)
	for _, r := range []*nl.NetlinkRequest{begin, end} { // the subsystem goes where the queue number is
		r.Data[0].(*nl.Nfgenmsg).ResId = nl.Swap16(unix.NFNL_SUBSYS_NFTABLES)
	}
	var bytes []byte
	for _, r := range slices.Concat([]*nl.NetlinkRequest{begin}, batch, []*nl.NetlinkRequest{end}) {
		bytes = append(bytes, r.Serialize()...)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer unix.Close(fd)
	timeout := unix.Timeval{Sec: 10} // the kernel answers at once; a bound all the same
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return fmt.Errorf("bound the wait for netlink: %w", err)
	}
	if err := unix.Sendto(fd, bytes, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to netlink: %w", err)
	}
	return nftAcknowledged(fd, len(batch))
}

// nftAcknowledged reads the answers to a batch of n requests.
func nftAcknowledged(fd, n int) error {
	buf := make([]byte, 64<<10)
	for n > 0 {
		size, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return fmt.Errorf("read from netlink: %w", err)
		}
		for rest := buf[:size]; len(rest) >= unix.SizeofNlMsghdr+4; {
			length := binary.NativeEndian.Uint32(rest)
			if binary.NativeEndian.Uint16(rest[4:]) == unix.NLMSG_ERROR {
				if errno := -int32(binary.NativeEndian.Uint32(rest[unix.SizeofNlMsghdr:])); errno != 0 {
					return unix.Errno(errno)
				}
				n--
			}
			rest = rest[min(len(rest), int(length+3)&^3):]
		}
	}
	return nil
}

// nftRequest starts a request to a subsystem of nfnetlink.
func nftRequest(subsys, message int, family uint8, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(subsys<<8|message, flags)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	return req
}

// An nftObject is one object of a dump: its family and its attributes.
type nftObject struct {
	family uint8
	attrs  []byte
}

// nftDump lists the objects that a GET message names.
func nftDump(message int, family uint8) ([]nftObject, error) {
	req := nftRequest(unix.NFNL_SUBSYS_NFTABLES, message, family, unix.NLM_F_DUMP)
	answers, err := complete(func() ([][]byte, error) { return req.Execute(unix.NETLINK_NETFILTER, 0) })
	if err != nil {
		return nil, err
	}
	var objects []nftObject
	for _, a := range answers {
		if len(a) >= nl.SizeofNfgenmsg {
			objects = append(objects, nftObject{a[0], a[nl.SizeofNfgenmsg:]})
		}
	}
	return objects, nil
}

// attr returns the value of an attribute; nil when it is not there.
func (o nftObject) attr(kind int) []byte {
	attrs, err := nl.ParseRouteAttr(o.attrs)
	if err != nil {
		return nil
	}
	for _, a := range attrs {
		if int(a.Attr.Type&nl.NLA_TYPE_MASK) == kind {
			return a.Value
		}
	}
	return nil
}

// text returns the value of an attribute that is a C string.
func (o nftObject) text(kind int) string {
	return strings.TrimRight(string(o.attr(kind)), "\x00")
}

// NFTChains returns the chains of a table of nf_tables whose names start so.
func NFTChains(v6 bool, table, prefix string) ([]string, error) {
	family := nftFamilies[0]
	if v6 {
		family = nftFamilies[1]
	}
	found, err := nftDump(unix.NFT_MSG_GETCHAIN, family)
	if err != nil {
		return nil, fmt.Errorf("list nf_tables chains: %w", err)
	}
	var names []string
	for _, c := range found {
		name := c.text(unix.NFTA_CHAIN_NAME)
		if c.text(unix.NFTA_CHAIN_TABLE) == table && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, nil
}
