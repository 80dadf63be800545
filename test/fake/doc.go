// Package fake is a fake of the kernel's packet filter, which refuses what the kernel
// refuses. It also splits an output of iptables-save into our rules and foreign rules.
// It is pure. It shares no code with package iptables, so that the two do not have the
// same bugs; tests compare it with the kernel.
//
//	k, err := fake.Load(save)  // output of iptables-save
//	err = k.Restore(script)    // as iptables-restore --noflush does
//	k.String()                 // as iptables-save prints
package fake
