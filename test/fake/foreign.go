package fake

import (
	"slices"
	"strings"
)

// ownPrefix is the prefix of our chains; an independent constant, since that of the
// program is under test.
const ownPrefix = "ISTIO_"

// split returns the words of a rule, a quoted one with its quotes. It is false for
// a form that iptables-save does not print: words are separated by one space, a
// quote opens and closes a whole word, and there is one target at most.
func split(rule string) (words []string, ok bool) {
	if rule == "" {
		return nil, true
	}
	targets := 0
	for rest := rule; ; rest = rest[1:] {
		n := strings.IndexByte(rest+" ", ' ')
		if strings.HasPrefix(rest, `"`) {
			for n = 1; n < len(rest) && rest[n] != '"'; n++ {
				if rest[n] == '\\' {
					n++
				}
			}
			if n++; n > len(rest) {
				return words, false
			}
		} else if n == 0 || strings.ContainsFunc(rest[:n], func(c rune) bool { return c < ' ' || c > '~' || c == '"' }) {
			return words, false
		}
		words, rest = append(words, rest[:n]), rest[n:]
		if isTarget(words[len(words)-1]) {
			targets++
		}
		if rest == "" || rest[0] != ' ' {
			return words, rest == "" && targets <= 1
		}
	}
}

// Target returns the target or chain of a rule, "" if it has none. A quoted word is a
// value: the comment "-j" is no jump.
func Target(rule string) string {
	words, _ := split(rule)
	for i := 0; i+1 < len(words); i++ {
		if isTarget(words[i]) {
			return words[i+1]
		}
	}
	return ""
}

func isTarget(word string) bool { return word == "-j" || word == "-g" }

// Foreign returns the foreign rules and chains in an output of iptables-save, and the
// policies other than ACCEPT, one line each with its table, in order. The program must
// not change them.
func Foreign(save string) []string { return divide(save, false) }

// Ours returns our chains, their rules, and the rules of built-in chains that jump to them
// in an output of iptables-save, in the form of [Foreign].
func Ours(save string) []string { return divide(save, true) }

// InUse returns the tables of an output of iptables-save that hold more than empty built-in chains
// with the policy ACCEPT, which the kernel keeps once they were used.
func InUse(save string) string {
	var used strings.Builder
	for _, table := range strings.SplitAfter(save, "COMMIT\n") {
		if strings.Contains(table, "\n-A ") || strings.Contains(table, " - [") || strings.Contains(table, " DROP [") {
			used.WriteString(table)
		}
	}
	return used.String()
}

func divide(save string, ours bool) []string {
	var lines []string
	var open string
	for line := range strings.SplitSeq(save, "\n") {
		words := strings.Fields(line)
		if len(words) < 2 && !strings.HasPrefix(line, "*") {
			continue
		}
		switch {
		case line[0] == '*':
			open = line[1:]
		case line[0] == ':':
			name, policy := words[0][1:], words[1]
			if policy != "ACCEPT" && strings.HasPrefix(name, ownPrefix) == ours {
				lines = append(lines, open+" :"+name+" "+policy)
			}
		case words[0] == "-A":
			jump := slices.Contains(hooks[open], words[1]) && strings.HasPrefix(Target(line), ownPrefix)
			if (jump || strings.HasPrefix(words[1], ownPrefix)) == ours {
				lines = append(lines, open+" "+line)
			}
		}
	}
	return lines
}
