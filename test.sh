#!/usr/bin/env bash
# Passes every test. Installs what the tests need beside Rust (the Python oracles, into .venv), or says what is missing.
set -euo pipefail
cd "$(dirname "$0")"

need() { command -v "$1" >/dev/null || { echo "test.sh: $1 is missing: $2" >&2; exit 1; }; }
need cargo "install Rust 1.95 or later, https://rustup.rs"
need c++ "install g++ or clang, for libFuzzer"
need python3 "install Python 3.11 or later, with venv"

requirements=benches/oracles/requirements.txt
stamp=.venv/installed
if ! cmp -s "$requirements" "$stamp"; then
  echo "test.sh: installing the oracles of $requirements into .venv"
  python3 -m venv .venv || { echo "test.sh: python3 -m venv failed: install python3-venv" >&2; exit 1; }
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements" \
    || { echo "test.sh: the oracles could not be installed" >&2; exit 1; }
  cp "$requirements" "$stamp"
fi
export PLIMSOLL_PYTHON="$PWD/.venv/bin/python"

# The store is tested on a PostgreSQL that its tests start themselves.
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || .ci/install initdb=postgresql

cargo fmt --all --check
cargo clippy --workspace --all-targets -- -D warnings
cargo test --workspace "$@"
# The smaller builds of the edge: the kernel alone, and under tract-core. The same tests, the same bits.
cargo clippy -p plimsoll-edge --no-default-features --all-targets -- -D warnings
cargo test -p plimsoll-edge --no-default-features --lib --test slots --test wallet
cargo test -p plimsoll-edge --no-default-features --features tract-core --lib
# The service with key sets over https, and spans to a collector.
cargo clippy -p plimsoll-serve --features https,otlp --all-targets -- -D warnings
cargo test -p plimsoll-serve --features https,otlp --test cli
# C under sanitizers, WebAssembly in Node and in Chromium, Python: each with its own consumer.
edge/bindings-test.sh
# The console as people use it, in Chromium.
serve/console-test.sh
# The report as it is read, on a desk, on a phone and on paper.
train/report-test.sh
# What the service's description allows, and what it does not; a long run is `serve/schemathesis.sh 600`.
PLIMSOLL_SERVE=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/plimsoll-serve serve/schemathesis.sh 20

# Hostile bytes, ten seconds for each reader; a long run is `fuzz/run.sh 600`.
fuzz/run.sh 10
# The suite is not part of this repository: see edge/conformance/run.sh.
if [ -n "${TUF_CONFORMANCE:-}" ]; then
  edge/conformance/run.sh "$TUF_CONFORMANCE"
else
  echo "test.sh: not run: tuf-conformance; set TUF_CONFORMANCE to a checkout of it"
fi
