package test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// A foreignCase is random foreign rules around ours: of iptables, in nftables tables,
// and of policy routing. The same number is the same case.
type foreignCase struct {
	*rand.Rand
	rules      map[string][]string // by table, "CHAIN POSITION RULE"
	policies   map[string]string   // of chains of the table filter
	setUp      []string            // commands
	tearDown   []string
	understood bool // trace understands all of it
}

func newForeignCase(n int) *foreignCase {
	c := &foreignCase{Rand: rand.New(rand.NewPCG(20261128, uint64(n))), rules: map[string][]string{}, policies: map[string]string{}, understood: true}
	odd := c.IntN(3) == 0 // also what trace does not understand
	for range 1 + c.IntN(4) {
		c.addRule(odd)
	}
	if c.IntN(6) == 0 {
		c.policies[c.one("INPUT", "OUTPUT", "FORWARD")] = "DROP"
	}
	if c.IntN(3) == 0 {
		c.addRoute()
	}
	if odd && c.IntN(2) == 0 {
		c.addNFT()
	}
	return c
}

func (c *foreignCase) one(from ...string) string { return from[c.IntN(len(from))] }

// hooksOf are the built-in chains to which rules are added, and the targets there.
var hooksOf = map[string][]string{
	"raw": {"PREROUTING", "OUTPUT"}, "mangle": {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
	"nat": {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"}, "filter": {"INPUT", "FORWARD", "OUTPUT"},
}

// addRule adds a rule, or a chain of two with a jump to it.
func (c *foreignCase) addRule(odd bool) {
	table := c.one("raw", "mangle", "mangle", "nat", "nat", "filter", "filter")
	hook := c.one(hooksOf[table]...)
	if c.IntN(4) > 0 {
		c.put(table, hook, c.conditions(hook, odd)+"-j "+c.target(table, hook))
		return
	}
	chain := fmt.Sprintf("THEIRS%d", len(c.rules[table]))
	c.put(table, hook, c.conditions(hook, odd)+c.one("-j ", "-j ", "-g ")+chain)
	for range 2 {
		c.put(table, chain, c.conditions(hook, odd)+"-j "+c.one(c.target(table, hook), "RETURN"))
	}
}

func (c *foreignCase) put(table, chain, rule string) {
	c.rules[table] = append(c.rules[table], fmt.Sprintf("%s %d %s", chain, c.IntN(3), rule))
}

// conditions returns those of a rule, each with a space behind.
func (c *foreignCase) conditions(hook string, odd bool) string {
	var b strings.Builder
	add := func(percent int, from ...string) {
		if c.IntN(100) < percent {
			b.WriteString(c.one(from...) + " ")
		}
	}
	out := hook == "OUTPUT" || hook == "POSTROUTING"
	add(15, "-s 10.244.0.0/24", "! -s 10.244.0.2/32", "-s 10.244.0.1/32", "-s 127.0.0.0/8")
	add(25, "-d 198.51.100.10/32", "! -d 198.51.100.10/32", "-d 10.244.0.2/32", "-d 127.0.0.0/8")
	if out {
		add(15, "-o eth0", "-o lo", "! -o lo")
	} else {
		add(15, "-i eth0", "-i lo", "! -i lo", "-i eth+")
	}
	add(70, "-p tcp", "-p tcp", "-p tcp -m tcp --dport 80", "-p tcp -m tcp --dport 8080", "-p tcp -m tcp ! --dport 80", "-p tcp -m tcp --dport 15001:15006",
		"-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", "-p tcp -m multiport --dports 80,443,8080", "-p udp", "-p udp -m udp --dport 53", "! -p udp", "-p tcp -m tcp --sport 1024:65535")
	add(10, `-m comment --comment "of others"`, "-m comment --comment x")
	add(15, "-m mark --mark 0x1", "-m mark ! --mark 0x1", "-m mark ! --mark 0x1/0x1 -m mark ! --mark 0x2/0x2", "-m mark --mark 0x2/0x3")
	add(10, "-m connmark --mark 0x1", "-m connmark ! --mark 0x1", "-m connmark --mark 0x0")
	add(20, "-m conntrack --ctstate NEW", "-m conntrack --ctstate RELATED,ESTABLISHED", "-m conntrack --ctstate UNTRACKED", "-m conntrack --ctstate DNAT", "-m conntrack ! --ctstate INVALID", "-m state --state NEW")
	if out {
		add(15, "-m owner --uid-owner 1000", "-m owner ! --uid-owner 1337", "-m owner --gid-owner 1337", "-m owner --uid-owner 0-999")
	}
	add(10, "-m addrtype --dst-type LOCAL", "-m addrtype ! --dst-type LOCAL", "-m addrtype --src-type LOCAL")
	if odd && c.IntN(2) == 0 {
		c.understood = false
		add(100, "-m limit --limit 1000/sec", "-m statistic --mode nth --every 2 --packet 0", "-m length --length 0:100", "-m pkttype --pkt-type unicast", "-m ttl --ttl-gt 10", "-m dscp --dscp 0x00")
	}
	return b.String()
}

// target returns one that the kernel takes there.
func (c *foreignCase) target(table, hook string) string {
	targets := []string{"ACCEPT", "ACCEPT", "RETURN"}
	switch table {
	case "nat":
		switch hook {
		case "PREROUTING":
			targets = append(targets, "DNAT --to-destination 10.245.0.1", "DNAT --to-destination 10.244.0.2")
		case "OUTPUT":
			targets = append(targets, "DNAT --to-destination 198.51.100.20", "DNAT --to-destination 10.244.0.2", "DNAT --to-destination 127.0.0.1")
		case "POSTROUTING":
			targets = append(targets, "MASQUERADE", "SNAT --to-source 10.244.0.2")
		}
		return c.one(targets...)
	case "raw":
		targets = append(targets, "DROP", "CT --notrack", "CT --notrack", "NOTRACK")
		if !c.understood {
			targets = append(targets, "CT --zone 5", "CT --zone-orig 5", "CT --zone-reply 5")
		}
	case "mangle":
		targets = append(targets, "DROP", "MARK --set-xmark 0x1/0xffffffff", "MARK --set-xmark 0x2/0xffffffff", "MARK --set-xmark 0x1/0x1", "CONNMARK --set-xmark 0x1/0xffffffff",
			"CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff", "CONNMARK --restore-mark --nfmask 0x3 --ctmask 0x3")
	default:
		targets = append(targets, "DROP", "REJECT --reject-with icmp-port-unreachable")
	}
	return c.one(targets...)
}

// addRoute adds a policy rule, by a mark or a user.
func (c *foreignCase) addRoute() {
	rule := c.one("fwmark 0x1 blackhole", "fwmark 0x1 unreachable", "fwmark 0x2/0x2 prohibit", "fwmark 0x1 lookup 77", "uidrange 1000-1000 lookup 77", "from 10.244.0.2 iif lo dport 80 ipproto tcp prohibit", "to 198.51.100.10 lookup 77")
	c.setUp = append(c.setUp, "ip route add "+c.one("blackhole default", "unreachable default", "default via 10.244.0.1", "local default dev lo")+" table 77", "ip rule add "+rule)
	c.tearDown = append(c.tearDown, "ip rule del "+rule, "ip route flush table 77")
}

// addNFT adds a table of nftables with one chain.
func (c *foreignCase) addNFT() {
	c.understood = false
	family := c.one("inet", "ip", "netdev")
	hook, rule := c.one("prerouting", "output", "input", "postrouting"), c.one("tcp dport 80 drop", "counter", "tcp dport { 80, 8080 } drop", "udp dport 53 drop", "meta mark 1 drop", "ct state new drop")
	chain := fmt.Sprintf("type filter hook %s priority %s; %s", hook, c.one("-310", "-150", "0", "10"), rule)
	switch {
	case family == "netdev":
		chain = "type filter hook " + c.one("ingress", "egress") + " device eth0 priority 0; " + strings.Replace(rule, "ct state new drop", "tcp dport 8080 drop", 1)
	case c.IntN(4) == 0:
		chain = "type nat hook output priority " + c.one("-150", "-90") + "; tcp dport 80 redirect to :8080"
	case hook == "output" && c.IntN(3) == 0:
		chain = "type filter hook output priority -310; notrack"
	}
	c.setUp = append(c.setUp, fmt.Sprintf("nft 'add table %s theirs; add chain %[1]s theirs c { %[2]s }'", family, nftChain(chain)))
	c.setUp = append(c.setUp, fmt.Sprintf("nft 'add rule %s theirs c %s'", family, nftRule(chain)))
	c.tearDown = append(c.tearDown, "nft delete table "+family+" theirs")
}

// nftChain and nftRule divide a chain with its rule, as nft takes them.
func nftChain(text string) string { return text[:strings.Index(text, ";")+1] }
func nftRule(text string) string  { return strings.TrimSpace(text[strings.Index(text, ";")+1:]) }

// around returns a save of iptables with the rules of the case among its own.
func (c *foreignCase) around(save string) string {
	have := map[string][]string{} // chain by chain, by table
	var order []string
	for line := range strings.Lines(save) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "*"); ok {
			order = append(order, name)
		} else if line != "" && line[0] != '#' && line != "COMMIT" {
			table := order[len(order)-1]
			have[table] = append(have[table], line)
		}
	}
	for _, table := range []string{"raw", "mangle", "nat", "filter"} {
		if !slices.Contains(order, table) {
			order = append(order, table)
			for _, hook := range hooksOf[table] {
				have[table] = append(have[table], ":"+hook+" ACCEPT [0:0]")
			}
		}
	}
	var b strings.Builder
	for _, table := range order {
		fmt.Fprintf(&b, "*%s\n%sCOMMIT\n", table, c.table(table, have[table]))
	}
	return b.String()
}

// table returns the lines of a table with the rules of the case.
func (c *foreignCase) table(name string, lines []string) string {
	declared := func(chain string) bool {
		return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, ":"+chain+" ") })
	}
	for _, rule := range c.rules[name] {
		if chain, _, _ := strings.Cut(rule, " "); !declared(chain) {
			lines = append([]string{":" + chain + " - [0:0]"}, lines...)
		}
	}
	for i, line := range lines {
		words := strings.Fields(line)
		if policy := c.policies[strings.TrimPrefix(words[0], ":")]; name == "filter" && line[0] == ':' && policy != "" {
			lines[i] = words[0] + " " + policy + " [0:0]"
		}
	}
	for _, r := range c.rules[name] {
		words := strings.SplitN(r, " ", 3)
		rule := "-A " + words[0] + " " + words[2]
		at := len(lines)
		if words[1] == "0" { // ahead of all others of the chain
			at = slices.IndexFunc(lines, func(l string) bool { return l[0] == '-' })
			at = max(at, 0)
			if !slices.ContainsFunc(lines, func(l string) bool { return l[0] == '-' }) {
				at = len(lines)
			}
		}
		lines = slices.Insert(lines, at, rule)
	}
	return strings.Join(lines, "\n") + "\n"
}
