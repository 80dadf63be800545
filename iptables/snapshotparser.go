package iptables

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode"

	"istio-init/netutil/inet"
)

// ErrTableTwice is the error of an output that has a table twice. The legacy programs print one where
// the first use of a table adds it to the kernel's list of tables while they read that list.
var ErrTableTwice = errors.New("the table is there twice")

// ParseSnapshot reads what iptables-save (ip6tables-save) prints, of either
// variant, with or without counters. An error quotes the line that is not of
// that form.
func ParseSnapshot(f inet.Family, text string) (Snapshot, error) {
	p := snapshotParser{Snapshot: Snapshot{Family: f}}
	for n, line := range logicalLines(text) {
		if err := p.line(line); err != nil && !p.goesOn(line) {
			return p.Snapshot, lineError(n, line, err)
		}
	}
	if p.open {
		return p.Snapshot, errors.New("ends inside a table")
	}
	for _, t := range p.Tables {
		t.readRules(f)
	}
	return p.Snapshot, nil
}

// lineError quotes the line of an error, which may be as long as the text.
func lineError(number int, line string, err error) error {
	const most = 300
	return fmt.Errorf("line %d %.*q: %w", number, most, line, err)
}

// logicalLines are the lines of a save with their numbers, from 1, without the
// space around them. A rule whose comment has several lines is one.
func logicalLines(text string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		number := 1
		for rest := text; rest != ""; {
			line := firstRule(rest)
			rest = strings.TrimPrefix(rest[len(line):], "\n")
			if !yield(number, strings.TrimRight(strings.TrimLeftFunc(line, unicode.IsSpace), blanks)) {
				return
			}
			number += 1 + strings.Count(line, "\n")
		}
	}
}

// firstRule is the first line of a text, or the first lines where a rule has
// several: a comment in it may.
func firstRule(text string) string {
	end := lineEnd(text, 0)
	_, _, isRule := cutRule(strings.TrimLeftFunc(text[:end], unicode.IsSpace))
	if !isRule {
		return text[:end]
	}
	for quote := nextQuote(text[:end], 0); quote >= 0; {
		closed := quoteEnd(text, quote)
		if closed > end {
			end = lineEnd(text, closed)
		}
		quote = nextQuote(text[:end], closed)
	}
	return text[:end]
}

// lineEnd is where the line ends that begins there.
func lineEnd(text string, begin int) int {
	if n := strings.IndexByte(text[begin:], '\n'); n >= 0 {
		return begin + n
	}
	return len(text)
}

// A snapshotParser is a snapshot that is being read.
type snapshotParser struct {
	Snapshot
	open   bool           // inside a table
	chains map[string]int // those of the table, by name
	last   *LiveRule      // the rule that was read last, in this table
}

// line reads one line, or a rule of several.
func (p *snapshotParser) line(line string) error {
	switch {
	case line == "":
	case line[0] == '#':
		p.comment(line)
	case line[0] == '*':
		name := strings.TrimSpace(line[1:])
		if p.open {
			return errors.New("a table inside a table")
		}
		if p.has(name) {
			return ErrTableTwice
		}
		p.open, p.chains, p.last, p.Tables = true, map[string]int{}, nil, append(p.Tables, LiveTable{Name: name})
	case !p.open:
		return errors.New("outside a table")
	case line == "COMMIT":
		p.open = false
	case line[0] == ':':
		t := &p.Tables[len(p.Tables)-1]
		words := splitWords(line[1:])
		if len(words) < 2 || p.isChain(words[0]) {
			return errors.New("not a new chain")
		}
		p.chains[words[0]] = len(t.Chains)
		t.Chains = append(t.Chains, LiveChain{Name: words[0], Policy: words[1]})
		p.last = nil
	default:
		if !p.rule(line) {
			return errors.New("not a rule of a chain that was declared")
		}
	}
	return nil
}

func (p *snapshotParser) isChain(name string) bool {
	_, known := p.chains[name]
	return known
}

// rule adds a rule to its chain, if it is one.
func (p *snapshotParser) rule(line string) bool {
	chain, rule, ok := cutRule(line)
	i, known := p.chains[chain]
	if !ok || !known {
		return false
	}
	c := &p.Tables[len(p.Tables)-1].Chains[i]
	c.Rules = append(c.Rules, LiveRule{Text: rule})
	p.last = &c.Rules[len(c.Rules)-1]
	return true
}

// goesOn adds a line to the rule before it, if there is one: a name that is not quoted has
// a line end in it (libxt_recent --name).
func (p *snapshotParser) goesOn(line string) bool {
	const most = 1 << 14 // several names of the longest kind (XT_RECENT_NAME_LEN is 200)
	if !p.open || p.last == nil || strings.HasPrefix(line, "-") || len(p.last.Text)+len(line) > most {
		return false
	}
	p.last.Text += "\n" + line
	return true
}

// cutRule returns the chain and the text of a line that adds a rule.
func cutRule(line string) (chain, rule string, ok bool) {
	line, ok = strings.CutPrefix(withoutCounters(line), "-A ")
	chain, rule, _ = strings.Cut(line, " ")
	return chain, rule, ok
}

// withoutCounters leaves out what iptables-save -c prints before a rule.
func withoutCounters(line string) string {
	counters, rest, ok := strings.Cut(line, "] ")
	if ok && strings.HasPrefix(counters, "[") && strings.Trim(counters[1:], "0123456789:") == "" {
		return rest
	}
	return line
}

// comment reads the comments about tables of nf_tables that iptables cannot print, or only
// in part (iptables/xtables-save.c of 1.8.9):
//
//	# Table `nat' is incompatible, use 'nft' tool.
//	# Table `nat' contains incompatible base-chains, use 'nft' tool to list them.
func (s *Snapshot) comment(line string) {
	rest, ok := strings.CutPrefix(line, "# Table `")
	if !ok {
		return
	}
	switch name, what, _ := strings.Cut(rest, "'"); {
	case strings.Contains(what, "incompatible base-chains"):
		s.Incomplete = append(s.Incomplete, name)
	case strings.Contains(what, "incompatible"):
		s.Unreadable = append(s.Unreadable, name)
	}
}
