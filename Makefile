# What a user and the tests run. Everything is built once, in release, into one target directory outside the checkout:
# RocksDB alone costs a quarter of an hour, and a second profile would cost it again.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/tidegate/target

TIDEGATE := $(CARGO_TARGET_DIR)/release/tidegate
PYTHON := python3
PLUGINS := match route redact validate sample dedup enrich

.PHONY: faults bench-start help setup build plugins hostile test test-rust test-plugins test-clients test-faults test-hostile test-languages languages test-docs examples demo bench bench-kafka bench-languages bench-hostile check fix clean

help:
	@echo 'make demo      real flights through a filter and a router, counts checked'
	@echo 'make examples  pipelines from one configuration file each, on real data, counts checked'
	@echo 'make test      every test: Rust, plugins, Kafka clients, faults'
	@echo 'make build     the binary, at $(TIDEGATE)'
	@echo 'make plugins   the plugins that ship, as target/plugins/<name>.wasm'
	@echo 'make bench     measured figures; bench-kafka: beside Apache Kafka; make check: format and lints; make fix: repairs both'
	@echo 'make setup     the Debian packages that all of this needs; clean: what was built'

# Looks first and does nothing where nothing is missing.
setup:
	@sh tests/setup.sh

build: setup
	cargo build --release --locked --bin tidegate

plugins: build
	@mkdir -p target/plugins
	@for plugin in $(PLUGINS); do $(TIDEGATE) plugin build plugins/$$plugin --out target/plugins/$$plugin.wasm || exit 1; done

# Runs the targets below in turn, with their times, and sums what they counted.
test:
	@$(PYTHON) tests/all.py

# The plugins that do harm: one from Rust, and many that no compiler would write.
hostile: build
	@mkdir -p target/hostile
	@$(TIDEGATE) plugin build tests/hostile/plugins/hostile --out target/hostile/hostile.wasm
	@cargo run --quiet --release --locked --bin hostile-corpus -- target/hostile

test-rust: plugins
	cargo test --release --locked --workspace --no-fail-fast

# What ships as Wasm also runs natively, which is where its unit tests are.
test-plugins:
	cd sdk/rust && cargo test --release --workspace --all-features --no-fail-fast
	cd plugins && cargo test --release --no-fail-fast

# Every block of code in README.md and docs/ is compiled, run or loaded.
test-docs: plugins
	cd tests/docs && cargo test --release --no-fail-fast
	@$(PYTHON) -u tests/docs/check.py

test-clients: plugins
	@$(PYTHON) -u tests/clients/run.py

test-faults: plugins hostile
	@$(PYTHON) -u tests/faults/run.py

# Start time and idle memory with 10,000 partitions.
bench-start: build
	@TIDEGATE_FAULT_SECONDS=3600 $(PYTHON) -u tests/faults/run.py many_partitions

# The long run of what test-faults does a little of.
faults: plugins hostile
	@TIDEGATE_CRASH_ROUNDS=100 TIDEGATE_POWER_CUT_ROUNDS=20 TIDEGATE_DAMAGES=400 TIDEGATE_FAULT_SECONDS=7200 $(PYTHON) -u tests/faults/run.py \
		crash power_cut disk_errors disk_full damage disk_space

test-hostile: plugins hostile
	@$(PYTHON) -u tests/hostile/run.py

# One plugin in Rust, C, Go, JavaScript and Python; installs their compilers where it can, and skips what it cannot.
test-languages: build
	@$(PYTHON) -u tests/languages/run.py

# Only the components, for the bench: target/languages/pick-*.wasm.
languages: build
	@$(PYTHON) -u tests/languages/run.py --build

demo: plugins
	@$(PYTHON) -u examples/flights/demo.py

# Each starts from one configuration file, and counts what it checks.
examples: plugins
	@$(PYTHON) -u examples/behaviour/demo.py
	@$(PYTHON) -u examples/pipeline/demo.py

# In the release profile, which is built already; the whole takes about ten minutes and wants a quiet machine.
bench: plugins languages
	cargo bench --locked --profile release --workspace --bench records --bench append --bench fetch --bench engine --bench chain --bench guests --bench languages

# Beside Apache Kafka 4.1 from Maven Central. About an hour on a quiet machine; `make bench-kafka ARGS=--quick` takes minutes.
bench-kafka: plugins
	cargo build --release --locked --bin tidegate --bin tidegate-bench
	@$(PYTHON) -u tests/bench/kafka.py $(ARGS)

# The same plugin in every language, beside native Rust.
bench-languages: languages
	cargo bench --locked --profile release --workspace --bench languages

# How far past its deadline a plugin is cut off, and what a neighbour's requests take meanwhile.
bench-hostile: plugins hostile
	@$(PYTHON) -u tests/hostile/bench.py

# Only reads.
check: setup
	cargo fmt --all --check
	cd plugins && cargo fmt --all --check
	cd sdk/rust && cargo fmt --all --check
	cd tests/docs && cargo fmt --check
	cd sdk/rust/example && cargo fmt --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	cd plugins && cargo clippy --release --all-targets -- -D warnings
	cd sdk/rust && cargo clippy --release --workspace --all-targets --all-features -- -D warnings
	cd sdk/rust/example && cargo clippy --release --all-targets -- -D warnings

fix: setup
	cargo fmt --all
	cd plugins && cargo fmt --all
	cd sdk/rust && cargo fmt --all
	cargo clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged

clean:
	cargo clean
	rm -rf target tidegate-data
