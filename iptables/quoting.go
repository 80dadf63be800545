package iptables

import (
	"slices"
	"strings"
)

// quotedOptions are the options whose values iptables-save quotes if they have other
// characters than letters, digits, _ and - (xtables_save_string in libxtables, and its own
// form in libxt_string, libxt_bpf and libxt_u32). It prints all other values as they are,
// with their spaces and quotes: names of --match-set and recent, interfaces and chains.
var quotedOptions = []string{
	"--comment", "--log-prefix", "--nflog-prefix", "--ulog-prefix", "--helper", "--path", "--nfacct-name", "--led-trigger-id",
	"--string", "--hex-string", "--bytecode", "--u32",
}

const blanks = " \t\n\f\r"

// nextQuote returns where the next quoted value of a rule begins, from an index on; -1: there is none.
func nextQuote(rule string, from int) int {
	for from < len(rule) {
		n := strings.IndexByte(rule[from:], '"')
		if n < 0 {
			break
		}
		option := strings.TrimSuffix(rule[:from+n], " ")
		option = option[strings.LastIndexAny(option, blanks)+1:]
		if len(option) < from+n && slices.Contains(quotedOptions, option) {
			return from + n
		}
		from += n + 1
	}
	return -1
}

// quoteEnd returns the index behind the quoted value that begins at an index, or the end of
// the text.
func quoteEnd(text string, begin int) int {
	end, _ := quoteClose(text, begin)
	return end
}

// quoteClose is quoteEnd, and reports whether the value ends. A backslash takes the meaning
// from the character behind it.
func quoteClose(text string, begin int) (end int, closed bool) {
	for at := begin + 1; at < len(text); at++ {
		switch text[at] {
		case '\\':
			at++
		case '"':
			return at + 1, true
		}
	}
	return len(text), false
}

// splitWords returns the words of a rule. A quoted value is one word, with its quotes.
func splitWords(rule string) []string {
	var words []string
	for rest := strings.TrimLeft(rule, blanks); rest != ""; rest = strings.TrimLeft(rest, blanks) {
		n := strings.IndexAny(rest, blanks)
		switch last := len(words) - 1; {
		case rest[0] == '"' && last >= 0 && slices.Contains(quotedOptions, words[last]):
			n = quoteEnd(rest, 0)
		case n < 0:
			n = len(rest)
		}
		words, rest = append(words, rest[:n]), rest[n:]
	}
	return words
}
