#!/usr/bin/env bash
# The booster beside its peers on the same rows: prints one line of JSON a run, and a table of them at the end. Runs are
# interleaved, so that what else the machine does falls on everybody; the least CPU seconds of each count.
#   ROWS (500000), ROUNDS ("100 300"), THREADS ("1 2"), REPEATS (2), OBJECTIVES ("quantile logistic levels"),
#   ENGINES (all). The peers of benches/boost/requirements.txt go into a virtual environment of their own;
#   building hessboost takes some minutes the first time.
set -euo pipefail
cd "$(dirname "$0")/.."

need() { command -v "$1" >/dev/null || { echo "boost.sh: $1 is missing: $2" >&2; exit 1; }; }
need cargo "install Rust 1.95 or later, https://rustup.rs"
need python3 "install Python 3.11 or later, with venv"

root="${CARGO_TARGET_DIR:-$PWD/target}"
target="$root/boost"
venv="$target/venv"
requirements=benches/boost/requirements.txt
mkdir -p "$target"
if ! cmp -s "$requirements" "$venv/installed"; then
  echo "boost.sh: installing the peers of $requirements into $venv" >&2
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$venv/installed"
fi

rows="${ROWS:-500000}"
data="$target/data-$rows"
if ! cmp -s benches/boost/data.py "$data/made-by"; then
  "$venv/bin/python" benches/boost/data.py "$data" "$rows"
  cp benches/boost/data.py "$data/made-by"
fi

cargo build --quiet --release -p plimsoll-benches --bin boost_run
CARGO_TARGET_DIR="$target" cargo build --quiet --release --manifest-path benches/boost/Cargo.toml

engines="${ENGINES:-plimsoll plimsoll-sampled plimsoll-monotone lightgbm lightgbm-quantised xgboost catboost sklearn hessboost gbdt}"
lines="$target/lines.json"
: >"$lines"
run() {
  case "$1" in
    plimsoll*) "$root/release/boost_run" "$data" "$@" ;;
    hessboost | gbdt) "$target/release/plimsoll-boost-peers" "$data" "$@" ;;
    *) "$venv/bin/python" benches/boost/engines.py "$data" "$@" ;;
  esac 2>>"$target/stderr" | tee -a "$lines"
}
for _ in $(seq "${REPEATS:-2}"); do
  for threads in ${THREADS:-1 2}; do
    for rounds in ${ROUNDS:-100 300}; do
      for objective in ${OBJECTIVES:-quantile logistic levels}; do
        for engine in $engines; do
          case "$engine $objective" in
            *"monotone logistic" | *"sampled levels" | *"monotone levels") continue ;;
            lightgbm" "levels) ;;
            plimsoll" "levels) run plimsoll levels-apart "$rounds" "$threads" ;;
            *" levels") continue ;;
            gbdt" "quantile) continue ;;
          esac
          run "$engine" "$objective" "$rounds" "$threads"
        done
      done
    done
  done
done
"$venv/bin/python" benches/boost/table.py "$lines"
