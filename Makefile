# Stead: what can be done here. `make` alone lists it.

GO       ?= go
SEED     ?=
SEEDS    ?= 5000
KILLS    ?= 200
FUZZTIME ?= 30s
LOCOMO   ?= ../shared/data/locomo
# Modules with a go.mod of their own: the SDKs and the baselines are no part of the product.
NESTED    = $(patsubst %/go.mod,%,$(filter-out ./go.mod ./tools/go.mod,$(shell find . -name go.mod -not -path '*/node_modules/*')))

.DEFAULT_GOAL := help

# Without cgo, as stead-gvisor has to be: everything is compiled twice then, so and for the race detector,
# and not a third time.
static nested node seeds drivers: export CGO_ENABLED = 0

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/stead
	$(GO) build -trimpath -o bin/stead ./cmd/stead

gvisor: ## build bin/stead-gvisor: strong isolation; it has to be static, and takes minutes the first time
	CGO_ENABLED=0 $(GO) build -C cmd/stead-gvisor -o ../../bin/stead-gvisor .

test: deps static gvisor nested node seeds race drivers ## install what is missing on a Debian machine, then check and test everything

check: static race ## gofmt, vet, staticcheck and the tests of the module

deps:
	./tools/deps.sh

static: bin/staticcheck
	@files=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$files" || { echo "gofmt wants to change:" $$files; exit 1; }
	$(GO) vet ./...
	./bin/staticcheck ./...

bin/staticcheck: tools/go.mod tools/go.sum
	$(GO) build -C tools -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck

# The drivers' suites wait for processes, bombs and sandboxes: the race detector finds nothing in those,
# and takes minutes. They run without it; run one with it by hand when its driver changes. Most of their
# time they wait, and so do the real crashes: more of them than there are processors run at once.
DRIVERS = ns landlock gvisor docker kubernetes environmenttest
# These are pure: they start no goroutine and share nothing, and their long histories and large documents are slow enough.
PURE = session environment/workspace/manifest office

# SQLite is C that was translated to Go, and wazevo a compiler: no goroutine of ours shares their memory but through
# their callers, which are watched; the detector slows them four- and tenfold. No package may stand here that uses
# sync.Map and the like: its copies of generic code, which are not watched, become everybody's.
WAZEVO = github.com/tetratelabs/wazero/internal/engine/wazevo
UNWATCHED = modernc.org/sqlite/lib modernc.org/libc $(addprefix $(WAZEVO)/,ssa frontend backend backend/regalloc backend/isa/amd64)
RACE = -race $(UNWATCHED:%=-gcflags='%=-race=false')

# What takes minutes starts first, beside what is compiled meanwhile: nothing else runs at the end.
LONG = ./proof/chaos ./cmd/stead ./internal/simulation

# A program with the detector waits a second at its end for reports of others, and thousands end here.
race: export GORACE = atexit_sleep_ms=50
race seeds: export GOGC = 200
race:
	$(GO) test $(RACE) -p 3 -timeout 20m $(LONG) $$($(GO) list ./... | grep -Ev '/environment/($(subst $() ,|,$(DRIVERS)))(/|$$)|/internal/($(subst $() ,|,$(PURE)))$$')
	CGO_ENABLED=0 $(GO) test -timeout 10m $(addprefix ./internal/,$(PURE))

drivers: gvisor ## the suites of every environment driver, hostile ones included
	$(GO) test -p 3 -timeout 20m $(addprefix ./internal/environment/,$(addsuffix /...,$(DRIVERS)))

nested:
	@set -e; for m in $(NESTED); do echo "cd $$m && go vet ./... && go test ./..."; (cd $$m && $(GO) vet ./... && $(GO) test -timeout 10m ./...); done

# Thousands of seeds without the race detector, which slows them tenfold; race has sixty.
seeds:
	$(GO) test -count 1 -timeout 10m ./internal/simulation -args -seeds 2000

sim: ## simulate whole nodes under faults; SEEDS of them (5000), or SEED=n alone
	SEED=$(SEED) $(GO) test -count 1 -timeout 30m ./internal/simulation -args -seeds $(SEEDS)

chaos: ## kill the real binary KILLS times (200) and look for lost, doubled and stuck work
	$(GO) test -count 1 -timeout 60m ./proof/chaos -args -kills $(KILLS) $(if $(SEED),-seed $(SEED))

bench: ## measure beside the raw disk and DBOS; then decisions of policies, and audit records
	$(GO) run ./proof/bench
	@$(MAKE) --no-print-directory bench-policy bench-audit

bench-memory: ## measure what memory finds, on the conversations in LOCOMO; with EMBEDDINGS (sim, or a base URL and EMBEDDINGS_MODEL) by vectors too
	@$(GO) run ./proof/recall -locomo $(LOCOMO) -embeddings "$(EMBEDDINGS)" -model "$(EMBEDDINGS_MODEL)" -dimensions "$(or $(DIMENSIONS),$(if $(filter sim,$(EMBEDDINGS)),1024,0))"

encoder: ## serve a small embedding model on this machine, without a key, for bench-memory and bench-search (needs Node)
	cd proof/recall/encoder && npm ci --silent && npm start

bench-search: ## measure how fast memory is written and searched, on both databases: ENTRIES (10000 100000), SCOPES (1 1000); with EMBEDDINGS by vectors too
	@for n in $(or $(ENTRIES),10000 100000); do for s in $(or $(SCOPES),1 1000); do for d in sqlite postgres; do \
		$(GO) run ./proof/recall -entries $$n -scopes $$s -database $$d -embeddings "$(EMBEDDINGS)" -model "$(EMBEDDINGS_MODEL)" -dimensions "$(or $(DIMENSIONS),0)"; done; done; done

bench-environments: ## measure drivers beside bare exec, bubblewrap and runc; checkpoints beside tar; the way out
	$(GO) test -run '^$$' -bench . -benchtime 20x ./internal/environment/environmenttest ./internal/environment/ns ./internal/environment/landlock ./internal/environment/gvisor ./internal/environment/workspace ./internal/egress

bench-policy: ## measure decisions by 10 and by 1,000 policies: p50 and p99, by the clock and by the processor
	$(GO) test -run '^$$' -bench Decide -benchtime 20000x ./internal/policy/cedar

bench-guardrails: ## measure the checks of guardrails that ask nobody else, by 1 KB and by 100 KB of text
	$(GO) test -run '^$$' -bench Check -benchmem ./internal/guardrail

bench-audit: ## measure durable audit records a second, and what they cost appends, on SQLite and PostgreSQL
	$(GO) test -run '^$$' -bench Audit -benchtime 30000x ./internal/sqlite ./internal/postgres

bench-gateway: ## measure the stateless doors beside a bare reverse proxy
	$(GO) run ./proof/gateway

fuzz: ## fuzz every decoder of outside bytes, FUZZTIME (30s) each
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' . | grep -v node_modules | xargs -n1 dirname | sort -u | while read -r p; do \
		for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$p/*_test.go | cut -d' ' -f2); do \
			echo "$$p $$f"; $(GO) test -C $$p -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) .; done; done

e2e-go: ## the official SDK for Go against the binary
	cd e2e/go && $(GO) test -count 1 ./...

e2e-node: deps node ## the official SDK for Node against the binary

node:
	cd e2e/node && npm test

clean: ## remove what was built
	rm -rf bin

.PHONY: help build gvisor test check deps static race nested node seeds sim chaos bench bench-memory encoder bench-search bench-policy bench-guardrails bench-audit fuzz e2e-go e2e-node clean
