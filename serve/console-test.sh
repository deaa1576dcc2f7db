#!/usr/bin/env bash
# The console in a headless browser. Installs what that needs on Debian as root, or says what is missing.
# CONSOLE_SHOTS=DIR keeps pictures of the pages.
set -euo pipefail
cd "$(dirname "$0")/.."
log=${TMPDIR:-/tmp}/plimsoll-console.log

die() { echo "console-test.sh: $*" >&2; exit 1; }
packages=()
command -v "${CHROMIUM:-/usr/bin/chromium}" >/dev/null || packages+=(chromium)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
if [ ${#packages[@]} -gt 0 ]; then
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || die "missing: ${packages[*]}; as root on Debian: apt-get install ${packages[*]}"
  echo "console-test.sh: installing ${packages[*]}"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${packages[@]}"; } >"$log" 2>&1 \
    || { tail -5 "$log" >&2; die "apt-get install ${packages[*]} failed"; }
fi
node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' || die "node $(node --version) is too old: 20 or later"
(cd serve/tests/console && npm ci --ignore-scripts --no-audit --no-fund) >"$log" 2>&1 \
  || { tail -5 "$log" >&2; die "npm ci failed: playwright-core could not be had"; }
cargo test --package plimsoll-serve --test console -- --ignored --nocapture
