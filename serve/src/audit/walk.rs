//! The whole log of a store, page by page, while its chains are followed.

use super::chain::{BrokenChain, Head, Link, Verifier};
use crate::store::{PAGE_MAX, Store, StoreError};

/// Reads every entry that was there when it began. A chain that breaks is still read to its end.
///
/// * `kept`: heads that were kept elsewhere: without them, what was cut off a chain that still grows goes unseen;
/// * `page`: gets every entry once, each chain in its order;
/// * returns the heads, to be kept, and how many entries there are; or where a chain broke first.
///
/// # Errors
/// [`StoreError`], also of `page`.
pub async fn walk(
    store: &Store,
    kept: &[Head],
    mut page: impl AsyncFnMut(&[Link]) -> Result<(), StoreError>,
) -> Result<Result<(Vec<Head>, u64), BrokenChain>, StoreError> {
    let mut verifier = Verifier::default();
    let mut broken = kept.iter().try_for_each(|head| verifier.expect(*head)).err();
    let heads = store.heads().await?;
    for head in &heads {
        let first = store.log(head.chain, 0, 1).await?;
        let named = verifier.expect(*head).and_then(|()| first.iter().try_for_each(|f| verifier.expect_named(f)));
        broken = broken.or(named.err());
    }
    for head in heads {
        let mut next = 0;
        while next <= head.number {
            let mut links = store.log(head.chain, next, PAGE_MAX).await?;
            // What has grown meanwhile lies behind the head.
            links.retain(|link| link.number <= head.number);
            let Some(last) = links.last() else { break };
            next = last.number.saturating_add(1);
            for link in &links {
                if broken.is_none() {
                    broken = verifier.follow(link).err();
                }
            }
            page(&links).await?;
        }
    }
    Ok(match broken {
        Some(broken) => Err(broken),
        None => verifier.finish(),
    })
}
