#!/usr/bin/env bash
# Every binding of the edge, used by a real consumer: a C program under sanitizers, Python, Node, TypeScript's compiler and a
# headless browser. Installs what they need on Debian as root, or says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export PLIMSOLL_WASM_OUT=$target/plimsoll-wasm
log=${TMPDIR:-/tmp}/plimsoll-bindings.log

die() { echo "bindings-test.sh: $*" >&2; exit 1; }
packages=()
command -v gcc >/dev/null || packages+=(gcc)
[ -e "$(gcc -print-file-name=libasan.so 2>/dev/null)" ] || packages+=(gcc)
command -v "${CHROMIUM:-/usr/bin/chromium}" >/dev/null || packages+=(chromium)
command -v python3 >/dev/null || packages+=(python3)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
if [ ${#packages[@]} -gt 0 ]; then
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || die "missing: ${packages[*]}; as root on Debian: apt-get install ${packages[*]}"
  echo "bindings-test.sh: installing ${packages[*]}"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${packages[@]}"; } >"$log" 2>&1 \
    || { tail -5 "$log" >&2; die "apt-get install ${packages[*]} failed"; }
fi
node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' || die "node $(node --version) is too old: 20 or later"

# C and Python: Rust tests that start the consumers. Without tract, as devices carry it.
cargo test --package plimsoll-ffi --package plimsoll-uniffi

edge/wasm/build.sh "$PLIMSOLL_WASM_OUT"
cd edge/wasm
npm ci --ignore-scripts --no-audit --no-fund >"$log" 2>&1 || { tail -5 "$log" >&2; die "npm ci failed: the test's two packages could not be had"; }
npx --no-install tsc --strict --noEmit --target es2022 --module nodenext --moduleResolution nodenext --lib es2022,dom,dom.iterable test/types.ts
node --test test/node.test.js test/browser.test.js
