//! The chain that the log's entries form: each holds the hash of the one before it.
//!
//! ```text
//! chain a:  0 ─► 1 ─► 2 ─► 3            an entry's hash = SHA-256 over chain, number, previous hash, time, kind, account, body
//!                          ▲
//! chain b:                 0 ─► 1 ─► …  the first entry of a chain names the heads that its writer found
//! ```
//!
//! A writer begins a chain of its own when it starts, so that replicas do not wait for one another's head. Because a first
//! entry names the heads before it, a chain that ended cannot lose its tail unseen. The tails of the chains that are still
//! growing are held by whoever keeps their heads elsewhere: give those to [`Verifier::expect`].

use std::collections::BTreeMap;
use std::fmt;

use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Names a chain: drawn by its writer.
pub type ChainId = Bytes<16>;
/// SHA-256 of an entry.
pub type EntryHash = Bytes<32>;

/// The kind of a chain's first entry.
pub const FIRST: &str = "chain";

/// The end of a chain, or where it ended when somebody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Head {
    /// Which chain.
    pub chain: ChainId,
    /// The number of its last entry, from 0.
    pub number: u64,
    /// That entry's hash.
    pub hash: EntryHash,
}

/// One entry, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Which chain.
    pub chain: ChainId,
    /// Its number in the chain, from 0.
    pub number: u64,
    /// The hash of the entry before it; zeros in the first.
    pub previous: EntryHash,
    /// When it was decided.
    pub at: UtcSeconds,
    /// What kind of decision.
    pub kind: String,
    /// About whom; empty when about no account.
    pub account: String,
    /// JSON, these very bytes.
    pub body: Vec<u8>,
    /// The hash of all of this.
    pub hash: EntryHash,
}

/// What the first entry of a chain says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Opening {
    format: u8,
    heads: Vec<Head>,
}

impl Link {
    /// The first entry of a chain.
    ///
    /// * `heads`: the ends of other chains that no first entry has named yet.
    pub fn first(chain: ChainId, at: UtcSeconds, heads: &[Head]) -> Self {
        let opening = Opening { format: 1, heads: heads.to_vec() };
        let body = serde_json::to_vec(&opening).expect("heads hold only integers and text");
        Self::seal(chain, 0, EntryHash::default(), at, FIRST.to_owned(), String::new(), body)
    }

    /// The entry after a head.
    pub fn after(head: &Head, at: UtcSeconds, kind: &str, account: &str, body: Vec<u8>) -> Self {
        Self::seal(head.chain, head.number + 1, head.hash, at, kind.to_owned(), account.to_owned(), body)
    }

    fn seal(
        chain: ChainId,
        number: u64,
        previous: EntryHash,
        at: UtcSeconds,
        kind: String,
        account: String,
        body: Vec<u8>,
    ) -> Self {
        let mut link = Self { chain, number, previous, at, kind, account, body, hash: EntryHash::default() };
        link.hash = link.computed_hash();
        link
    }

    /// The hash that follows from everything else in it.
    pub fn computed_hash(&self) -> EntryHash {
        let mut hash = Sha256::new();
        hash.update(b"plimsoll log entry 1\0");
        hash.update(self.chain.0);
        hash.update(self.number.to_be_bytes());
        hash.update(self.previous.0);
        hash.update(self.at.0.to_be_bytes());
        // Each text with its length, so that no byte can move from one to the next.
        for text in [self.kind.as_bytes(), self.account.as_bytes(), &self.body] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Bytes(hash.finalize().into())
    }

    /// The head of the chain when this is its last entry.
    pub const fn head(&self) -> Head {
        Head { chain: self.chain, number: self.number, hash: self.hash }
    }

    /// The heads that a first entry names.
    fn named(&self) -> Result<Vec<Head>, BrokenChain> {
        let refuse = || BrokenChain::Opening { chain: self.chain };
        let opening: Opening = serde_json::from_slice(&self.body).map_err(|_| refuse())?;
        if self.kind == FIRST && opening.format == 1 { Ok(opening.heads) } else { Err(refuse()) }
    }
}

/// Where a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenChain {
    /// Something in it was changed.
    #[error("entry {number} of chain {chain} was changed: its hash is another one")]
    Changed {
        /// Which chain.
        chain: ChainId,
        /// Which entry.
        number: u64,
    },
    /// One was taken out, put in or moved.
    #[error("chain {chain} has entry {found} where {expected} was expected")]
    Gap {
        /// Which chain.
        chain: ChainId,
        /// The number that comes next.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// It does not follow the one before it.
    #[error("entry {number} of chain {chain} does not follow the one before it")]
    Unlinked {
        /// Which chain.
        chain: ChainId,
        /// Which entry.
        number: u64,
    },
    /// The first entry does not say what it has to.
    #[error("the first entry of chain {chain} does not read")]
    Opening {
        /// Which chain.
        chain: ChainId,
    },
    /// A head that somebody saw is not there any more, or is another one.
    #[error("chain {} had entry {} with hash {}, and has not any more", head.chain, head.number, head.hash)]
    Lost {
        /// What was seen.
        head: Head,
    },
}

/// Follows chains, in any order of chains, each from its first entry on.
#[derive(Clone, Default)]
pub struct Verifier {
    ends: BTreeMap<ChainId, Head>,
    /// Seen by somebody and not met yet. Small: a chain's head once for each chain that begins after it.
    expected: BTreeMap<(ChainId, u64), Head>,
    entries: u64,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier {{ entries: {}, chains: {} }}", self.entries, self.ends.len())
    }
}

impl Verifier {
    /// Asks for a head: one that was kept elsewhere, or that the store says it has. Ask before following.
    ///
    /// # Errors
    /// `Lost` when two heads of the same place differ.
    pub fn expect(&mut self, head: Head) -> Result<(), BrokenChain> {
        match self.expected.insert((head.chain, head.number), head) {
            Some(other) if other.hash != head.hash => Err(BrokenChain::Lost { head: other }),
            _ => Ok(()),
        }
    }

    /// Asks for the heads that a first entry names. Give the first entries of all chains before following any.
    ///
    /// # Errors
    /// `Opening`, `Changed`, `Lost`.
    pub fn expect_named(&mut self, first: &Link) -> Result<(), BrokenChain> {
        if first.computed_hash() != first.hash {
            return Err(BrokenChain::Changed { chain: first.chain, number: first.number });
        }
        first.named()?.into_iter().try_for_each(|head| self.expect(head))
    }

    /// Follows a chain by one entry.
    ///
    /// # Errors
    /// [`BrokenChain`]: where it does not hold.
    pub fn follow(&mut self, link: &Link) -> Result<(), BrokenChain> {
        let (chain, number) = (link.chain, link.number);
        let end = self.ends.get(&chain);
        let expected = end.map_or(0, |e| e.number + 1);
        if number != expected {
            return Err(BrokenChain::Gap { chain, expected, found: number });
        }
        if link.previous != end.map_or_else(EntryHash::default, |e| e.hash) {
            return Err(BrokenChain::Unlinked { chain, number });
        }
        if link.computed_hash() != link.hash {
            return Err(BrokenChain::Changed { chain, number });
        }
        if number == 0 {
            link.named()?;
        }
        if let Some(head) = self.expected.remove(&(chain, number))
            && head.hash != link.hash
        {
            return Err(BrokenChain::Lost { head });
        }
        self.ends.insert(chain, link.head());
        self.entries += 1;
        Ok(())
    }

    /// The ends of all chains, and how many entries they have, when nothing that was asked for is missing.
    ///
    /// # Errors
    /// `Lost`.
    pub fn finish(self) -> Result<(Vec<Head>, u64), BrokenChain> {
        match self.expected.into_values().next() {
            Some(head) => Err(BrokenChain::Lost { head }),
            None => Ok((self.ends.into_values().collect(), self.entries)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(id: u8, entries: u8, named: &[Head]) -> Vec<Link> {
        let mut links = vec![Link::first(Bytes([id; 16]), UtcSeconds(1), named)];
        for i in 0..entries {
            let head = links[links.len() - 1].head();
            links.push(Link::after(&head, UtcSeconds(2), "grant", "alice", vec![b'0' + i]));
        }
        links
    }

    fn verify(links: &[Link]) -> Result<(Vec<Head>, u64), BrokenChain> {
        let mut verifier = Verifier::default();
        for first in links.iter().filter(|l| l.number == 0) {
            verifier.expect_named(first)?;
        }
        links.iter().try_for_each(|l| verifier.follow(l))?;
        verifier.finish()
    }

    /// Two chains, the second naming the end of the first.
    fn two() -> Vec<Link> {
        let mut links = chain(1, 3, &[]);
        links.extend(chain(2, 2, &[links[3].head()]));
        links
    }

    #[test]
    fn what_was_written_verifies_in_either_order_of_chains() {
        let links = two();
        let (heads, entries) = verify(&links).expect("whole");
        assert_eq!((heads, entries), (vec![links[3].head(), links[6].head()], 7));
        let mut other = links.clone();
        other.rotate_left(4);
        assert_eq!(verify(&other).expect("whole").1, 7);
    }

    #[test]
    fn every_byte_that_is_changed_is_noticed() {
        for i in 0..7 {
            let changes: [fn(&mut Link); 7] = [
                |l| l.at = l.at.plus(1),
                |l| l.kind.push('x'),
                |l| l.account = "mallory".into(),
                |l| l.body.push(b' '),
                |l| l.previous.0[0] ^= 1,
                |l| l.hash.0[31] ^= 1,
                |l| l.chain.0[3] ^= 1,
            ];
            for change in changes {
                let mut links = two();
                change(&mut links[i]);
                verify(&links).expect_err("changed");
            }
        }
        // A changed entry with the hash that fits it breaks the next, or the head that was seen.
        for i in 1..4 {
            let mut links = two();
            links[i].body.push(b' ');
            links[i].hash = links[i].computed_hash();
            verify(&links).expect_err("forged");
        }
    }

    #[test]
    fn a_byte_cannot_move_from_one_field_to_the_next() {
        let a = Link::after(&two()[0].head(), UtcSeconds(0), "grant", "alice", b"1".to_vec());
        let b = Link::after(&two()[0].head(), UtcSeconds(0), "granta", "lice", b"1".to_vec());
        assert_ne!(a.hash, b.hash);
    }

    #[test]
    fn entries_taken_out_moved_or_cut_off_are_noticed() {
        let mut out = two();
        out.remove(2);
        assert!(matches!(verify(&out), Err(BrokenChain::Gap { expected: 2, found: 3, .. })));
        let mut swapped = two();
        swapped.swap(1, 2);
        assert!(matches!(verify(&swapped), Err(BrokenChain::Gap { .. })));
        let mut cut = two();
        let head = cut.remove(3).head();
        assert_eq!(verify(&cut), Err(BrokenChain::Lost { head }), "the second chain saw it");
        let mut gone = two();
        gone.drain(..4);
        assert_eq!(verify(&gone), Err(BrokenChain::Lost { head }), "a whole chain");
    }

    #[test]
    fn the_tail_of_a_growing_chain_is_held_by_who_kept_its_head() {
        let links = two();
        let mut verifier = Verifier::default();
        verifier.expect(links[6].head()).expect("the first");
        links[..6].iter().try_for_each(|l| verifier.follow(l)).expect("whole so far");
        assert_eq!(verifier.finish(), Err(BrokenChain::Lost { head: links[6].head() }));
    }
}
