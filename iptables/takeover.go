package iptables

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Istio itself puts rules straight into built-in chains, where nothing says whose
// they are. What follows recognises them by what only Istio's tools write, in the
// form and in the place in which they write it, so that its rules can be taken
// over and cleaned. What cannot be proven is somebody else's.

// remains are rules of built-in chains that are Istio's: by "table chain" their
// texts, each as often as it is Istio's. The first of equal rules are meant.
type remains map[string][]string

func (r remains) add(table, chain string, rules ...string) {
	r[table+" "+chain] = append(r[table+" "+chain], rules...)
}

// owned tells for each rule of a built-in chain whether it is ours or Istio's.
func (r remains) owned(table string, c savedChain) []bool {
	left := map[string]int{}
	for _, rule := range r[table+" "+c.name] {
		left[rule]++
	}
	owned := make([]bool, len(c.rules))
	for i, rule := range c.rules {
		owned[i] = jumpsToOurs(rule) || left[rule] > 0
		left[rule]--
	}
	return owned
}

// split parts the rules of a built-in chain into what is ours or Istio's and what
// is not, and tells how many of the others stand before the first of ours.
func (r remains) split(table string, c savedChain) (ours, others []string, before int) {
	before = -1
	for i, owned := range r.owned(table, c) {
		if !owned {
			others = append(others, c.rules[i])
			continue
		}
		if before < 0 {
			before = len(others)
		}
		ours = append(ours, c.rules[i])
	}
	if before < 0 {
		before = len(others)
	}
	return ours, others, before
}

// remains finds what is Istio's in the built-in chains.
func (s Snapshot) remains() remains {
	r := remains{}
	if !slices.ContainsFunc(s.tables, savedTable.hasOwnChain) || s.hasChain("KUMA_") {
		return r // nothing of Istio's to go with it; Kuma uses the same numbers for DNS
	}
	r.virtualInterfaces(s.table(NAT))
	r.lookups(s.table(NAT))
	r.zones(s.table(Raw))
	if mangle := s.table(Mangle); mangle.hasOwnChain() && mangle.find(OwnPrefix+"OUTPUT") < 0 {
		r.marks(mangle) // the chain is where our own marks are
	}
	if len(r) > 0 { // Istio wrote this state: we never write such rules
		r.excludedInterfaces(s.table(NAT))
		r.excludedInterfaces(s.table(Mangle))
	}
	r.guardrails(s.table(Filter))
	return r
}

func (t savedTable) hasOwnChain() bool {
	return slices.ContainsFunc(t.chains, func(c savedChain) bool { return Own(c.name) })
}

func (s Snapshot) hasChain(prefix string) bool {
	return slices.ContainsFunc(s.tables, func(t savedTable) bool {
		return slices.ContainsFunc(t.chains, func(c savedChain) bool { return strings.HasPrefix(c.name, prefix) })
	})
}

// guardrails are the six rules with which Istio stops a pod while it changes its
// rules, and which stay when it is killed then: the first two of each chain, in
// front of a pod that has Istio's chains. A part of them proves nothing.
func (r remains) guardrails(t savedTable) {
	drops := []string{"-p tcp -j DROP", "-p udp -j DROP"}
	chains := BuiltinChains(Filter)
	for _, chain := range chains {
		rules := t.rules(chain)
		if len(rules) < 2 || !slices.Contains(rules[:2], drops[0]) || !slices.Contains(rules[:2], drops[1]) {
			return
		}
	}
	for _, chain := range chains {
		r.add(Filter, chain, drops...)
	}
}

// virtualInterfaces are "-i IF -j RETURN" where the same interface is redirected
// by a jump of the same chain (-k).
func (r remains) virtualInterfaces(t savedTable) {
	rules := t.rules(Prerouting)
	for _, rule := range rules {
		m := redirectsInterface.FindStringSubmatch(rule)
		if m == nil {
			continue
		}
		leave := "-i " + m[1] + " -j RETURN"
		if slices.Contains(rules, leave) && !slices.Contains(r[NAT+" "+Prerouting], leave) {
			r.add(NAT, Prerouting, leave)
		}
	}
}

// lookups are the rules for DNS of before 1.25, which were in nat OUTPUT.
func (r remains) lookups(t savedTable) {
	rules := t.rules(Output)
	if !slices.ContainsFunc(rules, redirectsLookup.MatchString) {
		return
	}
	for _, rule := range rules {
		if redirectsLookup.MatchString(rule) || agentsLookup.MatchString(rule) {
			r.add(NAT, Output, rule)
		}
	}
}

// zones are the conntrack zones of DNS of before 1.25.
func (r remains) zones(t savedTable) {
	for _, chain := range BuiltinChains(Raw) {
		for _, rule := range t.rules(chain) {
			if lookupZone.MatchString(rule) {
				r.add(Raw, chain, rule)
			}
		}
	}
}

// marks are the rules of mode TPROXY.
func (r remains) marks(t savedTable) {
	for chain, form := range [...]*regexp.Regexp{savesMark, outputMark} {
		chain := [...]string{Prerouting, Output}[chain]
		for _, rule := range t.rules(chain) {
			if form.MatchString(rule) {
				r.add(Mangle, chain, rule)
			}
		}
	}
}

// excludedInterfaces are the rules of -c: "-i IF -j RETURN" right before what is
// Istio's in PREROUTING, and "-o IF -j RETURN" for the same interfaces in the same
// order right before what is Istio's in OUTPUT. They prove nothing by themselves:
// an administrator exempts an interface with the same rules.
func (r remains) excludedInterfaces(t savedTable) {
	in, out := r.returnsBefore(t, Prerouting, "-i "), r.returnsBefore(t, Output, "-o ")
	if len(out) == 0 || !slices.Equal(in, out) {
		return
	}
	for _, name := range in {
		r.add(t.name, Prerouting, "-i "+name+" -j RETURN")
		r.add(t.name, Output, "-o "+name+" -j RETURN")
	}
}

// returnsBefore returns the interfaces of the run of "FLAG IF -j RETURN" rules
// that stands before the first of Istio's rules in a chain, or at its end.
func (r remains) returnsBefore(t savedTable, chain, flag string) []string {
	var names []string
	rules := t.rules(chain)
	for i, owned := range r.owned(t.name, savedChain{name: chain, rules: rules}) {
		name, ok := strings.CutPrefix(rules[i], flag)
		name, returns := strings.CutSuffix(name, " -j RETURN")
		switch {
		case owned && len(names) > 0:
			return names
		case owned:
		case ok && returns && !strings.Contains(name, " "):
			names = append(names, name)
		default:
			names = nil
		}
	}
	return names
}

// InTheWay returns the rules of others that stand before our jumps, as "table
// chain: rule", and may take a packet before we see it: every rule that does
// something with packets but count, mark or log them.
func (s Snapshot) InTheWay() []string {
	var lines []string
	for _, t := range s.tables {
		for _, c := range t.chains {
			if c.policy == "-" {
				continue
			}
			first := slices.IndexFunc(c.rules, jumpsToOurs)
			if first < 0 {
				continue
			}
			lookups := c.name == Output && t.find(OwnPrefix+"OUTPUT_DNS") >= 0
			for _, rule := range c.rules[:first] {
				if t.takes(rule, lookups, 0) {
					lines = append(lines, t.name+" "+c.name+": "+rule)
				}
			}
		}
	}
	return lines
}

// takes tells whether a rule, or one of a chain that it jumps to, may end the way
// of a TCP packet in the table, or of a look-up over UDP where those are captured.
func (t savedTable) takes(rule string, lookups bool, depth int) bool {
	words := strings.Fields(quoted.ReplaceAllString(rule, `""`))
	at := slices.IndexFunc(words, func(w string) bool { return w == "-j" || w == "-g" })
	if proto := slices.Index(words, "-p"); proto >= 0 && proto+1 < len(words) {
		negated := proto > 0 && words[proto-1] == "!"
		tcp, udp := (words[proto+1] == "tcp") != negated, (words[proto+1] == "udp") != negated
		if !tcp && (!udp || !lookups || !meetsLookups(words)) {
			return false
		}
	}
	if at < 0 || at+1 >= len(words) || slices.Contains(nonTerminating, words[at+1]) {
		return false
	}
	i := t.find(words[at+1])
	if i < 0 || words[at] == "-g" && depth == 0 {
		return true // a target, RETURN from a built-in chain included; what goes to a chain does not come back
	}
	const deepest = 16 // deeper chains may do anything
	return depth > deepest || slices.ContainsFunc(t.chains[i].rules, func(r string) bool {
		return !strings.HasSuffix(r, "-j RETURN") && t.takes(r, lookups, depth+1)
	})
}

// meetsLookups tells whether the condition of a rule on the destination port, if
// it has one, holds for port 53.
func meetsLookups(words []string) bool {
	at := slices.IndexFunc(words, func(w string) bool { return w == "--dport" || w == "--dports" })
	if at < 1 || at+1 >= len(words) {
		return true
	}
	among := slices.ContainsFunc(strings.Split(words[at+1], ","), func(ports string) bool {
		low, high, ranged := strings.Cut(ports, ":")
		if !ranged {
			high = low
		}
		from, err1 := strconv.Atoi(low)
		to, err2 := strconv.Atoi(high)
		return err1 != nil || err2 != nil || from <= 53 && 53 <= to
	})
	return among != (words[at-1] == "!")
}
