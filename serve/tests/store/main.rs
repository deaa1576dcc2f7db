//! One suite over both stores: every promise of the store, on SQLite in a temporary directory and on a PostgreSQL that the
//! test starts. Without PostgreSQL the suite fails.

mod server;
mod world;

mod backups;
mod batches;
mod chains;
mod crash;
mod desk;
mod ended;
mod failover;
mod fate;
mod full;
mod notes;
mod opening;
mod outage;

use std::sync::OnceLock;

use plimsoll_serve::store::Store;
use server::Server;
use tempfile::TempDir;

/// The server that tests share which leave it alone.
fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// Where a test's store is.
#[derive(Debug)]
pub(crate) struct Place {
    url: String,
    /// Of SQLite's file; removed with the test.
    _home: Option<TempDir>,
}

impl Place {
    fn sqlite() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        Self { url: format!("sqlite:{}", home.path().join("plimsoll.db").display()), _home: Some(home) }
    }

    fn postgres(test: &str) -> Self {
        Self { url: shared().database(test), _home: None }
    }

    async fn open(&self) -> Store {
        Store::open(&self.url).await.expect("opens")
    }

    /// Waits until nobody is connected: a server goes on with what a killed client had asked of it, and a commit may
    /// still come.
    async fn left_alone(&self) {
        const OTHERS: &str = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database()
            AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        if self.url.starts_with("sqlite:") {
            return;
        }
        for _ in 0..400 {
            if self.texts(OTHERS).await.is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("somebody is still connected to {}", self.url);
    }

    /// Reads texts past the store.
    async fn texts(&self, sql: &'static str) -> Vec<String> {
        use sqlx::Connection as _;
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("opens");
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.expect("reads")
        } else {
            let mut connection = sqlx::PgConnection::connect(&self.url).await.expect("opens");
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.expect("reads")
        }
    }

    /// Runs SQL past the store.
    async fn sql(&self, sql: &str) -> Result<(), sqlx::Error> {
        use sqlx::{Connection as _, Executor as _};
        let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            sqlx::SqliteConnection::connect_with(&options).await?.execute(sql).await.map(drop)
        } else {
            sqlx::PgConnection::connect(&self.url).await?.execute(sql).await.map(drop)
        }
    }
}

/// Each test on each store.
macro_rules! on_both {
    ($($file:ident: $($name:ident)*;)*) => {
        mod sqlite {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { crate::$file::$name(super::Place::sqlite()).await })*)*
        }
        mod postgres {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { crate::$file::$name(super::Place::postgres(stringify!($name))).await })*)*
        }
    };
}

on_both! {
    batches:
        what_was_answered_is_there_after_opening_again
        a_refused_attempt_leaves_nothing_and_the_others_of_its_commit_stay
        a_request_that_panics_takes_nobody_with_it
        one_idempotency_key_does_its_work_once_on_two_replicas
        two_replicas_issue_no_seq_and_settle_no_nonce_twice
        what_the_rules_let_through_twice_the_schema_stops
        a_record_that_is_there_is_replaced;
    chains:
        every_start_names_the_heads_it_found_and_all_of_it_verifies
        the_log_can_neither_be_changed_nor_shortened
        a_chain_that_was_taken_away_is_missed
        a_reader_of_events_misses_none_and_sees_each_accounts_in_order
        what_is_old_is_forgotten_and_event_numbers_never_come_again;
    backups:
        a_backup_is_restored_whole_into_either_store
        a_backup_that_was_cut_off_or_changed_leaves_nothing
        a_backup_knows_every_table;
    crash:
        a_replica_that_is_killed_takes_back_nothing_that_it_answered;
    notes:
        a_note_is_replaced_only_by_who_has_read_it
        of_many_that_write_a_note_at_once_each_is_heard;
    ended:
        each_window_counts_once_however_many_replicas_count
        a_count_that_fails_leaves_windows_and_note_as_they_were
        windows_that_are_over_are_found_and_others_are_not;
    desk:
        sums_and_what_waits_are_as_the_records_say;
    opening:
        two_that_open_a_new_store_at_once_both_get_it
        a_store_of_a_newer_program_is_refused
        a_record_that_does_not_read_fails_only_who_asks_for_it
        lists_come_in_pages_that_neither_skip_nor_repeat;
}
