# Two commands do everything: `make demo` shows the product, `make test` proves it. Both build or install what is
# missing, into a cache outside this folder, and can be run again at any time, also beside each other.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

CACHE := $(or $(TENANT_OPERATOR_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tenant-operator)
export CARGO_TARGET_DIR ?= $(CACHE)/target
E2E := $(CARGO_TARGET_DIR)/debug/e2e
# The operator that is tested and shown has a clock that can be set, since nobody wants to wait for Sunday night. One
# choice for all commands: with another one cargo builds again. What is shipped is built without it (`release`).
TESTED := --locked --workspace --features operator/test-clock

.PHONY: help demo test bench release prerequisites build lint unit aws-emulator all-tests mutants crds golden

help: ## Show what there is.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

demo: build ## Start everything, show three tenants and their updates, stay until Ctrl-C.
	@exec $(E2E) demo

test: build lint aws-emulator all-tests ## Everything that must pass.
	@echo "all tests passed"

# Tenants that are made at once and that share a window of ten, and how long to listen at rest. `WRITE=--write` keeps the results in e2e/BENCHMARKS.md.
TENANTS ?= 100
MINUTES ?= 10
bench: build ## Measure many tenants: TENANTS=100 MINUTES=10 WRITE=--write
	@$(E2E) bench create --tenants $(TENANTS) $(WRITE)
	@$(E2E) bench updates --tenants $(TENANTS) $(WRITE)
	@$(E2E) bench rest --minutes $(MINUTES) $(WRITE)

release: prerequisites ## Build the operator as it is shipped, without the switches of the test build.
	@cargo build --locked --release -p operator
	@OPERATOR="$(CARGO_TARGET_DIR)/release/tenant-operator"; "$$OPERATOR" --version; \
	if "$$OPERATOR" --version | grep -q clock || grep -q TENANT_OPERATOR_TEST_ "$$OPERATOR"; then \
	  echo "$$OPERATOR has switches of the test build" >&2; exit 1; \
	fi; echo "$$OPERATOR"

prerequisites:
	@missing=(); \
	for tool in cargo go python3 cc curl git; do command -v $$tool >/dev/null || missing+=("$$tool"); done; \
	if [ "$${#missing[@]}" -gt 0 ]; then \
	  echo "missing: $${missing[*]}. Install Rust (rustup), Go 1.26 or later, Python 3.11 or later with venv, a C compiler, curl and git." >&2; exit 1; \
	fi

build: prerequisites ## Build the operator, the test bed, the control plane and the emulators.
	@echo "== build"
	@cargo build $(TESTED)
	@$(E2E) build

lint: build ## Format, lints, generated files.
	@echo "== lint"
	@cargo fmt --all --check
	@cargo clippy $(TESTED) --all-targets -- -D warnings
	@$(CARGO_TARGET_DIR)/debug/crdgen --check

unit: build ## Only the tests that need no control plane.
	@cargo test $(TESTED) --lib --bins

aws-emulator: build ## The emulator's own tests: its access decision is the measure of all isolation.
	@echo "== AWS emulator"
	@cd e2e/aws && PYTHONDONTWRITEBYTECODE=1 "$$($(E2E) python)" -m pytest -q

# The same choice of packages and features but one, so that nothing but the planner is built again.
MUTANTS := cargo test $(TESTED) --features plan/mutants --test convergence -- --nocapture mutants::

# One command for all crates: cargo would build the libraries again for each other choice of packages.
# A backtrace of a failed scenario shows the runner alone, and pushes what failed out of sight.
all-tests: export RUST_BACKTRACE := 0
all-tests: build
	@$(E2E) build --tests
	@echo "== unit and property tests, the AWS adapter, and the scenarios on the real control plane"
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	$(E2E) with-aws cargo test $(TESTED) -- --nocapture 2>&1 | tee "$$log"; \
	echo "== faults put into the planner on purpose, each of which the simulation must notice"; \
	$(MUTANTS) 2>&1 | tee -a "$$log"; \
	echo "== what was counted"; grep -oh 'counted: .*' "$$log" | sed 's/^counted: /  /'

mutants: prerequisites ## Only the faults put into the planner on purpose.
	@$(MUTANTS)

crds: ## Generate the CustomResourceDefinitions.
	@cargo run --locked -q -p crds --bin crdgen

golden: ## Accept the manifests of the examples and the schema of the fleet policy as they are now.
	@UPDATE_EXPECT=1 cargo test --locked -q -p plan --test golden --test schema
