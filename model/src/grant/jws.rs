//! JWS compact serialisation (RFC 7515) with a header of exactly `alg`, `typ` and `kid`.

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::{Deserialize, Serialize};

use super::frame::{Framed, Kind, signature};
use super::refuse::RefuseToken;

/// Unknown members are refused: `crit`, `b64`, `jwk`, `jku`, `x5u` and whatever comes next.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: Cow<'a, str>,
    typ: Cow<'a, str>,
    kid: Cow<'a, str>,
}

/// `header.payload`, the bytes to sign.
pub(super) fn signing_input(kind: Kind, kid: &str, payload: &[u8]) -> String {
    let header = Header { alg: "EdDSA".into(), typ: kind.jws.into(), kid: kid.into() };
    let header = serde_json::to_vec(&header).expect("a header holds only text");
    format!("{}.{}", Base64UrlUnpadded::encode_string(&header), Base64UrlUnpadded::encode_string(payload))
}

/// The finished token.
pub(super) fn seal(signing_input: String, signature: &[u8; 64]) -> Vec<u8> {
    format!("{signing_input}.{}", Base64UrlUnpadded::encode_string(signature)).into_bytes()
}

/// Takes a token apart. Only the header is parsed.
pub(super) fn open(bytes: &[u8], kind: Kind) -> Result<Framed<'_>, RefuseToken> {
    let text = std::str::from_utf8(bytes).map_err(|_| RefuseToken::malformed("neither text nor COSE_Sign1"))?;
    let (signed, tail) = text.rsplit_once('.').ok_or(RefuseToken::malformed("a JWS has three parts"))?;
    let (header, payload) = signed.split_once('.').ok_or(RefuseToken::malformed("a JWS has three parts"))?;
    // The decoder refuses padding, other alphabets and spare bits, so one token has one spelling.
    let decode = |part: &str| Base64UrlUnpadded::decode_vec(part).map_err(|_| RefuseToken::malformed("not base64url"));

    let header = decode(header)?;
    let header: Header<'_> = serde_json::from_slice(&header).map_err(RefuseToken::header)?;
    if !matches!(&*header.alg, "EdDSA" | "Ed25519") {
        return Err(RefuseToken::Algorithm { found: header.alg.into_owned() });
    }
    if header.typ != kind.jws {
        return Err(RefuseToken::Type { expected: kind.jws, found: header.typ.into_owned() });
    }
    Ok(Framed {
        kid: header.kid.into_owned().into_bytes(),
        signed: Cow::Borrowed(signed.as_bytes()),
        payload: Cow::Owned(decode(payload)?),
        signature: signature(&decode(tail)?)?,
    })
}
