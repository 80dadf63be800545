# The image of the init container: the static binary, and the files of iptables that are opened at run time. It has no
# shell and no package manager.
#
#   make image                                            for this machine
#   make image NATIVE=1                                   the program alone, for native nftables
#   docker buildx build --platform linux/amd64,linux/arm64 .
#
# The target cni, of make image-cni, is the image of the CNI plugin.
#
# Both base images are arguments: one with Go and make, and any Debian or Ubuntu.
ARG GO_IMAGE=golang:1.26-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

# The program, cross-compiled: this stage runs on the machine that builds.
FROM --platform=$BUILDPLATFORM $GO_IMAGE AS program
ARG TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN GOARCH=$TARGETARCH make build

# The tools of the target platform, and the program with its file capability. They are for users other than root, because
# Kubernetes gives them no capabilities. File capabilities are permitted but not effective: with "e", a container without
# these capabilities could not start the program.
FROM $BASE_IMAGE AS tools
RUN apt-get update && apt-get install --yes --no-install-recommends libcap2-bin
COPY --from=program /src/bin/istio-init /native/usr/local/bin/
RUN setcap cap_net_admin+p /native/usr/local/bin/istio-init

# The image for native nftables: the program alone.
FROM scratch AS native
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="istio-init" \
      org.opencontainers.image.description="Redirects the traffic of a pod through its sidecar proxy, by nftables alone; takes the place of istio-iptables" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=tools /native/ /
# There is no other way to the kernel here. --native-nftables=false overrides it.
ENV PATH=/usr/local/bin NATIVE_NFTABLES=true
USER 0:0
ENTRYPOINT ["istio-init"]

# The files of the image with iptables.
FROM tools AS files
RUN apt-get install --yes --no-install-recommends iptables
COPY hack/image-files /hack/
# Additional iptables extensions, for foreign rules.
ARG EXTENSIONS=
RUN /hack/image-files /image $EXTENSIONS
COPY --from=program /src/bin/istio-init /image/usr/local/bin/
# The names under which scripts and manifests know Istio's tools.
RUN for name in istio-iptables istio-clean-iptables pilot-agent; do ln -s istio-init "/image/usr/local/bin/$name"; done
RUN setcap cap_net_admin,cap_net_raw+p /image/usr/local/bin/istio-init

# The image of the CNI plugin: the plugin with its installer, and istio-init to check and trace what it has made. On a
# node, both run with the files of the node.
FROM scratch AS cni
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="istio-cni" \
      org.opencontainers.image.description="A CNI plugin that redirects the traffic of pods through their sidecar proxies, and its installer" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=program /src/bin/istio-cni /src/bin/istio-init /usr/local/bin/
ENV PATH=/usr/local/bin
# The installer writes to directories of root.
USER 0:0
ENTRYPOINT ["istio-cni"]

FROM scratch
ARG BASE_IMAGE
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="istio-init" \
      org.opencontainers.image.description="Redirects the traffic of a pod through its sidecar proxy; takes the place of istio-iptables" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="$BASE_IMAGE"
COPY --from=files /image/ /
ENV PATH=/usr/local/bin:/usr/sbin
# The program changes the packet filter: it needs root, or another user with NET_ADMIN (for legacy also NET_RAW).
USER 0:0
ENTRYPOINT ["istio-init"]
