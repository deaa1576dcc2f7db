//! JSON Web Tokens (RFC 7515, RFC 7519), narrower than the standards: a header of `alg`, `typ` and `kid` and nothing
//! else, canonical base64url, one algorithm per key, and no claim read before the signature is verified.
//!
//! Ed25519 by `ed25519-dalek`'s `verify_strict`, as for grants; ES256 and RS256 by `ring`. `jsonwebtoken` would bring
//! aws-lc (a minute of C) or the `rsa` crate (RUSTSEC-2023-0071), checks no `typ` and passes `crit`, so that these
//! checks would be here anyway.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

use super::refuse::RefuseCredential;
use crate::config::Algorithm;

/// The longest token.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The longest key set, and keys in it.
pub(super) const JWKS_BYTES_MAX: usize = 64 * 1024;
const KEYS_MAX: usize = 32;

/// A token taken apart; only its header was parsed.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) typ: String,
    pub(super) kid: String,
    signed: &'a [u8],
    payload: &'a str,
    signature: Vec<u8>,
}

/// Unknown members are refused: `crit`, `b64`, `jwk`, `jku`, `x5u` and whatever comes next.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    typ: Cow<'a, str>,
    #[serde(borrow)]
    kid: Cow<'a, str>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// `Malformed`, `Algorithm`.
    pub(super) fn open(text: &'a str) -> Result<Self, RefuseCredential> {
        let malformed = RefuseCredential::Malformed;
        if text.len() > TOKEN_BYTES_MAX {
            return Err(malformed("the token is too long"));
        }
        let three = || malformed("a token has three parts");
        let (signed, signature) = text.rsplit_once('.').ok_or_else(three)?;
        let (header, payload) = signed.split_once('.').ok_or_else(three)?;
        let header = decode(header)?;
        let header: Header<'_> =
            serde_json::from_slice(&header).map_err(|_| malformed("the header is not exactly alg, typ and kid"))?;
        let algorithm = match &*header.alg {
            "EdDSA" | "Ed25519" => Algorithm::EdDsa,
            "ES256" => Algorithm::Es256,
            "RS256" => Algorithm::Rs256,
            _ => return Err(RefuseCredential::Algorithm),
        };
        Ok(Self {
            algorithm,
            typ: header.typ.into_owned(),
            kid: header.kid.into_owned(),
            signed: signed.as_bytes(),
            payload,
            signature: decode(signature)?,
        })
    }

    /// The claims, once the signature is `key`'s.
    ///
    /// # Errors
    /// `Algorithm`, `Signature`, `Malformed`.
    pub(super) fn verify(&self, key: &Key) -> Result<Claims, RefuseCredential> {
        if key.algorithm() != self.algorithm {
            return Err(RefuseCredential::Algorithm);
        }
        key.verify(self.signed, &self.signature)?;
        let claims = decode(self.payload)?;
        serde_json::from_slice(&claims).map_err(|_| RefuseCredential::Malformed("the claims are no JSON object"))
    }
}

/// The decoder refuses padding, other alphabets and spare bits, so one token has one spelling.
fn decode(part: &str) -> Result<Vec<u8>, RefuseCredential> {
    Base64UrlUnpadded::decode_vec(part).map_err(|_| RefuseCredential::Malformed("not base64url"))
}

/// Claims by name, none twice.
#[derive(Debug)]
pub(super) struct Claims(BTreeMap<String, Value>);

impl Claims {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Whole seconds. A time as text or with a fraction is nobody's habit and a source of confusion.
    pub(super) fn seconds(&self, name: &'static str) -> Result<Option<i64>, RefuseCredential> {
        let seconds = |value: &Value| value.as_i64().ok_or(RefuseCredential::Claim(name));
        self.0.get(name).map(seconds).transpose()
    }

    /// Whether `aud`, a text or a list of texts, has `audience`.
    pub(super) fn is_for(&self, audience: &str) -> bool {
        match self.0.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(many)) => many.iter().any(|one| one == audience),
            _ => false,
        }
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> serde::de::Visitor<'de> for Each {
            type Value = Claims;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of claims")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
                let mut claims = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a claim is there twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// A public key that verifies by one algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Ed25519(ed25519_dalek::VerifyingKey),
    /// SEC 1, uncompressed.
    P256([u8; 65]),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl Key {
    pub(super) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDsa,
            Self::P256(_) => Algorithm::Es256,
            Self::Rsa { .. } => Algorithm::Rs256,
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), RefuseCredential> {
        let matches = match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
        };
        if matches { Ok(()) } else { Err(RefuseCredential::Signature) }
    }
}

/// A JSON Web Key Set (RFC 7517): the keys of it that can sign tokens here, by id.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet(BTreeMap<String, Key>);

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// Members of a key that matter; others are ignored, as RFC 7517 asks.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl KeySet {
    /// Reads a key set. Keys without an id, for encryption, or of other kinds are passed over.
    ///
    /// # Errors
    /// Why the whole set is refused: it does not read, holds no key that counts, two of one id, or a weak one.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > JWKS_BYTES_MAX {
            return Err(format!("a key set has at most {JWKS_BYTES_MAX} bytes"));
        }
        let set: Jwks = serde_json::from_slice(bytes).map_err(|e| format!("no key set: {e}"))?;
        if set.keys.len() > KEYS_MAX {
            return Err(format!("{} keys: a set has at most {KEYS_MAX}", set.keys.len()));
        }
        let mut keys = BTreeMap::new();
        for jwk in &set.keys {
            let Some(kid) = &jwk.kid else { continue };
            let Some(key) = jwk.key().map_err(|why| format!("key {kid:?}: {why}"))? else { continue };
            if keys.insert(kid.clone(), key).is_some() {
                return Err(format!("key {kid:?} is there twice"));
            }
        }
        if keys.is_empty() {
            return Err("no key with a `kid` that verifies EdDSA, ES256 or RS256".to_owned());
        }
        Ok(Self(keys))
    }

    pub(super) fn get(&self, kid: &str) -> Option<&Key> {
        self.0.get(kid)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Jwk {
    fn key(&self) -> Result<Option<Key>, &'static str> {
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") || !verifies {
            return Ok(None);
        }
        let bytes = |part: &Option<String>| {
            let part = part.as_deref().ok_or("a coordinate is missing")?;
            Base64UrlUnpadded::decode_vec(part).map_err(|_| "a coordinate is not base64url")
        };
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => {
                let x: [u8; 32] = bytes(&self.x)?.try_into().map_err(|_| "x has 32 bytes")?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(&x).map_err(|_| "x is no point")?;
                if key.is_weak() {
                    return Err("it has small order, so anyone can sign with it");
                }
                Key::Ed25519(key)
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return Err("x and y have 32 bytes");
                }
                let mut point = [4; 65];
                point[1..33].copy_from_slice(&x);
                point[33..].copy_from_slice(&y);
                Key::P256(point)
            }
            ("RSA", _) => {
                let (n, e) = (bytes(&self.n)?, bytes(&self.e)?);
                if !(256..=1_024).contains(&n.len()) || n.first() == Some(&0) {
                    return Err("a modulus has 2048 to 8192 bits");
                }
                Key::Rsa { n, e }
            }
            _ => return Ok(None),
        };
        let named = match key.algorithm() {
            Algorithm::EdDsa => ["EdDSA", "Ed25519"].as_slice(),
            Algorithm::Es256 => &["ES256"],
            Algorithm::Rs256 => &["RS256"],
        };
        // A key that says another algorithm (PS256, RS512) is not for us; guessing would widen what it may sign.
        Ok(self.alg.as_deref().is_none_or(|alg| named.contains(&alg)).then_some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.2 and A.4 (with its header, which has no `typ`, refused by the profile).
    const RFC8037_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    /// RFC 7515, appendix A.2.
    const RFC7515_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const RFC7515_RS256: (&str, &str) = (
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    /// RFC 7515, appendix A.3.
    const RFC7515_ES256: (&str, &str) = (
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    const RFC8037_EDDSA: (&str, &str) = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    );

    #[test]
    fn the_vectors_of_the_standards_verify_and_a_changed_byte_does_not() {
        let rsa = format!(r#"{{"kty":"RSA","kid":"r","n":"{RFC7515_N}","e":"AQAB"}}"#);
        let ec = r#"{"kty":"EC","kid":"e","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
        let okp = format!(r#"{{"kty":"OKP","kid":"o","crv":"Ed25519","x":"{RFC8037_X}"}}"#);
        let set = format!(r#"{{"keys":[{rsa},{ec},{okp},{{"kty":"oct","kid":"s","k":"AAAA"}}]}}"#);
        let set = KeySet::read(set.as_bytes()).expect("reads");
        assert_eq!(set.len(), 3, "a symmetric key is never a token's");
        for (kid, (signed, signature)) in [("r", RFC7515_RS256), ("e", RFC7515_ES256), ("o", RFC8037_EDDSA)] {
            let key = set.get(kid).expect("there");
            let mut signature = decode(signature).expect("base64url");
            assert_eq!(key.verify(signed.as_bytes(), &signature), Ok(()), "{kid}");
            assert!(key.verify(&signed.as_bytes()[1..], &signature).is_err(), "{kid}");
            signature[20] ^= 1;
            assert!(key.verify(signed.as_bytes(), &signature).is_err(), "{kid}");
        }
    }

    #[test]
    fn a_header_has_exactly_alg_typ_and_kid() {
        let token = |header: &str| format!("{}.e30.AAAA", Base64UrlUnpadded::encode_string(header.as_bytes()));
        assert!(Token::open(&token(r#"{"alg":"EdDSA","typ":"JWT","kid":"a"}"#)).is_ok());
        for header in [
            r#"{"alg":"EdDSA","typ":"JWT"}"#,
            r#"{"alg":"EdDSA","kid":"a"}"#,
            r#"{"alg":"EdDSA","typ":"JWT","kid":"a","crit":["b64"],"b64":false}"#,
            r#"{"alg":"EdDSA","typ":"JWT","kid":"a","jku":"https://evil.example"}"#,
            r#"{"alg":"EdDSA","typ":"JWT","kid":"a","jwk":{}}"#,
            r#"{"alg":"EdDSA","alg":"EdDSA","typ":"JWT","kid":"a"}"#,
            r#"{"alg":["EdDSA"],"typ":"JWT","kid":"a"}"#,
            "[]",
            "",
        ] {
            assert!(matches!(Token::open(&token(header)), Err(RefuseCredential::Malformed(_))), "{header}");
        }
        for alg in ["none", "None", "HS256", "RS512", "PS256", "ES384", "eddsa", ""] {
            let header = format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"a"}}"#);
            assert_eq!(Token::open(&token(&header)).err(), Some(RefuseCredential::Algorithm), "{alg}");
        }
        for text in ["", ".", "..", "a.b", "....", "e30.e30.e30.e30", "e30=.e30.AAAA"] {
            assert!(matches!(Token::open(text), Err(RefuseCredential::Malformed(_))), "{text}");
        }
        assert!(Token::open(&"a".repeat(TOKEN_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_key_set_with_a_weak_or_doubtful_key_is_refused_whole() {
        let okp = |kid: &str, x: &str, more: &str| {
            format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"{more}}}"#)
        };
        let set = |keys: &[String]| KeySet::read(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes());
        let good = okp("a", RFC8037_X, "");
        assert!(set(std::slice::from_ref(&good)).is_ok());
        let refused = |keys: &[String], told: &str| {
            let why = set(keys).expect_err("refused");
            assert!(why.contains(told), "{why}");
        };
        refused(&[good.clone(), good.clone()], "twice");
        refused(&[good.clone(), okp("w", &format!("AQ{}", "A".repeat(41)), "")], "small order");
        refused(&[okp("a", RFC8037_X, r#","use":"enc""#)], "no key");
        refused(&[okp("a", RFC8037_X, r#","alg":"ES256""#)], "no key");
        refused(&[okp("a", RFC8037_X, r#","key_ops":["sign"]"#)], "no key");
        refused(&[r#"{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"}"#.to_owned()], "2048");
        refused(&[], "no key");
        let many: Vec<_> = (0..33).map(|i| okp(&i.to_string(), RFC8037_X, "")).collect();
        refused(&many, "at most 32");
    }
}
