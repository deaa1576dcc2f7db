//! Deterministic CBOR (RFC 8949, section 4.2.1) for maps with small integer labels.
//!
//! Reading is by `minicbor`, which checks every length; that the bytes were the only way to say it is checked by
//! writing them again.

use std::convert::Infallible;

use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};

/// Writes into memory, which cannot fail.
pub(super) type Writer = Encoder<Vec<u8>>;

/// The result of one write.
pub(super) type Written<'a> = Result<&'a mut Writer, minicbor::encode::Error<Infallible>>;

/// A map whose labels are added in the order in which deterministic CBOR has them: 0, 1 … then −1, −2 ….
pub(super) struct MapWriter {
    entries: u64,
    body: Writer,
}

impl MapWriter {
    pub(super) fn new() -> Self {
        Self { entries: 0, body: Encoder::new(Vec::new()) }
    }

    /// Adds one entry.
    pub(super) fn put(&mut self, label: i64, value: impl FnOnce(&mut Writer) -> Written<'_>) {
        self.entries += 1;
        self.body.i64(label).and_then(value).expect("writing to memory cannot fail");
    }

    /// Adds an entry that is there.
    pub(super) fn put_some<T>(
        &mut self,
        label: i64,
        value: Option<T>,
        put: impl FnOnce(&mut Writer, T) -> Written<'_>,
    ) {
        if let Some(value) = value {
            self.put(label, |w| put(w, value));
        }
    }

    /// The map's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut whole = Encoder::new(Vec::new());
        whole.map(self.entries).expect("writing to memory cannot fail");
        let mut bytes = whole.into_writer();
        bytes.extend_from_slice(self.body.writer());
        bytes
    }
}

/// Reads a map of definite length, one entry after the other.
pub(super) fn each_entry(
    d: &mut Decoder<'_>,
    mut entry: impl FnMut(&mut Decoder<'_>, i64) -> Result<(), Error>,
) -> Result<(), Error> {
    let entries = d.map()?.ok_or(Error::message("a map of indefinite length"))?;
    for _ in 0..entries {
        let label = d.i64()?;
        entry(d, label)?;
    }
    Ok(())
}

/// The length of an array of definite length, at most `max`.
pub(super) fn array_len(d: &mut Decoder<'_>, max: usize) -> Result<usize, Error> {
    let length = d.array()?.and_then(|n| usize::try_from(n).ok());
    length.filter(|n| *n <= max).ok_or(Error::message("an array of another length than allowed"))
}
