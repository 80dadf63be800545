package options

import (
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// A form is the syntax of the values of an option. The zero form: anything.
type form struct {
	text    string // in words, for errors ("want ...") and help
	numbers string // the same where names have no meaning; "": as text
	boolean bool
	list    bool     // comma-separated; in a configuration file also a list
	all     bool     // or * for all
	number  string   // the JSON type of numbers that a file may have: integer or number
	most    uint32   // upper bound of a number, 0: none; the lower one is 1, or 0 for ids
	ids     bool     // numbers are ids
	choices []string // the accepted words
	// pattern is a regular expression for the value, or for each element of a list. It
	// matches all that is accepted, and more. "": anything.
	pattern string
}

// The patterns are in the syntax that Go and JavaScript share.
const (
	patternPort     = `[0-9]+([-:][0-9]+)?`
	patternPorts    = `:?[0-9A-Za-z][0-9A-Za-z:+._-]*`
	patternCIDR     = `[0-9A-Fa-f:.]+/[0-9]+`
	patternID       = "[^-\\s,\"'`\\\\][^\\s,\"'`\\\\]*"
	patternLink     = `[^-!\s,/:"'\\*@][^\s,/:"'\\*@]{0,14}`
	patternLevel    = `[^,]*(debug|info|warn|error|fatal|none)[^,]*`
	patternDuration = `\+?([0-9]*\.?[0-9]*(ns|us|µs|μs|ms|s|m|h))+`
	patternLoopback = `127(\.[0-9]{1,3}){3}/[0-9]+`
	patternMode     = `[Rr][Ee][Dd][Ii][Rr][Ee][Cc][Tt]|[Tt][Pp][Rr][Oo][Xx][Yy]|[Nn][Oo][Nn][Ee]`
)

var (
	formBool       = form{text: "true or false", boolean: true}
	formPort       = form{text: "a port (1-65535)", number: "integer", most: 65535, pattern: patternPort}
	formPorts      = form{text: "a comma-separated list of ports (1-65535), ranges (80-90, 1024:, :1024) and names of services (http)", numbers: "a comma-separated list of ports (1-65535) and ranges (80-90)", list: true, number: "integer", most: 65535, pattern: patternPorts}
	formAllPorts   = orAll(formPorts)
	formCIDRs      = form{text: "a comma-separated list of CIDRs such as 10.0.0.0/8 or 2001:db8::/32", list: true, pattern: patternCIDR}
	formAllCIDRs   = orAll(formCIDRs)
	formIDs        = form{text: "a comma-separated list of ids (0-4294967294), ranges (0-999) and names", numbers: "a comma-separated list of ids (0-4294967294) and ranges (0-999)", list: true, ids: true, number: "number", most: iptables.MaxID, pattern: patternID}
	formAllGroups  = orAll(atMost64(formIDs))
	formLinks      = form{text: "a comma-separated list of interface names (up to 15 bytes); eth+ stands for all that start with eth", list: true, number: "number", pattern: patternLink}
	formNumber     = form{text: "a number (1-4294967295), decimal or 0x hexadecimal", number: "integer", most: 1<<32 - 1, pattern: `0[xX][0-9A-Fa-f]+|[0-9]+`}
	formLoopback   = form{text: "a CIDR within 127.0.0.0/8", pattern: patternLoopback}
	formMode       = choice(patternMode, capture.ModeNames[:]...)
	formFamilies   = choice("", "auto", "ipv4", "dual")
	formGeneration = choice("", capture.GenerationNames[:]...)
	formVariant    = choice("", "legacy", "nft")
	formDuration   = form{text: "a duration above zero in h, m, s or ms, such as 30s", pattern: patternDuration}
	formWait       = form{text: "a duration above zero in h, m, s or ms, such as 5s", pattern: patternDuration}
	formUser       = form{text: "a user name", number: "number"}
	formPath       = form{text: "a path", number: "number"}
	formNetNS      = form{text: "a path, or a name under /run/netns", number: "number"}
	formLogTarget  = form{text: "stderr, stdout or a path", number: "number"}
	formLevel      = form{text: "debug, info, warn, error, fatal or none, also as default:LEVEL", pattern: patternLevel + "(," + patternLevel + ")*"}
	formScopes     = form{text: "a comma-separated list of scopes", list: true, number: "number"}
	formConfig     = form{text: "the path of a YAML or JSON file, or - for standard input"}
	formPrint      = choice("", printNames[:]...)
)

func orAll(f form) form {
	f.addText(", or * alone for all")
	f.all = true
	return f
}

func atMost64(f form) form {
	f.addText(" (at most 64)")
	return f
}

func (f *form) addText(more string) {
	f.text += more
	if f.numbers != "" {
		f.numbers += more
	}
}

// choice returns the form of one of some words; without a pattern they are accepted as
// given, with spaces around them.
func choice(pattern string, words ...string) form {
	last := len(words) - 1
	if pattern == "" {
		pattern = strings.ReplaceAll(strings.Join(words, "|"), ".", `\.`)
	}
	return form{text: strings.Join(words[:last], ", ") + " or " + words[last], choices: words, pattern: "(" + pattern + ")?"}
}
