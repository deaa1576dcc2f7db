"""The window sums among our features as polars rolling expressions, on the data directory of `features_pass`.

usage: polars_rolling.py DATA
30 features: count, sum, mean, standard deviation and largest of debits over 7, 30 and 90 days, count and sum of credits
over the same, and the least, mean and median balance over 7, 30 and 90 days, as of just before each transaction.
Prints CPU and wall time without the reading.
"""

import sys
import time

import polars as pl

frame = pl.read_parquet(f"{sys.argv[1]}/transactions.parquet", columns=["account", "at", "amount_minor", "balance_after_minor"])
frame = frame.with_columns(
    pl.from_epoch("at", time_unit="s").alias("when"),
    pl.when(pl.col("amount_minor") < 0).then(-pl.col("amount_minor")).alias("debit").cast(pl.Float64),
    pl.when(pl.col("amount_minor") > 0).then(pl.col("amount_minor")).alias("credit").cast(pl.Float64),
    pl.col("balance_after_minor").cast(pl.Float64).alias("balance"),
)
wall, cpu = time.perf_counter(), time.process_time()
frame = frame.sort("account", "when")
features = []
for window in ["7d", "30d", "90d"]:
    by = {"window_size": window, "closed": "left"}
    d, c, b = pl.col("debit"), pl.col("credit"), pl.col("balance")
    one = pl.col("debit").is_not_null().cast(pl.Float64)
    for name, expression in {
        "d_count": one.rolling_sum_by("when", **by), "d_sum": d.rolling_sum_by("when", **by),
        "d_mean": d.rolling_mean_by("when", **by), "d_std": d.rolling_std_by("when", **by),
        "d_max": d.rolling_max_by("when", **by), "c_sum": c.rolling_sum_by("when", **by),
        "c_count": (1.0 - one).rolling_sum_by("when", **by), "b_min": b.rolling_min_by("when", **by),
        "b_mean": b.rolling_mean_by("when", **by), "b_median": b.rolling_median_by("when", **by),
    }.items():
        features.append(expression.over("account").alias(f"{name}_{window}"))
result = frame.with_columns(features)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
n = len(result)
print(f"polars {pl.__version__}: {len(features)} features of {n} transactions in {wall:.2f} s wall, {cpu:.2f} s CPU: "
      f"{cpu * 1e6 / n:.2f} µs CPU each, {wall * 1e6 / n:.2f} µs wall")
