// Package netutil owns what the program asks of the network namespace besides
// rules: entering one, its addresses and routes, which netfilter tables it has,
// and the original destination of a redirected connection.
//
// Everything here works on the network namespace of the calling thread: call it
// where [InNetNS] runs a function, or where no namespace was entered. Nothing
// starts a process.
package netutil
