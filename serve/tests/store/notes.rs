//! What replicas tell each other.

use super::Place;

pub(crate) async fn a_note_is_replaced_only_by_who_has_read_it(place: Place) {
    let (one, two) = (place.open().await, place.open().await);
    assert_eq!(one.note("rings").await, Ok(None));
    assert_eq!(one.keep_note("rings", "a", None).await, Ok(true));
    assert_eq!(two.keep_note("rings", "b", None).await, Ok(false), "somebody was first");
    let read = two.note("rings").await.expect("reads").expect("is there");
    assert_eq!((read.revision, read.body.as_str()), (1, "a"));
    assert_eq!(two.keep_note("rings", "b", Some(&read)).await, Ok(true));
    assert_eq!(one.keep_note("rings", "c", Some(&read)).await, Ok(false), "it was replaced since");
    assert_eq!(one.note("rings").await.expect("reads").map(|n| (n.revision, n.body)), Some((2, "b".to_owned())));
    assert_eq!(one.note("other").await, Ok(None));
    assert!(one.keep_note("rings", &"x".repeat((1 << 20) + 1), None).await.is_err());
}

pub(crate) async fn of_many_that_write_a_note_at_once_each_is_heard(place: Place) {
    let store = place.open().await;
    let add = |i: u32| {
        let store = store.clone();
        async move {
            loop {
                let read = store.note("sum").await.expect("reads");
                let said = read.as_ref().map_or_else(String::new, |note| note.body.clone());
                if store.keep_note("sum", &format!("{said}{i} "), read.as_ref()).await.expect("writes") {
                    return;
                }
            }
        }
    };
    let tasks: Vec<_> = (0..20).map(|i| tokio::spawn(add(i))).collect();
    for task in tasks {
        task.await.expect("ends");
    }
    let note = store.note("sum").await.expect("reads").expect("is there");
    let mut heard: Vec<u32> = note.body.split_whitespace().map(|n| n.parse().expect("a number")).collect();
    heard.sort_unstable();
    assert_eq!((note.revision, heard), (20, (0..20).collect()));
}
