#!/usr/bin/env bash
# What the edge promises, side by side: speed against its peers, sizes, cold start, a payment, the model over the wire.
# Takes half an hour the first time, most of it building peers. Wants a published repository to start from:
#   cargo run --release -- demo && benches/edge.sh plimsoll-demo
set -euo pipefail
demo=$(cd "${1:?usage: benches/edge.sh DEMO_DIRECTORY}" && pwd)
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$*"; }

step "one evaluation, seven quantiles, a batch, through tract: against the peers"
benches/edge-peers.sh

step "from a cold process to a first decision, and warm"
cargo build --quiet --release -p plimsoll-edge --no-default-features --example cold_start
for _ in 1 2 3 4 5; do target/release/examples/cold_start "$demo/repository" "$demo/keys/root.json"; done

step "a payment, besides the disk"
cargo bench --quiet -p plimsoll-edge --no-default-features --bench authorise

step "sizes: reader and kernel alone, then everything"
edge/kernel/size.sh
edge/wasm/build.sh
edge/ffi/small.sh

step "the model over the wire, and what its guarantees cost in accuracy"
cargo run --quiet --release -p plimsoll-benches --bin model_size "$demo/data"
