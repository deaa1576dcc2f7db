"""Prints one path of a backtest as Markdown: every method at the same rates and certified, and our ratios to each.

usage: backtest_table.py NAME FINDINGS.json
"""

import json
import sys

name, path = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    found = json.load(file)
rates = list(dict.fromkeys(m["reading"] for m in found["measured"] if m["reading"].startswith("same rate")))
by_method = {}
for m in found["measured"]:
    by_method.setdefault(m["method"], {})[m["reading"]] = m

teaching, calibrating = (sum(found[part]) // len(found[part]) for part in ("teaching", "calibrating"))
print(f"\n### {name}: {found['accounts']} accounts, {found['windows']} windows; in a fold about {teaching} accounts teach, {calibrating} calibrate\n")
print("| mean limit (demand served) |", " | ".join(rates), "| certified | realised | zero limits |")
print("|---|" + "---|" * (len(rates) + 3))
for method, readings in by_method.items():
    def cell(reading):
        m = readings.get(reading) or readings.get("–")
        return f"{m['mean_limit'] / 100:,.0f} ({m['served']:.3f})" if m else ""

    certified = readings.get("certified") or readings.get("–")
    realised = f"{certified['violation']:.2%} | {certified['zero']:.1%}" if certified else " | "
    print(f"| {method} |", " | ".join(cell(rate) for rate in rates), f"| {cell('certified')} | {realised} |")

print("\n| ours / theirs, mean limits [95 %, accounts resampled]; demand served, difference |", end="")
ours = list(dict.fromkeys((r["ours"], r["reading"]) for r in found["ratios"]))
shown = [them for them in by_method if not them.startswith("ours") and them not in ("full balance", "oracle")]
print("".join(f" {them} |" for them in shown))
print("|---|" + "---|" * len(shown))
for mine, reading in ours:
    line = f"| {mine}, {reading} |"
    for them in shown:
        match = [r for r in found["ratios"] if (r["ours"], r["theirs"], r["reading"]) == (mine, them, reading)]
        line += "".join(
            f" {r['limit']:.3f} [{r['interval'][0]:.3f}, {r['interval'][1]:.3f}]; {r['served'] * 100:+.1f} % |" for r in match
        ) or " |"
    print(line)
