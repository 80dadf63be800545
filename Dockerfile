# The image of the init container: the static binary, and the iptables that it drives.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN make build

FROM debian:bookworm-slim
# Both variants and both families are in the one package.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends iptables \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
COPY --from=build /src/bin/istio-init /usr/local/bin/istio-init
# The names under which scripts and manifests know Istio's tools.
RUN cd /usr/local/bin && for name in istio-iptables istio-clean-iptables pilot-agent; do ln -s istio-init $name; done
# It changes the packet filter: root with NET_ADMIN (and NET_RAW for the legacy variant).
USER root
ENTRYPOINT ["/usr/local/bin/istio-init"]
