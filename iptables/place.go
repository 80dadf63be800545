package iptables

// A Place is the position of a rule.
type Place struct {
	Table, Chain string
	Index        int // in the chain, from 0
}
