"""Trains LightGBM on the rows our booster trained on and prints its held-out pinball loss.

usage: lightgbm_pinball.py TRAIN TEST COLUMNS LEVEL TREES LEAVES DEPTH MIN_LEAF RATE
TRAIN and TEST are little-endian float32, row-major, the target last.
"""

import sys

import lightgbm as lgb
import numpy as np

train, test, columns = sys.argv[1], sys.argv[2], int(sys.argv[3])
level, rate = float(sys.argv[4]), float(sys.argv[9])
trees, leaves, depth, min_leaf = (int(a) for a in sys.argv[5:9])


def read(path):
    table = np.fromfile(path, dtype="<f4").reshape(-1, columns + 1)
    return table[:, :columns].astype(np.float64), table[:, columns].astype(np.float64)


x, y = read(train)
params = {
    "objective": "quantile", "alpha": level, "num_leaves": leaves, "max_depth": depth, "learning_rate": rate,
    "min_data_in_leaf": min_leaf, "max_bin": 255, "num_threads": 2, "seed": 1, "verbose": -1, "deterministic": True,
}
model = lgb.train(params, lgb.Dataset(x, y), trees)
x, y = read(test)
d = y - model.predict(x)
print(np.mean(np.where(d >= 0, level * d, (level - 1) * d)))
