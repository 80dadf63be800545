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

	"istio-init/netutil/inet"
)

// Netfilter is what can be seen of the namespace's packet filter without a
// process and without changing it.
type Netfilter struct {
	Legacy inet.PerFamily[[]string] // tables that xtables has set up here
	NFT    inet.PerFamily[[]string] // tables of nf_tables, whoever made them
	// LegacyHidden says that the tables of xtables may not be listed, which
	// only root may.
	LegacyHidden bool
	// NoNFT and NoLegacy say why a variant of iptables cannot work here; nil when
	// nothing stands against it. NoNFTables is why nf_tables itself cannot.
	NoNFT, NoLegacy, NoNFTables error
	// NoXTables is why the legacy variant may not work in a family: its part of the kernel is not
	// loaded, which iptables-legacy may do; nil: it is.
	NoXTables inet.PerFamily[error]
	// Native are the tables of the family inet that were asked for.
	Native []string
	// Foreign are the base chains that iptables does not print and that may decide about
	// packets, without those of Native; ForeignErr is why they are not known.
	Foreign    []BaseChain
	ForeignErr error
	Own        inet.PerFamily[bool] // a family has the table that was left out
	// Generation is the state of nf_tables that was seen, or an earlier one; see
	// [NFTGeneration].
	Generation uint32
}

// nftFamilies are the families as netfilter numbers them (linux/netfilter.h).
var nftFamilies = inet.PerFamily[uint8]{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}

// LookAtNetfilter reads which tables exist; native starts the names of those that
// are listed of the family inet. Tables of the name own are left out, of the
// families ip and ip6. Reading creates none (measured: a listing by
// iptables-legacy does).
func LookAtNetfilter(native, own string) Netfilter {
	var n Netfilter
	for i, file := range [...]string{"ip_tables_names", "ip6_tables_names"} {
		// thread-self: /proc/net is that of the process, whose main thread
		// may be in another namespace. A file that is not there is a variant
		// that is not in use here.
		text, err := readUnwatched("/proc/thread-self/net/" + file)
		n.LegacyHidden = n.LegacyHidden || errors.Is(err, os.ErrPermission)
		n.Legacy[i] = strings.Fields(string(text))
		if errors.Is(err, os.ErrNotExist) {
			n.NoXTables[i] = fmt.Errorf("the kernel has no legacy iptables here (no /proc/net/%s)", file)
		}
	}
	if !HasCap(unix.CAP_NET_RAW) {
		n.NoLegacy = errors.New("iptables-legacy needs the capability NET_RAW; in a manifest: securityContext: {capabilities: {add: [NET_ADMIN, NET_RAW]}}")
	}
	n.Generation = NFTGeneration()
	tables, err := nftDump(unix.NFT_MSG_GETTABLE, unix.NFPROTO_UNSPEC)
	if err != nil {
		n.NoNFTables = fmt.Errorf("nf_tables does not answer: %w", err)
		n.NoNFT = n.NoNFTables
		return n
	}
	tables = slices.DeleteFunc(tables, func(t nftObject) bool {
		i := slices.Index(nftFamilies[:], t.family)
		is := i >= 0 && t.text(unix.NFTA_TABLE_NAME) == own
		if is {
			n.Own[i] = true
		}
		return is
	})
	if len(tables) > 0 {
		n.Foreign, n.ForeignErr = foreignBaseChains(tables, native)
	}
	for _, t := range tables {
		name := t.text(unix.NFTA_TABLE_NAME)
		if i := slices.Index(nftFamilies[:], t.family); i >= 0 {
			n.NFT[i] = append(n.NFT[i], name)
		}
		if t.family == unix.NFPROTO_INET && strings.HasPrefix(name, native) {
			n.Native = append(n.Native, name)
		}
	}
	if err := nftSpeaksIptables(); err != nil {
		n.NoNFT = fmt.Errorf("nf_tables has no iptables support (nft_compat, xt_REDIRECT): %w", err)
	}
	return n
}

// NFTGeneration returns the number of the state of nf_tables, which rises by one with every
// transaction that is carried out (net/netfilter/nf_tables_api.c, nf_tables_commit); zero
// when it cannot be had.
func NFTGeneration() uint32 {
	req := nftRequest(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETGEN, unix.NFPROTO_UNSPEC, unix.NLM_F_ACK)
	answers, err := execute(req, unix.NETLINK_NETFILTER)
	if err != nil || len(answers) == 0 || len(answers[0]) < nl.SizeofNfgenmsg {
		return 0
	}
	if id := attribute(answers[0][nl.SizeofNfgenmsg:], unix.NFTA_GEN_ID); len(id) == 4 {
		return binary.BigEndian.Uint32(id)
	}
	return 0
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
	_, err := execute(req, unix.NETLINK_NETFILTER)
	return err
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

// nftDump lists the objects that a GET message names, and its attributes select.
func nftDump(message int, family uint8, selects ...*nl.RtAttr) ([]nftObject, error) {
	req := nftRequest(unix.NFNL_SUBSYS_NFTABLES, message, family, unix.NLM_F_DUMP)
	for _, attr := range selects {
		req.AddData(attr)
	}
	answers, err := complete(func() ([][]byte, error) { return execute(req, unix.NETLINK_NETFILTER) })
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
func (o nftObject) attr(kind int) []byte { return attribute(o.attrs, kind) }

// text returns the value of an attribute that is a C string.
func (o nftObject) text(kind int) string { return cString(o.attr(kind)) }

// NFTChains returns the chains of a table of nf_tables.
func NFTChains(f inet.Family, table string) ([]string, error) {
	found, err := nftDump(unix.NFT_MSG_GETCHAIN, nftFamilies[f])
	if err != nil {
		return nil, fmt.Errorf("list nf_tables chains: %w", err)
	}
	var names []string
	for _, c := range found {
		name := c.text(unix.NFTA_CHAIN_NAME)
		if c.text(unix.NFTA_CHAIN_TABLE) == table {
			names = append(names, name)
		}
	}
	return names, nil
}
