"""Rows for the comparison: `data.py DIRECTORY ROWS`.

40 columns of raw little-endian float32, row by row, 9 of them with 15 % missing; a heavy-tailed target whose spread
depends on the row, and a label that 12 % of rows carry. `train.*` has ROWS rows, `test.*` 200,000. Same rows every time.
"""

import sys
from pathlib import Path

import numpy as np

FEATURES, MISSING, TEST = 40, 9, 200_000


def rows(rng, n):
    x = rng.standard_normal((n, FEATURES), dtype=np.float32)
    x[:, 10:15] = np.round(x[:, 10:15] * 3)  # few values
    x[:, 15:20] = np.exp(x[:, 15:20])  # a long tail
    location = x[:, 0] + 0.7 * np.sin(2 * x[:, 1]) + 0.5 * x[:, 2] * x[:, 3] + 0.3 * (x[:, 10] > 1) + 0.2 * np.log(x[:, 15])
    spread = np.exp(0.5 * x[:, 4] + 0.3 * (x[:, 5] > 0.5) - 0.2 * x[:, 6] * (x[:, 8] > 0))
    y = location + 0.6 * spread * rng.standard_t(3, n)
    odds = 1.1 * location + 0.5 * x[:, 7] - 0.4 * np.abs(x[:, 8])
    label = rng.random(n) < 1 / (1 + np.exp(-(odds - 2.42)))
    # The columns with gaps matter: 1, 4 and 7 among them.
    for column in [1, 4, 7, 12, 17, 20, 21, 22, 23][:MISSING]:
        x[rng.random(n) < 0.15, column] = np.nan
    return x, y.astype("<f4"), label.astype("<f4")


def main():
    directory, n = Path(sys.argv[1]), int(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    for part, seed, count in [("train", 1, n), ("test", 2, TEST)]:
        x, y, label = rows(np.random.default_rng(seed), count)
        x.astype("<f4").tofile(directory / f"{part}.x")
        y.tofile(directory / f"{part}.y")
        label.tofile(directory / f"{part}.label")
        print(f"{part}: {count} rows, {label.mean():.4f} carry the label", file=sys.stderr)


main()
