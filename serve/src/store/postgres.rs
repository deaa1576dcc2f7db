//! The statements of PostgreSQL: rows are locked in the order of their keys, and a batch is read in two round trips and
//! written in one.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, Row as _};

use super::changes::{Changes, Loaded, count};
use super::error::Fault;
use super::sqlite::read_reply;
use super::{StoreError, schema};
use crate::record::{AccountId, GrantRecord, PaymentRecord, Record as _};
use crate::unit::Needs;

const READERS: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(5);

/// One database.
#[derive(Clone, Debug)]
pub(super) struct Server {
    options: PgConnectOptions,
    pub(super) readers: PgPool,
}

impl Server {
    /// Connects, and brings the tables to this program's version.
    pub(super) async fn open(url: &str) -> Result<Self, Fault> {
        let options = PgConnectOptions::from_str(url)?.disable_statement_logging();
        let options = options.application_name("plimsoll-serve");
        let readers =
            PgPoolOptions::new().max_connections(READERS).acquire_timeout(PATIENCE).connect_lazy_with(options.clone());
        let server = Self { options, readers };
        schema::migrate_postgres(&mut server.connect().await?).await?;
        Ok(server)
    }

    /// A connection that writes.
    pub(super) async fn connect(&self) -> Result<PgConnection, Fault> {
        let connecting = tokio::time::timeout(PATIENCE, self.options.connect()).await;
        let mut connection = connecting.map_err(|_| Fault::Lost("it does not answer".to_owned()))??;
        connection
            .execute(
                // A replica that hangs in the middle of a batch must not hold its locks for ever. Everything is found by its
                // key: planned once, and by the indices whatever the tables held then; planned anew for each batch, which
                // PostgreSQL takes to be cheaper, it costs as much as running it.
                "SET idle_in_transaction_session_timeout = '15s'; SET lock_timeout = '10s';
                 SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
                 SET enable_mergejoin = off;
                 SELECT set_config('synchronous_commit', 'on', false)
                 WHERE current_setting('synchronous_commit') = 'off'",
            )
            .await?;
        Ok(connection)
    }
}

/// Reads what the needs name, and locks it.
///
/// * `lock`: `false` for who only looks.
pub(super) async fn load(connection: &mut PgConnection, needs: &Needs, lock: bool) -> Result<Loaded, Fault> {
    let mut loaded = Loaded::default();
    let mut accounts: BTreeMap<String, (i64, i64, Vec<u8>)> = BTreeMap::new();
    if !needs.accounts.is_empty() {
        // A statement of its own: what the next one reads has to be as it is once these rows are ours.
        let sql = if lock { LOCK_ACCOUNTS } else { READ_ACCOUNTS };
        let ids: Vec<&str> = needs.accounts.iter().map(AccountId::as_str).collect();
        let found: Vec<(String, i64, i64, Vec<u8>)> = sqlx::query_as(sql).bind(ids).fetch_all(&mut *connection).await?;
        needs.accounts.iter().for_each(|id| loaded.unit.accounts.load(id.clone(), None));
        accounts = found.into_iter().map(|(id, revision, history, body)| (id, (revision, history, body))).collect();
    }
    let rest = [accounts.len(), needs.grants.len(), needs.payments.len(), needs.replies.len(), needs.rows.len()];
    if rest == [0; 5] {
        return Ok(loaded);
    }
    let (clients, keys): (Vec<&str>, Vec<&str>) = needs.replies.iter().map(|(c, k)| (c.as_str(), k.as_str())).unzip();
    let (histories, names): (Vec<&str>, Vec<&str>) = needs.rows.iter().map(|(a, n)| (a.as_str(), n.as_str())).unzip();
    let found = sqlx::query(if lock { LOCK_THE_REST } else { READ_THE_REST })
        .bind(needs.grants.iter().map(|t| &t.0[..]).collect::<Vec<_>>())
        .bind(needs.payments.iter().map(|t| &t.0[..]).collect::<Vec<_>>())
        .bind(clients)
        .bind(keys)
        .bind(histories)
        .bind(names)
        .bind(accounts.keys().map(String::as_str).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await?;
    let mut features = Vec::with_capacity(accounts.len());
    let unit = &mut loaded.unit;
    needs.grants.iter().for_each(|jti| unit.grants.load(*jti, None));
    needs.payments.iter().for_each(|nonce| unit.payments.load(*nonce, None));
    needs.replies.iter().for_each(|key| unit.replies.load(key.clone(), None));
    for row in found {
        let of: i32 = row.try_get(0)?;
        let (first, second): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        let body: Vec<u8> = row.try_get(3)?;
        match of {
            0 => {
                let grant = GrantRecord::from_bytes(&body)?;
                loaded.grants.insert(grant.jti);
                unit.grants.load(grant.jti, Some(grant));
            }
            1 => {
                let payment = PaymentRecord::from_bytes(&body)?;
                loaded.payments.insert(payment.nonce);
                unit.payments.load(payment.nonce, Some(payment));
            }
            2 => {
                let fingerprint: Vec<u8> = row.try_get(4)?;
                let reply = read_reply(&fingerprint, row.try_get(5)?, row.try_get(6)?, body)?;
                loaded.replies.insert((first.clone(), second.clone()));
                unit.replies.load((first, second), Some(reply));
            }
            3 => {
                let account = first.try_into().map_err(|_| StoreError::damaged("a row's account has no name"))?;
                unit.known_rows.insert((account, second));
            }
            _ => features.push((first, body)),
        }
    }
    for (of, features) in features {
        if let Some(account) = accounts.remove(&of) {
            loaded.account(account, Some(features))?;
        }
    }
    accounts.into_values().try_for_each(|without| loaded.account(without, None))?;
    Ok(loaded)
}

const READ_ACCOUNTS: &str = "SELECT id, revision, history, body FROM accounts WHERE id = ANY($1)";
const LOCK_ACCOUNTS: &str =
    "SELECT id, revision, history, body FROM accounts WHERE id = ANY($1) ORDER BY id FOR UPDATE";

/// What is there is locked in the order of the tables and, within one, of the keys; what is not there cannot be locked, and
/// the second of two that put it there is stopped by its unique key.
macro_rules! read_the_rest {
    ($lock:literal) => {
        concat!(
            "SELECT 0, '', '', body, ''::bytea, 0::bigint, 0::bigint
             FROM (SELECT body FROM grants WHERE jti = ANY($1) ORDER BY jti ",
            $lock,
            ") g
             UNION ALL
             SELECT 1, '', '', body, '', 0, 0
             FROM (SELECT body FROM payments WHERE nonce = ANY($2) ORDER BY nonce ",
            $lock,
            ") p
             UNION ALL
             SELECT 2, client, name, body, fingerprint, status, at
             FROM (SELECT r.* FROM replies r
                   JOIN unnest($3::text[], $4::text[]) AS n (client, name) ON r.client = n.client AND r.name = n.name
                   ORDER BY r.client, r.name ",
            $lock,
            ") r
             UNION ALL
             SELECT 3, h.account, h.name, '', '', 0, 0
             FROM unnest($5::text[], $6::text[]) AS n (account, name)
             JOIN history h ON h.account = n.account AND h.name = n.name
             UNION ALL
             SELECT 4, account, '', body, '', 0, 0 FROM features WHERE account = ANY($7)"
        )
    };
}
const READ_THE_REST: &str = read_the_rest!("");
const LOCK_THE_REST: &str = read_the_rest!("FOR UPDATE");

/// Writes everything that changed, and moves the head of the chain.
///
/// * returns whether the chain was where the writer left it.
pub(super) async fn write(connection: &mut PgConnection, changes: &Changes) -> Result<bool, Fault> {
    macro_rules! column {
        ($rows:expr, $field:ident) => {
            $rows.iter().map(|r| r.$field).collect::<Vec<_>>()
        };
        ($rows:expr, & $field:ident) => {
            $rows.iter().map(|r| &r.$field[..]).collect::<Vec<_>>()
        };
    }
    let Changes { accounts, features, history, grants, payments, replies, events, ended, log, chain } = changes;
    let (before, after) = chain;
    let written: (i64, i64) = sqlx::query_as(WRITE)
        .bind(column!(accounts, &id))
        .bind(column!(accounts, revision))
        .bind(column!(accounts, history))
        .bind(column!(accounts, tier))
        .bind(column!(accounts, balance))
        .bind(column!(accounts, updated_at))
        .bind(column!(accounts, &body))
        .bind(column!(history, &account))
        .bind(column!(history, place))
        .bind(column!(history, &name))
        .bind(column!(history, &body))
        .bind(column!(grants.new, &jti))
        .bind(column!(grants.new, &account))
        .bind(column!(grants.new, &jkt))
        .bind(column!(grants.new, seq))
        .bind(column!(grants.new, iat))
        .bind(column!(grants.new, &body))
        .bind(column!(grants.changed, &jti))
        .bind(column!(grants.changed, &body))
        .bind(column!(payments.new, &nonce))
        .bind(column!(payments.new, &payer))
        .bind(column!(payments.new, &payee))
        .bind(column!(payments.new, judged_at))
        .bind(column!(payments.new, &body))
        .bind(column!(payments.changed, &nonce))
        .bind(column!(payments.changed, &body))
        .bind(column!(replies.new, &client))
        .bind(column!(replies.new, &name))
        .bind(column!(replies.new, &fingerprint))
        .bind(column!(replies.new, status))
        .bind(column!(replies.new, at))
        .bind(column!(replies.new, &body))
        .bind(column!(replies.changed, &client))
        .bind(column!(replies.changed, &name))
        .bind(column!(replies.changed, &fingerprint))
        .bind(column!(replies.changed, status))
        .bind(column!(replies.changed, at))
        .bind(column!(replies.changed, &body))
        .bind(column!(events, at))
        .bind(column!(events, &topic))
        .bind(column!(events, &body))
        .bind(log.iter().map(|l| &l.chain.0[..]).collect::<Vec<_>>())
        .bind(log.iter().map(|l| count(l.number)).collect::<Vec<_>>())
        .bind(log.iter().map(|l| &l.previous.0[..]).collect::<Vec<_>>())
        .bind(log.iter().map(|l| l.at.0).collect::<Vec<_>>())
        .bind(column!(log, &kind))
        .bind(column!(log, &account))
        .bind(column!(log, &body))
        .bind(log.iter().map(|l| &l.hash.0[..]).collect::<Vec<_>>())
        .bind(&before.head.chain.0[..])
        .bind(before.batch)
        .bind(count(after.head.number))
        .bind(&after.head.hash.0[..])
        .bind(column!(accounts, exposed))
        .bind(column!(accounts, exposed_until))
        .bind(column!(accounts, proposed_at))
        .bind(column!(payments.new, disputed_at))
        .bind(column!(payments.changed, disputed_at))
        .bind(column!(accounts, window_until))
        .bind(column!(ended, &jti))
        .bind(column!(ended, &body))
        .bind(column!(features.new, &account))
        .bind(column!(features.new, &body))
        .bind(column!(features.changed, &account))
        .bind(column!(features.changed, &body))
        .fetch_one(connection)
        .await?;
    if written.0 != accounts.len() as i64 {
        return Err(Fault::Conflict("an account was written by somebody else".to_owned()));
    }
    Ok(written.1 == 1)
}

// One statement, so that a batch costs one round trip however much is in it. The update of accounts overwrites only what
// was loaded: the second line behind the lock.
const WRITE: &str = "
    WITH a AS (
        INSERT INTO accounts (id, revision, history, tier, balance, updated_at, body, exposed, exposed_until, proposed_at,
            window_until)
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[],
            $54::bigint[], $55::bigint[], $56::bigint[], $59::bigint[])
        ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, history = excluded.history, tier = excluded.tier,
            balance = excluded.balance, updated_at = excluded.updated_at, body = excluded.body,
            exposed = excluded.exposed, exposed_until = excluded.exposed_until, proposed_at = excluded.proposed_at,
            window_until = excluded.window_until
        WHERE accounts.revision = excluded.revision - 1
        RETURNING 1
    ), f AS (
        INSERT INTO features (account, body) SELECT * FROM unnest($62::text[], $63::bytea[])
    ), f_changed AS (
        UPDATE features SET body = u.body FROM unnest($64::text[], $65::bytea[]) AS u (account, body)
        WHERE features.account = u.account
    ), h AS (
        INSERT INTO history (account, place, name, body)
        SELECT * FROM unnest($8::text[], $9::bigint[], $10::text[], $11::bytea[])
    ), g AS (
        INSERT INTO grants (jti, account, jkt, seq, iat, body)
        SELECT * FROM unnest($12::bytea[], $13::text[], $14::bytea[], $15::bigint[], $16::bigint[], $17::bytea[])
    ), g_changed AS (
        UPDATE grants SET body = u.body FROM unnest($18::bytea[], $19::bytea[]) AS u (jti, body)
        WHERE grants.jti = u.jti
    ), p AS (
        INSERT INTO payments (nonce, payer, payee, judged_at, body, disputed_at)
        SELECT * FROM unnest($20::bytea[], $21::text[], $22::text[], $23::bigint[], $24::bytea[], $57::bigint[])
    ), p_changed AS (
        UPDATE payments SET body = u.body, disputed_at = u.disputed_at
        FROM unnest($25::bytea[], $26::bytea[], $58::bigint[]) AS u (nonce, body, disputed_at)
        WHERE payments.nonce = u.nonce
    ), r AS (
        INSERT INTO replies (client, name, fingerprint, status, at, body)
        SELECT * FROM unnest($27::text[], $28::text[], $29::bytea[], $30::bigint[], $31::bigint[], $32::bytea[])
    ), r_changed AS (
        UPDATE replies SET fingerprint = u.fingerprint, status = u.status, at = u.at, body = u.body
        FROM unnest($33::text[], $34::text[], $35::bytea[], $36::bigint[], $37::bigint[], $38::bytea[])
            AS u (client, name, fingerprint, status, at, body)
        WHERE replies.client = u.client AND replies.name = u.name
    ), e AS (
        INSERT INTO events (at, topic, body)
        SELECT u.at, u.topic, u.body
        FROM unnest($39::bigint[], $40::text[], $41::bytea[]) WITH ORDINALITY AS u (at, topic, body, n) ORDER BY u.n
    ), w AS (
        INSERT INTO ended (jti, body) SELECT * FROM unnest($60::bytea[], $61::bytea[])
    ), l AS (
        INSERT INTO log (chain, number, previous, at, kind, account, body, hash)
        SELECT * FROM unnest($42::bytea[], $43::bigint[], $44::bytea[], $45::bigint[], $46::text[], $47::text[],
            $48::bytea[], $49::bytea[])
    ), c AS (
        UPDATE chains SET number = $52, hash = $53, batch = batch + 1 WHERE chain = $50 AND batch = $51 RETURNING 1
    )
    SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM c)";
