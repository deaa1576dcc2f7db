#!/usr/bin/env bash
# Builds plimsoll.wasm, the demo page around it, and says how large it is. rustup ships no WebAssembly standard library to every
# machine, so this uses Debian's compiler and builds the library from its source.
#
#   edge/wasm/build.sh [OUT]     default OUT: target/plimsoll-wasm
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
out=${1:-$target/plimsoll-wasm}

missing() { for package in rustc-web cargo-web rust-web-src lld-22 binaryen; do
  dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
done; }
command -v dpkg-query >/dev/null || { echo "build.sh: needs Debian 12's packages: rustc-web cargo-web rust-web-src lld-22 binaryen" >&2; exit 1; }
packages=$(missing)
if [ -n "$packages" ]; then
  install="apt-get install --no-install-recommends" packages=$(echo $packages)
  [ "$(id -u)" = 0 ] || { echo "build.sh: missing packages; as root: $install $packages" >&2; exit 1; }
  echo "build.sh: installing $packages"
  { apt-get update && DEBIAN_FRONTEND=noninteractive $install --yes $packages; } >"${TMPDIR:-/tmp}/plimsoll-apt.log" 2>&1 \
    || { tail -5 "${TMPDIR:-/tmp}/plimsoll-apt.log" >&2; echo "build.sh: $install $packages failed" >&2; exit 1; }
fi
command -v node >/dev/null || { echo "build.sh: needs node 20 or later" >&2; exit 1; }

# No panic message could be shown here and a panic is a trap either way: without messages and places a tenth less.
RUSTFLAGS="-Zunstable-options -Cpanic=immediate-abort -Zlocation-detail=none --cfg sha2_backend_soft=\"compact\" --remap-path-prefix=$PWD=" \
RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=/usr/bin/wasm-ld-22 \
  /usr/bin/cargo build --quiet --locked --package plimsoll-ffi --profile edge --target wasm32-unknown-unknown \
  --target-dir "$target/wasm" -Zbuild-std=core,alloc,std,panic_abort -Zbuild-std-features=optimize_for_size

mkdir -p "$out"
features=(--enable-bulk-memory --enable-sign-ext --enable-mutable-globals --enable-nontrapping-float-to-int)
# Not -Oz: it makes the file smaller and what travels, under brotli, larger. Arguments that nobody reads are worth taking out.
wasm-opt -O1 --dae-optimizing --duplicate-function-elimination --remove-unused-module-elements --strip-producers "${features[@]}" "$target/wasm/wasm32-unknown-unknown/edge/plimsoll_ffi.wasm" -o "$out/plimsoll.wasm"
cp edge/wasm/plimsoll.js edge/wasm/plimsoll.d.ts "$out/"
if [ -d edge/wasm/demo ]; then
  rm -rf "$out/demo"
  cp -r edge/wasm/demo "$out/demo"
  cp "$out/plimsoll.wasm" "$out/plimsoll.js" edge/wasm/test/golden.js "$out/demo/"
  cp -r edge/tests/fixtures/published/second "$out/demo/repository"
  cp edge/tests/fixtures/published/root.json edge/tests/fixtures/device.json "$out/demo/"
  (cd "$out/demo" && find repository -type f | sort | node -e '
    const paths = require("fs").readFileSync(0, "utf8").trim().split("\n");
    console.log(JSON.stringify({ root: "root.json", files: paths }, null, 1))' >repository.json)
fi

node -e '
const { readFileSync } = require("fs"), { brotliCompressSync, gzipSync, constants } = require("zlib");
const wasm = readFileSync(process.argv[1]);
const brotli = brotliCompressSync(wasm, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24,
  [constants.BROTLI_PARAM_SIZE_HINT]: wasm.length } }).length;
console.log(`plimsoll.wasm: ${wasm.length} bytes, gzip ${gzipSync(wasm, { level: 9 }).length}, brotli ${brotli}`);
// The target is 250,000: see edge/README.md. It may not grow.
if (brotli > 274_000) { console.error("build.sh: larger than the 274,000 bytes it may have under brotli"); process.exit(1); }
' "$out/plimsoll.wasm"
