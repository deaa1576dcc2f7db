//! A counter of the platform that only ever rises: what tells a restored backup from the present.

/// A monotonic counter outside the reach of backups: a Keystore or secure-element counter, a TPM NV counter, the
/// replay-protected memory of a POS. It needs no secrecy and holds one number.
pub trait Anchor {
    /// The counter; 0 when it was never advanced; `None` when the platform has none.
    ///
    /// # Errors
    /// [`AnchorError`]: nothing is authorised until it can be read.
    fn value(&self) -> Result<Option<u64>, AnchorError>;

    /// Raises the counter to `to`, which is above its value. After it returned, no lower value is ever read again.
    ///
    /// # Errors
    /// [`AnchorError`]: the payment it was raised for is not released.
    fn advance(&self, to: u64) -> Result<(), AnchorError>;
}

/// The platform's counter did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the monotonic counter did not answer: {reason}")]
pub struct AnchorError {
    /// What the platform said.
    pub reason: String,
}

/// No counter. Such a wallet cannot tell that its files were set back to an earlier state, and then spends the
/// difference a second time: its grants should be small, and the issuer sees two payments with one number when they
/// settle. It still notices files that are damaged, files that are gone (the grant names the state it was made for),
/// and a state older than one the issuer knows (at the next sync).
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAnchor;

impl Anchor for NoAnchor {
    fn value(&self) -> Result<Option<u64>, AnchorError> {
        Ok(None)
    }

    fn advance(&self, _to: u64) -> Result<(), AnchorError> {
        Ok(())
    }
}

impl<A: Anchor + ?Sized> Anchor for &A {
    fn value(&self) -> Result<Option<u64>, AnchorError> {
        (**self).value()
    }

    fn advance(&self, to: u64) -> Result<(), AnchorError> {
        (**self).advance(to)
    }
}
