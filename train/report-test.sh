#!/usr/bin/env bash
# The report in a headless browser: at desk, phone and paper width. Installs what that needs on Debian as root, or says what
# is missing. REPORT_SHOTS=DIR keeps pictures of it; `train/report-test.sh FILE...` looks at these reports instead.
set -euo pipefail
reports=()
for file in "$@"; do reports+=("$(realpath "$file")"); done
cd "$(dirname "$0")/.."
.ci/browser train/tests/report
if [ ${#reports[@]} -gt 0 ]; then
  cd train/tests/report
  REPORTS=$(IFS=:; echo "${reports[*]}") node --test --test-reporter=spec browser.test.js
else
  # With the features of the whole workspace, which `cargo test --workspace` has built: another set would be built once more.
  cargo test --workspace --test report -- --ignored --nocapture
fi
