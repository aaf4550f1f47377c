# Every command installs what it misses on a fresh Debian machine and says so. `make help` lists them.

CARGO ?= cargo
DOCKER ?= docker
BIN := target/release/hookcast
BENCH := target/release/hookcast-bench

.DEFAULT_GOAL := help
.PHONY: help build run demo test contract crash lint fmt cloudevents deny bench bench-quick bench-full bench-micro count costs fuzz image image-check tools-c tools-nextest
.PHONY: tools-deny tools-stores tools-mail tools-costs tools-count tools-fuzz tools-python tools-node tools-image clean

help: ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | column -t -s '|'

build: tools-c ## Build the optimised binary
	$(CARGO) build --release --package hookcast

run: build ## Run the server on http://localhost:9000 with its store in ./data, and print curl lines to paste
	HOOKCAST_DELIVERY_ALLOW_NETWORKS="$${HOOKCAST_DELIVERY_ALLOW_NETWORKS-127.0.0.0/8}" $(BIN) serve --hints

demo: build ## See it all work: a server, receivers good and bad, fifty citation events
	$(BIN) demo

test: tools-c tools-nextest tools-stores tools-mail contract ## Everything that must pass, on throw-away servers of PostgreSQL and Redis
	scripts/with-stores $(CARGO) nextest run --workspace --no-fail-fast
	$(CARGO) test --workspace --doc --quiet

contract: tools-c tools-python tools-node ## Hold docs/openapi.json against the server: Schemathesis, and a Python and a TypeScript client made from it
	$(CARGO) build --package hookcast
	scripts/check-contract target/debug/hookcast target/contract

crash: tools-c tools-nextest tools-stores ## Kill the server at random moments under load, many times (CRASH_KILLS=n)
	CRASH_KILLS="$${CRASH_KILLS-500}" $(CARGO) nextest run --package hookcast --release --no-capture -E 'test(crash)'

lint: tools-c ## Formatting and clippy, warnings denied
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings

fmt: ## Format everything
	$(CARGO) fmt --all

cloudevents: tools-c tools-nextest tools-python ## Let the SDK of CloudEvents, from PyPI, read what Hookcast writes
	scripts/with-cloudevents $(CARGO) nextest run --package hookcast-core --run-ignored only -E 'test(sdk)'

deny: tools-deny ## Licences and bans of dependencies
	$(CARGO) deny check licenses bans sources

bench: build tools-stores ## The performance table on all three stores: about a quarter of an hour; writes JSON and SVG to target/bench
	$(CARGO) build --release --package hookcast-bench
	$(BENCH) run

bench-quick: build tools-stores ## Its first rows, in a minute or so
	$(CARGO) build --release --package hookcast-bench
	$(BENCH) run --quick

bench-full: build tools-stores ## All of it with 100,000 subscriptions and 10,000,000 past deliveries: hours
	$(CARGO) build --release --package hookcast-bench
	$(BENCH) run --full

bench-micro: tools-c ## What an event costs outside of stores and networks, by function (FILTER=name)
	$(CARGO) bench --package hookcast-core --bench micro -- $(FILTER)

count: tools-c tools-count ## Compare instructions per event with bench/instructions.txt (UPDATE=1 stores them)
	$(CARGO) build --release --package hookcast-store --example main_path
	scripts/instruction-count

costs: build tools-stores tools-costs ## What events and deliveries cost on each store, for docs/scaling.md: about ten minutes
	$(CARGO) build --release --package hookcast-bench
	scripts/costs

# Sanitizers are a nightly feature; the variable lets the stable compiler have them.
fuzz: tools-c tools-fuzz ## Fuzz what reads foreign text, each target for FUZZ_SECONDS (60)
	targets=$$($(CARGO) fuzz list) && for target in $$targets; do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target -- -max_total_time=$${FUZZ_SECONDS-60} || exit 1; \
	done

image: ## Build the container image (DOCKER=podman for another engine)
	$(DOCKER) build --tag hookcast .

image-check: tools-c tools-image ## Try what is in the container image, without a container engine
	scripts/image-check

clean: ## Remove everything that was built
	$(CARGO) clean

# SQLite is compiled from C.
tools-c:
	@command -v cc >/dev/null || { echo "installing a C compiler (package gcc)"; $(APT) gcc libc6-dev; }

tools-stores:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && command -v redis-server >/dev/null && \
		command -v pgbouncer >/dev/null && command -v python3 >/dev/null && command -v openssl >/dev/null && [ -x /bin/kill ] || \
		{ echo "installing PostgreSQL, Redis, PgBouncer and OpenSSL (packages postgresql, redis-server, pgbouncer, python3, openssl, procps)"; \
		$(APT) postgresql redis-server pgbouncer python3 openssl procps; }

tools-mail:
	@/usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || \
		{ echo "installing a mail server for tests (package python3-aiosmtpd)"; $(APT) python3-aiosmtpd; }

tools-costs:
	@command -v strace >/dev/null && command -v ss >/dev/null && command -v sqlite3 >/dev/null || \
		{ echo "installing strace, ss and sqlite3 (packages strace, iproute2, sqlite3)"; $(APT) strace iproute2 sqlite3; }

tools-count:
	@command -v valgrind >/dev/null && command -v python3 >/dev/null || \
		{ echo "installing valgrind (packages valgrind, python3)"; $(APT) valgrind python3; }

tools-nextest:
	@command -v cargo-nextest >/dev/null || { echo "installing cargo-nextest"; $(CARGO) install cargo-nextest --locked; }

tools-deny:
	@command -v cargo-deny >/dev/null || { echo "installing cargo-deny"; $(CARGO) install cargo-deny --locked; }

tools-fuzz:
	@command -v cargo-fuzz >/dev/null || { echo "installing cargo-fuzz"; $(CARGO) install cargo-fuzz --locked; }
	@command -v g++ >/dev/null || { echo "installing a C++ compiler (package g++)"; $(APT) g++; }

tools-python:
	@python3 -c 'import ensurepip' 2>/dev/null || { echo "installing Python (package python3-venv)"; $(APT) python3-venv; }

tools-node:
	@command -v npm >/dev/null || { echo "installing Node.js (packages nodejs and npm)"; $(APT) nodejs npm; }

tools-image:
	@command -v python3 >/dev/null || { echo "installing Python (package python3)"; $(APT) python3; }

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT = $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
