// Package test runs the built program and looks at what it does: on the kernel, in
// network namespaces that the tests make, with real connections, under load, and
// as other users. It knows nothing of the program's inside.
//
// Its tools are packages of their own: flow (where connections land, as text), pod
// (a pod with its proxy and servers), load (connections without a pause), kernel
// (network namespaces) and fake (a fake of the packet filter).
//
// What needs root is skipped without it; with KERNEL_TESTS=require a skip is a
// failure. STRESS=1 has the long forms: make stress.
package test
