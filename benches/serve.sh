#!/usr/bin/env bash
# The service beside what a team would write instead (FastAPI, ONNX Runtime, SQLite or PostgreSQL; benches/serve/app.py):
# requests a second, latency, CPU a request, memory. Client and server on the same cores, runs interleaved, every answer
# durable before it is sent, on both sides. Wants a published repository to score with:
#   cargo run --release -- demo && benches/serve.sh plimsoll-demo
# ACCOUNTS (100000), SECONDS_EACH (8), ROUNDS (3). PostgreSQL is measured when its programs are installed.
set -euo pipefail
demo=$(cd "${1:?usage: benches/serve.sh DEMO_DIRECTORY}" && pwd)
cd "$(dirname "$0")/.."
accounts=${ACCOUNTS:-100000} seconds=${SECONDS_EACH:-8} rounds=${ROUNDS:-3} connections=${CONNECTIONS:-32}
here=$PWD target=${CARGO_TARGET_DIR:-$PWD/target}
need() { command -v "$1" >/dev/null || { echo "serve.sh: $1 is missing: $2" >&2; exit 1; }; }
need wrk "apt-get install wrk"
need python3 "install Python 3.11 or later, with venv"

cargo build --quiet --release -p plimsoll-serve --bin plimsoll-serve --example seed
venv=$target/serve-peer
if ! cmp -s benches/serve/requirements.txt "$venv/installed"; then
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r benches/serve/requirements.txt
  cp benches/serve/requirements.txt "$venv/installed"
fi

work=$(mktemp -d)
pids=()
finish() { kill "${pids[@]}" 2>/dev/null || true; [ -z "${postgres:-}" ] || "$postgres" stop 2>/dev/null || true; rm -rf "$work"; }
trap finish EXIT
cd "$work"
cat >plimsoll-serve.toml <<TOML
[programme]
repository = "$demo/repository"
trust_root = "$demo/keys/root.json"
[limits]
admin_per_minute = 100000000
remembered = 1000000
[log]
level = "warn"
TOML
serve="$target/release/plimsoll-serve"
wait_for() { for _ in $(seq 200); do curl --silent --fail "$1" >/dev/null && return; sleep 0.1; done; echo "serve.sh: $1 does not answer" >&2; exit 1; }
stop() { kill -TERM "$1" 2>/dev/null || true; wait "$1" 2>/dev/null || true; }

# The first start makes the developer's keys and the tables.
"$serve" run --dev >first.log 2>&1 & pid=$!
wait_for http://127.0.0.1:8080/healthz; stop $pid
echo "filling both stores with $accounts accounts"
"$target/release/examples/seed" sqlite:plimsoll-serve/plimsoll.db "$accounts" plimsoll-serve/dev/token.pem "$work"
"$venv/bin/python" "$here/benches/serve/fill.py" sqlite:peer.db features.f32 "$accounts"
model=$(ls "$demo"/repository/targets/models/*.onnx | head -1)
shuf --random-source=<(yes) tokens.txt -o tokens.txt
"$serve" token --dev-key plimsoll-serve/dev/token.pem --admin bench >admin.txt
# One form of the grant, as the peer answers it.
printf '{"wid":"AQEBAQEBAQE","payments":[],"form":"jws"}' >sync.json
"$venv/bin/python" -c '
import numpy as np, json
row = np.fromfile("features.f32", dtype=np.float32, count=61)
one = {"features": [None if x != x else float(x) for x in row], "balance": 100000, "tier": 2}
json.dump({"rows": [one]}, open("score.json", "w")); json.dump({"rows": [one] * 100}, open("batch.json", "w"))'

# cpu PID...: seconds of user and system time of the processes and their children.
cpu() { cat $(for p in "$@"; do echo "/proc/$p/stat"; for c in $(pgrep -P "$p"); do echo "/proc/$c/stat"; done; done) 2>/dev/null \
  | sed 's/.*) //' | awk -v hz="$(getconf CLK_TCK)" '{ t += $12 + $13 } END { print t / hz }'; }
rss() { cat $(for p in "$@"; do echo "/proc/$p/status"; for c in $(pgrep -P "$p"); do echo "/proc/$c/status"; done; done) 2>/dev/null \
  | awk '/VmRSS/ { kb += $2 } END { printf "%.0f", kb / 1024 }'; }
offset=0
# load NAME PORT PATH TOKENS BODY PID...: one run, one line of JSON into results.
load() {
  local name=$1 port=$2 path=$3 tokens=$4 body=$5; shift 5
  local before after told
  before=$(cpu "$@")
  told=$(DELAY_MS=${DELAY_MS:-0} TOKENS=$tokens BODY=$body TARGET_PATH=$path OFFSET=$offset wrk -t1 -c"$connections" -d"${seconds}s" \
    -s "$here/benches/serve/load.lua" "http://127.0.0.1:$port" | tail -1)
  after=$(cpu "$@")
  offset=$((offset + accounts / 7))
  echo "{\"name\":\"$name\",\"cpu\":$(awk "BEGIN{print $after-$before}"),\"rss_mb\":$(rss "$@"),\"wrk\":$told}" >>results
}

peer() { MODEL=$model KEY=plimsoll-serve/dev/jwks.json STORE=$1 "$venv/bin/uvicorn" --app-dir "$here/benches/serve" app:app --port "$2" \
  --workers 2 --loop uvloop --http httptools --log-level warning --no-access-log >"peer-$2.log" 2>&1 & }

measure() { # measure STORE_NAME OURS_URL PEER_STORE
  "$serve" run --dev --set "store.url=$2" >serve.log 2>&1 & local ours=$!; pids+=($ours)
  peer "$3" 8081; local theirs=$!; pids+=($theirs)
  wait_for http://127.0.0.1:8080/readyz; wait_for http://127.0.0.1:8081/openapi.json
  for round in $(seq "$rounds"); do
    if [ "$1" = sqlite ]; then
      load "score plimsoll" 8080 /v1/score admin.txt score.json "$ours"
      load "score fastapi" 8081 /v1/score admin.txt score.json "$theirs"
      load "score×100 plimsoll" 8080 /v1/score admin.txt batch.json "$ours"
      load "score×100 fastapi" 8081 /v1/score admin.txt batch.json "$theirs"
    fi
    load "sync $1 plimsoll" 8080 /v1/sync tokens.txt sync.json "$ours"
    load "sync $1 fastapi" 8081 /v1/sync tokens.txt sync.json "$theirs"
  done
  # Half of the peak: connections wait between requests. A twentieth of the wait is left for the answer.
  local wait
  for kind in sync $([ "$1" = sqlite ] && echo score); do
    wait=$(python3 -c '
import json, sys
runs = [json.loads(line) for line in open("results")]
peak = max(r["wrk"]["requests"] / r["wrk"]["seconds"] for r in runs if r["name"] == sys.argv[1])
print(round(int(sys.argv[2]) / (peak / 2) * 1000 * 0.95))' "$kind$([ $kind = score ] || echo " $1") plimsoll" 320)
    if [ $kind = sync ]; then
      connections=320 DELAY_MS=$wait load "sync $1 plimsoll, half the peak" 8080 /v1/sync tokens.txt sync.json "$ours"
    else
      connections=320 DELAY_MS=$wait load "score plimsoll, half the peak" 8080 /v1/score admin.txt score.json "$ours"
    fi
  done
  stop "$ours"; stop "$theirs"
}
measure sqlite sqlite:plimsoll-serve/plimsoll.db sqlite:peer.db

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1 || true)
if [ -n "$bin" ]; then
  owner=$([ "$(id -u)" = 0 ] && echo "setpriv --reuid=postgres --regid=postgres --clear-groups" || true)
  chmod 755 "$work"; mkdir pg; [ -z "$owner" ] || chown postgres pg
  $owner "$bin/initdb" -D pg/data -A trust -U bench >/dev/null
  $owner "$bin/pg_ctl" -D pg/data -o "-p 5499 -k $work/pg -c listen_addresses=127.0.0.1 -c max_connections=50" -l pg/log -w start >/dev/null
  stop_postgres() { $owner "$bin/pg_ctl" -D pg/data -m fast stop >/dev/null; }
  trap 'stop_postgres || true; finish' EXIT
  for db in ours theirs; do "$bin/createdb" -h 127.0.0.1 -p 5499 -U bench $db; done
  "$target/release/examples/seed" postgres://bench@127.0.0.1:5499/ours "$accounts" plimsoll-serve/dev/token.pem "$work"
  shuf --random-source=<(yes) tokens.txt -o tokens.txt
  "$venv/bin/python" "$here/benches/serve/fill.py" postgres://bench@127.0.0.1:5499/theirs features.f32 "$accounts"
  measure postgres postgres://bench@127.0.0.1:5499/ours postgres://bench@127.0.0.1:5499/theirs
else
  echo "serve.sh: PostgreSQL is not installed: not measured" >&2
fi

"$venv/bin/python" - <<'PYTHON'
import json
best = {}
for line in open("results"):
    run = json.loads(line); w = run["wrk"]
    run["rps"] = w["requests"] / w["seconds"]; run["cpu_us"] = run["cpu"] / w["requests"] * 1e6
    if run["name"] not in best or run["rps"] > best[run["name"]]["rps"]: best[run["name"]] = run
print("\n| request | requests/s | p50 ms | p99 ms | CPU µs/request | memory MB | not 2xx |\n|---|---:|---:|---:|---:|---:|---:|")
for name, r in best.items():
    w = r["wrk"]
    print(f'| {name} | {r["rps"]:,.0f} | {w["p50_ms"]:.2f} | {w["p99_ms"]:.2f} | {r["cpu_us"]:.0f} | {r["rss_mb"]} | {w["bad"]} |')
print("\nbest of the rounds; times the peer:")
for name, r in best.items():
    if name.endswith("plimsoll"):
        p = best[name.replace("plimsoll", "fastapi")]
        print(f'{name.removesuffix(" plimsoll")}: {r["rps"]/p["rps"]:.1f} × requests, {p["cpu_us"]/r["cpu_us"]:.1f} × less CPU a request')
PYTHON
