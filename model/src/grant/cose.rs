//! A CWT (RFC 8392) in a tagged COSE_Sign1 (RFC 9052), in one fixed shape:
//! `18([ << {1: -8, 4: kid, 16: typ} >>, {}, payload, signature ])`.

use std::borrow::Cow;

use minicbor::data::Tag;
use minicbor::{Decoder, Encoder};

use super::cbor::{MapWriter, Writer, array_len, each_entry};
use super::frame::{Framed, Kind, signature};
use super::refuse::RefuseToken;

/// COSE_Sign1.
const TAG: Tag = Tag::new(18);
/// The first byte of every token of this form: tag 18 in one byte.
pub(super) const FIRST_BYTE: u8 = 0xd2;
/// EdDSA, the number its JOSE name has in COSE.
const EDDSA: i64 = -8;
/// Ed25519, its later number (RFC 9864).
const ED25519: i64 = -19;

fn protected(alg: i64, kid: &[u8], typ: &str) -> Vec<u8> {
    let mut header = MapWriter::new();
    header.put(1, |w| w.i64(alg));
    header.put(4, |w| w.bytes(kid));
    header.put(16, |w| w.str(typ));
    header.finish()
}

fn written(
    write: impl FnOnce(&mut Writer) -> Result<(), minicbor::encode::Error<std::convert::Infallible>>,
) -> Vec<u8> {
    let mut writer = Encoder::new(Vec::new());
    write(&mut writer).expect("writing to memory cannot fail");
    writer.into_writer()
}

/// `Sig_structure` of RFC 9052, section 4.4: the bytes to sign.
fn sig_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    written(|w| w.array(4)?.str("Signature1")?.bytes(protected)?.bytes(&[])?.bytes(payload)?.ok())
}

/// The bytes to sign.
pub(super) fn signing_input(kind: Kind, kid: &[u8], payload: &[u8]) -> Vec<u8> {
    sig_structure(&protected(EDDSA, kid, kind.cwt), payload)
}

/// The finished token.
pub(super) fn seal(kind: Kind, kid: &[u8], payload: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    frame(&protected(EDDSA, kid, kind.cwt), payload, signature)
}

fn frame(protected: &[u8], payload: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    written(|w| w.tag(TAG)?.array(4)?.bytes(protected)?.map(0)?.bytes(payload)?.bytes(signature)?.ok())
}

/// Takes a token apart. Only the protected header is parsed.
pub(super) fn open(bytes: &[u8], kind: Kind) -> Result<Framed<'_>, RefuseToken> {
    let malformed = |_| RefuseToken::malformed("not a tagged COSE_Sign1 in our profile");
    let mut d = Decoder::new(bytes);
    let parts = (|| {
        if d.tag()? != TAG || array_len(&mut d, 4)? != 4 {
            return Err(minicbor::decode::Error::message("not COSE_Sign1"));
        }
        let protected = d.bytes()?;
        if d.map()? != Some(0) {
            return Err(minicbor::decode::Error::message("unprotected header"));
        }
        Ok((protected, d.bytes()?, d.bytes()?))
    })();
    let (header, payload, tail) = parts.map_err(malformed)?;
    let tail = signature(tail)?;
    if frame(header, payload, &tail) != bytes {
        return Err(RefuseToken::malformed("not deterministic CBOR, or bytes after its end"));
    }

    let (mut alg, mut kid, mut typ) = (None, None, None);
    each_entry(&mut Decoder::new(header), |d, label| {
        match label {
            1 => alg = Some(d.i64()?),
            4 => kid = Some(d.bytes()?.to_vec()),
            16 => typ = Some(d.str()?.to_owned()),
            _ => return Err(minicbor::decode::Error::message("a header label outside 1, 4 and 16")),
        }
        Ok(())
    })
    .map_err(RefuseToken::header)?;
    let (Some(alg), Some(kid), Some(typ)) = (alg, kid, typ) else {
        return Err(RefuseToken::header("alg, kid or typ is missing"));
    };
    if !matches!(alg, EDDSA | ED25519) {
        return Err(RefuseToken::Algorithm { found: alg.to_string() });
    }
    if typ != kind.cwt {
        return Err(RefuseToken::Type { expected: kind.cwt, found: typ });
    }
    if protected(alg, &kid, &typ) != header {
        return Err(RefuseToken::header("not deterministic CBOR"));
    }
    Ok(Framed {
        kid,
        signed: Cow::Owned(sig_structure(header, payload)),
        payload: Cow::Borrowed(payload),
        signature: tail,
    })
}
