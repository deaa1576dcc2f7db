#!/usr/bin/env bash
# The report in a headless browser: at desk, phone and paper width. Installs what that needs on Debian as root, or says what
# is missing. REPORT_SHOTS=DIR keeps pictures of it; `train/report-test.sh FILE...` looks at these reports instead.
set -euo pipefail
reports=()
for file in "$@"; do reports+=("$(realpath "$file")"); done
cd "$(dirname "$0")/.."
log=${TMPDIR:-/tmp}/plimsoll-report.log

die() { echo "report-test.sh: $*" >&2; exit 1; }
packages=()
command -v "${CHROMIUM:-/usr/bin/chromium}" >/dev/null || packages+=(chromium)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
if [ ${#packages[@]} -gt 0 ]; then
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || die "missing: ${packages[*]}; as root on Debian: apt-get install ${packages[*]}"
  echo "report-test.sh: installing ${packages[*]}"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${packages[@]}"; } >"$log" 2>&1 \
    || { tail -5 "$log" >&2; die "apt-get install ${packages[*]} failed"; }
fi
node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' || die "node $(node --version) is too old: 20 or later"
(cd train/tests/report && npm ci --ignore-scripts --no-audit --no-fund) >"$log" 2>&1 \
  || { tail -5 "$log" >&2; die "npm ci failed: playwright-core could not be had"; }
if [ ${#reports[@]} -gt 0 ]; then
  cd train/tests/report
  REPORTS=$(IFS=:; echo "${reports[*]}") node --test --test-reporter=spec browser.test.js
else
  cargo test --package plimsoll-train --test report -- --ignored --nocapture
fi
