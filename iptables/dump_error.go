package iptables

import (
	"errors"
	"fmt"
)

// A DumpError is why a dump cannot be read: the line, and what is wrong with it.
type DumpError struct {
	Line   int    // 0: none
	Text   string // of the line
	Reason string
}

// Error names the line and the reason.
func (e *DumpError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return lineError(e.Line, e.Text, errors.New(e.Reason)).Error()
}

// What people paste instead of a save.
const (
	isListing  = "this is what iptables -L prints, which leaves out conditions and targets of rules"
	isNft      = "this is what nft list ruleset prints, which is not in the form of iptables"
	isCommands = "these are commands of iptables, and not the rules that are there"
	isChange   = "this is input of iptables-restore that changes rules, and not the rules that are there"
	isPrefixed = "a line of a table behind other words, which are not the same for all lines: cut them"
	isHeadless = "outside a table: the first line of the table is missing, as \"*nat\" of iptables-save, or all lines -P of iptables -S"
	isNothing  = "there is no table in it"
)

func noCommit(table string, line int) string {
	return fmt.Sprintf("COMMIT is missing: the table %s of line %d does not end", table, line)
}

func notDeclared(chain, table string) string {
	return fmt.Sprintf("the chain %s is not declared: the lines \":CHAIN POLICY [0:0]\" of the table %s are missing", chain, table)
}

const (
	openQuote = "a quote opens in this line and is not closed"
	notRule   = "not a rule of a chain that was declared"
)
