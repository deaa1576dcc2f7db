#!/usr/bin/env bash
# What a sync costs as the store grows: requests a second, latency and CPU a request on SQLite with more and more accounts.
# Every account has a history of 60 rows, a device and a token; requests come in an order drawn over all of them.
#   cargo run --release -- demo && benches/serve-growth.sh plimsoll-demo [ACCOUNTS ...]
# Needs about 10 kB of disk an account. SECONDS_EACH (10).
set -euo pipefail
demo=$(cd "${1:?usage: benches/serve-growth.sh DEMO_DIRECTORY [ACCOUNTS ...]}" && pwd); shift
cd "$(dirname "$0")/.."
sizes=("${@:-10000}"); [ $# -gt 0 ] || sizes=(10000 100000 1000000)
seconds=${SECONDS_EACH:-10} here=$PWD target=${CARGO_TARGET_DIR:-$PWD/target}
command -v wrk >/dev/null || { echo "serve-growth.sh: wrk is missing: apt-get install wrk" >&2; exit 1; }
cargo build --quiet --release -p plimsoll-serve --bin plimsoll-serve --example seed

work=$(mktemp -d); pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
printf '[programme]\nrepository = "%s"\ntrust_root = "%s"\n[log]\nlevel = "warn"\n' "$demo/repository" "$demo/keys/root.json" \
  >plimsoll-serve.toml
serve="$target/release/plimsoll-serve"
start() {
  "$serve" run --dev >serve.log 2>&1 & pid=$!
  for _ in $(seq 200); do curl --silent --fail http://127.0.0.1:8080/readyz >/dev/null && return; sleep 0.1; done
  echo "serve-growth.sh: the service does not answer" >&2; cat serve.log >&2; exit 1
}
stop() { kill -TERM "$pid"; wait "$pid" || true; pid=; }
cpu() { sed 's/.*) //' "/proc/$pid/stat" | awk -v hz="$(getconf CLK_TCK)" '{ print ($12 + $13) / hz }'; }
printf '{"wid":"AQEBAQEBAQE","payments":[]}' >sync.json

echo "| accounts | file MB | requests/s | p50 ms | p99 ms | CPU µs/request | memory MB | not 2xx |"
echo "|---:|---:|---:|---:|---:|---:|---:|---:|"
for accounts in "${sizes[@]}"; do
  rm -f plimsoll-serve/plimsoll.db*
  start; stop # the developer's keys, and the tables
  "$target/release/examples/seed" sqlite:plimsoll-serve/plimsoll.db "$accounts" plimsoll-serve/dev/token.pem "$work"
  shuf --random-source=<(yes) -n 200000 tokens.txt >drawn.txt
  start
  before=$(cpu)
  told=$(TOKENS=drawn.txt BODY=sync.json TARGET_PATH=/v1/sync wrk -t1 -c32 -d"${seconds}s" -s "$here/benches/serve/load.lua" \
    http://127.0.0.1:8080 | tail -1)
  after=$(cpu) rss=$(awk '/VmRSS/ { printf "%.0f", $2 / 1024 }' "/proc/$pid/status")
  python3 - "$accounts" "$(du -m plimsoll-serve/plimsoll.db | cut -f1)" "$before" "$after" "$rss" "$told" <<'PYTHON'
import json, sys
accounts, mb, before, after, rss = sys.argv[1:6]; w = json.loads(sys.argv[6])
print(f'| {int(accounts):,} | {mb} | {w["requests"] / w["seconds"]:,.0f} | {w["p50_ms"]:.2f} | {w["p99_ms"]:.2f} '
      f'| {(float(after) - float(before)) / w["requests"] * 1e6:.0f} | {rss} | {w["bad"]} |')
PYTHON
  stop
done
