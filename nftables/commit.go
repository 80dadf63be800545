package nftables

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// Commit makes the changes in one transaction: packets meet the old rules or the new ones, in
// both families. It fails with ERESTART, and nothing is changed, when nf_tables is no longer of
// the generation that was read; zero: whatever our tables are now is replaced. The error of a
// refusal names the rule.
func Commit(changes []Change, generation uint32) error {
	b := batchOf(changes, generation == 0)
	if len(b.messages) == 0 {
		return nil
	}
	err := netutil.CommitNFT(b.messages, generation)
	var refused *netutil.NFTError
	if errors.As(err, &refused) && refused.Index >= 0 && refused.Index < len(b.of) {
		return fmt.Errorf("%s: %w", b.of[refused.Index], err)
	}
	return err
}

// Messages returns the transaction of the changes.
func Messages(changes []Change) []netutil.NFTMessage { return batchOf(changes, false).messages }

// batchOf makes a transaction; whatever: the tables from before may have come or gone.
func batchOf(changes []Change, whatever bool) batch {
	b := batch{whatever: whatever}
	for _, c := range changes {
		b.replace(c)
	}
	return b
}

// Contended reports whether a change failed, and changed nothing, since others are changing
// nf_tables.
func Contended(err error) bool {
	return errors.Is(err, unix.ERESTART) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.EBUSY)
}

// A batch is the messages of a transaction.
type batch struct {
	messages []netutil.NFTMessage
	of       []string // what each message is about
	sets     uint32   // how many sets there are
	family   inet.Family
	whatever bool
}

// add adds a message whose attributes fill appends.
func (b *batch) add(kind, flags int, of string, fill func(*buffer)) {
	var attrs buffer
	fill(&attrs)
	b.messages = append(b.messages, netutil.NFTMessage{Type: kind, Family: netutil.NFTFamily(b.family), Flags: flags, Attrs: attrs})
	b.of = append(b.of, of)
}

// replace removes a table with all that is in it, and makes the new one.
func (b *batch) replace(c Change) {
	b.family = c.After.Family
	table := func(a *buffer) { a.text(unix.NFTA_TABLE_NAME, Name) }
	of := family(b.family) + " " + Name
	if b.whatever {
		b.add(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "add table "+of, table)
	}
	if c.Before.Present || b.whatever {
		b.add(unix.NFT_MSG_DELTABLE, 0, "delete table "+of, table)
	}
	if len(c.After.Chains) == 0 {
		return
	}
	b.add(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "add table "+of, table)
	for _, chain := range c.After.Chains { // before the rules that jump to them
		b.add(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, "add chain "+of+" "+chain.kernelName(), chain.attrs)
	}
	for _, chain := range c.After.Chains {
		for _, r := range chain.Rules {
			b.rule(chain.kernelName(), r, "add rule "+of+" "+chain.kernelName()+" "+short(r.text))
		}
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
