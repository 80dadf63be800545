package nftables

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// Read reads our table of one family. It changes nothing. What others have put in it is
// there, too: of a rule that is none of ours, Typed has a foreign one.
func Read(f inet.Family) (Live, error) {
	live := Live{Table: Table{Family: f}}
	tables, err := netutil.DumpNFT(unix.NFT_MSG_GETTABLE, f, nil)
	if err != nil {
		return live, fmt.Errorf("list nf_tables tables: %w", err)
	}
	i := slices.IndexFunc(tables, func(t []byte) bool { return text(t, unix.NFTA_TABLE_NAME) == Name })
	if live.Present = i >= 0; !live.Present {
		return live, nil
	}
	const dormant = 1 // NFT_TABLE_F_DORMANT: no rule has an effect
	if live.flags = number(tables[i], unix.NFTA_TABLE_FLAGS); live.flags&dormant != 0 {
		return live, nil
	}
	chains, err := netutil.DumpNFT(unix.NFT_MSG_GETCHAIN, f, nil)
	if err != nil {
		return live, fmt.Errorf("list nf_tables chains: %w", err)
	}
	for _, c := range chains {
		if text(c, unix.NFTA_CHAIN_TABLE) == Name {
			live.Chains = append(live.Chains, readChain(c))
		}
	}
	return live, live.readRules()
}

// text returns an attribute that is a C string.
func text(attrs []byte, kind int) string {
	return string(bytes.TrimRight(netutil.Attribute(attrs, kind), "\x00"))
}

// number returns an attribute of 32 bits; 0 when it is not there.
func number(attrs []byte, kind int) uint32 {
	if value := netutil.Attribute(attrs, kind); len(value) == 4 {
		return binary.BigEndian.Uint32(value)
	}
	return 0
}

func readChain(attrs []byte) Chain {
	c := Chain{Name: text(attrs, unix.NFTA_CHAIN_NAME), handle: string(netutil.Attribute(attrs, unix.NFTA_CHAIN_HANDLE))}
	if table, name, ok := strings.Cut(c.Name, "-"); ok {
		c.Table, c.Name = table, name
	}
	ours := bases[c.Table][c.Name]
	if hook := netutil.Attribute(attrs, unix.NFTA_CHAIN_HOOK); hook != nil {
		c.base = base{
			kind: text(attrs, unix.NFTA_CHAIN_TYPE), hook: number(hook, unix.NFTA_HOOK_HOOKNUM),
			priority: int32(number(hook, unix.NFTA_HOOK_PRIORITY)),
			text:     ours.text,
			drops:    number(attrs, unix.NFTA_CHAIN_POLICY) != policyAccept,
		}
	}
	if c.base != ours || ours.kind == "" && slices.Contains(iptables.BuiltinChains(c.Table), c.Name) {
		c.Table, c.Name = "", c.kernelName() // the kernel calls it elsewhere, or not at all
		c.base.text = fmt.Sprint(c.base.priority)
	}
	return c
}

// Foreign returns the chains that the kernel calls and that are none of ours, though they are in
// our table.
func (l Live) Foreign() []netutil.BaseChain {
	var chains []netutil.BaseChain
	for _, c := range l.Chains {
		if c.Table == "" && c.base.kind != "" && (len(c.Rules) > 0 || c.base.drops) {
			chains = append(chains, netutil.BaseChain{
				Family: family(l.Family), Table: Name, Name: c.Name, Type: c.base.kind, Hook: netutil.NFTHook(c.base.hook),
				Priority: int(c.base.priority), Drops: c.base.drops, HasRules: len(c.Rules) > 0,
			})
		}
	}
	return chains
}

// readRules adds the rules to the chains.
func (l *Live) readRules() error {
	var ofTable buffer
	ofTable.text(unix.NFTA_RULE_TABLE, Name) // the same number as NFTA_SET_TABLE
	rules, err := netutil.DumpNFT(unix.NFT_MSG_GETRULE, l.Family, ofTable)
	if err != nil {
		return fmt.Errorf("list nf_tables rules: %w", err)
	}
	found, err := netutil.DumpNFT(unix.NFT_MSG_GETSET, l.Family, ofTable)
	if err != nil {
		return fmt.Errorf("list nf_tables sets: %w", err)
	}
	sets := map[string]*set{}
	for _, s := range found {
		if sets[text(s, unix.NFTA_SET_NAME)], err = l.readSet(s); err != nil {
			return fmt.Errorf("list the elements of an nf_tables set: %w", err)
		}
	}
	at := map[string]int{}
	for i, c := range l.Chains {
		at[c.kernelName()] = i
	}
	for _, attrs := range rules {
		c, ok := at[text(attrs, unix.NFTA_RULE_CHAIN)]
		if text(attrs, unix.NFTA_RULE_TABLE) != Name || !ok {
			continue
		}
		r := Rule{handle: string(netutil.Attribute(attrs, unix.NFTA_RULE_HANDLE))}
		for _, e := range netutil.Attributes(netutil.Attribute(attrs, unix.NFTA_RULE_EXPRESSIONS)) {
			r.exprs = append(r.exprs, readExpression(e, sets))
		}
		r.exprs = canonical(l.Family, r.exprs)
		l.Chains[c].Rules = append(l.Chains[c].Rules, r)
	}
	for _, c := range l.Chains {
		c.understand(l.Family)
	}
	return nil
}

// readExpression reads an expression as [express] makes it.
func readExpression(attrs []byte, sets map[string]*set) expression {
	e := expression{name: text(attrs, unix.NFTA_EXPR_NAME)}
	data := netutil.Attribute(attrs, unix.NFTA_EXPR_DATA)
	e.data = string(data)
	if e.name != "lookup" || number(data, unix.NFTA_LOOKUP_SREG) != reg1 {
		return e
	}
	var rest buffer
	for kind, value := range netutil.Attributes(data) {
		if !slices.Contains([]int{unix.NFTA_LOOKUP_SET, unix.NFTA_LOOKUP_SREG, unix.NFTA_LOOKUP_SET_ID}, kind) {
			rest.bytes(kind, value)
		}
	}
	e.data, e.set = string(rest), sets[text(data, unix.NFTA_LOOKUP_SET)]
	return e
}

// readSet reads the elements of a set. Those of intervals say where one begins, and where the
// values begin that are in none.
func (l *Live) readSet(attrs []byte) (*set, error) {
	var of buffer
	of.text(unix.NFTA_SET_ELEM_LIST_TABLE, Name)
	of.text(unix.NFTA_SET_ELEM_LIST_SET, text(attrs, unix.NFTA_SET_NAME))
	parts, err := netutil.DumpNFT(unix.NFT_MSG_GETSETELEM, l.Family, of)
	if err != nil {
		return nil, err
	}
	type element struct {
		key string
		end bool
	}
	var elements []element
	for _, part := range parts {
		for _, e := range netutil.Attributes(netutil.Attribute(part, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			key := netutil.Attribute(netutil.Attribute(e, unix.NFTA_SET_ELEM_KEY), unix.NFTA_DATA_VALUE)
			elements = append(elements, element{string(key), number(e, unix.NFTA_SET_ELEM_FLAGS)&unix.NFT_SET_ELEM_INTERVAL_END != 0})
		}
	}
	slices.SortFunc(elements, func(a, b element) int {
		if a.end != b.end && a.key == b.key { // one ends where the next begins
			return map[bool]int{true: -1, false: 1}[a.end]
		}
		return cmp.Compare(a.key, b.key)
	})
	s := &set{kind: number(attrs, unix.NFTA_SET_KEY_TYPE), single: number(attrs, unix.NFTA_SET_FLAGS)&unix.NFT_SET_INTERVAL == 0}
	for i, e := range elements {
		switch {
		case e.end:
		case s.single:
			s.intervals = append(s.intervals, interval{e.key, e.key})
		case i+1 < len(elements):
			s.intervals = append(s.intervals, interval{e.key, before([]byte(elements[i+1].key))})
		default:
			s.intervals = append(s.intervals, interval{e.key, strings.Repeat("\xff", len(e.key))})
		}
	}
	return s, nil
}

// understand tells what the rules of a chain say. What they are compiled to again is the
// proof: a rule that differs is none of ours.
func (c Chain) understand(f inet.Family) {
	for i := 0; i < len(c.Rules); {
		n := decode(f, c.Table, c.Rules[i:])
		same := false
		if n > 0 {
			again, err := Compile(iptables.Ruleset{Family: f, Tables: []iptables.Table{{Name: c.Table, Chains: []iptables.Chain{{Name: c.Name, Rules: c.Rules[i].Typed}}}}})
			if same = err == nil && slices.EqualFunc(again.Chains[0].Rules, c.Rules[i:i+n], Rule.equal); same {
				for k, r := range again.Chains[0].Rules {
					c.Rules[i+k].Typed, c.Rules[i+k].text = r.Typed, r.text
				}
			}
		}
		if !same {
			n = 1
			c.Rules[i].Typed = []iptables.Rule{c.foreign(f, c.Rules[i])}
			c.Rules[i].text = "# " + c.Rules[i].Typed[0].Foreign.Text
		}
		i += n
	}
}

// foreign returns what is known of a rule that is none of ours. Where only a counter makes the
// difference, which people add to see whether a rule matches, that is all.
func (c Chain) foreign(f inet.Family, r Rule) iptables.Rule {
	isCounter := func(e expression) bool { return e.name == "counter" }
	if plain := slices.DeleteFunc(slices.Clone(r.exprs), isCounter); len(plain) > 0 && len(plain) < len(r.exprs) {
		c.Rules = []Rule{{exprs: plain}}
		if c.understand(f); len(c.Rules[0].Typed) == 1 && c.Rules[0].Typed[0].Foreign == nil {
			typed := c.Rules[0].Typed[0]
			typed.Foreign = &iptables.Foreign{Text: typed.Text(f) + " (with a counter)"}
			return typed
		}
	}
	return iptables.Rule{Foreign: r.foreign()}
}

// foreign returns what is known of a rule that is none of ours: whether it takes a packet is not
// known, nor what it does with it, unless it only counts or logs.
func (r Rule) foreign() *iptables.Foreign {
	var names []string
	acts := false
	for _, e := range r.exprs {
		names = append(names, e.name)
		acts = acts || e.name != "counter" && e.name != "log"
	}
	f := &iptables.Foreign{Text: "nf_tables rule of the expressions " + strings.Join(names, ", ")}
	if acts {
		f.Conditions, f.Target = []string{f.Text}, "unknown"
	}
	return f
}
