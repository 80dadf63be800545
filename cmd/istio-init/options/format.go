package options

import (
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// A form is what the values of an option look like. The zero form: anything.
type form struct {
	text    string // in words, for errors and help
	boolean bool
	list    bool     // a comma list, which a configuration file may also have as a list
	all     bool     // or * for all
	number  string   // which numbers of JSON schema a file may have: integer or number
	most    uint32   // of a number, where it has a bound; the least is 1, or 0 for ids
	ids     bool     // numbers are ids
	choices []string // those there are
	// pattern is a regular expression for an element, or for one that is no list
	// for the value: it matches all that is accepted, and more. "" is anything.
	pattern string
}

// The patterns are those that Go and JavaScript have in common.
const (
	patternPort     = `[0-9]+([-:][0-9]+)?`
	patternCIDR     = `[0-9A-Fa-f:.]+/[0-9]+`
	patternID       = "[^-\\s,\"'`\\\\][^\\s,\"'`\\\\]*"
	patternLink     = `[^-!\s,/:"'\\*][^\s,/:"'\\*]{0,14}`
	patternLevel    = `[^,]*(debug|info|warn|error|fatal|none)[^,]*`
	patternDuration = `\+?([0-9]*\.?[0-9]*(ns|us|µs|μs|ms|s|m|h))+`
	patternLoopback = `127(\.[0-9]{1,3}){3}/[0-9]+`
	patternMode     = `[Rr][Ee][Dd][Ii][Rr][Ee][Cc][Tt]|[Tt][Pp][Rr][Oo][Xx][Yy]|[Nn][Oo][Nn][Ee]`
)

var (
	formBool       = form{text: "true or false", boolean: true}
	formPort       = form{text: "a port 1-65535", number: "integer", most: 65535, pattern: patternPort}
	formPorts      = form{text: "a comma list of ports 1-65535 and ranges a-b", list: true, number: "integer", most: 65535, pattern: patternPort}
	formAllPorts   = orAll(formPorts)
	formCIDRs      = form{text: "a comma list of CIDRs such as 10.0.0.0/8 or 2001:db8::/32", list: true, pattern: patternCIDR}
	formAllCIDRs   = orAll(formCIDRs)
	formIDs        = form{text: "a comma list of ids 0-4294967294, ranges a-b and names", list: true, ids: true, number: "number", most: iptables.MaxID, pattern: patternID}
	formGroups     = atMost64(formIDs)
	formAllGroups  = orAll(formGroups)
	formLinks      = form{text: "a comma list of interface names of up to 15 bytes, with a + at the end for all that start so", list: true, number: "number", pattern: patternLink}
	formNumber     = form{text: "a number 1-4294967295, decimal or 0x hexadecimal", number: "integer", most: 1<<32 - 1, pattern: `0[xX][0-9A-Fa-f]+|[0-9]+`}
	formLoopback   = form{text: "a CIDR within 127.0.0.0/8", pattern: patternLoopback}
	formMode       = choice(patternMode, capture.ModeNames[:]...)
	formFamilies   = choice("", "auto", "ipv4", "dual")
	formGeneration = choice("", capture.GenerationNames[:]...)
	formVariant    = choice("", "legacy", "nft")
	formDuration   = form{text: "a duration such as 30s", pattern: patternDuration}
	formWait       = form{text: "a duration such as 5s", pattern: patternDuration}
	formUser       = form{text: "a user name", number: "number"}
	formPath       = form{text: "a path", number: "number"}
	formNetNS      = form{text: "a path, or a name under /run/netns", number: "number"}
	formLogTarget  = form{text: "stderr, stdout or a path", number: "number"}
	formLevel      = form{text: "debug, info, warn, error, fatal or none, also as default:LEVEL", pattern: patternLevel + "(," + patternLevel + ")*"}
	formScopes     = form{text: "a comma list of scopes", list: true, number: "number"}
	formConfig     = form{text: "a path of a YAML or JSON file, or - for the standard input"}
	formPrint      = choice("", printNames[:]...)
)

func orAll(f form) form {
	f.text += ", or * for all"
	f.all = true
	return f
}

func atMost64(f form) form {
	f.text += " (64 at the most)"
	return f
}

// choice is one of some words; without a pattern they are written as they are
// here, but for spaces around them.
func choice(pattern string, words ...string) form {
	last := len(words) - 1
	if pattern == "" {
		pattern = strings.ReplaceAll(strings.Join(words, "|"), ".", `\.`)
	}
	return form{text: strings.Join(words[:last], ", ") + " or " + words[last], choices: words, pattern: "(" + pattern + ")?"}
}
