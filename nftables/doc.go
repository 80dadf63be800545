// Package nftables makes rules in tables of nf_tables, by netlink alone: no program is
// started, and no module of iptables is needed.
//
//	iptables.Ruleset -> Compile -> Table -> Plan -> Change -> Commit -> kernel
//	                                 ^------------ Read <----------------'
//
// The rules of a family are one table, "ip istio-init" or "ip6 istio-init", whose chains are
// named by the table and the chain of iptables: nat-OUTPUT, nat-ISTIO_OUTPUT. Consecutive rules
// that differ in one property alone are one rule with a set.
//
// Packets meet the old rules or the new ones, never others. A change that has new sets of
// intervals is staged: a transaction adds them, another has packets meet the rules with them.
//
// Compile, Plan and the text of a Table are pure. A Table that was read equals the compiled
// one if the kernel has the same expressions, in their bytes. Everything may be called from
// any goroutine; Read and Commit act on the network namespace of the calling thread.
package nftables
