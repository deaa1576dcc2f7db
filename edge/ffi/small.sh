#!/usr/bin/env bash
# The shared library as small as it gets: the standard library built from its source for size, no unwinding, no messages,
# portable curve and hash code. Needs a rustc with its source: Debian's rustc-web, cargo-web and rust-web-src.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}/small
host=$(rustc -vV | sed -n 's/^host: //p')
[ -x /usr/bin/cargo ] && dpkg-query --show rust-web-src >/dev/null 2>&1 \
  || { echo "small.sh: missing packages: apt-get install rustc-web cargo-web rust-web-src" >&2; exit 1; }

flags="-Zunstable-options -Cpanic=immediate-abort -Zlocation-detail=none -Cforce-unwind-tables=no"
flags="$flags -Clink-arg=-Wl,-z,pack-relative-relocs"
flags="$flags --cfg curve25519_dalek_backend=\"serial\" --cfg sha2_backend=\"soft\" --cfg sha2_backend_soft=\"compact\""
RUSTFLAGS="$flags" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo build --quiet --locked --package plimsoll-ffi \
  --profile edge --target "$host" --target-dir "$target" \
  -Zbuild-std=core,alloc,std,panic_abort -Zbuild-std-features=optimize_for_size
library="$target/$host/edge/libplimsoll_ffi.so"
echo "$library: $(stat -c %s "$library") bytes"
