//! HTTP Message Signatures (RFC 9421) with a content digest (RFC 9530), for backends.
//!
//! Narrower than the standard, so that there is one way to say a thing: one signature a message; no parameters on
//! components; every covered header is there once; all of `created`, `expires`, `nonce`, `keyid` and `tag`. Covered are
//! `@method` and `@target-uri` always, and `content-digest`, `content-type` and `idempotency-key` when the message has
//! them; a message with a body has a digest.
//!
//! The parameters go into the signature base as they came, and are parsed without optional white space: another
//! spelling of the same parameters is another base. `httpsig` 0.0.26 is not used: its own p256 and p384 and an older
//! dalek would be a second set of curves, and coverage, windows, nonces and the body's digest would be ours anyway.

use axum::http::{HeaderMap, HeaderName, Method, Uri};
use base64ct::{Base64, Encoding as _};
use hmac::{KeyInit as _, Mac as _};
use plimsoll_model::UtcSeconds;
use sha2::{Digest as _, Sha256, Sha512};

use super::refuse::RefuseCredential;

/// What a bridge's signatures are for; a signature made for something else has another tag.
pub const TAG: &str = "plimsoll-bridge";
/// Components that a signature may cover.
const COMPONENTS_MAX: usize = 16;

/// A bridge's key.
#[derive(Clone)]
pub(super) enum BridgeKey {
    Ed25519(ed25519_dalek::VerifyingKey),
    Hmac(hmac::Hmac<Sha256>),
}

impl std::fmt::Debug for BridgeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.algorithm())
    }
}

impl BridgeKey {
    /// A shared secret.
    ///
    /// # Errors
    /// When it is too short to be one.
    pub(super) fn hmac(secret: &[u8]) -> Result<Self, &'static str> {
        if secret.len() < 32 {
            return Err("a shared secret has 32 bytes or more");
        }
        Ok(Self::Hmac(hmac::Hmac::new_from_slice(secret).expect("HMAC takes keys of any length")))
    }

    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "ed25519",
            Self::Hmac(_) => "hmac-sha256",
        }
    }

    fn verify(&self, base: &[u8], signature: &[u8]) -> Result<(), RefuseCredential> {
        let matches = match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(base, &signature).is_ok()),
            // In constant time, and never a shortened tag.
            Self::Hmac(mac) => mac.clone().chain_update(base).verify_slice(signature).is_ok(),
        };
        if matches { Ok(()) } else { Err(RefuseCredential::Signature) }
    }
}

/// A request's head, as signatures see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    /// Scheme and authority that clients call us by; never taken from the request.
    pub(super) origin: &'a str,
}

/// A signature that reads; nothing of it is verified.
#[derive(Debug)]
pub(super) struct Signed<'a> {
    components: Vec<&'a str>,
    created: i64,
    expires: i64,
    pub(super) nonce: &'a str,
    pub(super) key_id: &'a str,
    algorithm: Option<&'a str>,
    tag: &'a str,
    /// As they came.
    parameters: &'a str,
    signature: Vec<u8>,
}

const fn malformed<T>(why: &'static str) -> Result<T, RefuseCredential> {
    Err(RefuseCredential::Malformed(why))
}

impl<'a> Signed<'a> {
    /// Reads the two headers.
    ///
    /// # Errors
    /// `Malformed`.
    pub(super) fn read(headers: &'a HeaderMap) -> Result<Self, RefuseCredential> {
        let input = once(headers, "signature-input")?;
        let signature = once(headers, "signature")?;
        let (label, parameters) = input.split_once('=').ok_or(RefuseCredential::Malformed("signature-input"))?;
        let is_label = |l: &str| {
            (1..=32).contains(&l.len())
                && l.starts_with(|c: char| c.is_ascii_lowercase())
                && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        };
        if !is_label(label) {
            return malformed("signature-input has no label");
        }
        let signature = signature.strip_prefix(label).and_then(|rest| rest.strip_prefix('='));
        let signature = byte_sequence(signature.ok_or(RefuseCredential::Malformed("the labels differ"))?)?;
        let rest = parameters.strip_prefix('(').ok_or(RefuseCredential::Malformed("no list of components"))?;
        let (list, mut rest) = rest.split_once(')').ok_or(RefuseCredential::Malformed("no list of components"))?;
        let mut components = Vec::new();
        for part in list.split(' ') {
            let name = quoted(part)?;
            if components.contains(&name) || components.len() == COMPONENTS_MAX {
                return malformed("a component is there twice, or there are too many");
            }
            components.push(name);
        }

        let (mut created, mut expires) = (None, None);
        let (mut nonce, mut key_id, mut algorithm, mut tag) = (None, None, None, None);
        while !rest.is_empty() {
            let parameter = rest.strip_prefix(';').ok_or(RefuseCredential::Malformed("parameters"))?;
            // Values are whole numbers or text without `;`, `"` and `\`.
            let end = parameter.find(';').unwrap_or(parameter.len());
            let (name, value) =
                parameter[..end].split_once('=').ok_or(RefuseCredential::Malformed("a parameter without a value"))?;
            rest = &parameter[end..];
            let twice = match name {
                "created" => created.replace(integer(value)?).is_some(),
                "expires" => expires.replace(integer(value)?).is_some(),
                "nonce" => nonce.replace(quoted(value)?).is_some(),
                "keyid" => key_id.replace(quoted(value)?).is_some(),
                "alg" => algorithm.replace(quoted(value)?).is_some(),
                "tag" => tag.replace(quoted(value)?).is_some(),
                _ => return malformed("a parameter that is not known"),
            };
            if twice {
                return malformed("a parameter is there twice");
            }
        }
        let (Some(created), Some(expires), Some(nonce), Some(key_id), Some(tag)) =
            (created, expires, nonce, key_id, tag)
        else {
            return malformed("created, expires, nonce, keyid and tag are needed");
        };
        if !(16..=64).contains(&nonce.len()) {
            return malformed("a nonce has 16 to 64 characters");
        }
        Ok(Self { components, created, expires, nonce, key_id, algorithm, tag, parameters, signature })
    }

    /// Checks everything but the body and the nonce: what is covered, when, and the signature. Answers when the nonce
    /// may be forgotten.
    ///
    /// * `has_body`: whether bytes follow the head.
    ///
    /// # Errors
    /// [`RefuseCredential`].
    pub(super) fn verify(
        &self,
        head: &Head<'_>,
        key: &BridgeKey,
        has_body: bool,
        (window_s, skew_s): (u32, u32),
        now: UtcSeconds,
    ) -> Result<UtcSeconds, RefuseCredential> {
        if self.algorithm.is_some_and(|named| named != key.algorithm()) {
            return Err(RefuseCredential::Algorithm);
        }
        if self.tag != TAG {
            return Err(RefuseCredential::Claim("tag"));
        }
        let covers = |name: &str| self.components.contains(&name);
        for name in ["@method", "@target-uri"] {
            if !covers(name) {
                return Err(RefuseCredential::Uncovered(name));
            }
        }
        for name in ["content-digest", "content-type", "idempotency-key"] {
            if head.headers.contains_key(name) && !covers(name) {
                return Err(RefuseCredential::Uncovered(name));
            }
        }
        if has_body && !covers("content-digest") {
            return Err(RefuseCredential::Uncovered("content-digest"));
        }
        key.verify(self.base(head)?.as_bytes(), &self.signature)?;

        let (window, skew) = (i64::from(window_s), i64::from(skew_s));
        if self.expires <= self.created || self.expires.saturating_sub(self.created) > window {
            return Err(RefuseCredential::Claim("expires"));
        }
        if self.created > now.0.saturating_add(skew) {
            return Err(RefuseCredential::NotYet);
        }
        if now.0 >= self.expires.saturating_add(skew) {
            return Err(RefuseCredential::Expired);
        }
        Ok(UtcSeconds(self.expires.saturating_add(skew)))
    }

    /// The bytes that were signed (RFC 9421, section 2.5).
    fn base(&self, head: &Head<'_>) -> Result<String, RefuseCredential> {
        let mut base = String::new();
        for name in &self.components {
            base.push('"');
            base.push_str(name);
            base.push_str("\": ");
            head.component(name, &mut base)?;
            base.push('\n');
        }
        base.push_str("\"@signature-params\": ");
        base.push_str(self.parameters);
        Ok(base)
    }
}

impl Head<'_> {
    /// A component's value (RFC 9421, section 2).
    fn component(&self, name: &str, base: &mut String) -> Result<(), RefuseCredential> {
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        match name {
            "@method" => base.push_str(self.method.as_str()),
            "@target-uri" => {
                base.push_str(self.origin);
                base.push_str(target);
            }
            "@authority" => {
                base.push_str(self.origin.split_once("://").map_or(self.origin, |(_, authority)| authority))
            }
            "@scheme" => base.push_str(self.origin.split_once("://").map_or("", |(scheme, _)| scheme)),
            "@request-target" => base.push_str(target),
            "@path" => base.push_str(self.uri.path()),
            "@query" => {
                base.push('?');
                base.push_str(self.uri.query().unwrap_or(""));
            }
            _ if name.starts_with('@') => return Err(RefuseCredential::Malformed("a component that is not known")),
            _ => base.push_str(once(self.headers, name)?),
        }
        Ok(())
    }
}

/// Whether a body is the one that `content-digest` names; without the header, whether there is none.
///
/// # Errors
/// `Malformed`, `Digest`.
pub(super) fn check_digest(headers: &HeaderMap, body: &[u8]) -> Result<(), RefuseCredential> {
    if !headers.contains_key("content-digest") {
        return if body.is_empty() { Ok(()) } else { Err(RefuseCredential::Uncovered("content-digest")) };
    }
    let digest = once(headers, "content-digest")?;
    let (algorithm, value) = digest.split_once('=').ok_or(RefuseCredential::Malformed("content-digest"))?;
    let said = byte_sequence(value)?;
    let is = match algorithm {
        "sha-256" => *Sha256::digest(body) == *said,
        "sha-512" => *Sha512::digest(body) == *said,
        _ => return malformed("content-digest is sha-256 or sha-512"),
    };
    if is { Ok(()) } else { Err(RefuseCredential::Digest) }
}

/// A header that is there exactly once, as visible text.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, RefuseCredential> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .ok()
        .filter(|parsed| parsed.as_str() == name)
        .ok_or(RefuseCredential::Malformed("a component is no header's name in lower case"))?;
    let mut values = headers.get_all(name).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => Ok(value.trim_matches([' ', '\t'])),
        _ => malformed("a covered header is there exactly once"),
    }
}

/// `"text"` of RFC 8941, without escapes.
fn quoted(text: &str) -> Result<&str, RefuseCredential> {
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if inner.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\' | b';')) => {
            Ok(inner)
        }
        _ => malformed("text is in quotes and needs no escapes"),
    }
}

/// Up to fifteen digits of RFC 8941, in one spelling.
fn integer(text: &str) -> Result<i64, RefuseCredential> {
    let plain = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !plain || (text.len() > 1 && text.starts_with('0')) {
        return malformed("a time is whole seconds");
    }
    text.parse().map_err(|_| RefuseCredential::Malformed("a time is whole seconds"))
}

/// `:base64:` of RFC 8941, canonical.
fn byte_sequence(text: &str) -> Result<Vec<u8>, RefuseCredential> {
    let inner = text.strip_prefix(':').and_then(|rest| rest.strip_suffix(':'));
    let inner = inner.ok_or(RefuseCredential::Malformed("bytes are between colons"))?;
    Base64::decode_vec(inner).map_err(|_| RefuseCredential::Malformed("not base64"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use ed25519_dalek::pkcs8::DecodePublicKey as _;

    use super::*;

    /// RFC 9421, appendix B.1.4.
    const ED25519_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----\n";
    /// RFC 9421, appendix B.1.5.
    const SECRET: &str = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";

    /// RFC 9421, appendix B.2, `test-request`.
    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "example.com"),
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("content-type", "application/json"),
            (
                "content-digest",
                "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
            ),
            ("content-length", "18"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
    }

    /// Verifies a vector by the base alone: the appendix's signatures lack what our profile asks for.
    fn vector(components: &[&'static str], parameters: &'static str, signature: &str, key: &BridgeKey) -> bool {
        let (headers, uri) = (headers(), Uri::from_static("/foo?param=Value&Pet=dog"));
        let head = Head { method: &Method::POST, uri: &uri, headers: &headers, origin: "https://example.com" };
        let signed = Signed {
            components: components.to_vec(),
            created: 0,
            expires: 0,
            nonce: "",
            key_id: "",
            algorithm: None,
            tag: "",
            parameters,
            signature: Vec::new(),
        };
        let base = signed.base(&head).expect("components are there");
        key.verify(base.as_bytes(), &byte_sequence(signature).expect("base64")).is_ok()
    }

    #[test]
    fn the_vectors_of_rfc_9421_appendix_b_verify() {
        // B.2.5, hmac-sha256.
        let hmac = BridgeKey::hmac(&Base64::decode_vec(SECRET).expect("base64")).expect("64 bytes");
        let parameters = r#"("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
        let signature = ":pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:";
        assert!(vector(&["date", "@authority", "content-type"], parameters, signature, &hmac));
        assert!(!vector(&["date", "content-type", "@authority"], parameters, signature, &hmac), "order counts");

        // B.2.6, ed25519.
        let key = ed25519_dalek::VerifyingKey::from_public_key_pem(ED25519_PEM).expect("a key");
        let components = ["date", "@method", "@path", "@authority", "content-type", "content-length"];
        let parameters = r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;
        let signature = ":wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:";
        assert!(vector(&components, parameters, signature, &BridgeKey::Ed25519(key)));
        assert!(!vector(&components, parameters, signature, &hmac));
    }

    #[test]
    fn the_digest_of_rfc_9421_appendix_b_is_its_bodys() {
        assert_eq!(check_digest(&headers(), br#"{"hello": "world"}"#), Ok(()));
        assert_eq!(check_digest(&headers(), br#"{"hello": "World"}"#), Err(RefuseCredential::Digest));
        assert_eq!(check_digest(&HeaderMap::new(), b""), Ok(()));
        assert!(check_digest(&HeaderMap::new(), b"x").is_err());
        let mut headers = headers();
        headers.insert("content-digest", HeaderValue::from_static("md5=:AAAA:"));
        assert!(matches!(check_digest(&headers, b""), Err(RefuseCredential::Malformed(_))));
    }

    #[test]
    fn there_is_one_way_to_write_the_headers() {
        let read = |input: &str, signature: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("signature-input", HeaderValue::from_str(input).expect("visible"));
            headers.insert("signature", HeaderValue::from_str(signature).expect("visible"));
            Signed::read(&headers).map(|signed| signed.components.len())
        };
        let good = r#"sig=("@method" "@target-uri");created=1;expires=2;nonce="0123456789abcdef";keyid="k";tag="t""#;
        assert_eq!(read(good, "sig=:AAAA:"), Ok(2));
        for (from, to) in [
            ("sig=", "Sig="),
            ("sig=", "sig ="),
            ("sig=", "other="),
            ("(\"@method\" ", "(\"@method\"  "),
            ("(\"@method\"", "( \"@method\""),
            ("\"@method\"", "\"@method\";req"),
            ("\"@method\"", "\"@target-uri\""),
            ("\"@method\"", "method"),
            (");", ") ;"),
            (";expires", "; expires"),
            ("created=1", "created=01"),
            ("created=1", "created=-1"),
            ("created=1", "created=1.0"),
            ("created=1", "created"),
            ("created=1", "created=1;created=1"),
            ("created=1;", ""),
            ("expires=2;", ""),
            ("0123456789abcdef", "short"),
            ("keyid=\"k\";", ""),
            ("keyid=\"k\"", "keyid=k"),
            ("tag=\"t\"", "tag=\"t\";other=\"x\""),
            ("tag=\"t\"", "tag=\"t\\\\\""),
            ("tag=\"t\"", "tag=\"t\", sig2=()"),
        ] {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, good, "{from}");
            assert!(read(&changed, "sig=:AAAA:").is_err(), "{changed}");
        }
        for signature in
            ["sig=AAAA", "sig=:AAA:", "sig=:AAAA:,sig=:AAAA:", "sig=:AAAB=:", "sig=::;x=1", "sig2=:AAAA:", ""]
        {
            assert!(read(good, signature).is_err(), "{signature}");
        }
    }
}
