-- Everything that a decision on an account needs. `revision` rises with every write. `exposed` is what its grants might
-- still turn into payments when it was written, none of it after `exposed_until`; `proposed_at` is 0 without a proposal, and
-- `window_until` without a window.
CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    history INTEGER NOT NULL,
    tier INTEGER NOT NULL,
    balance INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    exposed INTEGER NOT NULL,
    exposed_until INTEGER NOT NULL,
    proposed_at INTEGER NOT NULL,
    window_until INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX accounts_proposed ON accounts (proposed_at) WHERE proposed_at > 0;
CREATE INDEX accounts_watched ON accounts (window_until) WHERE window_until > 0;

-- The rest of each account's bytes, which only transactions change: some 4 kB, where the row above has some 400 bytes.
CREATE TABLE features (
    account TEXT NOT NULL PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- An account's transactions, by the place in which they were folded in, from 1.
CREATE TABLE history (
    account TEXT NOT NULL,
    place INTEGER NOT NULL,
    name TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (account, place),
    UNIQUE (account, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE grants (
    jti BLOB NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    jkt BLOB NOT NULL,
    seq INTEGER NOT NULL,
    iat INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (account, jkt, seq)
) STRICT;

-- `disputed_at` is 0 unless somebody has to look at a dispute.
CREATE TABLE payments (
    nonce BLOB NOT NULL PRIMARY KEY,
    payer TEXT NOT NULL,
    payee TEXT NOT NULL,
    judged_at INTEGER NOT NULL,
    disputed_at INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX payments_of_payer ON payments (payer, judged_at, nonce);
CREATE INDEX payments_of_payee ON payments (payee, judged_at, nonce);
CREATE INDEX payments_by_time ON payments (judged_at);
CREATE INDEX payments_disputed ON payments (disputed_at) WHERE disputed_at > 0;

CREATE TABLE replies (
    client TEXT NOT NULL,
    name TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    status INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (client, name)
) STRICT;
CREATE INDEX replies_by_age ON replies (at);

CREATE TABLE events (
    place INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    topic TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- How far each reader of the events has come.
CREATE TABLE readers (
    reader TEXT NOT NULL PRIMARY KEY,
    place INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE log (
    chain BLOB NOT NULL,
    number INTEGER NOT NULL,
    previous BLOB NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    body BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (chain, number)
) STRICT;
CREATE INDEX log_of_account ON log (account, at, chain, number);
CREATE TRIGGER log_is_not_changed BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_is_not_shortened BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

-- The head of each writer's chain. `batch` counts its commits; `named` is the last number that another chain's first entry
-- names, -1 before that.
CREATE TABLE chains (
    chain BLOB NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    batch INTEGER NOT NULL,
    named INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What replicas tell each other, by name: a small text, replaced only by who has read the newest.
CREATE TABLE notes (
    name TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Windows that have ended and are not counted yet, by the grant that opened them. Whoever counts one removes it in the same
-- transaction.
CREATE TABLE ended (
    jti BLOB NOT NULL PRIMARY KEY,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
