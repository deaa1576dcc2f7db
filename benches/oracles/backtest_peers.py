"""Answers a backtest's rows with LightGBM and XGBoost quantile models of 1 %: what split conformal prediction then shifts.

usage: backtest_peers.py DIR [LEVEL]
DIR holds fold<k>.train.f32 (features, target) and fold<k>.ask.f32 (features); fold<k>.<peer>.f32 is written beside them.
Settings as in the data notes: 300 trees of 31 leaves, rate 0.05, 50 rows a leaf.
"""

import glob
import os
import sys

import lightgbm as lgb
import numpy as np
import xgboost as xgb

COLUMNS = 61
folder, level = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.01

for train in sorted(glob.glob(os.path.join(folder, "fold*.train.f32"))):
    stem = train[: -len("train.f32")]
    rows = np.fromfile(train, dtype="<f4").reshape(-1, COLUMNS + 1)
    x, y = rows[:, :COLUMNS], rows[:, COLUMNS]
    ask = np.fromfile(stem + "ask.f32", dtype="<f4").reshape(-1, COLUMNS)
    light = lgb.train(
        {
            "objective": "quantile", "alpha": level, "num_leaves": 31, "learning_rate": 0.05, "min_data_in_leaf": 50,
            "num_threads": 1, "seed": 1, "verbose": -1, "deterministic": True,
        },
        lgb.Dataset(x, y),
        300,
    )
    light.predict(ask).astype("<f4").tofile(stem + "lightgbm.f32")
    extreme = xgb.train(
        {
            "objective": "reg:quantileerror", "quantile_alpha": level, "max_leaves": 31, "max_depth": 6, "eta": 0.05,
            "min_child_weight": 50, "tree_method": "hist", "nthread": 1, "seed": 1, "verbosity": 0,
        },
        xgb.DMatrix(x, label=y),
        300,
    )
    extreme.predict(xgb.DMatrix(ask)).astype("<f4").tofile(stem + "xgboost.f32")
