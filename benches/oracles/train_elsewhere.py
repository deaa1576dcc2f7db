"""What a data scientist does between `plimsoll data windows` and `plimsoll import`.

usage: train_elsewhere.py WINDOWS MODEL SCORES xgboost|lightgbm ALPHA
"""

import csv
import sys

import numpy as np

windows, model_path, scores, engine, alpha = sys.argv[1:]
with open(windows) as file:
    names = next(csv.reader(file))
table = np.genfromtxt(windows, delimiter=",", skip_header=1, dtype=np.float64)
features = names[:-2]
x, y = table[:, :-2].astype(np.float32), table[:, -2]

if engine == "xgboost":
    import xgboost as xgb

    rows = xgb.DMatrix(x, y, feature_names=features)
    params = {"objective": "reg:quantileerror", "quantile_alpha": float(alpha), "max_depth": 4, "eta": 0.2, "nthread": 2,
              "seed": 1}
    model = xgb.train(params, rows, 60)
    predictions = model.predict(rows)
else:
    import lightgbm as lgb

    params = {"objective": "quantile", "alpha": float(alpha), "num_leaves": 16, "learning_rate": 0.2, "verbose": -1,
              "seed": 1, "num_threads": 2, "deterministic": True}
    model = lgb.train(params, lgb.Dataset(x, y, feature_name=features), 60)
    predictions = model.predict(x)
model.save_model(model_path)

with open(scores, "w", newline="") as file:
    out = csv.writer(file)
    out.writerow(features + ["prediction"])
    for row, p in zip(x[:500], predictions[:500]):
        out.writerow(["" if np.isnan(v) else repr(float(v)) for v in row] + [repr(float(p))])
