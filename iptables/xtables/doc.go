// Package xtables is the backend for both variants of iptables: it reads live rules and
// changes them by running the programs of iptables. It is the only package that starts
// programs.
//
// # Guarantees
//
//   - Reading changes nothing. [Backend.Read] runs iptables-save where there are tables,
//     [Backend.Identify] runs iptables -C where a rule cannot be read. Neither runs a
//     program that writes.
//   - [Plan] is pure: it takes the live state as a value and returns the change.
//   - A change is an [iptables.Change], for which [Script] is
//     the input of iptables-restore. [Backend.Commit] makes
//     all changes or none.
//   - Programs inherit nothing: their environment, files and capabilities are those of
//     [Config].
//
// Programs run in the network namespace of the thread that starts them. So call the methods
// that take a context from the goroutine that entered the namespace.
package xtables
