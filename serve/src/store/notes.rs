//! Notes: small texts by name that replicas tell each other, such as how far a release has come.

use super::events::Value;
use super::lists::read;
use super::{Store, StoreError};

/// Bytes of a note.
const NOTE_BYTES_MAX: usize = 1 << 20;

/// A note as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Rises with every change, from 1.
    pub revision: u64,
    /// What it says.
    pub body: String,
}

impl Store {
    /// The note of that name, if somebody wrote one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note(&self, name: &str) -> Result<Option<Note>, StoreError> {
        const SQL: &str = "SELECT revision, body FROM notes WHERE name = $1";
        let found: Option<(i64, String)> =
            read!(self, readers => sqlx::query_as(SQL).bind(name).fetch_optional(readers).await)?;
        Ok(found.map(|(revision, body)| Note { revision: revision.unsigned_abs(), body }))
    }

    /// Writes a note in place of the one that was read.
    ///
    /// * `read`: what [`Store::note`] answered;
    /// * returns whether it stands: not when somebody else wrote meanwhile. Then read again.
    ///
    /// # Errors
    /// `Refused` when it is too long, `Unavailable`.
    pub async fn keep_note(&self, name: &str, body: &str, read: Option<&Note>) -> Result<bool, StoreError> {
        const FIRST: &str =
            "INSERT INTO notes (name, body, revision) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
        const NEXT: &str = "UPDATE notes SET body = $2, revision = revision + 1 WHERE name = $1 AND revision = $3";
        if body.len() > NOTE_BYTES_MAX || body.contains('\0') {
            return Err(StoreError::refused("a note has at most a mebibyte, and no zero bytes"));
        }
        let (sql, revision) = match read {
            None => (FIRST, 1),
            Some(note) => (NEXT, i64::try_from(note.revision).unwrap_or(i64::MAX)),
        };
        let values = [Value::Text(name), Value::Text(body), Value::Number(revision)];
        Ok(self.write_aside(sql, &values).await? == 1)
    }
}
