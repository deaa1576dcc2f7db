#!/usr/bin/env bash
# Asks a service everything that its OpenAPI description allows, and much that it does not: all checks of schemathesis, on
# SQLite and on PostgreSQL.
# Usage: serve/schemathesis.sh [SECONDS for each store, 120 by default] [seed]; a service that was built is taken from
# PLIMSOLL_SERVE.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD seconds=${1:-120} seed=${2:-1}
die() { echo "schemathesis.sh: $*" >&2; exit 1; }

venv=$root/.venv-schemathesis requirements=serve/schemathesis/requirements.txt
if ! cmp -s "$requirements" "$venv/installed"; then
  echo "schemathesis.sh: installing schemathesis into $venv"
  python3 -m venv "$venv" || die "python3 -m venv failed: install python3-venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" || die "schemathesis could not be installed"
  cp "$requirements" "$venv/installed"
fi
serve=${PLIMSOLL_SERVE:-}
if [ -z "$serve" ]; then
  cargo build --quiet --package plimsoll-serve
  serve=${CARGO_TARGET_DIR:-$root/target}/debug/plimsoll-serve
fi
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1 || true)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb || die "PostgreSQL is missing")")

work=$(mktemp -d) service= owner=
[ "$(id -u)" != 0 ] || owner="setpriv --reuid=postgres --regid=postgres --clear-groups"
finish() {
  [ -z "$service" ] || kill "$service" 2>/dev/null || true
  [ ! -e "$work/pg/data/postmaster.pid" ] || $owner "$bin/pg_ctl" -D "$work/pg/data" -m immediate stop >/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
chmod 755 "$work"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# one NAME STORE-URL
one() {
  local name=$1 store=$2 port api
  port=$(free_port) api=http://127.0.0.1:$port
  mkdir "$work/$name"
  cd "$work/$name"
  local published=$root/edge/tests/fixtures/published
  "$serve" run --dev --set "server.listen=127.0.0.1:$port" --set "store.url=$store" --set log.level=warn \
    --set "programme.repository=$published/first" --set "programme.trust_root=$published/root.json" \
    --set limits.holder_per_minute=0 --set limits.bridge_per_minute=0 --set limits.admin_per_minute=0 \
    --set limits.peer_per_minute=0 >service.log 2>&1 &
  service=$!
  for _ in $(seq 200); do curl --silent --fail "$api/healthz" >/dev/null && break || sleep 0.1; done
  export PLIMSOLL_DEV_KEYS=$PWD/plimsoll-serve/dev PLIMSOLL_ACCOUNT=alice
  bridge() {
    curl --silent --show-error --fail-with-body -X "$1" "$api$2" -d "$3" \
      --config <("$serve" sign --dev-key "$PLIMSOLL_DEV_KEYS/bridge.pem" "$1" "$api$2" "$3")
  }
  bridge PUT /v1/accounts/alice '{"opened_at": 1700000000, "tier": 2, "balance": 50000, "lifetime_tx": 900}' >/dev/null
  PLIMSOLL_JKT=$(bridge POST /v1/devices '{"account": "alice", "public_key": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}' \
    | sed 's/.*"jkt":"\([^"]*\)".*/\1/')
  PLIMSOLL_HOLDER=$("$serve" token --dev-key "$PLIMSOLL_DEV_KEYS/token.pem" --account alice --jkt "$PLIMSOLL_JKT" --ttl-s 86400)
  PLIMSOLL_ADMIN=$("$serve" token --dev-key "$PLIMSOLL_DEV_KEYS/token.pem" --admin asha --role admin --ttl-s 86400)
  PLIMSOLL_GRANT=$(curl --silent --show-error --fail-with-body -X POST "$api/v1/sync" -H "authorization: Bearer $PLIMSOLL_HOLDER" \
    -H 'content-type: application/json' -d '{"wid": "AQEBAQEBAQE"}' | sed 's/.*"jti":"\([^"]*\)".*/\1/')
  export PLIMSOLL_JKT PLIMSOLL_HOLDER PLIMSOLL_ADMIN PLIMSOLL_GRANT
  echo "schemathesis.sh: $name, $seconds s"
  cd "$root/serve/schemathesis"
  PYTHONDONTWRITEBYTECODE=1 "$venv/bin/schemathesis" --config-file schemathesis.toml run "$api/openapi.json" --checks all \
    --seed "$seed" --max-time "$seconds" --generation-database none --no-color --warnings off \
    || { tail -20 "$work/$name/service.log" >&2; die "$name: something is not as it is described"; }
  kill "$service" && wait "$service" || die "$name: the service did not end well"
  service=
  cd "$root"
}

one sqlite "sqlite:$work/plimsoll.db"

mkdir "$work/pg"
[ -z "$owner" ] || chown postgres "$work/pg"
port=$(free_port)
(cd "$work/pg" && $owner "$bin/initdb" --username=plimsoll --auth=trust --encoding=UTF8 --no-sync -D data >/dev/null \
  && $owner "$bin/pg_ctl" -D data -o "-p $port -k $work/pg -c listen_addresses=127.0.0.1" -l log -w start >/dev/null)
one postgres "postgres://plimsoll@127.0.0.1:$port/postgres"
