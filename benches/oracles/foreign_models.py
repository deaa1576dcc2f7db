"""Trains models in LightGBM and XGBoost and writes them with their scores, attributions and gains.

usage: foreign_models.py DIR NAME…
For each case: CASE.model, CASE.csv (the rows it was trained on, and `prediction` or `prediction_<ppm>`), and where no
value is missing CASE.contrib (its exact TreeSHAP values and the expected value, little-endian float64, row-major).
LightGBM cases have CASE.gain as well, and whole.targets are the targets of those without holes. NAMEs are the features, the first two never missing.
"""

import csv
import sys

import lightgbm as lgb
import numpy as np
import xgboost as xgb

dir, names = sys.argv[1], sys.argv[2:]
random = np.random.default_rng(7)
rows = 3_000


def table(missing):
    x = random.normal(size=(rows, len(names))).astype(np.float32)
    x[:, 0] = random.integers(0, 9, rows)
    # Zeros and negative zeros, ties, and the very small: what a threshold may fall on.
    x[:, 2] = np.round(x[:, 2] * 2) / 2
    x[random.random(rows) < 0.1, 3] = 0
    x[random.random(rows) < 0.02, 3] = -0.0
    x[random.random(rows) < 0.02, 3] = 1e-36
    z = x.copy()
    if missing:
        hole = random.random(x.shape) < 0.15
        hole[:, :2] = False
        x[hole] = np.nan
    y = 1 / (1 + np.exp(z[:, 0] / 4 - z[:, 1] * z[:, 2] - z[:, 3] + random.standard_t(3, rows)))
    # Missing says something, either way.
    y = np.where(np.isnan(x[:, 4]), y * 0.3, y)
    y = np.where(np.isnan(x[:, 5]), 1 - (1 - y) * 0.3, y)
    return x, y.astype(np.float64)


def save(case, x, predictions, levels=("",)):
    with open(f"{dir}/{case}.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(names + [f"prediction{level}" for level in levels])
        for row, p in zip(x, predictions.reshape(len(x), -1)):
            out.writerow(["" if np.isnan(v) else repr(float(v)) for v in row] + [repr(float(v)) for v in p])


def light(case, x, y, score=None, **params):
    params = {"num_leaves": 31, "verbose": -1, "seed": 1, "num_threads": 1, "deterministic": True,
              "learning_rate": 0.1} | params
    categories = params.pop("categories", "auto")
    model = lgb.train(params, lgb.Dataset(x, y, feature_name=names, categorical_feature=categories), 40)
    model.save_model(f"{dir}/{case}.model")
    x = x if score is None else score
    save(case, x, model.predict(x))
    model.feature_importance("gain").astype("<f8").tofile(f"{dir}/{case}.gain")
    if not np.isnan(x).any() and not params.get("linear_tree"):
        model.predict(x, pred_contrib=True).astype("<f8").tofile(f"{dir}/{case}.contrib")


def boosted(case, x, y, file="json", levels=("",), **params):
    params = {"max_depth": 5, "eta": 0.1, "seed": 1, "nthread": 1, "tree_method": "hist"} | params
    table = xgb.DMatrix(x, y, feature_names=names)
    model = xgb.train(params, table, 40)
    with open(f"{dir}/{case}.model", "wb") as out:
        out.write(model.save_raw(file))
    save(case, x, model.predict(table), levels)
    if not np.isnan(x).any() and levels == ("",):
        model.predict(table, pred_contribs=True).astype("<f8").tofile(f"{dir}/{case}.contrib")


whole, holes = table(False), table(True)
whole[1].astype("<f8").tofile(f"{dir}/whole.targets")
quantile = {"objective": "quantile", "alpha": 0.05}
light("light-whole", *whole, **quantile)
light("light-holes", *holes, **quantile)
# Trained without missing values, scored with them: LightGBM takes them for 0.
light("light-unseen", *whole, score=holes[0], **quantile)
light("light-zero", *holes, zero_as_missing=True, **quantile)
light("light-zero-whole", *whole, score=holes[0], zero_as_missing=True, **quantile)
light("light-mean", *whole, objective="regression", boost_from_average=False)
light("light-quantile-gain", *whole, boost_from_average=False, **quantile)

quantile = {"objective": "reg:quantileerror", "quantile_alpha": 0.05}
boosted("boosted-whole", *whole, **quantile)
boosted("boosted-holes", *holes, **quantile)
boosted("boosted-binary", *holes, file="ubj", **quantile)
boosted("boosted-levels", *holes, file="ubj", levels=("_50000", "_500000"),
        objective="reg:quantileerror", quantile_alpha=[0.05, 0.5])
boosted("boosted-mean", *whole, objective="reg:squarederror")
boosted("boosted-forest", *holes, num_parallel_tree=3, subsample=0.5, **quantile)

light("no-category", *whole, categories=[names[0]], objective="quantile", alpha=0.05)
light("no-linear", *whole, objective="regression", linear_tree=True)
light("no-average", *whole, objective="regression", boosting="rf", bagging_freq=1, bagging_fraction=0.5)
light("no-link", np.abs(whole[0]), whole[1], objective="poisson")
boosted("no-dart", *whole, booster="dart", **quantile)
boosted("no-logistic", whole[0], (whole[1] > 0.5).astype(float), objective="binary:logistic")
boosted("no-vector", *whole, multi_strategy="multi_output_tree", objective="reg:quantileerror",
        quantile_alpha=[0.05, 0.5], levels=("_50000", "_500000"))
