//! Windows that have ended are counted once.

use super::Place;
use super::world::*;
use plimsoll_model::UtcSeconds;
use plimsoll_serve::record::Ended;
use plimsoll_serve::store::{Counted, Store, StoreError};
use plimsoll_serve::unit::{Needs, Unit};

const NOTE: &str = "counted";

/// Counts by writing every name down.
fn names(body: Option<&str>, windows: &[Ended]) -> Result<Counted, StoreError> {
    let mut body = body.unwrap_or_default().to_owned();
    for window in windows {
        body.push_str(&format!("{}\n", window.promise.jti));
    }
    Ok(Counted { body, events: Vec::new() })
}

/// Counts what is there.
pub(crate) async fn count_all(store: &Store) {
    while store.has_uncounted().await.expect("reads") {
        store.count_ended(NOTE, NOW, names).await.expect("is answered");
    }
}

/// What was counted, by name.
pub(crate) async fn counted(store: &Store) -> Vec<String> {
    let note = store.note(NOTE).await.expect("reads");
    note.map_or_else(Vec::new, |note| note.body.lines().map(str::to_owned).collect())
}

pub(crate) async fn each_window_counts_once_however_many_replicas_count(place: Place) {
    const WINDOWS: u64 = 120;
    let (one, two) = (place.open().await, place.open().await);
    let end = async |store: &Store, by: u64| {
        for n in 0..WINDOWS {
            let window = ended(token(by as u8, n));
            store.run(NOW, Needs::default(), move |unit: &mut Unit| unit.ended.push(window)).await.expect("commits");
        }
    };
    let count = async |store: &Store| {
        let mut all = 0;
        for _ in 0..40 {
            // SQLite lets one process at a time write, and says so to others: the next time counts.
            all += store.count_ended(NOTE, NOW, names).await.unwrap_or(0);
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        all
    };
    let (_, _, first, second, third) = tokio::join!(end(&one, 1), end(&two, 2), count(&one), count(&two), count(&two));
    count_all(&one).await;
    let all = counted(&two).await;
    let mut distinct = all.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!((all.len(), distinct.len()), (2 * WINDOWS as usize, 2 * WINDOWS as usize));
    assert!(first + second + third > 0, "they counted while windows ended");
    one.close().await;
    two.close().await;
}

pub(crate) async fn a_count_that_fails_leaves_windows_and_note_as_they_were(place: Place) {
    let store = place.open().await;
    let three = [ended(token(1, 3)), ended(token(1, 1)), Ended { at: NOW.plus(-1), ..ended(token(1, 2)) }];
    store.run(NOW, Needs::default(), move |unit: &mut Unit| unit.ended.extend(&three)).await.expect("commits");
    let refuse = |_: Option<&str>, _: &[Ended]| Err(StoreError::Damaged { why: "as the test says".to_owned() });
    assert!(matches!(store.count_ended(NOTE, NOW, refuse).await, Err(StoreError::Damaged { .. })));
    assert_eq!(counted(&store).await, Vec::<String>::new());
    assert_eq!(store.count_ended(NOTE, NOW, names).await, Ok(3));
    let names_of = [2, 1, 3].map(|n| token(1, n).to_string());
    assert_eq!(counted(&store).await, names_of, "in the order of their ends");
    assert_eq!(store.has_uncounted().await, Ok(false));
    // A second end of one window is stopped by the schema, should the rules ever let it through.
    let twice = [ended(token(1, 9)), ended(token(1, 9))];
    let told = store.run(NOW, Needs::default(), move |unit: &mut Unit| unit.ended.extend(&twice)).await;
    assert!(told.is_err(), "{told:?}");
    assert_eq!(store.has_uncounted().await, Ok(false));
    store.close().await;
}

pub(crate) async fn windows_that_are_over_are_found_and_others_are_not(place: Place) {
    let store = place.open().await;
    let ends = [("a", Some(30)), ("b", Some(10)), ("c", None), ("d", Some(20)), ("e", Some(10))];
    let names = ends.map(|(name, _)| name);
    let work = move |unit: &mut Unit| {
        for (name, until) in ends {
            let mut one = account(name, 100);
            one.window = until.map(|s| window(token(1, s as u64), UtcSeconds(NOW.0 + s)));
            unit.accounts.put(id(name), one);
        }
    };
    store.run(NOW, needs_accounts(names), work).await.expect("commits");
    let over = async |s: i64, limit| store.windows_over(NOW.plus(s), limit).await.expect("reads");
    assert_eq!(over(9, 10).await, []);
    assert_eq!(over(20, 10).await, ["b", "e", "d"].map(id));
    assert_eq!(over(99, 2).await, ["b", "e"].map(id), "the oldest first");
    let work = |unit: &mut Unit| unit.accounts.change(&id("b"), |one| one.window = None);
    store.run(NOW, needs_accounts(["b"]), work).await.expect("commits");
    assert_eq!(over(20, 10).await, ["e", "d"].map(id));
    store.close().await;
}
