"""Writes a history as other tools write Parquet: decimals, integers, timestamps with and without a zone, dates.

usage: parquet_types.py DIRECTORY
"""

import sys
from datetime import date, datetime, timezone
from decimal import Decimal

import polars as pl

directory = sys.argv[1]
moments = [datetime(2026, 1, 1, 9, 30), datetime(2026, 1, 2, 17, 0, 1), datetime(2026, 1, 3)]
rows = {
    "who": ["a", "a", "b"],
    "how_much": pl.Series([Decimal("100.00"), Decimal("-12.50"), Decimal("0.07")], dtype=pl.Decimal(12, 2)),
    "device": pl.Series([1, 2, None], dtype=pl.Int32),
}
frame = pl.DataFrame(rows)
frame.with_columns(when=pl.Series(moments, dtype=pl.Datetime("us"))).write_parquet(f"{directory}/local.parquet")
zoned = [m.replace(tzinfo=timezone.utc) for m in moments]
frame.with_columns(when=pl.Series(zoned, dtype=pl.Datetime("ns", "UTC"))).write_parquet(f"{directory}/zoned.parquet")
dates = [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)]
frame.with_columns(when=pl.Series(dates, dtype=pl.Date)).write_parquet(f"{directory}/dates.parquet")
