# Everything is set up as needed: `make serve` or `make test` on a machine with Python, Rust and a C linker is enough.
# What has been set up is remembered by stamp files in .venv, so that nothing is done twice.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FUZZ_SECONDS ?= 3600
FUZZ_DIR := crates/yggdrasil-core/fuzz
ARGS ?=
SEEDS ?= 1000000
FIRST ?= 0
SEED ?=
CASES ?= 10000
# The extras of Mithril whose frameworks its tests use.
MITHRIL_EXTRAS := arrow datasets datatrove dedup images jax lz4 mirror orbax processes ray redis signing tokenize torch
MITHRIL_COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade -c requirements-dev.lock
# Files of tests are shared out in their order to as many processes as there are cores, but not to more than four.
PYTEST := $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# The cargo profile of the extension modules and of the load generator: release, or quick or dev, which build sooner.
PROFILE ?= release
export PROFILE

# Of the whole workspace: on its own it would want its dependencies, and the engine, with other features compiled anew.
LOADGEN := --workspace --bin loadgen

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find crates -path $(FUZZ_DIR) -prune -o \( -name '*.rs' -o -name Cargo.toml \) -print)

# The same interpreter for maturin and for cargo: otherwise pyo3 is compiled again at every change between them.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport PYTHONHOME

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve mithril test test-rust test-python test-mithril test-clients clients peers transcripts lint lint-rust lint-python lint-stubs fmt bench fuzz simulate differential crash pmem damage client-versions docs lock clean \
	tools

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/.stamp-core ## Start a node (ARGS="--port 6380 ..." for options)
	@exec $(BIN)/yggdrasil serve $(ARGS)

mithril: $(VENV)/.stamp-mithril ## Install the products: .venv/bin/mithril

test: test-rust test-python test-mithril ## Run all tests

# Documentation has no examples in Rust; to look for them, cargo would compile the kernels once more.
test-rust: tools ## Run the tests of the engine
	cargo test --workspace --tests --locked

test-python: $(VENV)/.stamp-dev $(VENV)/.stamp-core ## Run the tests of the product (ARGS="-k name" for some)
	cargo build --quiet --profile $(PROFILE) --locked $(LOADGEN)
	$(PYTEST) --ignore=tests/mithril --ignore=tests/clients/programs $(ARGS)

peers: $(VENV)/.stamp-dev $(VENV)/.stamp-core ## Run against the peer Redis whatever our node is tested with
	$(BIN)/pytest --peers -m peer --ignore=tests/clients/programs $(ARGS)

transcripts: $(VENV)/.stamp-dev $(VENV)/.stamp-core ## Fill in what the peer Redis replies, and check the rest
	$(BIN)/python -m tests.transcripts

test-mithril: $(VENV)/.stamp-mithril-dev $(VENV)/.stamp-core $(VENV)/.stamp-mithril ## Run the tests of Mithril, with the real frameworks
	$(PYTEST) tests/mithril $(ARGS)

# Warnings of the programs are their own.
CLIENTS := $(BIN)/pytest -W default tests/clients/programs

test-clients: $(VENV)/.stamp-clients $(VENV)/.stamp-core ## Run programs of Redis users on the node (ARGS="-k name" for some)
	$(CLIENTS) -m "not long" $(ARGS)

clients: $(VENV)/.stamp-clients $(VENV)/.stamp-core ## Run them with what takes minutes: Django's own tests, whole benchmarks
	$(CLIENTS) $(ARGS)

# Python is set up and checked while clippy checks Rust. What needs both comes after that, one by one: cargo builds one
# thing at a time, and so does whatever installs into the environment.
lint: ## Check format, types and style of everything
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint-rust lint-python
	@$(MAKE) --no-print-directory lint-stubs

lint-rust: $(VENV)/pyvenv.cfg
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo metadata --locked --format-version 1 --manifest-path $(FUZZ_DIR)/Cargo.toml >/dev/null

lint-python: $(VENV)/.stamp-mithril-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy python mithril/python tests examples benches

lint-stubs: $(VENV)/.stamp-mithril-dev $(VENV)/.stamp-core $(VENV)/.stamp-mithril
	$(BIN)/python -m mypy.stubtest yggdrasil._core
	$(BIN)/python -m mypy.stubtest mithril._kernels

fmt: $(VENV)/.stamp-dev ## Format everything
	cargo fmt --all
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/.stamp-dev $(VENV)/.stamp-core ## Measure (ARGS="--help" for what there is)
	$(BIN)/python -m benches.run $(ARGS)

# The instrumentation that libFuzzer reads, as cargo-fuzz sets it.
FUZZ_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 -Cdebug-assertions \
	$(foreach flag,level=4 inline-8bit-counters pc-table trace-compares,-Cllvm-args=-sanitizer-coverage-$(flag))

fuzz: ## Fuzz the parsers for FUZZ_SECONDS (an hour) in all
	@set -eu; host=$$(rustc -vV | sed -n 's/^host: //p'); cd $(FUZZ_DIR); \
	RUSTFLAGS="$(FUZZ_FLAGS)" cargo build --quiet --release --locked --target "$$host"; \
	targets=$$(cd fuzz_targets && ls | sed 's/\.rs$$//'); \
	seconds=$$(( $(FUZZ_SECONDS) / $$(echo "$$targets" | wc -w) )); \
	for target in $$targets; do \
		mkdir -p "artifacts/$$target" "target/corpus/$$target"; \
		"target/$$host/release/$$target" -max_total_time=$$seconds -artifact_prefix="artifacts/$$target/" \
			"target/corpus/$$target" "corpus/$$target"; \
	done

simulate: ## Simulate nodes by SEEDS seeds (a million), from seed FIRST on; SEED=n runs one again
	YGGDRASIL_SIMULATE_SEEDS=$(SEEDS) YGGDRASIL_SIMULATE_FIRST=$(FIRST) $(if $(SEED),YGGDRASIL_SIMULATE_SEED=$(SEED)) \
		cargo test --profile quick --locked --package yggdrasil-core --lib -- simulation --nocapture

differential: $(VENV)/.stamp-dev $(VENV)/.stamp-core ## Ask our node and the peer the same REQUESTS (200,000), by random sequences; SEED=n does it again
	$(BIN)/python -m tests.differential --requests $(or $(REQUESTS),200000) $(if $(SEED),--seed $(SEED)) $(ARGS)

crash: $(VENV)/.stamp-dev $(VENV)/.stamp-core ## Kill processes for ROUNDS rounds (1,000), cut the power of a device POWER_ROUNDS times (200) and of simulated disks 10,000 times
	YGGDRASIL_LOG_CASES=10000 cargo test --profile quick --locked --package yggdrasil-log --test power
	$(BIN)/python -m tests.durability.crash --rounds $(or $(ROUNDS),1000) --progress target/crash/killed.json \
		$(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.durability.crash --power --rounds $(or $(POWER_ROUNDS),200) --progress target/crash/power.json \
		$(if $(SEED),--seed $(SEED))

pmem: $(VENV)/.stamp-dev ## Kill ROUNDS guests (20) that write to persistent memory; HWLAB names the script that starts them
	$(BIN)/python -m tests.durability.pmem --rounds $(or $(ROUNDS),20) $(if $(SEED),--seed $(SEED))

damage: ## Damage snapshots and logs in CASES ways (10,000) each
	YGGDRASIL_DAMAGE_CASES=$(CASES) cargo test --profile quick --locked --package yggdrasil-snapshot --package yggdrasil-log --test damage --test archive -- --nocapture

client-versions: $(VENV)/.stamp-dev $(VENV)/.stamp-core ## Run the clients with redis-py 5 to 8
	$(BIN)/python -m tests.clients.versions

docs: $(VENV)/.stamp-core ## Write the generated pages of docs/ again
	$(BIN)/python -m yggdrasil.server.config_page > docs/configuration.md
	$(BIN)/python -m yggdrasil.server.command_page > docs/commands.md

# Both distributions live in one environment: what Mithril needs is chosen within what the product has chosen.
lock: $(VENV)/.stamp-dev ## Choose the versions of the Python dependencies again
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--upgrade --extra server --group build -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--upgrade --extra server --group test -o requirements-dev.lock
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--upgrade -c requirements-dev.lock --group clients -o requirements-clients.lock
	$(BIN)/uv pip compile mithril/pyproject.toml $(MITHRIL_COMPILE) --group mithril/pyproject.toml:build \
		-o mithril/requirements.lock
	$(BIN)/uv pip compile mithril/pyproject.toml $(MITHRIL_COMPILE) --group mithril/pyproject.toml:test \
		$(foreach extra,$(MITHRIL_EXTRAS),--extra $(extra)) -o mithril/requirements-test.lock

clean: ## Remove what was built
	rm -rf $(VENV) target $(FUZZ_DIR)/target dist .pytest_cache .mypy_cache .ruff_cache
	rm -f python/yggdrasil/*.so mithril/python/mithril/*.so

tools:
	@sh .ci/tools "$(PYTHON)"

$(VENV)/pyvenv.cfg: | tools
	$(PYTHON) -m venv $(VENV)

$(VENV)/.stamp-run: requirements.lock $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.stamp-dev: requirements-dev.lock $(VENV)/.stamp-run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.stamp-clients: requirements-clients.lock $(VENV)/.stamp-dev
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-clients.lock
	@touch $@

# uv installs the frameworks, some gigabytes, many times faster than pip.
$(VENV)/.stamp-mithril-dev: mithril/requirements-test.lock $(VENV)/.stamp-dev
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r mithril/requirements-test.lock
	@touch $@

$(VENV)/.stamp-mithril: $(RUST_SOURCES) mithril/pyproject.toml mithril/requirements.lock $(VENV)/.stamp-run | tools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r mithril/requirements.lock
	cd mithril && PIP_QUIET=1 ../$(BIN)/maturin develop --quiet --profile $(PROFILE) --locked
	@touch $@

$(VENV)/.stamp-core: $(RUST_SOURCES) pyproject.toml $(VENV)/.stamp-run | tools
	PIP_QUIET=1 $(BIN)/maturin develop --quiet --profile $(PROFILE) --locked
	@touch $@
