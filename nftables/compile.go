package nftables

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// Compile returns the rules as a table of nf_tables. An error names the first rule that has
// no form there.
func Compile(rs iptables.Ruleset) (Table, error) {
	t := Table{Family: rs.Family}
	for _, from := range rs.Tables {
		for _, rules := range from.Chains {
			if len(rules.Rules) == 0 && slices.Contains(iptables.BuiltinChains(from.Name), rules.Name) {
				continue
			}
			c, err := newChain(from.Name, rules.Name)
			if err != nil {
				return Table{}, err
			}
			for _, l := range lists(rs.Family, rules.Rules) {
				compiled, err := l.compile(rs.Family, from.Name)
				if err != nil {
					return Table{}, fmt.Errorf("%s %s: rule %q: %w", from.Name, rules.Name, l.Text(rs.Family), err)
				}
				c.Rules = append(c.Rules, compiled...)
			}
			t.Chains = append(t.Chains, c)
		}
	}
	return t, nil
}

// A list is a rule for packets to any of some destinations, or of any of some groups.
type list struct {
	iptables.Rule // its Dst and GIDs are those of the first
	dsts          []netip.Prefix
	gids          []iptables.IDRange
}

// lists returns rules in which those that follow each other, and differ in their destination
// or in their group alone, are one. Of rules with the same target the order has no effect.
func lists(f inet.Family, rules []iptables.Rule) []list {
	all := make([]list, 0, min(len(rules), 64))
	of := map[string]int{} // in all, of the present target
	for i, r := range rules {
		if i > 0 && (r.Target != rules[i-1].Target || r.Role != rules[i-1].Role) {
			clear(of)
		}
		l, key := list{Rule: r}, iptables.Rule{Match: r.Match}
		switch {
		case r.Dst.Set && !r.Dst.Neg && r.Dst.Val.Bits() > 0:
			l.dsts, key.Dst = []netip.Prefix{r.Dst.Val}, iptables.Cond[netip.Prefix]{}
		case len(r.GIDs) == 1 && !r.GIDs[0].Neg:
			l.gids, key.GIDs = []iptables.IDRange{r.GIDs[0].Val}, nil
		default:
			all = append(all, l)
			continue
		}
		text := fmt.Sprint(len(l.dsts)) + key.Text(f)
		if at, ok := of[text]; ok {
			all[at].dsts = append(all[at].dsts, l.dsts...)
			all[at].gids = append(all[at].gids, l.gids...)
			continue
		}
		of[text] = len(all)
		all = append(all, l)
	}
	return all
}

// compile returns the rules for a list: one, but two for TPROXY.
func (l list) compile(f inet.Family, table string) ([]Rule, error) {
	if l.Foreign != nil {
		return nil, errors.New("it is not one of ours")
	}
	l.dsts, l.gids = disjoint(l.dsts), iptables.MergeGroups(l.gids)
	match := Rule{}
	for _, add := range []func(*Rule, inet.Family) error{l.addresses, l.interfaces, l.transport, l.marks, l.owners} {
		if err := add(&match, f); err != nil {
			return nil, err
		}
	}
	tproxies, ok := l.Target.(iptables.TProxy)
	if !ok {
		if err := match.target(l.Target, table); err != nil {
			return nil, err
		}
		return typed([]Rule{match}, f, table, l.Role)
	}
	// Without a socket of the proxy the kernel goes on with the next rule, where iptables
	// drops the packet (net/netfilter/nft_tproxy.c, xt_TPROXY.c).
	drop := Rule{text: match.text, exprs: slices.Clone(match.exprs)}
	if err := match.tproxy(f, tproxies); err != nil {
		return nil, err
	}
	if err := drop.target(iptables.Drop, table); err != nil {
		return nil, err
	}
	return typed([]Rule{match, drop}, f, table, l.Role)
}

// typed adds to compiled rules what they say, in the words in which they are read back.
func typed(rules []Rule, f inet.Family, table string, why iptables.Role) ([]Rule, error) {
	n := decode(f, table, rules)
	if n != len(rules) {
		return nil, errors.New("it cannot be read back")
	}
	for i := range rules[0].Typed {
		rules[0].Typed[i].Role = why
	}
	return rules, nil
}

// add appends a statement of nft and its expressions.
func (r *Rule) add(text string, exprs ...expression) {
	if r.text != "" && text != "" {
		r.text += " "
	}
	r.text += text
	r.exprs = append(r.exprs, exprs...)
}

// target appends what a rule does.
func (r *Rule) target(target iptables.Target, table string) error {
	switch t := target.(type) {
	case iptables.Jump:
		r.add("jump "+table+"-"+t.Chain, verdict(unix.NFT_JUMP, table+"-"+t.Chain))
	case iptables.Goto:
		r.add("goto "+table+"-"+t.Chain, verdict(unix.NFT_GOTO, table+"-"+t.Chain))
	case iptables.Verdict:
		v := verdicts[t]
		r.add(v.text, verdict(v.code, ""))
	case iptables.Redirect:
		r.add(fmt.Sprintf("redirect to :%d", t.Port), load(network16(t.Port)), redirect())
	case iptables.SetMark:
		if t.Mark != iptables.FullMark(t.Mark.Value) {
			return errors.New("a mark is set in some of its bits only")
		}
		r.add("meta mark set "+hex(t.Mark.Value).String(), load(host32(t.Mark.Value)), setMark())
	case iptables.SaveMark:
		r.add("ct mark set meta mark", meta(unix.NFT_META_MARK), setConntrack(unix.NFT_CT_MARK))
	case iptables.RestoreMark:
		r.add("meta mark set ct mark", conntrack(unix.NFT_CT_MARK), setMark())
	case iptables.Zone:
		if t.Original {
			r.add(fmt.Sprintf("ct original zone set %d", t.ID), load(host16(t.ID)), setOriginalZone())
		} else {
			r.add(fmt.Sprintf("ct zone set %d", t.ID), load(host16(t.ID)), setConntrack(unix.NFT_CT_ZONE))
		}
	default:
		return errors.New("its target has no form in nf_tables")
	}
	return nil
}

// tproxy appends what a rule does with packets of a connection for the proxy.
func (r *Rule) tproxy(f inet.Family, t iptables.TProxy) error {
	r.add(fmt.Sprintf("tproxy to :%d", t.Port), load(network16(t.Port)), tproxy([]uint8{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}[f]))
	if err := r.target(iptables.SetMark{Mark: t.Mark}, iptables.Mangle); err != nil {
		return err
	}
	return r.target(iptables.Accept, iptables.Mangle)
}

// verdicts by their number (linux/netfilter.h, linux/netfilter/nf_tables.h).
var verdicts = map[iptables.Verdict]struct {
	text string
	code int32
}{
	iptables.Return: {"return", unix.NFT_RETURN},
	iptables.Accept: {"accept", 1},
	iptables.Drop:   {"drop", 0},
}
