// Package cni tests the CNI plugin beside programs that it runs with: cnitool and the
// plugins bridge and host-local, and containerd, which starts pods through the plugin as
// on a node of Kubernetes. It also tests the manifests of examples/cni with the types of
// Kubernetes and with kustomize.
//
// make cni-e2e runs all of it; "go test" in this folder runs what needs no root. The
// package has a go.mod of its own, so that the program does not depend on Kubernetes.
//
// The tests of containerd run in network, mount and PID namespaces of their own, which
// hack/cni/run makes. These play the node: its bridge, its /run and its processes are
// gone when the tests end.
package cni
