#!/usr/bin/env bash
# What reader and kernel weigh without the standard library: a native library, stripped, and WebAssembly under brotli.
# WebAssembly needs a rustc with its source (Debian: rustc-web rust-web-src cargo-web lld-22 binaryen) and node.
set -euo pipefail
cd "$(dirname "$0")/size"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/../../../target}/size"

cargo build --quiet --release
echo "native, stripped: $(stat -c %s "$CARGO_TARGET_DIR/release/libplimsoll_kernel_size.so") bytes"

linker="${WASM_LD:-wasm-ld-22}"
for tool in wasm-opt node "$linker"; do
  command -v "$tool" >/dev/null || { echo "size.sh: $tool is missing, no WebAssembly figure" >&2; exit 1; }
done
export RUSTC="${RUSTC_WEB:-/usr/bin/rustc}" RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"
# A panic is a trap: there is nobody to read its message.
RUSTFLAGS="-Zunstable-options -Cpanic=immediate-abort" cargo build --quiet --release \
  --target wasm32-unknown-unknown -Zbuild-std=core,alloc -Zbuild-std-features=optimize_for_size
wasm="$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/plimsoll_kernel_size.wasm"
wasm-opt -Oz --enable-bulk-memory --enable-sign-ext --enable-nontrapping-float-to-int "$wasm" -o "$wasm.small"
node -e '
  const bytes = require("fs").readFileSync(process.argv[1]);
  console.log(`WebAssembly: ${bytes.length} bytes, brotli ${require("zlib").brotliCompressSync(bytes).length}`);
' "$wasm.small"
