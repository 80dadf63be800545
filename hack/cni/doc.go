// Package cni tests the CNI plugin beside programs that it runs with: cnitool and the
// plugins bridge and host-local, and containerd, which starts pods through the plugin as
// on a node of Kubernetes.
//
// make cni-e2e runs the tests; "go test" skips them. They run in network, mount and PID
// namespaces of their own, which hack/cni/run makes. These play the node: its bridge, its
// /run and its processes are gone when the tests end.
//
// The module has a go.mod of its own, so that the programs do not depend on Kubernetes. Its
// package manifests tests examples/cni and needs no root.
package cni
