//! Hostile grants, as JWS and CWT, unsigned and under the issuer's signature. What is accepted is written again the same.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use plimsoll_fuzz::token::{ISSUER, KID, Maker, issuer};
use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::{Form, Grant, IssuerKeys, Signer as _};

static KEYS: LazyLock<IssuerKeys> =
    LazyLock::new(|| IssuerKeys::new(ISSUER, [(KID.to_owned(), issuer().public())]).expect("one key"));

static MAKER: LazyLock<Maker> = LazyLock::new(Maker::grants);

fuzz_target!(|data: &[u8]| {
    let Some(bytes) = MAKER.token(data) else { return };
    let _ = IssuerKeys::from_jwks(ISSUER, data);
    let Ok(verified) = Grant::verify(&bytes, &KEYS) else { return };
    let grant = verified.claims();
    assert_eq!(grant.check(), Ok(()));
    for form in [Form::Jws, Form::Cwt] {
        let again = grant.sign(form, KID, &issuer()).expect("signs");
        assert_eq!(Grant::verify(&again, &KEYS).expect("reads its own").claims(), grant);
    }
    for at in [i64::MIN, -1, 0, grant.iat.0, grant.exp.0, i64::MAX] {
        let ceiling = grant.ceiling(UtcSeconds(at));
        assert!(ceiling.amount() <= grant.bal);
    }
    let _ = grant.features();
});
