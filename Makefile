# One place for every command; see README.md.
GO      ?= go
BIN     := bin/istio-init
LDFLAGS := -s -w

.PHONY: build
build: ## the static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/istio-init

.PHONY: test
test: ## everything there is to prove
	$(GO) test ./...
