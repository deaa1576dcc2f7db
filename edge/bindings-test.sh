#!/usr/bin/env bash
# Every binding of the edge, used by a real consumer: a C program under sanitizers, Python, Node, TypeScript's compiler and a
# headless browser. Installs what they need on Debian as root, or says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export PLIMSOLL_WASM_OUT=$target/plimsoll-wasm

.ci/install gcc=gcc python3=python3
[ -e "$(gcc -print-file-name=libasan.so 2>/dev/null)" ] || { echo "bindings-test.sh: $(gcc --version | head -1) has no AddressSanitizer" >&2; exit 1; }
.ci/browser edge/wasm

# C and Python: Rust tests that start the consumers. Without tract, as devices carry it.
cargo test --package plimsoll-ffi --package plimsoll-uniffi

edge/wasm/build.sh "$PLIMSOLL_WASM_OUT"
cd edge/wasm
npx --no-install tsc --strict --noEmit --target es2022 --module nodenext --moduleResolution nodenext --lib es2022,dom,dom.iterable test/types.ts
node --test test/node.test.js test/browser.test.js
