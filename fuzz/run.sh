#!/usr/bin/env bash
# fuzz/run.sh SECONDS [TARGET…]: runs every fuzz target for that long on the saved corpus. What it finds is in
# fuzz/findings; with MERGE=1 the corpus is minimised afterwards, keeping what found new ground.
#
# The targets are plain libFuzzer programs, built by stable Rust: neither cargo-fuzz nor a nightly toolchain is needed.
# (`cargo fuzz run TARGET` works too, where there is one; it adds AddressSanitizer.)
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET…]}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(onnx metadata grant payment slots wallet ffi)

host=$(rustc -vV | sed -n 's/^host: //p')
# `--target` keeps the flags away from build scripts.
counters="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
RUSTFLAGS="$counters" cargo build --quiet --release --target "$host"
bin=${CARGO_TARGET_DIR:-target}/$host/release

mkdir -p findings
for target in "${targets[@]}"; do
  mkdir -p "corpus/$target" "work/$target"
  options=(-timeout=10 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 -artifact_prefix="findings/$target-")
  [ -f "dictionaries/$target.dict" ] && options+=(-dict="dictionaries/$target.dict")
  echo "== $target: $seconds s"
  "$bin/$target" "${options[@]}" -max_total_time="$seconds" "work/$target" "corpus/$target" >"work/$target.log" 2>&1 || {
    tail -40 "work/$target.log"
    echo "fuzz/run.sh: $target failed; the input is in fuzz/findings" >&2
    exit 1
  }
  grep -E 'cov: ' "work/$target.log" | tail -1
  grep -E 'stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)' "work/$target.log"
  if [ -n "${MERGE:-}" ]; then
    mkdir -p "work/merged/$target"
    "$bin/$target" -merge=1 -max_len=65536 "work/merged/$target" "corpus/$target" "work/$target" >/dev/null 2>&1
    rm -rf "corpus/$target"
    mv "work/merged/$target" "corpus/$target"
  fi
done
