"""Fills the peer's store with the accounts of `seed`: fill.py STORE FEATURES_F32 ACCOUNTS"""

import sqlite3
import sys

import numpy as np

store, path, accounts = sys.argv[1], sys.argv[2], int(sys.argv[3])
features = np.fromfile(path, dtype=np.float32).reshape(accounts, -1)
rows = [(f"u{n:08}", features[n].tobytes(), 100_000, n % 3, 0, 0) for n in range(accounts)]
ACCOUNTS = "CREATE TABLE accounts(id TEXT PRIMARY KEY, features {blob}, balance BIGINT, tier INT, seq BIGINT, synced_at BIGINT)"
if store.startswith("postgres"):
    import asyncio

    import asyncpg

    async def fill():
        connection = await asyncpg.connect(store)
        await connection.execute(ACCOUNTS.format(blob="BYTEA"))
        await connection.execute("CREATE TABLE log(n BIGSERIAL PRIMARY KEY, account TEXT, body TEXT)")
        await connection.copy_records_to_table("accounts", records=rows)
        await connection.close()

    asyncio.run(fill())
else:
    database = sqlite3.connect(store.removeprefix("sqlite:"))
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(ACCOUNTS.format(blob="BLOB"))
    database.execute("CREATE TABLE log(n INTEGER PRIMARY KEY, account TEXT, body BLOB)")
    database.executemany("INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?)", rows)
    database.commit()
