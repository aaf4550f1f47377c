# Every command installs what it misses on a fresh Debian machine and says so. `make help` lists them.

CARGO ?= cargo
BIN := target/release/hookcast
BENCH := target/release/hookcast-bench

.DEFAULT_GOAL := help
.PHONY: help build run demo test crash lint fmt deny bench bench-quick fuzz tools-c tools-nextest tools-deny tools-fuzz clean

help: ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | column -t -s '|'

build: tools-c ## Build the optimised binary
	$(CARGO) build --release --package hookcast

run: build ## Run the server on http://localhost:9000 with its store in ./data, and print curl lines to paste
	HOOKCAST_DELIVERY_ALLOW_NETWORKS="$${HOOKCAST_DELIVERY_ALLOW_NETWORKS-127.0.0.0/8}" $(BIN) serve --hints

demo: build ## See it all work: a server, receivers good and bad, fifty citation events
	$(BIN) demo

test: tools-c tools-nextest ## Everything that must pass
	$(CARGO) nextest run --workspace --no-fail-fast
	$(CARGO) test --workspace --doc --quiet

crash: tools-c tools-nextest ## Kill the server at random moments under load, many times (CRASH_KILLS=n)
	CRASH_KILLS="$${CRASH_KILLS-500}" $(CARGO) nextest run --package hookcast --release --no-capture -E 'test(crash)'

lint: tools-c ## Formatting and clippy, warnings denied
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings

fmt: ## Format everything
	$(CARGO) fmt --all

deny: tools-deny ## Licences and bans of dependencies
	$(CARGO) deny check licenses bans sources

bench: build ## The performance table: about five minutes; writes JSON and SVG to target/bench
	$(CARGO) build --release --package hookcast-bench
	$(BENCH) run

bench-quick: build ## Its first rows, in about a minute
	$(CARGO) build --release --package hookcast-bench
	$(BENCH) run --quick

# Sanitizers are a nightly feature; the variable lets the stable compiler have them.
fuzz: tools-c tools-fuzz ## Fuzz what reads foreign text, each target for FUZZ_SECONDS (60)
	for target in canonical callback_url; do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target -- -max_total_time=$${FUZZ_SECONDS-60} || exit 1; \
	done

clean: ## Remove everything that was built
	$(CARGO) clean

# SQLite is compiled from C.
tools-c:
	@command -v cc >/dev/null || { echo "installing a C compiler (package gcc)"; $(APT) gcc libc6-dev; }

tools-nextest:
	@command -v cargo-nextest >/dev/null || { echo "installing cargo-nextest"; $(CARGO) install cargo-nextest --locked; }

tools-deny:
	@command -v cargo-deny >/dev/null || { echo "installing cargo-deny"; $(CARGO) install cargo-deny --locked; }

tools-fuzz:
	@command -v cargo-fuzz >/dev/null || { echo "installing cargo-fuzz"; $(CARGO) install cargo-fuzz --locked; }
	@command -v g++ >/dev/null || { echo "installing a C++ compiler (package g++)"; $(APT) g++; }

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT = $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends
