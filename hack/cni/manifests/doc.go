// Package manifests tests the manifests of examples/cni: with the types of Kubernetes,
// OpenShift and kustomize, by which each is decoded strictly, and with kustomize itself.
package manifests
