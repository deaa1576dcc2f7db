-- Everything that a decision on an account needs. `revision` rises with every write. `exposed` is what its grants might
-- still turn into payments when it was written, none of it after `exposed_until`; `proposed_at` is 0 without a proposal, and
-- `window_until` without a window.
CREATE TABLE accounts (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    history BIGINT NOT NULL,
    tier BIGINT NOT NULL,
    balance BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    exposed BIGINT NOT NULL,
    exposed_until BIGINT NOT NULL,
    proposed_at BIGINT NOT NULL,
    window_until BIGINT NOT NULL,
    body BYTEA NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX accounts_proposed ON accounts (proposed_at) WHERE proposed_at > 0;
CREATE INDEX accounts_watched ON accounts (window_until) WHERE window_until > 0;

-- The rest of each account's bytes, which only transactions change: some 4 kB, where the row above has some 400 bytes. In its
-- page, with room for the next one beside it, and not compressed, since it would not become smaller by much.
CREATE TABLE features (
    account TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    body BYTEA NOT NULL
) WITH (fillfactor = 50, toast_tuple_target = 8160);
ALTER TABLE features ALTER body SET STORAGE MAIN;

-- An account's transactions, by the place in which they were folded in, from 1.
CREATE TABLE history (
    account TEXT COLLATE "C" NOT NULL,
    place BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (account, place),
    UNIQUE (account, name)
);

CREATE TABLE grants (
    jti BYTEA NOT NULL PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL,
    jkt BYTEA NOT NULL,
    seq BIGINT NOT NULL,
    iat BIGINT NOT NULL,
    body BYTEA NOT NULL,
    UNIQUE (account, jkt, seq)
);

-- `disputed_at` is 0 unless somebody has to look at a dispute.
CREATE TABLE payments (
    nonce BYTEA NOT NULL PRIMARY KEY,
    payer TEXT COLLATE "C" NOT NULL,
    payee TEXT COLLATE "C" NOT NULL,
    judged_at BIGINT NOT NULL,
    disputed_at BIGINT NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX payments_of_payer ON payments (payer, judged_at, nonce);
CREATE INDEX payments_of_payee ON payments (payee, judged_at, nonce);
CREATE INDEX payments_by_time ON payments (judged_at);
CREATE INDEX payments_disputed ON payments (disputed_at) WHERE disputed_at > 0;

CREATE TABLE replies (
    client TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA NOT NULL,
    status BIGINT NOT NULL,
    at BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (client, name)
);
CREATE INDEX replies_by_age ON replies (at);

-- `place` is given out before the commit, so it may become visible out of order: readers go by `number`, which whoever
-- reads first gives out under a lock.
CREATE TABLE events (
    place BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number BIGINT UNIQUE,
    at BIGINT NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL
);
CREATE SEQUENCE event_numbers;
CREATE INDEX events_without_number ON events (place) WHERE number IS NULL;

-- How far each reader of the events has come.
CREATE TABLE readers (
    reader TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    place BIGINT NOT NULL
);

CREATE TABLE log (
    chain BYTEA NOT NULL,
    number BIGINT NOT NULL,
    previous BYTEA NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (chain, number)
) WITH (toast_tuple_target = 8160);
ALTER TABLE log ALTER body SET STORAGE MAIN;
CREATE INDEX log_of_account ON log (account, at, chain, number);
CREATE FUNCTION log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the log is append-only'; END $$;
CREATE TRIGGER log_is_not_changed BEFORE UPDATE OR DELETE ON log FOR EACH ROW EXECUTE FUNCTION log_is_append_only();
CREATE TRIGGER log_is_not_emptied BEFORE TRUNCATE ON log EXECUTE FUNCTION log_is_append_only();

-- The head of each writer's chain. `batch` counts its commits; `named` is the last number that another chain's first entry
-- names, -1 before that.
CREATE TABLE chains (
    chain BYTEA NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    batch BIGINT NOT NULL,
    named BIGINT NOT NULL
);

-- What replicas tell each other, by name: a small text, replaced only by who has read the newest.
CREATE TABLE notes (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    body TEXT NOT NULL
);

-- Windows that have ended and are not counted yet, by the grant that opened them. Whoever counts one removes it in the same
-- transaction.
CREATE TABLE ended (
    jti BYTEA NOT NULL PRIMARY KEY,
    body BYTEA NOT NULL
);
