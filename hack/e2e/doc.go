// Package e2e tests the images: their files, that the program works with only these files,
// and that it works in a pod, as an init container beside a sidecar and an app. The
// images are built from the Dockerfile. podman runs them as Kubernetes does: from a manifest,
// with the arguments and the security context of Istio's injector. Other releases of nft, from
// Debians made by debootstrap, load and list the rules of native nftables.
//
// No registry is needed: podman builds the image from a Debian made by debootstrap
// (hack/image-local). Not tested are other builders, the public base images, and other
// platforms than that of the machine.
//
// make e2e runs it; "go test ./..." skips it. It needs root and the packages of
// hack/e2e/setup. Traffic stays between network namespaces of the tests, and podman
// writes only to a directory of the run (hack/e2e/run).
package e2e
