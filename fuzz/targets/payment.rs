//! Hostile payments and payment requests, unsigned and under a device's signature.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use plimsoll_fuzz::token::{Maker, device};
use plimsoll_model::grant::{Form, Payment, PaymentRequest, Signer as _};

static MAKER: LazyLock<Maker> = LazyLock::new(Maker::payments);

fuzz_target!(|data: &[u8]| {
    if let Some(bytes) = MAKER.token(data)
        && let Ok(verified) = Payment::verify(&bytes)
    {
        let payment = verified.claims();
        if verified.key() == &device().public() {
            for form in [Form::Jws, Form::Cwt] {
                let again = payment.sign(form, &device()).expect("signs");
                assert_eq!(Payment::verify(&again).expect("reads its own").claims(), payment);
            }
        }
    }
    if let Ok(request) = PaymentRequest::from_bytes(data)
        && request.check().is_ok()
    {
        for form in [Form::Jws, Form::Cwt] {
            assert_eq!(PaymentRequest::from_bytes(&request.to_bytes(form)).as_ref(), Ok(&request));
        }
    }
});
