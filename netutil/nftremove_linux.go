package netutil

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"istio-init/netutil/inet"
)

// nfAccept is the policy ACCEPT (linux/netfilter.h, NF_ACCEPT).
const nfAccept = 1

// RemoveEmptyNFTTables removes those of the tables, by family and name, that hold nothing but empty built-in chains with policy ACCEPT, which is how
// iptables-nft leaves a table. The kernel itself refuses when anything is in
// them, so a rule that is added meanwhile is never lost. It returns how many
// tables went.
func RemoveEmptyNFTTables(tables inet.PerFamily[[]string]) (removed int, err error) {
	var batches []nftBatch
	for _, f := range inet.Families {
		for _, name := range tables[f] {
			chains, err := emptyBaseChains(f, name)
			if err != nil {
				return 0, err
			}
			if chains != nil {
				batches = append(batches, deletion(f, NFTTable{name, chains}))
			}
		}
	}
	// All at once is one wait for the kernel; where one of them cannot go, each by itself.
	if len(batches) > 1 && nftCommit(slices.Concat(batches...), 0) == nil {
		return len(batches), nil
	}
	for _, batch := range batches {
		switch err := nftCommit(batch, 0); {
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOENT): // in use, or gone
		case err != nil:
			return removed, fmt.Errorf("delete an nf_tables table: %w", err)
		default:
			removed++
		}
	}
	return removed, nil
}

// An NFTTable is a table of nf_tables with the chains that it may have.
type NFTTable struct {
	Name   string
	Chains []string
}

// RemoveNFTTables removes tables with their chains and all rules in those, of both
// families in one transaction, if nothing in nf_tables has changed since
// the generation that [LookAtNetfilter] saw. So nobody loses what was not looked
// at: with ERESTART, and with EBUSY where a table holds something else besides, it
// fails and nothing is changed.
func RemoveNFTTables(tables inet.PerFamily[[]NFTTable], generation uint32) error {
	if generation == 0 {
		return errors.New("delete nf_tables tables: their state is not known")
	}
	var batch nftBatch
	for _, f := range inet.Families {
		for _, t := range tables[f] {
			there, err := NFTChains(f, t.Name)
			if err != nil {
				return err
			}
			// iptables prints built-in chains also where they are not there yet.
			chains := slices.DeleteFunc(there, func(c string) bool { return !slices.Contains(t.Chains, c) })
			flush := nftRequest(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_DELRULE, nftFamilies[f], 0)
			flush.AddData(nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated(t.Name)))
			batch = append(append(batch, flush), deletion(f, NFTTable{t.Name, chains})...)
		}
	}
	if err := nftCommit(batch, generation); err != nil {
		return fmt.Errorf("delete nf_tables tables: %w", err)
	}
	return nil
}

// RemoveNativeTables removes tables of the family inet with all that is in them, in
// one transaction. One that is gone already makes it fail with nothing changed.
func RemoveNativeTables(names []string) error {
	var batch nftBatch
	for _, name := range names {
		req := nftRequest(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_DELTABLE, unix.NFPROTO_INET, 0)
		req.AddData(nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(name)))
		batch = append(batch, req)
	}
	if err := nftCommit(batch, 0); err != nil {
		return fmt.Errorf("delete the nf_tables tables %s: %w", strings.Join(names, ", "), err)
	}
	return nil
}

// emptyBaseChains returns the chains of a table when all of them are base chains
// with policy ACCEPT, else nil.
func emptyBaseChains(f inet.Family, table string) ([]string, error) {
	found, err := nftDump(unix.NFT_MSG_GETCHAIN, nftFamilies[f])
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

// An nftBatch is requests that are carried out together or not at all.
type nftBatch []*nl.NetlinkRequest

// deletion deletes chains without rules and then their table. NLM_F_NONREC makes
// the kernel refuse with EBUSY what is not empty (net/netfilter/nf_tables_api.c,
// nf_tables_delchain and nf_tables_deltable).
func deletion(f inet.Family, t NFTTable) nftBatch {
	var batch nftBatch
	for _, chain := range t.Chains {
		req := nftRequest(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_DELCHAIN, nftFamilies[f], unix.NLM_F_NONREC)
		req.AddData(nl.NewRtAttr(unix.NFTA_CHAIN_TABLE, nl.ZeroTerminated(t.Name)))
		req.AddData(nl.NewRtAttr(unix.NFTA_CHAIN_NAME, nl.ZeroTerminated(chain)))
		batch = append(batch, req)
	}
	req := nftRequest(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_DELTABLE, nftFamilies[f], unix.NLM_F_NONREC)
	req.AddData(nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(t.Name)))
	return append(batch, req)
}

// nftCommit sends requests as one transaction, which fails with ERESTART when
// nf_tables is of another generation; zero: of any. The first error is returned and
// nothing is changed then. Only the last request is acknowledged: for hundreds of
// answers at once a socket has no room.
func nftCommit(batch nftBatch, generation uint32) error {
	begin := nftRequest(0, unix.NFNL_MSG_BATCH_BEGIN, unix.NFPROTO_UNSPEC, 0)
	end := nftRequest(0, unix.NFNL_MSG_BATCH_END, unix.NFPROTO_UNSPEC, 0)
	for _, r := range (nftBatch{begin, end}) { // the subsystem goes where the queue number is
		r.Data[0].(*nl.Nfgenmsg).ResId = nl.Swap16(unix.NFNL_SUBSYS_NFTABLES)
	}
	if generation != 0 {
		begin.AddData(nl.NewRtAttr(unix.NFNL_BATCH_GENID, binary.BigEndian.AppendUint32(nil, generation)))
	}
	batch[len(batch)-1].Flags |= unix.NLM_F_ACK
	var bytes []byte
	for _, r := range slices.Concat(nftBatch{begin}, batch, nftBatch{end}) {
		bytes = append(bytes, r.Serialize()...)
	}
	socket, err := nl.Subscribe(unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer socket.Close()
	if err := socket.SetReceiveTimeout(&nl.SocketTimeoutTv); err != nil {
		return err
	}
	if err := unix.Sendto(socket.GetFd(), bytes, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to netlink: %w", err)
	}
	for {
		messages, _, err := socket.Receive()
		if err != nil {
			return fmt.Errorf("read from netlink: %w", err)
		}
		for _, m := range messages {
			if m.Header.Type == unix.NLMSG_ERROR { // errors come in the order of their requests
				return answered(m.Data)
			}
		}
	}
}

// answered is what the kernel says of a request (netlink(7), struct nlmsgerr); nil: it
// was carried out.
func answered(message []byte) error {
	if len(message) >= 4 {
		if code := int32(binary.NativeEndian.Uint32(message)); code < 0 {
			return unix.Errno(-code)
		}
	}
	return nil
}
