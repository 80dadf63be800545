package xtables

import (
	"strconv"
	"strings"

	"istio-init/iptables"
)

// Script returns the input of iptables-restore --noflush for a change; "" for an empty one.
// It declares a chain to create or to empty it. No script deletes and creates the same chain:
// iptables-nft loses it when another transaction comes in between.
func Script(c iptables.Change) string {
	var b strings.Builder
	for _, e := range c.Edits {
		writeLine(&b, "*", e.Table)
		for _, chain := range e.Declare {
			writeLine(&b, ":", chain, " - [0:0]")
		}
		for _, chain := range e.Remove {
			writeLine(&b, "-F ", chain)
		}
		for _, r := range e.Delete {
			writeLine(&b, "-D ", r.Chain, " ", r.Rule.Text)
		}
		for _, r := range e.Add {
			writeAdd(&b, r)
		}
		for _, chain := range e.Remove {
			writeLine(&b, "-X ", chain)
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// writeAdd writes the line that adds a rule. A rule that matches everything and has no target
// has no text.
func writeAdd(b *strings.Builder, r iptables.RuleEdit) {
	switch {
	case r.At > 0:
		writeLine(b, "-I ", r.Chain, " ", strconv.Itoa(r.At), " ", r.Rule.Text)
	case r.Rule.Text == "":
		writeLine(b, "-A ", r.Chain)
	default:
		writeLine(b, "-A ", r.Chain, " ", strings.TrimSuffix(r.Rule.Text, " "))
	}
}

func writeLine(b *strings.Builder, words ...string) {
	for _, w := range words {
		b.WriteString(w)
	}
	b.WriteByte('\n')
}
