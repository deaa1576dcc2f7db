#!/usr/bin/env bash
# The console in a headless browser. Installs what that needs on Debian as root, or says what is missing.
# CONSOLE_SHOTS=DIR keeps pictures of the pages.
set -euo pipefail
cd "$(dirname "$0")/.."
.ci/browser serve/tests/console
# With the features of the whole workspace, which `cargo test --workspace` has built: another set would be built once more.
cargo test --workspace --test console -- --ignored --nocapture
