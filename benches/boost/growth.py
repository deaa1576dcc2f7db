"""The table and the plot of `benches/boost-growth.sh`: `growth.py LINES SVG`."""

import json
import math
import sys

runs = [json.loads(line) for line in open(sys.argv[1])]
print("| rows | CPU s | s a million rows | memory MB | bytes a row and column |\n|---:|---:|---:|---:|---:|")
for run in runs:
    rows, cpu, mb = run["rows"], run["cpu"], run["memory_mb"]
    print(f"| {rows:,} | {cpu:.2f} | {cpu / rows * 1e6:.2f} | {mb:.0f} | {mb * 1048576 / rows / 40:.2f} |")

W, H, LEFT, TOP, RIGHT, BOTTOM = 480, 300, 56, 28, 16, 44
x_of = [math.log2(r["rows"]) for r in runs]
y_of = [math.log2(r["cpu"]) for r in runs]
x0, x1 = min(x_of), max(x_of)
y0, y1 = math.floor(min(y_of)), math.ceil(max(y_of))


def at(x, y):
    return (
        LEFT + (x - x0) / (x1 - x0) * (W - LEFT - RIGHT),
        H - BOTTOM - (y - y0) / (y1 - y0) * (H - TOP - BOTTOM),
    )


points = [at(x, y) for x, y in zip(x_of, y_of)]
start, end = at(x0, y_of[0]), at(x1, min(y_of[0] + x1 - x0, y1))
parts = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {H}" role="img" font-family="system-ui, sans-serif" font-size="11" fill="#222">',
    "<title>Training time against rows</title>",
    f'<rect width="{W}" height="{H}" fill="#fff"/>',
    f'<text x="{LEFT}" y="16" font-size="13">CPU seconds of 100 rounds against rows; dashed: linear</text>',
]
for y in range(y0, y1 + 1):
    _, py = at(x0, y)
    parts.append(f'<path d="M{LEFT} {py:.1f}H{W - RIGHT}" stroke="#ddd"/>')
    parts.append(f'<text x="{LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">{2.0 ** y:g} s</text>')
for run, (px, _) in zip(runs, points):
    parts.append(f'<text x="{px:.1f}" y="{H - BOTTOM + 18}" text-anchor="middle">{run["rows"]:,}</text>')
parts.append(f'<path d="M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}" stroke="#777" stroke-dasharray="5 4"/>')
line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
parts.append(f'<path d="M{line}" fill="none" stroke="#0b5fa5" stroke-width="2"/>')
parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#0b5fa5"/>' for x, y in points]
open(sys.argv[2], "w").write("\n".join([*parts, "</svg>", ""]))
