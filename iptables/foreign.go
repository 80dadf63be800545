package iptables

import (
	"slices"
	"strings"

	"istio-init/netutil/inet"
)

// A Foreign is what the types cannot say of a rule that stands in the kernel. The
// zero value: nothing.
type Foreign struct {
	Text string // the whole rule, as iptables-save prints it
	// Conditions are those that are not known here, as printed: the rule takes no
	// packet that Match does not, and perhaps not all that it does.
	Conditions []string
	// Target is what the rule does where that is not known, as printed behind
	// -j; "" where it is known, or is nothing.
	Target string
}

// readRules reads what the rules of a table say. The names of its chains have to be known.
func (t LiveTable) readRules(f inet.Family) {
	chains := t.index()
	isChain := func(name string) bool { _, ok := chains[name]; return ok }
	for _, c := range t.Chains {
		for i := range c.Rules {
			c.Rules[i].Rule = readRule(f, c.Rules[i].Text, isChain)
		}
	}
}

// readRule reads a rule of a table whose chains are known by isChain.
func readRule(f inet.Family, text string, isChain func(string) bool) Rule {
	if r, err := ParseRule(f, text); err == nil && jumpsTo(r, isChain) {
		return r
	}
	return readForeign(f, text, isChain)
}

// jumpsTo reports whether the target of a rule, if it is a jump, is a chain: the name
// of a target without options looks the same.
func jumpsTo(r Rule, isChain func(string) bool) bool {
	chain, ok := nextChain(r.Target)
	return !ok || isChain(chain)
}

// readForeign reads what can be understood of a rule, and keeps the rest as it is.
// It never fails: what is not understood is in the Foreign part.
func readForeign(f inet.Family, text string, isChain func(string) bool) Rule {
	words := splitWords(text)
	foreign := &Foreign{Text: text}
	var p ruleParser
	begun := false // the last condition is one of the module, which may have several options
	for len(words) > 0 {
		var option []string
		option, words = cutOption(words)
		switch {
		case option[0] == "-j" || option[0] == "-g":
			p.rule.Target, foreign.Target = readTarget(option, isChain)
		case option[0] == "-m" && len(option) == 2:
			p.module, begun = option[1], false
			if !isModuleOption(words) && !slices.Contains(plainModules, p.module) {
				foreign.Conditions = append(foreign.Conditions, "-m "+p.module)
			}
		case slices.Contains(option[:min(len(option), 2)], "--comment"):
		case option[0] == "--suppl-groups": // widens what the rule says of groups
			p.rule.GIDs = nil
			foreign.Conditions = append(foreign.Conditions, "-m owner --suppl-groups")
		case p.otherProto(option):
		case p.understands(f, option, p.module):
		case isModuleOption(option) && p.rule.Proto != 0 && p.understands(f, option, p.rule.Proto.String()): // -p loads its module
		case begun && isModuleOption(option):
			foreign.Conditions[len(foreign.Conditions)-1] += " " + strings.Join(option, " ")
		default:
			begun = isModuleOption(option)
			foreign.Conditions = append(foreign.Conditions, strings.Join(withModule(p.module, option), " "))
		}
	}
	p.rule.Foreign = foreign
	return p.rule
}

// otherProtos are the protocols that no question is about, by the names that
// iptables prints (its xtables_chain_protos, and /etc/protocols).
var otherProtos = map[string]Proto{
	"icmp": 1, "igmp": 2, "ipencap": 4, "dccp": 33, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
	"ipv6-icmp": 58, "icmpv6": 58, "ospf": 89, "pim": 103, "vrrp": 112, "sctp": 132, "ipv6-mh": 135, "mobility-header": 135, "udplite": 136,
}

// otherProto takes a condition on a protocol that the types have no name for, which
// none of our packets meets, or on one by its number, as some versions print it.
func (p *ruleParser) otherProto(option []string) bool {
	if len(option) != 2 || option[0] != "-p" {
		return false
	}
	proto, known := otherProtos[option[1]]
	if n, err := parseNumber(option[1], 8); err == nil && n > 0 {
		proto, known = Proto(n), true
	}
	if known {
		p.rule.Proto = proto
	}
	return known
}

// plainModules are conditions only by their options.
var plainModules = []string{"tcp", "udp", "multiport", "mark", "connmark", "conntrack", "state", "owner", "comment"}

// isModuleOption reports whether the next option is one of a module.
func isModuleOption(words []string) bool {
	if len(words) > 0 && words[0] == "!" {
		words = words[1:]
	}
	return len(words) > 0 && strings.HasPrefix(words[0], "--")
}

// cutOption takes the first option of a rule with its values. What follows -j is
// one option, whatever it holds.
func cutOption(words []string) (option, rest []string) {
	if words[0] == "-j" || words[0] == "-g" {
		return words, nil
	}
	n := 1
	if words[0] == "!" && len(words) > 1 {
		n = 2
	}
	if words[n-1] == "--comment" { // it takes one word, whatever that is
		n = min(n+1, len(words))
		return words[:n], words[n:]
	}
	for n < len(words) && !strings.HasPrefix(words[n], "-") && words[n] != "!" {
		n++
	}
	return words[:n], words[n:]
}

// withModule names the module of an option that is one of a module.
func withModule(module string, option []string) []string {
	if module != "" && isModuleOption(option) {
		return append([]string{"-m", module}, option...)
	}
	return option
}

// understands takes an option into the rule, or leaves the rule as it was.
func (p *ruleParser) understands(f inet.Family, option []string, module string) bool {
	before := p.rule
	before.UIDs, before.GIDs = slices.Clone(before.UIDs), slices.Clone(before.GIDs)
	try := ruleParser{words: option, module: module, rule: p.rule}
	for len(try.words) > 0 && try.err == nil {
		try.option()
	}
	if try.err != nil || try.rule.validate(f) != nil {
		p.rule = before
		return false
	}
	p.rule = try.rule
	return true
}

// readTarget reads what follows -j or -g.
func readTarget(words []string, isChain func(string) bool) (known Target, unknown string) {
	if len(words) < 2 {
		return nil, ""
	}
	if len(words) == 2 && isChain(words[1]) {
		if words[0] == "-g" {
			return Goto{Chain: words[1]}, ""
		}
		return Jump{Chain: words[1]}, ""
	}
	p := ruleParser{words: words}
	p.option()
	if _, to := nextChain(p.rule.Target); p.err == nil && !to {
		return p.rule.Target, ""
	}
	return nil, strings.Join(words[1:], " ")
}

// An Effect is what a target does that the types do not have.
type Effect uint8

// The effects. The zero value: none.
const (
	GoesOn    Effect = iota // the packet meets the next rule
	Accepts                 // the packet meets no more rules of the table
	Drops                   // the packet is gone
	TakesAway               // the packet goes to an unknown destination
)

// Effect returns what the target of a rule does, by its name
// (iptables-extensions(8)); a nil Foreign has none.
func (f *Foreign) Effect() Effect {
	if f == nil {
		return GoesOn
	}
	name, _, _ := strings.Cut(f.Target, " ")
	switch {
	case name == "" || slices.Contains(nonTerminating, name):
		return GoesOn
	case slices.Contains([]string{"SNAT", "MASQUERADE"}, name):
		return Accepts
	case slices.Contains([]string{"REJECT", "TARPIT"}, name):
		return Drops
	}
	return TakesAway
}
