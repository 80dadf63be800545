package xtables

import "istio-init/netutil/inet"

// Present reports whether a family has tables.
func (k *Kernel) Present(f inet.Family) bool { return k.sides[f].present }

// Err returns why a family cannot be read or changed; nil where it can.
func (k *Kernel) Err(f inet.Family) error { return k.sides[f].err }

// Transient returns why the program failed that reads a family; nil where it did not, or
// where it would fail again.
func (k *Kernel) Transient(f inet.Family) error { return k.sides[f].lost }
