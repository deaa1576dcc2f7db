"""CPU time that LightGBM and XGBoost take for exact TreeSHAP: 2,000 rows, 61 features, 100 trees of 31 leaves, one thread.

usage: contributions.py
"""

import time

import lightgbm as lgb
import numpy as np
import xgboost as xgb

random = np.random.default_rng(1)
x = random.normal(size=(100_000, 61)).astype(np.float32)
y = 1 / (1 + np.exp(-x[:, :10].sum(1) + x[:, 11] * x[:, 12]))
few = x[:2_000]


def timed(name, run):
    begun = time.process_time()
    run()
    print(f"{name}: {(time.process_time() - begun) / len(few) * 1e6:.0f} µs a row")


params = {"objective": "quantile", "alpha": 0.05, "num_leaves": 31, "max_depth": 6, "verbose": -1, "seed": 1, "num_threads": 1}
light = lgb.train(params, lgb.Dataset(x, y), 100)
params = {"objective": "reg:quantileerror", "quantile_alpha": 0.05, "max_leaves": 31, "max_depth": 6, "nthread": 1,
          "grow_policy": "lossguide"}
boosted = xgb.train(params, xgb.DMatrix(x, y), 100)
rows = xgb.DMatrix(few, nthread=1)
for _ in range(2):
    timed("LightGBM", lambda: light.predict(few, pred_contrib=True, num_threads=1))
    timed("XGBoost", lambda: boosted.predict(rows, pred_contribs=True))
