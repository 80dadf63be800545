package fake

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Kernel has the tables of one family in a namespace. It behaves like the kernel with
// iptables-restore --noflush, and refuses what the kernel refuses, for chains, jumps and
// positions. It does not know the options of a match, so it accepts rules only in the
// form that iptables-save prints. [Load] makes one.
type Kernel struct{ tables map[string]table }

// A table is its chains by name.
type table map[string]*chain

// A chain has the policy "-" when it is not built in.
type chain struct {
	policy string
	rules  []string
}

// hooks are the built-in chains of each table, in the order of iptables-save.
var hooks = map[string][]string{
	"filter":   {"INPUT", "FORWARD", "OUTPUT"},
	"mangle":   {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
	"nat":      {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"},
	"raw":      {"PREROUTING", "OUTPUT"},
	"security": {"INPUT", "FORWARD", "OUTPUT"},
}

// extensions are the targets of the tests that are not chains.
var extensions = strings.Fields("ACCEPT DROP RETURN REDIRECT TPROXY MARK CONNMARK CT LOG DNAT SNAT MASQUERADE REJECT TRACE NOTRACK")

// Load parses an output of iptables-save; "" is an empty namespace. Built-in chains that
// the text omits exist and are empty.
func Load(save string) (*Kernel, error) {
	k := &Kernel{tables: map[string]table{}}
	return k, k.Restore(save)
}

// Restore does what iptables-restore --noflush does with a script. Each table
// changes as a whole or not at all; the error quotes the refused line, and the
// tables before it stay changed.
func (k *Kernel) Restore(script string) error {
	var open string
	var t table
	for i, line := range strings.Split(script, "\n") {
		err := error(nil)
		name, isTable := strings.CutPrefix(line, "*")
		switch {
		case line == "" || line[0] == '#':
		case isTable && open != "":
			err = errors.New("a table inside a table")
		case isTable && hooks[name] == nil:
			err = errors.New("no such table")
		case isTable:
			open, t = name, k.copy(name)
		case open == "":
			err = errors.New("outside a table")
		case line != "COMMIT":
			err = t.change(open, line)
		default:
			if err = t.loops(); err == nil {
				k.tables[open], open = t, ""
			}
		}
		if err != nil {
			return fmt.Errorf("line %d %q: %w", i+1, line, err)
		}
	}
	if open != "" {
		return errors.New("COMMIT expected at the end")
	}
	return nil
}

// String returns what iptables-save prints, without its comments: tables by
// name, built-in chains in the order of their hooks, others by name.
func (k *Kernel) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(k.tables)) {
		t := k.tables[name]
		order := slices.Clone(hooks[name])
		for _, c := range slices.Sorted(maps.Keys(t)) {
			if t[c].policy == "-" {
				order = append(order, c)
			}
		}
		fmt.Fprintf(&b, "*%s\n", name)
		for _, c := range order {
			fmt.Fprintf(&b, ":%s %s [0:0]\n", c, t[c].policy)
		}
		for _, c := range order {
			for _, r := range t[c].rules {
				b.WriteString(strings.TrimSuffix("-A "+c+" "+r, " ") + "\n")
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// copy returns the table to work on; the kernel makes one with all its built-in
// chains when it is first named.
func (k *Kernel) copy(name string) table {
	t := table{}
	for _, c := range hooks[name] {
		t[c] = &chain{policy: "ACCEPT"}
	}
	for c, old := range k.tables[name] {
		t[c] = &chain{old.policy, slices.Clone(old.rules)}
	}
	return t
}

// change does one line of a table.
func (t table) change(name, line string) error {
	if declared, ok := strings.CutPrefix(line, ":"); ok {
		return t.declare(declared)
	}
	command, rest, _ := strings.Cut(line, " ")
	on, rule, _ := strings.Cut(rest, " ")
	c := t[on]
	switch {
	case command == "-N" && rule == "":
		if c != nil {
			return errors.New("chain already exists")
		}
		return t.create(on)
	case c == nil:
		return errors.New("no such chain")
	case command == "-F" && rule == "":
		c.rules = nil
		return nil
	case command == "-X" && rule == "":
		return t.delete(on)
	case command == "-A":
		return t.insert(name, on, rule, len(c.rules)+1)
	case command == "-I":
		at := 1
		if number, rest, _ := strings.Cut(rule, " "); number != "" && strings.Trim(number, "0123456789") == "" {
			at, _ = strconv.Atoi(number)
			rule = rest
		}
		return t.insert(name, on, rule, at)
	case command == "-D":
		i := slices.Index(c.rules, rule)
		if i < 0 {
			return errors.New("bad rule (does a matching rule exist in that chain?)")
		}
		c.rules = slices.Delete(c.rules, i, i+1)
		return nil
	}
	return errors.New("no such command")
}

// declare does ":CHAIN POLICY [COUNTERS]": it creates or empties a chain, or
// sets the policy of a built-in one, which keeps its rules.
func (t table) declare(line string) error {
	words := append(strings.Fields(line), "", "")
	name, policy := words[0], words[1]
	c := t[name]
	switch {
	case c != nil && c.policy != "-" && (policy == "ACCEPT" || policy == "DROP"):
		c.policy = policy
	case policy != "-":
		return errors.New("bad policy") // so says legacy; nft takes one of a chain that is not built in
	case c != nil && c.policy != "-": // stays as it is
	case c != nil:
		c.rules = nil
	default:
		return t.create(name)
	}
	return nil
}

func (t table) create(name string) error {
	if name == "" || len(name) > 28 || strings.ContainsRune("-!", rune(name[0])) || slices.Contains(extensions, name) {
		return errors.New("invalid chain name")
	}
	t[name] = &chain{policy: "-"}
	return nil
}

func (t table) delete(name string) error {
	for _, c := range t {
		if slices.ContainsFunc(c.rules, func(r string) bool { return Target(r) == name }) {
			return errors.New("too many links")
		}
	}
	if t[name].policy != "-" || len(t[name].rules) > 0 {
		return errors.New("the chain is built in or not empty")
	}
	delete(t, name)
	return nil
}

// insert inserts a rule at a position, from 1, if the kernel would accept it.
func (t table) insert(name, on, rule string, at int) error {
	c, target := t[on], Target(rule)
	to := t[target]
	words, ok := split(rule)
	in, out := on == "PREROUTING" || on == "INPUT", on == "POSTROUTING" || on == "OUTPUT"
	switch {
	case !ok || to != nil && words[len(words)-1] != target:
		return errors.New("not in the form that iptables-save prints")
	case at < 1 || at > len(c.rules)+1:
		return errors.New("index of insertion too big")
	case target != "" && to == nil && (slices.Contains(words, "-g") || !slices.Contains(extensions, target)):
		return fmt.Errorf("chain %q does not exist", target)
	case to != nil && to.policy != "-":
		return errors.New("a jump to a built-in chain")
	case target == "DROP" && name == "nat":
		return errors.New("the nat table is not intended for filtering")
	case in && slices.Contains(words, "-o") || out && slices.Contains(words, "-i"):
		return fmt.Errorf("-i or -o cannot be used with %s", on)
	}
	c.rules = slices.Insert(c.rules, at-1, rule)
	return nil
}

// loops reports whether a chain can reach itself by jumps.
func (t table) loops() error {
	const onTheWay, done = 1, 2
	state := map[string]int{}
	var visit func(name string) bool
	visit = func(name string) bool {
		state[name] = onTheWay
		for _, r := range t[name].rules {
			to := Target(r)
			if t[to] != nil && (state[to] == onTheWay || state[to] != done && visit(to)) {
				return true
			}
		}
		state[name] = done
		return false
	}
	for name := range t {
		if state[name] != done && visit(name) {
			return errors.New("too many levels of links")
		}
	}
	return nil
}
