//! What a wallet remembers, as one small file.
//!
//! ```text
//! "PLW1" ─ record ─ record ─ … ─ head ─ head length (4) ─ SHA-256 of everything before (32)
//!          length (4), CBOR      CBOR
//! ```
//!
//! Records come first and only grow between two grants, so a payment hashes its own record and the head, not the file.

use std::collections::VecDeque;

use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};
use plimsoll_model::grant::{Bytes, COUNT_MAX, Instance, TOKEN_BYTES_MAX, TokenId};
use plimsoll_model::{Currency, Money, UtcSeconds};
use sha2::{Digest as _, Sha256};

use super::Distrust;

const MAGIC: &[u8; 4] = b"PLW1";
const DIGEST: usize = 32;
/// Records a file may hold: payments not acknowledged, and acknowledged ones whose request could still be repeated.
pub(super) const RECORDS_MAX: usize = 2 * COUNT_MAX as usize;
/// Spends remembered for the windows of 24 hours, day and week.
const RECENT_MAX: usize = 128;
/// No wallet makes so many payments or writes; a counter above it was not counted, and one more could overflow.
const COUNTER_MAX: u64 = 1 << 62;
/// The longest window, a calendar week, and a day for the clock's sake.
const RECENT_S: i64 = 8 * 86_400;
/// The largest state there can be.
pub(super) const STATE_BYTES_MAX: u64 = (RECORDS_MAX * (TOKEN_BYTES_MAX + 256) + 16 * 1024) as u64;

/// One payment, from its durable write until the issuer acknowledged it and its request has expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    /// Rises by one with every payment.
    pub number: u64,
    /// The request's nonce.
    pub nonce: TokenId,
    /// Who was paid.
    pub payee: String,
    /// How much.
    pub amount: Money,
    /// In what.
    pub currency: Currency,
    /// When it was signed, engine time.
    pub at: UtcSeconds,
    /// Until when its request could be repeated.
    pub request_exp: UtcSeconds,
    /// The signed payment.
    pub token: Vec<u8>,
}

/// Everything besides the payments themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Rises with every durable write.
    pub revision: u64,
    pub wid: Instance,
    pub distrust: Option<Distrust>,
    /// The latest signed time seen: grants, and payments of our own since.
    pub clock: UtcSeconds,
    /// The highest grant sequence number accepted.
    pub seq: u64,
    /// The last payment's number.
    pub number: u64,
    /// The last payment number that the issuer has acknowledged.
    pub seen: u64,
    /// The grant's bytes as they came.
    pub grant: Option<Vec<u8>>,
    /// Spent under the grant.
    pub spent: Money,
    /// Payments under the grant.
    pub count: u32,
    /// Spent without a proof of presence since the last one.
    pub unproved: Money,
    /// What was spent when, oldest first, at most [`RECENT_MAX`].
    pub recent: VecDeque<(UtcSeconds, Money)>,
}

impl Head {
    /// Adds a spend to the windows. When they are full, the two oldest become one at the later time: it leaves its
    /// windows later than it should, never earlier.
    pub(super) fn remember(&mut self, at: UtcSeconds, amount: Money) {
        while self.recent.front().is_some_and(|(old, _)| old.plus(RECENT_S) < at) {
            self.recent.pop_front();
        }
        if self.recent.len() == RECENT_MAX
            && let Some((_, oldest)) = self.recent.pop_front()
            && let Some((_, next)) = self.recent.front_mut()
        {
            *next = next.saturating_add(oldest);
        }
        // Engine time may be set back by a new grant; the windows stay in order.
        let at = self.recent.back().map_or(at, |(last, _)| at.max(*last));
        self.recent.push_back((at, amount));
    }

    /// Sum of what was spent after `from`, or at any later time.
    pub(super) fn spent_after(&self, from: UtcSeconds) -> Money {
        self.recent.iter().filter(|(at, _)| *at > from).fold(Money::ZERO, |sum, (_, m)| sum.saturating_add(*m))
    }
}

/// Head and payments, and the payments' bytes as they are on the disk.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub head: Head,
    records: Vec<Paid>,
    encoded: Vec<u8>,
    hash: Sha256,
}

/// See [`State::mark`].
pub(super) struct Mark {
    head: Head,
    records: usize,
    encoded: usize,
    hash: Sha256,
}

/// The file is not one that was written here in full.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wallet's state does not read: {what}")]
pub(super) struct Damaged {
    pub what: String,
}

fn damaged(what: impl ToString) -> Damaged {
    Damaged { what: what.to_string() }
}

impl State {
    pub(super) fn new(head: Head) -> Self {
        Self::of(head, Vec::new())
    }

    fn of(head: Head, records: Vec<Paid>) -> Self {
        let mut state = Self { head, records: Vec::new(), encoded: MAGIC.to_vec(), hash: Sha256::new() };
        state.hash.update(MAGIC);
        for record in records {
            state.push(record);
        }
        state
    }

    /// The payments, oldest first.
    pub(super) fn records(&self) -> &[Paid] {
        &self.records
    }

    /// Adds a payment.
    pub(super) fn push(&mut self, record: Paid) {
        let start = self.encoded.len();
        self.encoded.extend_from_slice(&[0; 4]);
        write_record(&mut self.encoded, &record).expect("writing to memory cannot fail");
        let length = u32::try_from(self.encoded.len() - start - 4).expect("a token has at most 4,096 bytes");
        self.encoded[start..start + 4].copy_from_slice(&length.to_be_bytes());
        self.hash.update(&self.encoded[start..]);
        self.records.push(record);
    }

    /// What to go back to, should a payment that is about to be pushed not reach the disk.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            head: self.head.clone(),
            records: self.records.len(),
            encoded: self.encoded.len(),
            hash: self.hash.clone(),
        }
    }

    /// Forgets what was pushed since.
    pub(super) fn rewind(&mut self, mark: Mark) {
        self.head = mark.head;
        self.records.truncate(mark.records);
        self.encoded.truncate(mark.encoded);
        self.hash = mark.hash;
    }

    /// Keeps some of the payments.
    pub(super) fn retain(&mut self, keep: impl Fn(&Paid) -> bool) {
        if self.records.iter().all(&keep) {
            return;
        }
        let head = std::mem::take(&mut self.head);
        let kept = std::mem::take(&mut self.records).into_iter().filter(keep).collect();
        *self = Self::of(head, kept);
    }

    /// The file.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut head = Vec::new();
        write_head(&mut head, &self.head).expect("writing to memory cannot fail");
        let length = u32::try_from(head.len()).expect("a head has a few thousand bytes");
        head.extend_from_slice(&length.to_be_bytes());
        let digest = self.hash.clone().chain_update(&head).finalize();
        let mut bytes = Vec::with_capacity(self.encoded.len() + head.len() + DIGEST);
        bytes.extend_from_slice(&self.encoded);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// Reads a file: all of it, or nothing.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let (body, digest) = bytes.split_last_chunk::<DIGEST>().ok_or_else(|| damaged("too short"))?;
        if Sha256::digest(body)[..] != digest[..] {
            return Err(damaged("its digest does not match"));
        }
        let body = body.strip_prefix(MAGIC).ok_or_else(|| damaged("another format"))?;
        let (body, length) = body.split_last_chunk::<4>().ok_or_else(|| damaged("no head"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let cut = body.len().checked_sub(length).ok_or_else(|| damaged("no head"))?;
        let (mut rest, head) = body.split_at(cut);

        let mut d = Decoder::new(head);
        let head = read_head(&mut d).map_err(damaged)?;
        if d.position() != length {
            return Err(damaged("bytes after the head"));
        }
        let mut records: Vec<Paid> = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let record = after.get(..length).ok_or_else(|| damaged("a payment is cut off"))?;
            let mut d = Decoder::new(record);
            let paid = read_record(&mut d).map_err(damaged)?;
            if d.position() != length || records.len() == RECORDS_MAX {
                return Err(damaged("payments of another length or number"));
            }
            if records.last().is_some_and(|last| last.number >= paid.number) || paid.number > head.number {
                return Err(damaged("payment numbers do not rise"));
            }
            records.push(paid);
            rest = &after[length..];
        }
        if !rest.is_empty() {
            return Err(damaged("a payment is cut off"));
        }
        Ok(Self::of(head, records))
    }
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn write_record(to: &mut Vec<u8>, paid: &Paid) -> Written {
    Encoder::new(to)
        .array(8)?
        .u64(paid.number)?
        .bytes(&paid.nonce.0)?
        .str(&paid.payee)?
        .u64(paid.amount.minor())?
        .str(&String::from(paid.currency))?
        .i64(paid.at.0)?
        .i64(paid.request_exp.0)?
        .bytes(&paid.token)?
        .ok()
}

fn read_record(d: &mut Decoder<'_>) -> Result<Paid, Error> {
    exactly(d, 8)?;
    Ok(Paid {
        number: d.u64()?,
        nonce: bytes(d)?,
        payee: d.str()?.to_owned(),
        amount: money(d)?,
        currency: Currency::try_from(d.str()?.to_owned()).map_err(Error::message)?,
        at: UtcSeconds(d.i64()?),
        request_exp: UtcSeconds(d.i64()?),
        token: d.bytes()?.to_vec(),
    })
}

fn write_head(to: &mut Vec<u8>, head: &Head) -> Written {
    let mut e = Encoder::new(to);
    e.array(12)?
        .u64(head.revision)?
        .bytes(&head.wid.0)?
        .u8(head.distrust.map_or(0, Distrust::code))?
        .i64(head.clock.0)?
        .u64(head.seq)?
        .u64(head.number)?
        .u64(head.seen)?
        .bytes(head.grant.as_deref().unwrap_or_default())?
        .u64(head.spent.minor())?
        .u32(head.count)?
        .u64(head.unproved.minor())?
        .array(2 * head.recent.len() as u64)?;
    for (at, amount) in &head.recent {
        e.i64(at.0)?.u64(amount.minor())?;
    }
    Ok(())
}

fn read_head(d: &mut Decoder<'_>) -> Result<Head, Error> {
    exactly(d, 12)?;
    let mut head = Head {
        revision: d.u64()?,
        wid: bytes(d)?,
        distrust: Distrust::of_code(d.u8()?).ok_or(Error::message("an unknown distrust"))?,
        clock: UtcSeconds(d.i64()?),
        seq: d.u64()?,
        number: d.u64()?,
        seen: d.u64()?,
        grant: Some(d.bytes()?.to_vec()).filter(|g| !g.is_empty()),
        spent: money(d)?,
        count: d.u32()?,
        unproved: money(d)?,
        recent: VecDeque::new(),
    };
    if [head.revision, head.seq, head.number, head.seen].iter().any(|counter| *counter > COUNTER_MAX) {
        return Err(Error::message("a counter that no wallet reaches"));
    }
    let length = d.array()?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= 2 * RECENT_MAX && n % 2 == 0);
    for _ in 0..length.ok_or(Error::message("windows of another length"))? / 2 {
        head.recent.push_back((UtcSeconds(d.i64()?), money(d)?));
    }
    if !head.recent.iter().is_sorted_by_key(|(at, _)| *at) {
        return Err(Error::message("windows out of order"));
    }
    Ok(head)
}

fn exactly(d: &mut Decoder<'_>, length: u64) -> Result<(), Error> {
    if d.array()? == Some(length) { Ok(()) } else { Err(Error::message("a list of another length")) }
}

fn bytes<const N: usize>(d: &mut Decoder<'_>) -> Result<Bytes<N>, Error> {
    Bytes::try_from(d.bytes()?).map_err(Error::message)
}

fn money(d: &mut Decoder<'_>) -> Result<Money, Error> {
    Money::from_minor(d.u64()?).map_err(Error::message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(minor: u64) -> Money {
        Money::from_minor(minor).expect("small")
    }

    fn paid(number: u64) -> Paid {
        Paid {
            number,
            nonce: Bytes([number as u8; 16]),
            payee: "m-kedai-12".into(),
            amount: money(850),
            currency: Currency::new("MYR", 2).expect("a currency"),
            at: UtcSeconds(1_000),
            request_exp: UtcSeconds(1_300),
            token: vec![number as u8; 200],
        }
    }

    fn state() -> State {
        let mut head = Head { revision: 9, number: 3, grant: Some(vec![1, 2, 3]), ..Head::default() };
        head.remember(UtcSeconds(1_000), money(850));
        State::of(head, vec![paid(1), paid(3)])
    }

    #[test]
    fn what_is_written_reads_back() {
        let read = State::from_bytes(&state().to_bytes()).expect("ours");
        assert_eq!((&read.head, read.records()), (&state().head, state().records()));
        assert_eq!(read.to_bytes(), state().to_bytes());
        let mut grown = read;
        grown.head.number = 4;
        grown.push(paid(4));
        assert_eq!(State::from_bytes(&grown.to_bytes()).expect("ours").records().len(), 3);
        grown.retain(|p| p.number > 1);
        let numbers: Vec<_> =
            State::from_bytes(&grown.to_bytes()).expect("ours").records().iter().map(|p| p.number).collect();
        assert_eq!(numbers, [3, 4]);
    }

    #[test]
    fn a_file_with_any_byte_changed_cut_or_added_is_damaged() {
        let good = state().to_bytes();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert!(State::from_bytes(&bad).is_err(), "byte {i}");
            assert!(State::from_bytes(&good[..i]).is_err(), "cut at {i}");
        }
        assert!(State::from_bytes(&[&good[..], &[0]].concat()).is_err());
    }

    #[test]
    fn numbers_that_do_not_rise_are_damage_even_with_a_good_digest() {
        for (records, number) in [(vec![paid(2), paid(2)], 3), (vec![paid(3), paid(2)], 3), (vec![paid(4)], 3)] {
            let state = State::of(Head { number, ..Head::default() }, records);
            assert!(State::from_bytes(&state.to_bytes()).is_err());
        }
    }

    #[test]
    fn counters_that_no_wallet_reaches_are_damage_even_with_a_good_digest() {
        for counter in [
            |head: &mut Head| head.revision = u64::MAX,
            |head: &mut Head| head.seq = u64::MAX,
            |head: &mut Head| head.number = u64::MAX,
            |head: &mut Head| head.seen = u64::MAX,
        ] {
            let mut head = Head { number: 3, ..Head::default() };
            counter(&mut head);
            assert!(State::from_bytes(&State::new(head).to_bytes()).is_err());
        }
    }

    #[test]
    fn windows_that_overflow_forget_time_not_money() {
        let mut head = Head::default();
        for n in 0..1_000 {
            head.remember(UtcSeconds(n), money(1));
        }
        assert_eq!(head.recent.len(), RECENT_MAX);
        assert_eq!(head.spent_after(UtcSeconds(-1)), money(1_000));
        assert!(head.spent_after(UtcSeconds(899)) >= money(100), "never less than was spent");
        head.remember(UtcSeconds(RECENT_S + 1_000), money(1));
        assert_eq!(head.recent.len(), 1, "what no window reaches is forgotten");
    }

    proptest::proptest! {
        #[test]
        fn hostile_files_never_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _either = State::from_bytes(&body);
            let mut sealed = [&MAGIC[..], &body].concat();
            sealed.extend_from_slice(&Sha256::digest(&sealed));
            let _either = State::from_bytes(&sealed);
        }

        #[test]
        fn windows_never_forget_what_they_reach(
            spends in proptest::collection::vec((0i64..20_000, 1u64..100), 1..400), back in 1i64..600_000,
        ) {
            let (mut head, mut all, mut at) = (Head::default(), Vec::new(), UtcSeconds(0));
            for (gap, amount) in spends {
                at = at.plus(gap);
                head.remember(at, money(amount));
                all.push((at, amount));
                let from = at.plus(-back);
                let exact: u64 = all.iter().filter(|(t, _)| *t > from).map(|(_, m)| m).sum();
                proptest::prop_assert!(head.spent_after(from).minor() >= exact);
                if all.len() <= RECENT_MAX { proptest::prop_assert_eq!(head.spent_after(from).minor(), exact); }
            }
        }
    }
}
