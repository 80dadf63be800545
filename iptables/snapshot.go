package iptables

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode"
)

// A Snapshot is the state of one family as iptables-save prints it, without
// counters and comments. The zero Snapshot is an empty IPv4 namespace.
type Snapshot struct {
	Family Family
	tables []savedTable
	// unreadable are tables that iptables-nft-save found but could not print,
	// since rules that iptables cannot express are in them.
	unreadable []string
	// dialect says that a version of iptables printed it whose text has not
	// been compared with ours.
	dialect bool
}

type savedTable struct {
	name   string
	chains []savedChain
}

// A savedChain has the policy "-" when it is not built in, and its rules as they
// stand after "-A NAME ".
type savedChain struct {
	name, policy string
	rules        []string
}

func (t savedTable) find(chain string) int {
	return slices.IndexFunc(t.chains, func(c savedChain) bool { return c.name == chain })
}

func (t savedTable) rules(chain string) []string {
	if i := t.find(chain); i >= 0 {
		return t.chains[i].rules
	}
	return nil
}

func (s Snapshot) table(name string) savedTable { return tableOf(s.tables, name) }

// tableOf returns the table of that name; an empty one when it is not there.
func tableOf(tables []savedTable, name string) savedTable {
	if i := slices.IndexFunc(tables, func(t savedTable) bool { return t.name == name }); i >= 0 {
		return tables[i]
	}
	return savedTable{name: name}
}

func (s Snapshot) has(table string) bool {
	return slices.ContainsFunc(s.tables, func(t savedTable) bool { return t.name == table })
}

// ParseSnapshot reads what iptables-save (ip6tables-save) prints, of either
// variant, with or without counters. An error quotes the line that is not of
// that form.
func ParseSnapshot(f Family, text string) (Snapshot, error) {
	s := Snapshot{Family: f}
	open := false // inside a table
	for n, line := range logicalLines(text) {
		if err := s.parseLine(line, &open); err != nil {
			return s, fmt.Errorf("%s: line %d %q: %w", f.SaveTool(), n, line, err)
		}
	}
	if open {
		return s, fmt.Errorf("%s: ends inside a table", f.SaveTool())
	}
	return s, nil
}

// logicalLines are the lines of a save with their numbers, from 1, without the
// space around them. A rule whose comment has several lines is one.
func logicalLines(text string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		lines := strings.Split(text, "\n")
		for i := 0; i < len(lines); i++ {
			first := i
			line := strings.TrimLeftFunc(lines[i], unicode.IsSpace)
			for openQuote(line) && i+1 < len(lines) {
				i++
				line += "\n" + lines[i]
			}
			if !yield(first+1, strings.TrimSpace(line)) {
				return
			}
		}
	}
}

// parseLine reads one line, or a rule of several.
func (s *Snapshot) parseLine(line string, open *bool) error {
	switch {
	case line == "":
	case line[0] == '#':
		s.comment(line)
	case line[0] == '*':
		name := strings.TrimSpace(line[1:])
		if *open {
			return errors.New("a table inside a table")
		}
		if s.has(name) {
			return errors.New("the table is there twice")
		}
		*open, s.tables = true, append(s.tables, savedTable{name: name})
	case !*open:
		return errors.New("outside a table")
	case line == "COMMIT":
		*open = false
	case line[0] == ':':
		t := &s.tables[len(s.tables)-1]
		words := strings.Fields(line[1:])
		if len(words) < 2 || t.find(words[0]) >= 0 {
			return errors.New("not a new chain")
		}
		t.chains = append(t.chains, savedChain{name: words[0], policy: words[1]})
	default:
		if !s.tables[len(s.tables)-1].parseRule(line) {
			return errors.New("not a rule of a chain that was declared")
		}
	}
	return nil
}

// parseRule adds a rule to its chain, if it is one.
func (t *savedTable) parseRule(line string) bool {
	rest, ok := strings.CutPrefix(withoutCounters(line), "-A ")
	chain, rule, _ := strings.Cut(rest, " ")
	i := t.find(chain)
	if !ok || i < 0 {
		return false
	}
	t.chains[i].rules = append(t.chains[i].rules, rule)
	return true
}

// withoutCounters leaves out what iptables-save -c prints before a rule.
func withoutCounters(line string) string {
	counters, rest, ok := strings.Cut(line, "] ")
	if ok && strings.HasPrefix(counters, "[") && strings.Trim(counters[1:], "0123456789:") == "" {
		return rest
	}
	return line
}

// openQuote tells whether a rule ends inside a quoted word, as iptables quotes:
// the whole word, in which a backslash takes the meaning from the character behind
// it.
func openQuote(line string) bool {
	rest, isRule := strings.CutPrefix(withoutCounters(line), "-A ")
	_, rule, _ := strings.Cut(rest, " ") // the name of a chain is not quoted
	open := false
	for i := 0; isRule && i < len(rule); i++ {
		switch c := rule[i]; {
		case open && c == '\\':
			i++
		case open && c == '"':
			open = false
		case c == '"' && (i == 0 || rule[i-1] == ' '): // else it is a part of a name
			open = true
		}
	}
	return open
}

// comment reads the two comments of iptables-save that say something. Of version
// 1.8.9, whose text is ours (iptables/iptables-save.c, xtables-save.c):
//
//	# Generated by iptables-nft-save v1.8.9 (nf_tables) on Fri Nov 20 07:50:21 2026
//	# Table `nat' is incompatible, use 'nft' tool.
//
// The second stands for a table of nf_tables that iptables cannot print.
func (s *Snapshot) comment(line string) {
	if rest, ok := strings.CutPrefix(line, "# Table `"); ok {
		name, what, _ := strings.Cut(rest, "'")
		if strings.Contains(what, "incompatible") {
			s.unreadable = append(s.unreadable, name)
		}
	}
	if rest, ok := strings.CutPrefix(line, "# Generated by "); ok {
		words := strings.Fields(rest)
		s.dialect = len(words) < 2 || words[1] != "v1.8.9"
	}
}

// String returns the state in the form of iptables-save without comments:
// tables by name, built-in chains in the order of their hooks, then the others
// by name.
func (s Snapshot) String() string {
	var b strings.Builder
	tables := slices.Clone(s.tables)
	slices.SortFunc(tables, func(x, y savedTable) int { return strings.Compare(x.name, y.name) })
	for _, t := range tables {
		fmt.Fprintf(&b, "*%s\n", t.name)
		chains := t.sorted()
		for _, c := range chains {
			fmt.Fprintf(&b, ":%s %s [0:0]\n", c.name, c.policy)
		}
		for _, c := range chains {
			for _, r := range c.rules {
				b.WriteString(appendLine(c.name, r))
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// appendLine is the line that adds a rule; a rule that matches everything and
// does nothing has no text.
func appendLine(chain, rule string) string {
	return strings.TrimSuffix("-A "+chain+" "+rule, " ") + "\n"
}

// sorted returns the chains in the order in which iptables-save prints them.
func (t savedTable) sorted() []savedChain {
	rank := func(c savedChain) int {
		if i := slices.Index(builtinChains(t.name), c.name); i >= 0 {
			return i
		}
		return len(builtinChains(t.name))
	}
	chains := slices.Clone(t.chains)
	slices.SortStableFunc(chains, func(x, y savedChain) int {
		if d := rank(x) - rank(y); d != 0 {
			return d
		}
		return strings.Compare(x.name, y.name)
	})
	return chains
}

// Ours tells whether anything of ours is in the state.
func (s Snapshot) Ours() bool { return slices.ContainsFunc(s.tables, savedTable.ours) }

func (t savedTable) ours() bool {
	return slices.ContainsFunc(t.chains, func(c savedChain) bool {
		return Own(c.name) || c.policy != "-" && slices.ContainsFunc(c.rules, jumpsToOurs)
	})
}

// OurChains returns the chains that are ours, as "table chain".
func (s Snapshot) OurChains() []string {
	var names []string
	for _, t := range s.tables {
		for _, c := range t.chains {
			if Own(c.name) {
				names = append(names, t.name+" "+c.name)
			}
		}
	}
	return names
}

// Rules returns how many rules the state has, ours and others'.
func (s Snapshot) Rules() int {
	n := 0
	for _, t := range s.tables {
		for _, c := range t.chains {
			n += len(c.rules)
		}
	}
	return n
}

// Unreadable returns the tables that hold what iptables cannot express, so that
// no rule can be added to them either.
func (s Snapshot) Unreadable() []string { return slices.Clone(s.unreadable) }

// Dialect tells whether a version of iptables printed the state whose text has not
// been compared with ours, so that equal rules may read otherwise.
func (s Snapshot) Dialect() bool { return s.dialect }

// jumpsToOurs tells whether a rule only jumps to one of our chains. Nothing
// follows the chain of a jump, so the last two words decide; when they are part of
// a quoted text, the quote ends with them.
func jumpsToOurs(rule string) bool {
	words := strings.Fields(rule)
	n := len(words)
	return n >= 2 && (words[n-2] == "-j" || words[n-2] == "-g") && Own(words[n-1]) && !strings.HasSuffix(rule, `"`)
}
