package nftables

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// A batch is the messages of a transaction.
type batch struct {
	messages []netutil.NFTMessage
	of       []string // what each message is about
	sets     uint32   // how many sets there are
	family   inet.Family
	whatever bool
}

// batchOf makes a transaction; whatever: the tables from before may have come or gone.
func batchOf(changes []Change, whatever bool) batch {
	b := batch{whatever: whatever}
	for _, c := range changes {
		b.replace(c)
	}
	return b
}

// commit makes a transaction.
func (b *batch) commit(generation uint32) error {
	if len(b.messages) == 0 {
		return nil
	}
	err := netutil.CommitNFT(b.messages, generation)
	var refused *netutil.NFTError
	if errors.As(err, &refused) && refused.Index >= 0 && refused.Index < len(b.of) {
		return fmt.Errorf("%s: %w", strings.ReplaceAll(b.of[refused.Index], nextPrefix, ""), err)
	}
	return err
}

// add adds a message whose attributes fill appends.
func (b *batch) add(kind, flags int, of string, fill func(*buffer)) {
	var attrs buffer
	fill(&attrs)
	b.messages = append(b.messages, netutil.NFTMessage{Type: kind, Family: netutil.NFTFamily(b.family), Flags: flags, Attrs: attrs})
	b.of = append(b.of, of)
}

// replace makes a table the new one: where only rules change those, else all that is in it. A
// table that stays keeps its place among the tables, which nft lists in the order of their age.
func (b *batch) replace(c Change) {
	b.family = c.After.Family
	switch {
	case b.whatever:
	case c.sameChains():
		b.replaceRules(c, nil)
		return
	case c.Before.Present && c.Before.flags == c.After.flags && len(c.After.Chains) > 0:
		b.removeChains(c.Before.Chains)
		b.extend(Table{Family: c.After.Family}, c.After)
		return
	}
	if b.whatever {
		b.table(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "add")
	}
	if c.Before.Present || b.whatever {
		b.table(unix.NFT_MSG_DELTABLE, 0, "delete")
	}
	if len(c.After.Chains) > 0 {
		b.table(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "add")
		b.extend(Table{Family: c.After.Family}, c.After)
	}
}

// replaceRules replaces the rules of the chains that change. Where a table is prepared, those
// without a hook have the new ones already.
func (b *batch) replaceRules(c Change, prepared []Chain) {
	for i, chain := range c.After.Chains {
		switch {
		case c.keeps(i):
		case prepared == nil || chain.base.kind != "":
			b.deleteRules(chain)
			b.rules(chain, chain.Rules)
		default:
			all := prepared[i].Rules // at least the return is in front of the new ones: none would mean all
			b.deleteRules(chain, all[:len(all)-len(chain.Rules)]...)
		}
	}
}

func (b *batch) table(kind, flags int, does string) {
	b.add(kind, flags, does+" table "+family(b.family)+" "+Name, func(a *buffer) { a.text(unix.NFTA_TABLE_NAME, Name) })
}

// extend adds the chains and the rules that a table has behind those of another.
func (b *batch) extend(have, want Table) {
	b.family = want.Family
	for _, chain := range want.Chains[len(have.Chains):] { // before the rules that jump to them
		chain.handle = "" // of one from before, which is put back
		b.chain(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, "add", chain)
	}
	for i, chain := range want.Chains {
		from := 0
		if i < len(have.Chains) {
			from = len(have.Chains[i].Rules)
		}
		b.rules(chain, chain.Rules[from:])
	}
}

// complete makes a prepared table the wanted one. It adds rules to chains with a hook alone,
// which have jumps and no sets.
func (b *batch) complete(c Change, live Live) {
	b.family = c.After.Family
	switch {
	case !c.Staged():
		b.replace(c)
		return
	case c.sameChains():
		b.replaceRules(c, live.Chains)
		return
	}
	old, next := live.Chains[:len(c.Before.Chains)], live.Chains[len(c.Before.Chains):]
	b.removeChains(old)
	for i, chain := range c.After.Chains {
		if chain.base.kind != "" {
			b.rules(next[i], chain.renamed(c.prefix()).Rules)
		}
	}
	for i, chain := range c.After.Chains { // last: within the transaction it has the name from before
		b.chain(unix.NFT_MSG_NEWCHAIN, 0, "rename", Chain{Table: chain.Table, Name: chain.Name, handle: next[i].handle})
	}
}

func (b *batch) removeChains(chains []Chain) {
	for _, chain := range chains {
		b.deleteRules(chain)
	}
	for _, chain := range chains { // nothing jumps to it any more
		b.chain(unix.NFT_MSG_DELCHAIN, 0, "delete", Chain{Table: chain.Table, Name: chain.Name})
	}
}

// chain adds, removes, or by its handle renames a chain.
func (b *batch) chain(kind, flags int, does string, c Chain) {
	b.add(kind, flags, does+" chain "+family(b.family)+" "+Name+" "+c.kernelName(), c.attrs)
}

// rules adds rules at the end of a chain.
func (b *batch) rules(c Chain, rules []Rule) {
	for _, r := range rules {
		b.rule(c.kernelName(), r, "add rule "+family(b.family)+" "+Name+" "+c.kernelName()+" "+short(r.text))
	}
}

// deleteRules removes live rules from a chain; none: all of its rules.
func (b *batch) deleteRules(c Chain, rules ...Rule) {
	if len(rules) == 0 {
		rules = []Rule{{}}
	}
	for _, r := range rules {
		b.add(unix.NFT_MSG_DELRULE, 0, "delete rules of "+family(b.family)+" "+Name+" "+c.kernelName(), func(a *buffer) {
			a.text(unix.NFTA_RULE_TABLE, Name)
			a.text(unix.NFTA_RULE_CHAIN, c.kernelName())
			if r.handle != "" {
				a.bytes(unix.NFTA_RULE_HANDLE, []byte(r.handle))
			}
		})
	}
}

// short cuts the text of a rule, of which a list may be thousands of words.
func short(text string) string {
	const most = 300
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// attrs appends the attributes of a chain.
func (c Chain) attrs(a *buffer) {
	a.text(unix.NFTA_CHAIN_TABLE, Name)
	if c.handle != "" {
		a.bytes(unix.NFTA_CHAIN_HANDLE, []byte(c.handle))
	}
	a.text(unix.NFTA_CHAIN_NAME, c.kernelName())
	if c.base.kind == "" {
		return
	}
	a.nest(unix.NFTA_CHAIN_HOOK, func() {
		a.number(unix.NFTA_HOOK_HOOKNUM, c.base.hook)
		a.number(unix.NFTA_HOOK_PRIORITY, uint32(c.base.priority))
	})
	a.number(unix.NFTA_CHAIN_POLICY, policyAccept)
	a.text(unix.NFTA_CHAIN_TYPE, c.base.kind)
}

const policyAccept = 1 // linux/netfilter.h, NF_ACCEPT

// rule adds a rule, after the set that it looks in.
func (b *batch) rule(chain string, r Rule, of string) {
	first := b.sets + 1
	for _, e := range r.exprs {
		if e.set != nil {
			b.sets++
			b.set(e.set, b.sets, of)
		}
	}
	b.add(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, of, func(a *buffer) {
		a.text(unix.NFTA_RULE_TABLE, Name)
		a.text(unix.NFTA_RULE_CHAIN, chain)
		a.nest(unix.NFTA_RULE_EXPRESSIONS, func() {
			for _, e := range r.exprs {
				e.append(a, first)
				if e.set != nil {
					first++
				}
			}
		})
	})
}

// set adds an anonymous set, by its number in the transaction.
func (b *batch) set(s *set, id uint32, of string) {
	flags := uint32(unix.NFT_SET_ANONYMOUS | unix.NFT_SET_CONSTANT)
	ofValues := s.ofValues()
	if !ofValues {
		flags |= unix.NFT_SET_INTERVAL
	}
	b.add(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, of, func(a *buffer) {
		a.text(unix.NFTA_SET_TABLE, Name)
		a.text(unix.NFTA_SET_NAME, anonymous)
		a.number(unix.NFTA_SET_FLAGS, flags)
		a.number(unix.NFTA_SET_KEY_TYPE, s.kind)
		a.number(unix.NFTA_SET_KEY_LEN, uint32(s.size()))
		a.number(unix.NFTA_SET_ID, id)
	})
	const most = 400 // an attribute has less than 64 KiB
	for from := 0; from < len(s.intervals); from += most {
		part := s.intervals[from:min(from+most, len(s.intervals))]
		b.add(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, of, func(a *buffer) {
			a.text(unix.NFTA_SET_ELEM_LIST_TABLE, Name)
			a.text(unix.NFTA_SET_ELEM_LIST_SET, anonymous)
			a.number(unix.NFTA_SET_ELEM_LIST_SET_ID, id)
			a.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func() {
				if ofValues {
					for _, i := range part {
						a.element([]byte(i.lo), false)
					}
					return
				}
				if from == 0 {
					a.below([]byte(part[0].lo))
				}
				for _, i := range part {
					a.interval(i)
				}
			})
		})
	}
}

// below appends the end of the values below the first interval, which are not in the set.
func (b *buffer) below(first []byte) {
	zero := make([]byte, len(first))
	if string(first) != string(zero) {
		b.element(zero, true)
	}
}

// interval appends the first value, and where the interval ends the one after the last.
func (b *buffer) interval(i interval) {
	b.element([]byte(i.lo), false)
	if next, ok := after(i.hi); ok {
		b.element(next, true)
	}
}

func (b *buffer) element(key []byte, end bool) {
	b.nest(unix.NFTA_LIST_ELEM, func() {
		b.data(unix.NFTA_SET_ELEM_KEY, key)
		if end {
			b.number(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
		}
	})
}
