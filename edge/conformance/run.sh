#!/usr/bin/env bash
# edge/conformance/run.sh SUITE [PYTEST-OPTION…]: runs the tuf-conformance suite (https://github.com/theupdateframework/
# tuf-conformance, a checkout of it at SUITE) against the device's TUF client. Needs python3 with venv, and faketime.
# What is expected to fail, and why, is in xfails beside this script; anything else that fails, fails this script, and so
# does an expected failure that passes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
suite=$(cd "${1:?usage: edge/conformance/run.sh SUITE}" && pwd)
shift
command -v faketime >/dev/null || { echo "run.sh: faketime is missing: apt install faketime" >&2; exit 1; }

cd "$here"
cargo build --quiet --release
client=${CARGO_TARGET_DIR:-$here/target}/release/plimsoll-conformance
cp xfails "$client.xfails"

venv=${CARGO_TARGET_DIR:-$here/target}/venv
[ -x "$venv/bin/pytest" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet "$suite"; }
"$venv/bin/pytest" "$suite/tuf_conformance" --entrypoint "$client" -q "$@"
