// Package xtables is the backend for both variants of iptables: it reads live rules and
// changes them by running the programs of iptables. It is the only package that starts
// programs.
//
// # Guarantees
//
//   - Reading changes nothing. [Survey] runs iptables-save where there are tables,
//     [Kernel.Identify] runs iptables -C where a rule cannot be read. Neither runs a program
//     that writes.
//   - A change is an [iptables.Change], whose script can be printed. [Kernel.Commit] makes
//     all changes or none.
//   - Programs inherit nothing: their environment, files and capabilities are those of
//     [Config].
//
// Programs run in the network namespace of the thread that starts them. So call the methods
// that take a context from the goroutine that entered the namespace.
package xtables
