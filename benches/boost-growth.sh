#!/usr/bin/env bash
# How the booster's time grows with rows: 100 rounds of quantile 0.05 on one thread, 40 columns, as in benches/boost.sh, which
# installs what this needs. Prints a table and draws benches/boost-growth.svg. SIZES ("125000 250000 500000 1000000 2000000").
set -euo pipefail
cd "$(dirname "$0")/.."
root="${CARGO_TARGET_DIR:-$PWD/target}" target="${CARGO_TARGET_DIR:-$PWD/target}/boost"
[ -x "$target/venv/bin/python" ] || { echo "boost-growth.sh: run benches/boost.sh first: it installs NumPy into $target/venv" >&2; exit 1; }
cargo build --quiet --release -p plimsoll-benches --bin boost_run
lines="$target/growth.json"
: >"$lines"
for rows in ${SIZES:-125000 250000 500000 1000000 2000000}; do
  data="$target/data-$rows"
  if ! cmp -s benches/boost/data.py "$data/made-by"; then
    "$target/venv/bin/python" benches/boost/data.py "$data" "$rows"
    cp benches/boost/data.py "$data/made-by"
  fi
  "$root/release/boost_run" "$data" plimsoll quantile 100 1 | sed "s/^{/{\"rows\": $rows, /" | tee -a "$lines" >&2
done
"$target/venv/bin/python" benches/boost/growth.py "$lines" benches/boost-growth.svg
