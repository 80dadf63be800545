// Package test tests the built program as a black box: on the kernel, in network
// namespaces that the tests create, with real connections, under load, and as other
// users.
//
// The tools of the tests have their own packages: flow (outcomes of connections, as
// text), pod (a pod with its proxy and servers), load (continuous connections), kernel
// (network namespaces), istio (the rules of Istio), fake (a fake packet filter) and
// golden (files of what is expected).
//
// Tests that need root are skipped without it; with KERNEL_TESTS=require a skip is a
// failure. STRESS=1, which make stress sets, runs all cases.
package test
