# The commands of this repository; see README.md. "make help" lists them.
GO       ?= go
BIN      := bin/istio-init
FUZZTIME ?= 1m
ROUNDS   ?= 15
PEERS    ?=
IMAGE    ?= istio-init:$(if $(NATIVE),native,latest)
CNI_IMAGE ?= istio-cni:latest
BUILDER  ?= docker

# The version of the binary. Without git it is that of the build info.
VERSION := $(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null)
LDFLAGS := -s -w -X main.release=$(VERSION)
# The time of all released files: that of the last commit.
TIME    := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)
DIST     = -version '$(VERSION)' -time $(TIME) -ldflags '$(LDFLAGS)'

# The linters are built into bin/ in these versions, so that a release of theirs never changes ours.
GOLANGCI := bin/golangci-lint-v2.15.0
GOFUMPT  := bin/gofumpt-v0.12.0

# sudo has a PATH of its own.
.PHONY: have-go
have-go:
	@command -v $(GO) >/dev/null || { echo '$(GO) is not in PATH: install Go 1.26 or, for sudo, name it: sudo make demo GO=$$(command -v go)'; exit 1; }

.PHONY: build
build: have-go ## the static binaries istio-init and istio-cni
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(dir $(BIN)) ./cmd/istio-init ./cmd/istio-cni

.PHONY: test-unit
test-unit: have-go ## the tests that need neither root nor a kernel, in a minute
	KERNEL_TESTS=skip $(GO) test -short ./...

.PHONY: test
test: have-go ## all tests; as root also on the kernel, and installs what they need
	hack/setup
	$(GO) test -timeout 20m -parallel 4 ./...

.PHONY: lint
lint: $(GOLANGCI) $(GOFUMPT) ## go vet, golangci-lint, gofumpt, length of files, refused phrases
	$(GO) vet ./...
	$(GOLANGCI) run
	$(GO) vet -C hack/dist ./...
	cd hack/dist && $(CURDIR)/$(GOLANGCI) run
	$(GO) vet -C hack/cni ./...
	cd hack/cni && $(CURDIR)/$(GOLANGCI) run
	@unformatted=$$($(GOFUMPT) -l .); test -z "$$unformatted" || { echo "not formatted by gofumpt: $$unformatted"; exit 1; }
	hack/file-length
	hack/words-check

# The flags of the pictures in the documents.
REDIRECT := -p 15001 -z 15006 -u 1337 -m REDIRECT -i '*' -x '' -b '*' -d 15090,15021,15020
TPROXY   := -p 15001 -z 15006 -u 1337 -m TPROXY -i '*' -x '' -b '*' -d 15090,15021,15020
DNS      := $(REDIRECT) --redirect-dns --capture-all-dns

.PHONY: docs
docs: docs/redirect.svg docs/tproxy.svg docs/dns.svg docs/design.svg docs/native-nftables-hooks.svg docs/benchmarks.svg ## the reference of flags and exit codes; the pictures of the documents, drawn by graphviz and gnuplot
	$(GO) test ./cmd/istio-init/options -run Reference -update
	$(GO) test ./cmd/istio-init -run ExitCodes -update

.PHONY: docs/redirect.svg docs/tproxy.svg docs/dns.svg
docs/redirect.svg: FLAGS = $(REDIRECT)
docs/tproxy.svg: FLAGS = $(TPROXY)
docs/dns.svg: FLAGS = $(DNS)
docs/redirect.svg docs/tproxy.svg docs/dns.svg: build
	@command -v dot >/dev/null || { echo "dot is missing: install graphviz"; exit 1; }
	$(BIN) explain --output dot --ip-family ipv4 $(FLAGS) >bin/$(@F).dot
	dot -Tsvg bin/$(@F).dot -o $@

docs/%.svg: docs/%.dot
	@command -v dot >/dev/null || { echo "dot is missing: install graphviz"; exit 1; }
	dot -Tsvg $< -o $@

# It writes the table of docs/benchmarks.md, too.
docs/benchmarks.svg: docs/benchmarks.json hack/bench/plot.gnuplot
	@command -v gnuplot >/dev/null || { echo "gnuplot is missing: install gnuplot"; exit 1; }
	$(GO) run ./hack/bench -out $< -document docs/benchmarks.md

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME, a minute by default
	hack/fuzz $(FUZZTIME)

.PHONY: stress
stress: ## the tests in full: every case, every fault, sustained load
	hack/setup
	STRESS=1 KERNEL_TESTS=require $(GO) test -count=1 -timeout 120m -parallel 4 ./capture/... ./cmd/... ./iptables/... ./netutil/... ./test/...

.PHONY: mutate
mutate: ## removes each rule in turn: some connection has to have another outcome
	hack/setup
	$(GO) test -count=1 -v -run '^TestEveryRuleIsNeeded$$' ./test

.PHONY: image
image: ## the image of the init container, called IMAGE, by docker or another BUILDER; with NATIVE=1 the program alone
	$(BUILDER) build --tag $(IMAGE) $(if $(NATIVE),--target native) --build-arg VERSION="$$(git describe --tags --always --dirty)" --build-arg REVISION="$$(git rev-parse HEAD)" .

.PHONY: image-cni
image-cni: ## the image of the CNI plugin, called CNI_IMAGE
	$(BUILDER) build --target cni --tag $(CNI_IMAGE) --build-arg VERSION="$$(git describe --tags --always --dirty)" --build-arg REVISION="$$(git rev-parse HEAD)" .

.PHONY: e2e
e2e: ## the image, run as the init container of real pods; as root on Debian and Ubuntu
	hack/e2e/setup
	hack/e2e/run -v

.PHONY: cni-e2e
cni-e2e: build ## the CNI plugin, run by containerd and cnitool, and its manifests; as root on Debian and Ubuntu
	hack/cni/setup
	$(GO) test -C hack/cni ./manifests
	hack/cni/run -test.v

.PHONY: bench
bench: ## what a run costs, against a lower bound, in bin/bench.json; see docs/benchmarks.md
	hack/setup
	$(GO) run ./hack/bench -rounds $(ROUNDS) -peers '$(PEERS)'

.PHONY: demo
demo: build ## preview, apply, check, trace, validate, connect and clean in a new network namespace
	hack/demo

.PHONY: cover
cover: ## how much of the code the tests run, in bin/cover.html
	@mkdir -p bin
	$(GO) test -coverpkg=./... -coverprofile=bin/cover.out ./...
	$(GO) tool cover -html=bin/cover.out -o bin/cover.html
	$(GO) tool cover -func=bin/cover.out | tail -1

.PHONY: install
PREFIX  ?= /usr/local
install: ## the programs, man pages, completions, unit and documents below PREFIX, /usr/local by default, in DESTDIR
	$(GO) run -C hack/dist . $(DIST) -install '$(PREFIX)' -destdir '$(abspath $(DESTDIR))'

.PHONY: uninstall
uninstall: ## remove what make install has installed
	$(GO) run -C hack/dist . $(DIST) -install '$(PREFIX)' -destdir '$(abspath $(DESTDIR))' -uninstall

.PHONY: image-list
image-list: ## what is in the image IMAGE, with licenses, as CycloneDX in bin/image.cdx.json
	@mkdir -p bin
	container=$$($(BUILDER) create $(IMAGE)) && $(BUILDER) export $$container | $(GO) run -C hack/dist . $(DIST) -image - >bin/image.cdx.json; \
		status=$$?; $(BUILDER) rm $$container >/dev/null; exit $$status

.PHONY: dist
dist: ## a release in bin/dist: tarballs, deb and rpm, lists of modules, checksums
	$(GO) run -C hack/dist . $(DIST)

.PHONY: dist-check
dist-check: ## builds a release twice and compares: it has to be reproducible
	hack/dist-check $(DIST)

.PHONY: clean
clean: ## remove bin
	rm -rf bin

.PHONY: help
help: ## this list
	@awk -F ': .*?## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The version is what follows the last -v of the name.
$(GOLANGCI): MODULE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(GOFUMPT): MODULE := mvdan.cc/gofumpt
$(GOLANGCI) $(GOFUMPT):
	GOBIN=$(CURDIR)/bin $(GO) install $(MODULE)@v$(lastword $(subst -v, ,$@))
	mv bin/$(notdir $(MODULE)) $@
