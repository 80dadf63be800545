package iptables

import (
	"regexp"
	"strings"
	"sync"
)

// A form is how a rule is written that holds a word. Its expression is compiled
// once a rule with the word is met, which is seldom.
type form struct {
	word    string
	pattern func() *regexp.Regexp
}

func newForm(word, pattern string) form {
	return form{word, expression(pattern)}
}

// expression is a regular expression that is compiled when it is first used: to
// compile one takes as long as to make the rules.
func expression(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

func (f form) match(rule string) []string {
	if !strings.Contains(rule, f.word) {
		return nil
	}
	return f.pattern().FindStringSubmatch(rule)
}

func (f form) matches(rule string) bool { return f.match(rule) != nil }

const wholeMark = ` --nfmask 0xffffffff --ctmask 0xffffffff$`

// The forms of rules that Istio puts into built-in chains.
var (
	redirectsInterface = newForm("-j ISTIO_REDIRECT", `^(?:-d \S+ )?-i (\S+) -j ISTIO_REDIRECT$`)
	redirectsLookup    = newForm("--to-ports 15053", `^(-d \S+ )?-p (tcp -m tcp|udp -m udp) --dport 53 -j REDIRECT --to-ports 15053$`)
	agentsLookup       = newForm("--dport 53 -m owner", `^-p udp -m udp --dport 53 -m owner --[ug]id-owner \S+ -j RETURN$`)
	lookupZone         = newForm("-j CT --zone", `^(-[sd] \S+ )?-p udp -m udp (--dport 53|--sport 53|--sport 15053) (-m owner --[ug]id-owner \S+ )?-j CT --zone [12]$`)
	savesMark          = newForm("-j CONNMARK", `^-p tcp -m mark --mark \S+ -j CONNMARK --save-mark`+wholeMark)
	outputMark         = newForm("-p tcp -m ", `^-o lo -p tcp -m mark --mark \S+ -j RETURN$|`+
		`^! -d \S+ -o lo -p tcp -m owner --[ug]id-owner \S+ -j MARK --set-xmark 0x53a/0xffffffff$|`+
		`^-p tcp -m connmark --mark \S+ -j CONNMARK --restore-mark`+wholeMark)
)

// quoted is a word that iptables-save quotes: a comment or a prefix of a log.
var quoted = expression(`"(?:[^"\\]|\\.)*"`)
