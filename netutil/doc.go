// Package netutil owns what the program asks of the network namespace besides
// rules: entering one, its addresses and routes, which netfilter tables it has,
// the original destination of a redirected connection, and what programs that are
// started for it get of the machine: locks, capabilities, names of users.
//
// Everything here works on the network namespace of the calling thread: call it
// where [InNetNS] runs a function, or where no namespace was entered. Nothing
// starts a process.
package netutil
