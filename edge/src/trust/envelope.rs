//! The signed envelope `{"signatures": […], "signed": {…}}`, held to one spelling.
//!
//! ```text
//! bytes ─► JSON ─► canonical again = bytes? ─► every signature by a key of the role, strictly verified
//! ```
//!
//! TUF asks for a threshold of good signatures and ignores the rest, and signs the meaning of `signed`,
//! not the bytes of the file. Then white space, the order of keys, the case of hex digits or a
//! superfluous signature could change unnoticed. We ask for more, so that a repository is what was
//! published to the byte: the file is OLPC canonical JSON as a whole, has no other members, lists its
//! signatures by rising key id, and each of them is good.

use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;
use sigstore_tuf::{Key, Root, canonical_json};

use super::{RefuseRelease, Role};

/// A metadata file whose bytes are canonical; nothing is known yet about who signed it.
pub(super) struct Envelope {
    /// The canonical bytes of `signed`: what the signatures cover.
    signed: Vec<u8>,
    /// By rising key id.
    signatures: Vec<(String, Signature)>,
}

impl Envelope {
    /// Reads a size-bounded file of `role`.
    ///
    /// # Errors
    /// `Truncated`, `NotCanonical`, `DuplicateSignature` or `Malformed`.
    pub(super) fn read(role: Role, file: &str, bytes: &[u8]) -> Result<Self, RefuseRelease> {
        let malformed = |reason: String| RefuseRelease::Malformed { file: file.to_owned(), reason };
        let value: Value = serde_json::from_slice(bytes).map_err(|error| unreadable(file, bytes, &error))?;
        let canonical = canonical_json::to_canonical_bytes(&value).map_err(|error| malformed(error.to_string()))?;
        if canonical != bytes {
            return Err(RefuseRelease::NotCanonical { file: file.to_owned() });
        }
        let members = value.as_object().filter(|object| object.len() == 2);
        let signed = members.and_then(|object| object.get("signed")).filter(|signed| signed.is_object());
        let listed = members.and_then(|object| object.get("signatures")).and_then(Value::as_array);
        let (Some(signed), Some(listed)) = (signed, listed) else {
            return Err(malformed("it must have `signatures` and `signed`, and nothing else".to_owned()));
        };
        let signatures = listed
            .iter()
            .map(signature)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| malformed("a signature is not a key id and 64 bytes of lower-case hex".to_owned()))?;
        for pair in signatures.windows(2) {
            if pair[0].0 == pair[1].0 {
                return Err(RefuseRelease::DuplicateSignature { role, key: pair[0].0.clone() });
            }
            if pair[0].0 > pair[1].0 {
                return Err(malformed("signatures are not in the order of their key ids".to_owned()));
            }
        }
        let signed = canonical_json::to_canonical_bytes(signed).map_err(|error| malformed(error.to_string()))?;
        Ok(Self { signed, signatures })
    }

    /// That every signature is by a key which one of `authorities` gives to `role`, and matches.
    ///
    /// # Errors
    /// `UnknownSigner`, `UnsupportedKey` or `BadSignature`.
    pub(super) fn require_every_signature(&self, role: Role, authorities: &[&Root]) -> Result<(), RefuseRelease> {
        for (id, signature) in &self.signatures {
            let key = authorities
                .iter()
                .filter(|root| root.role(role.name()).is_some_and(|keys| keys.keyids.contains(id)))
                .find_map(|root| root.keys.get(id))
                .ok_or_else(|| RefuseRelease::UnknownSigner { role, key: id.clone() })?;
            verifying_key(id, key)?
                .verify_strict(&self.signed, signature)
                .map_err(|_| RefuseRelease::BadSignature { role, key: id.clone() })?;
        }
        Ok(())
    }
}

/// The key of a TUF key object: Ed25519, lower-case hex, not of small order, under its own key id.
///
/// The key id must be the SHA-256 of the key (TUF leaves it open): otherwise one key under two ids
/// would count twice towards a threshold.
pub(super) fn verifying_key(id: &str, key: &Key) -> Result<VerifyingKey, RefuseRelease> {
    let unusable = |reason: &str| RefuseRelease::UnsupportedKey { key: id.to_owned(), reason: reason.to_owned() };
    if key.keytype != "ed25519" || key.scheme != "ed25519" {
        return Err(unusable("only Ed25519 keys are used here"));
    }
    if key.key_id().ok().as_deref() != Some(id) {
        return Err(unusable("its key id is not its SHA-256"));
    }
    let public = lower_hex(&key.keyval.public).ok_or_else(|| unusable("it is not 32 bytes of lower-case hex"))?;
    let key = VerifyingKey::from_bytes(&public).map_err(|_| unusable("it is not a point of the curve"))?;
    if key.is_weak() { Err(unusable("it has small order, so anyone can sign with it")) } else { Ok(key) }
}

/// Why `bytes` are not JSON: they stop in the middle, or they are something else.
pub(super) fn unreadable(file: &str, bytes: &[u8], error: &serde_json::Error) -> RefuseRelease {
    if error.is_eof() {
        RefuseRelease::Truncated { file: file.to_owned(), expected: None, found: bytes.len() as u64 }
    } else {
        RefuseRelease::Malformed { file: file.to_owned(), reason: error.to_string() }
    }
}

/// `{"keyid": …, "sig": …}` and nothing else.
fn signature(value: &Value) -> Option<(String, Signature)> {
    let object = value.as_object().filter(|object| object.len() == 2)?;
    let bytes = lower_hex::<64>(object.get("sig")?.as_str()?)?;
    Some((object.get("keyid")?.as_str()?.to_owned(), Signature::from_bytes(&bytes)))
}

/// `N` bytes from exactly `2 N` lower-case hex digits.
fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(bytes: &[u8]) -> RefuseRelease {
        Envelope::read(Role::Targets, "f", bytes).err().expect("must be refused")
    }

    #[test]
    fn white_space_and_key_order_are_not_canonical() {
        let not_canonical = RefuseRelease::NotCanonical { file: "f".to_owned() };
        assert!(Envelope::read(Role::Targets, "f", br#"{"signatures":[],"signed":{"a":1}}"#).is_ok());
        assert_eq!(refused(br#"{"signatures":[],"signed":{"a": 1}}"#), not_canonical);
        assert_eq!(refused(br#"{"signed":{"a":1},"signatures":[]}"#), not_canonical);
        assert_eq!(refused(br#"{"signatures":[],"signed":{"a":0,"a":1}}"#), not_canonical);
        assert_eq!(refused(br#"{"signatures":[],"signed":{"\u0061":1}}"#), not_canonical);
    }

    #[test]
    fn members_that_nobody_signed_are_refused() {
        assert!(matches!(refused(br#"{"note":1,"signatures":[],"signed":{}}"#), RefuseRelease::Malformed { .. }));
        assert!(matches!(refused(br#"{"signatures":[],"signed":{"x":0.5}}"#), RefuseRelease::Malformed { .. }));
    }

    #[test]
    fn half_a_document_is_cut_short() {
        let want = RefuseRelease::Truncated { file: "f".to_owned(), expected: None, found: 15 };
        assert_eq!(refused(br#"{"signatures":["#), want);
        assert!(matches!(refused(b""), RefuseRelease::Truncated { found: 0, .. }));
    }

    #[test]
    fn hex_has_one_spelling() {
        assert_eq!(lower_hex::<2>("0aff"), Some([0x0a, 0xff]));
        for other in ["0AFF", "0aff0", "0af", "0x0a", ""] {
            assert_eq!(lower_hex::<2>(other), None, "{other}");
        }
    }
}
