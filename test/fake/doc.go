// Package fake is a fake of the kernel's packet filter, which refuses what the kernel
// refuses, and the part of a text of iptables-save that is ours. It is pure and
// needs nothing. It shares no code with the package iptables, so that the two can be
// wrong in different ways; tests compare it with the kernel.
//
//	k, err := fake.Load(save)  // what iptables-save printed
//	err = k.Restore(script)    // as iptables-restore --noflush does
//	k.String()                 // as iptables-save prints
package fake
