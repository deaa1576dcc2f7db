#!/usr/bin/env bash
# The kernel and its peers on one model and the same rows, in one interleaved run: prints the tables of
# edge/kernel/README.md. Takes a quarter of an hour the first time, most of it building tract.
# ROUNDS: how often every engine gets its turn (60); the smallest times count.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ $(uname -m) == x86_64 ]] || echo "edge-peers.sh: the kernel takes its portable path on $(uname -m)" >&2

need() { command -v "$1" >/dev/null || { echo "edge-peers.sh: $1 is missing: $2" >&2; exit 1; }; }
need cargo "install Rust 1.95 or later, https://rustup.rs"
need python3 "install Python 3.11 or later, with venv"
need gcc "install gcc: tl2cgen's and lleaves' models are linked with it"

target="${CARGO_TARGET_DIR:-$PWD/target}/peers"
venv="$target/venv"
requirements=benches/peers/requirements.txt
mkdir -p "$target"
if ! cmp -s "$requirements" "$venv/installed"; then
  echo "edge-peers.sh: installing the peers of $requirements into $venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$venv/installed"
fi

model="$target/model"
if ! cmp -s benches/peers/model.py "$model/made-by"; then
  echo "edge-peers.sh: training the model of benches/peers/model.py"
  mkdir -p "$model"
  "$venv/bin/python" benches/peers/model.py "$model"
  cp benches/peers/model.py "$model/made-by"
fi

CARGO_TARGET_DIR="$target" cargo build --quiet --release --manifest-path benches/peers/Cargo.toml
packages="$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
ORT_DYLIB_PATH="$(echo "$packages"/onnxruntime/capi/libonnxruntime.so.*)" LIGHTGBM="$packages/lightgbm/lib/lib_lightgbm.so" \
  "$target/release/plimsoll-peers" "$model"
