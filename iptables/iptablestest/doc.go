// Package iptablestest owns what tests of rules stand on: a fake of the kernel
// that refuses what the kernel refuses, and real network namespaces to compare
// it with.
//
// A [Fake] is pure and needs nothing. It shares no code with the package
// iptables, so that the two can be wrong in different ways.
//
//	fake, err := iptablestest.Load(save)  // what iptables-save printed
//	err = fake.Restore(script)            // as iptables-restore --noflush does
//	fake.String()                         // as iptables-save prints
//
// A [NetNS] needs root and the programs. A test asks for them by [Require] or
// [RequireVariant], which skip it and say what is missing; with the environment
// variable KERNEL_TESTS=require a skip is a failure.
//
//	iptablestest.RequireVariant(t, iptables.NFT)
//	ns := iptablestest.NewNetNS(t)
//	ns.Run(t, script, "iptables-nft-restore", "--noflush")
//	got := ns.Save(t, iptables.NFT, iptables.IPv4)
//
// A NetNS may be used from any goroutine and from parallel tests: what runs in
// it runs on a thread of its own.
package iptablestest
