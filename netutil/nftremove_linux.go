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
	var batches [][]NFTMessage
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
	if len(batches) > 1 && CommitNFT(slices.Concat(batches...), 0) == nil {
		return len(batches), nil
	}
	for _, batch := range batches {
		switch err := CommitNFT(batch, 0); {
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
	var batch []NFTMessage
	for _, f := range inet.Families {
		for _, t := range tables[f] {
			there, err := NFTChains(f, t.Name)
			if err != nil {
				return err
			}
			// iptables prints built-in chains also where they are not there yet.
			chains := slices.DeleteFunc(there, func(c string) bool { return !slices.Contains(t.Chains, c) })
			flush := NFTMessage{Type: unix.NFT_MSG_DELRULE, Family: nftFamilies[f], Attrs: textAttr(unix.NFTA_RULE_TABLE, t.Name)}
			batch = append(append(batch, flush), deletion(f, NFTTable{t.Name, chains})...)
		}
	}
	if err := CommitNFT(batch, generation); err != nil {
		return fmt.Errorf("delete nf_tables tables: %w", err)
	}
	return nil
}

// RemoveNativeTables removes tables of the family inet with all that is in them, in
// one transaction. One that is gone already makes it fail with nothing changed.
func RemoveNativeTables(names []string) error {
	var batch []NFTMessage
	for _, name := range names {
		batch = append(batch, NFTMessage{Type: unix.NFT_MSG_DELTABLE, Family: unix.NFPROTO_INET, Attrs: textAttr(unix.NFTA_TABLE_NAME, name)})
	}
	if err := CommitNFT(batch, 0); err != nil {
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

// textAttr is an attribute that is a C string.
func textAttr(kind int, s string) []byte { return nl.NewRtAttr(kind, nl.ZeroTerminated(s)).Serialize() }

// deletion deletes chains without rules and then their table. NLM_F_NONREC makes
// the kernel refuse with EBUSY what is not empty (net/netfilter/nf_tables_api.c,
// nf_tables_delchain and nf_tables_deltable).
func deletion(f inet.Family, t NFTTable) []NFTMessage {
	var batch []NFTMessage
	for _, chain := range t.Chains {
		attrs := slices.Concat(textAttr(unix.NFTA_CHAIN_TABLE, t.Name), textAttr(unix.NFTA_CHAIN_NAME, chain))
		batch = append(batch, NFTMessage{unix.NFT_MSG_DELCHAIN, nftFamilies[f], unix.NLM_F_NONREC, attrs})
	}
	return append(batch, NFTMessage{unix.NFT_MSG_DELTABLE, nftFamilies[f], unix.NLM_F_NONREC, textAttr(unix.NFTA_TABLE_NAME, t.Name)})
}
