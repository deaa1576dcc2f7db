"""One engine, one run, one line: `engines.py DIRECTORY ENGINE OBJECTIVE ROUNDS THREADS`.

CPU seconds (user and system) and seconds of training including binning; what memory rose to above what it was when the
rows were loaded; the loss on held-out rows. The engine alone is in the process.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

directory, engine, objective, rounds, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
os.environ["OMP_NUM_THREADS"] = str(threads)
os.environ["OMP_WAIT_POLICY"] = "passive"

import numpy as np  # noqa: E402

ALPHA, LEAVES, RATE, MIN_LEAF, FEATURES = 0.05, 31, 0.05, 20, 40
LEVELS = [0.0025, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5]


def part(name):
    target = "label" if objective == "logistic" else "y"
    y = np.fromfile(Path(directory) / f"{name}.{target}", "<f4")
    return np.fromfile(Path(directory) / f"{name}.x", "<f4").reshape(len(y), FEATURES), y


def lightgbm(x, y, alpha, **more):
    import lightgbm as lgb

    params = dict(
        objective={"quantile": "quantile", "logistic": "binary", "squared": "regression"}[objective],
        alpha=alpha, num_leaves=LEAVES, learning_rate=RATE, max_bin=255, min_data_in_leaf=MIN_LEAF, num_threads=threads,
        verbose=-1, deterministic=True, force_row_wise=True, **more,
    )
    booster = lgb.train(params, lgb.Dataset(x, y, params=params), num_boost_round=rounds)
    return booster.predict


def xgboost(x, y, alpha):
    import xgboost as xgb

    params = dict(
        objective={"quantile": "reg:quantileerror", "logistic": "binary:logistic", "squared": "reg:squarederror"}[objective],
        tree_method="hist", grow_policy="lossguide", max_leaves=LEAVES, max_depth=0, learning_rate=RATE, max_bin=256,
        min_child_weight=MIN_LEAF if objective == "quantile" else 1, nthread=threads,
    )
    if objective == "quantile":
        params["quantile_alpha"] = alpha
    booster = xgb.train(params, xgb.QuantileDMatrix(x, y, nthread=threads, max_bin=256), num_boost_round=rounds)
    return lambda rows: booster.predict(xgb.DMatrix(rows))


def catboost(x, y, alpha):
    import catboost as cb

    loss = {"quantile": f"Quantile:alpha={alpha}", "logistic": "Logloss", "squared": "RMSE"}[objective]
    model = cb.CatBoost(dict(
        loss_function=loss, iterations=rounds, learning_rate=RATE, grow_policy="Lossguide", max_leaves=LEAVES,
        border_count=254, min_data_in_leaf=MIN_LEAF, thread_count=threads, boosting_type="Plain", verbose=False,
        allow_writing_files=False,
    ))
    model.fit(x, y)
    return lambda rows: model.predict(rows, prediction_type="Probability" if objective == "logistic" else "RawFormulaVal")


def sklearn(x, y, alpha):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    shared = dict(
        max_iter=rounds, learning_rate=RATE, max_leaf_nodes=LEAVES, min_samples_leaf=MIN_LEAF, early_stopping=False, max_bins=255,
    )
    if objective == "logistic":
        model = HistGradientBoostingClassifier(**shared).fit(x, y)
        return lambda rows: model.predict_proba(rows)
    loss = dict(loss="quantile", quantile=alpha) if objective == "quantile" else dict(loss="squared_error")
    return HistGradientBoostingRegressor(**loss, **shared).fit(x, y).predict


ENGINES = {
    "lightgbm": lightgbm,
    "lightgbm-quantised": lambda *a: lightgbm(*a, use_quantized_grad=True, quant_train_renew_leaf=True),
    "xgboost": xgboost,
    "catboost": catboost,
    "sklearn": sklearn,
}


def loss(y, p, alpha):
    if objective == "logistic":
        p = p[:, 1] if p.ndim == 2 else p
        p = np.clip(p, 1e-12, 1 - 1e-12)
        return float(-np.mean(np.where(y > 0, np.log(p), np.log1p(-p))))
    d = y - p
    return float(np.mean(d * d) if objective == "squared" else np.mean(np.maximum(alpha * d, (alpha - 1) * d)))


def peak_mb():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 1024


def main():
    x, y = part("train")
    many = objective == "levels"
    alphas = LEVELS if many else [ALPHA]
    if many:
        globals()["objective"] = "quantile"
    # What importing takes is nobody's training.
    warm = np.random.default_rng(0).standard_normal((100, FEATURES))
    global rounds
    asked, rounds = rounds, 1
    ENGINES[engine](warm, (warm[:, 0] > 0).astype("f4"), ALPHA)
    rounds = asked

    before_mb = peak_mb()
    cpu, wall = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), time.perf_counter()
    predictors = [ENGINES[engine](x, y, alpha) for alpha in alphas]
    wall = time.perf_counter() - wall
    cpu = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - cpu
    memory = peak_mb() - before_mb
    test_x, test_y = part("test")
    answers = [predict(test_x) for predict in predictors]
    losses = [loss(test_y, p, alpha) for p, alpha in zip(answers, alphas)]
    print(json.dumps(dict(
        engine=engine, objective=sys.argv[3], rounds=rounds, threads=threads, cpu=round(cpu, 3), wall=round(wall, 3),
        memory_mb=round(memory, 1), loss=round(sum(losses) / len(losses), 6),
    )), flush=True)


main()
