"""What a team would write instead: FastAPI, ONNX Runtime, SQLite or PostgreSQL.

It does the same work for the same request: verifies the bearer token (Ed25519), loads the account's row, evaluates the same
model at the seven certified ages, applies balance and tier cap, writes the account and a log entry, waits for the commit,
signs a grant (Ed25519) and answers JSON. It keeps the features as they are, where Plimsoll computes them from its state.

  MODEL=model.onnx KEY=jwks.json STORE=sqlite:PATH|postgres://... uvicorn app:app
"""

import base64
import os
import sqlite3
import time

import jwt
import numpy as np
import onnxruntime as ort
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, HTTPException, Request, Response

AGES = [0, 60, 240, 720, 1440, 2880, 4320]
CAPS = [5_000, 15_000, 50_000]
ONE = 1 << 20

options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
input_name = session.get_inputs()[0].name
AGE_COLUMN = int(os.environ.get("AGE_COLUMN", "18"))
public_key = jwt.PyJWKSet.from_json(open(os.environ["KEY"]).read()).keys[0].key
signing_key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
store = os.environ.get("STORE", "")
app = FastAPI()
pool = None
database = None


@app.on_event("startup")
async def connect():
    global pool, database
    if store.startswith("postgres"):
        import asyncpg

        pool = await asyncpg.create_pool(store, min_size=4, max_size=8)
    elif store:
        database = sqlite3.connect(store.removeprefix("sqlite:"), isolation_level=None, timeout=30)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")


def identity(request: Request) -> str:
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        return jwt.decode(token, public_key, algorithms=["EdDSA"], audience=["plimsoll", "plimsoll-admin"])["sub"]
    except jwt.PyJWTError as refused:
        raise HTTPException(401, str(refused))


def limits(features: np.ndarray, balances: np.ndarray, tiers) -> np.ndarray:
    steps = np.round(session.run(None, {input_name: features})[0][:, 0] * ONE).astype(np.int64)
    caps = np.array([CAPS[t] for t in tiers])
    return np.minimum(balances * np.clip(steps, 0, ONE) // ONE, caps)


@app.post("/v1/score")
async def score(request: Request):
    identity(request)
    rows = orjson.loads(await request.body())["rows"]
    features = np.array([r["features"] for r in rows], dtype=np.float32)
    granted = limits(features, np.array([r["balance"] for r in rows]), [r["tier"] for r in rows])
    return Response(orjson.dumps({"limits": granted.tolist()}), media_type="application/json")


def decide(blob: bytes, balance: int, tier: int, seq: int, account: str):
    features = np.tile(np.frombuffer(blob, dtype=np.float32), (len(AGES), 1))
    features[:, AGE_COLUMN] = AGES
    curve = limits(features, np.full(len(AGES), balance), [tier] * len(AGES)).tolist()
    now = int(time.time())
    claims = {"iss": "peer", "sub": account, "iat": now, "exp": now + 259_200, "seq": seq, "bal": balance,
              "limit": list(zip(AGES, curve))}
    return claims


def signed(claims):
    part = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=")
    text = part(b'{"alg":"EdDSA","typ":"limit-grant+jwt","kid":"a"}') + b"." + part(orjson.dumps(claims))
    return (text + b"." + part(signing_key.sign(text))).decode()


@app.post("/v1/sync")
async def sync(request: Request):
    account = identity(request)
    orjson.loads(await request.body())
    if pool:
        async with pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(
                "SELECT features, balance, tier, seq FROM accounts WHERE id = $1 FOR UPDATE", account)
            claims = decide(row["features"], row["balance"], row["tier"], row["seq"] + 1, account)
            await connection.execute("UPDATE accounts SET seq = seq + 1, synced_at = $2 WHERE id = $1", account, claims["iat"])
            await connection.execute("INSERT INTO log(account, body) VALUES ($1, $2)", account, orjson.dumps(claims).decode())
    else:
        database.execute("BEGIN IMMEDIATE")
        row = database.execute("SELECT features, balance, tier, seq FROM accounts WHERE id = ?", (account,)).fetchone()
        claims = decide(row[0], row[1], row[2], row[3] + 1, account)
        database.execute("UPDATE accounts SET seq = seq + 1, synced_at = ? WHERE id = ?", (claims["iat"], account))
        database.execute("INSERT INTO log(account, body) VALUES (?, ?)", (account, orjson.dumps(claims)))
        database.execute("COMMIT")
    return Response(orjson.dumps({"grant": signed(claims), "claims": claims}), media_type="application/json")
