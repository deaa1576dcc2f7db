"""The table of `benches/boost.sh`: `table.py LINES`. The least CPU seconds and wall seconds of each kind of run."""

import json
import sys

runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    key = (run["objective"].removesuffix("-apart"), run["rounds"], run["threads"])
    name = run["engine"] + (", each level apart" if run["objective"].endswith("-apart") else "")
    best = runs.setdefault(key, {}).setdefault(name, run)
    best.update({k: min(best[k], run[k]) for k in ("cpu", "wall", "memory_mb")})

for (objective, rounds, threads), engines in runs.items():
    print(f"\n{objective}, {rounds} rounds, {threads} thread{'s' if threads > 1 else ''}\n")
    print("| engine | CPU s | of LightGBM's | wall s | of LightGBM's | memory MB | held-out loss |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    peer = engines.get("lightgbm")
    for name, run in sorted(engines.items(), key=lambda e: e[1]["cpu"]):
        cpu, wall = (f"{run[k] / peer[k]:.2f}" if peer else "" for k in ("cpu", "wall"))
        print(f"| {name} | {run['cpu']:.2f} | {cpu} | {run['wall']:.2f} | {wall} | {run['memory_mb']:.0f} | {run['loss']:.6f} |")
