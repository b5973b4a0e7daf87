# The two commands: `make run` and `make test`. Everything they need is installed here.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

ROOT := $(shell id -u)
NPM := $(shell command -v npm 2>/dev/null)
WEB_SOURCES := $(shell find web/src web/public web/index.html web/vite.config.ts web/svelte.config.js -type f 2>/dev/null)
DEBIAN := chromium git python3 python3-venv nodejs bash

.PHONY: help run build test torture setup lint unit web-test browser bench fuzz figures clean

help:
	@echo "make run      build and start the daemon with its defaults"
	@echo "make test     everything that CI runs"
	@echo "make torture  the kill harness for a long time: KILLS=1000 SEED=..."
	@echo "make bench    the benchmarks"
	@echo "make fuzz     the parsers of what strangers send and models write, FUZZ_SECONDS each"

## Running

run: build
	@exec target/release/nexflow run

build: web/dist/index.html
	cargo build --release --locked

# Without Node the daemon still builds, and serves a page that says how to build the real one.
web/dist/index.html: $(WEB_SOURCES) web/package-lock.json
ifeq ($(NPM),)
	@echo "Node is not installed: building without the web page."
else
	@$(MAKE) --no-print-directory web/node_modules/.installed
	cd web && npm run build
	@touch $@
endif

web/node_modules/.installed: web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	@touch $@

## Testing

test: setup lint web-test unit browser
	@echo "All tests passed."

# What the tests need: Debian packages (as root), npm and pip packages, the public skills.
setup: web/node_modules/.installed tests/tools/node_modules/.installed tests/tools/.venv/.installed
	@missing=""; for p in $(DEBIAN); do \
		case $$p in nodejs) command -v node >/dev/null || missing="$$missing $$p";; \
		python3|git|bash) command -v $$p >/dev/null || missing="$$missing $$p";; \
		python3-venv) python3 -c 'import ensurepip' 2>/dev/null || missing="$$missing $$p";; \
		chromium) command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing="$$missing $$p";; esac; done; \
	if [ -n "$$missing" ]; then \
		if [ "$(ROOT)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
		else echo "Install first:$$missing"; exit 1; fi; fi
	@if [ -x tests/tools/corpora.sh ]; then tests/tools/corpora.sh; fi

tests/tools/node_modules/.installed: tests/tools/package-lock.json
	cd tests/tools && npm ci --no-audit --no-fund
	@touch $@

tests/tools/.venv/.installed: tests/tools/requirements.txt
	@python3 -c 'import ensurepip' 2>/dev/null || { [ "$(ROOT)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; }
	python3 -m venv tests/tools/.venv
	tests/tools/.venv/bin/pip install --quiet --disable-pip-version-check -r tests/tools/requirements.txt
	@touch $@

lint:
	cargo fmt --all --check
	cargo lint
	tests/tools/.venv/bin/python tests/tools/lint_docker.py

web-test: web/dist/index.html
	cd web && npm run check && npm test

# The daemon's own tests, the page of this tree inside it.
# With its failpoints: one build for all tests. A release has none.
unit: web/dist/index.html
	cargo test --locked --features failpoints

# Killed a thousand times and more; SEED repeats a run.
KILLS ?= 1000
torture: web/dist/index.html
	NEXFLOW_KILLS=$(KILLS) $(if $(SEED),NEXFLOW_SEED=$(SEED)) cargo test --locked --features failpoints --test it -- kill:: --nocapture --test-threads=1

# With the binary of the other tests: `cargo build` alone would build its dependencies a second time.
browser: web/dist/index.html
	cd web && npm run e2e
	cargo test --locked --features failpoints --test it --no-run
	node tests/browser/run.mjs

# Whole processes, then what runs for every message.
bench: build
	target/release/nexflow bench
	cargo bench --locked

# Each parser of what strangers send, for FUZZ_SECONDS; seeds are real files.
FUZZ_SECONDS ?= 60
fuzz:
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
	for target in manifest policy request render telegram discord; do \
		mkdir -p fuzz/corpus/$$target && cp -n fuzz/seeds/$$target/* fuzz/corpus/$$target/ && \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=1024 || exit 1; done

# The table of docs/security.md: what gets through when one layer of the sandbox is left out.
figures:
	cargo test --locked --test it -- --ignored --nocapture sandbox::layers::figures

clean:
	cargo clean
	rm -rf web/dist web/node_modules tests/tools/node_modules tests/tools/.venv
