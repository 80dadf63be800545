// Package e2e tests the image: what is in it, that the program does all of its work
// with that, and that it does it in a pod, as an init container beside a sidecar and
// an app. The image is built from the Dockerfile and run by podman, as Kubernetes
// runs it: from a manifest, with the arguments and the security context of Istio's
// injector.
//
// No registry is needed: podman builds the image from a Debian that debootstrap
// makes (hack/image-local). Not tested are other builders, the public base images,
// and other platforms than that of the machine.
//
// make e2e runs it; "go test ./..." skips it. It needs root and what hack/e2e/setup
// installs. Traffic stays between network namespaces that the tests make, and all
// that podman keeps is in a directory of the run's own (hack/e2e/run).
package e2e
