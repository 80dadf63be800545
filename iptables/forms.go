package iptables

import "regexp"

const wholeMark = ` --nfmask 0xffffffff --ctmask 0xffffffff$`

// The forms of rules that Istio puts into built-in chains.
var (
	redirectsInterface = regexp.MustCompile(`^(?:-d \S+ )?-i (\S+) -j ISTIO_REDIRECT$`)
	redirectsLookup    = regexp.MustCompile(`^(-d \S+ )?-p (tcp -m tcp|udp -m udp) --dport 53 -j REDIRECT --to-ports 15053$`)
	agentsLookup       = regexp.MustCompile(`^-p udp -m udp --dport 53 -m owner --[ug]id-owner \S+ -j RETURN$`)
	lookupZone         = regexp.MustCompile(`^(-[sd] \S+ )?-p udp -m udp (--dport 53|--sport 53|--sport 15053) (-m owner --[ug]id-owner \S+ )?-j CT --zone [12]$`)
	savesMark          = regexp.MustCompile(`^-p tcp -m mark --mark \S+ -j CONNMARK --save-mark` + wholeMark)
	outputMark         = regexp.MustCompile(`^-o lo -p tcp -m mark --mark \S+ -j RETURN$|` +
		`^! -d \S+ -o lo -p tcp -m owner --[ug]id-owner \S+ -j MARK --set-xmark 0x53a/0xffffffff$|` +
		`^-p tcp -m connmark --mark \S+ -j CONNMARK --restore-mark` + wholeMark)
)

// quoted is a word that iptables-save quotes: a comment or a prefix of a log.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
