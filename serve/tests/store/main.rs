//! One suite over both stores: every promise of the store, on SQLite in a temporary directory and on a PostgreSQL that the
//! test starts. Without PostgreSQL the suite fails.

mod server;
mod world;

mod batches;
mod outage;

use std::sync::OnceLock;

use plimsoll_serve::store::Store;
use server::Server;
use tempfile::TempDir;

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
        static SERVER: OnceLock<Server> = OnceLock::new();
        Self { url: SERVER.get_or_init(Server::start).database(test), _home: None }
    }

    async fn open(&self) -> Store {
        Store::open(&self.url).await.expect("opens")
    }
}

/// Each test on each store.
macro_rules! on_both {
    ($($test:path as $name:ident,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { $test(super::Place::sqlite()).await })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { $test(super::Place::postgres(stringify!($name))).await })*
        }
    };
}

on_both! {
    crate::batches::what_was_answered_is_there_after_opening_again as what_was_answered_is_there_after_opening_again,
}
