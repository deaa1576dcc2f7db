//! The cryptography under the TUF client: Ed25519 by `verify_strict`, SHA-2, and nothing else.
//!
//! `verify_strict` refuses small-order keys, under which one signature fits every message; `ring`,
//! `aws-lc-rs`, OpenSSL and Web Crypto accept them.

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256, Sha384, Sha512};
use sigstore_crypto::{CryptoProvider, Error, HashContext, SigningScheme};
use sigstore_types::HashAlgorithm;

/// The provider: Ed25519 by `verify_strict`, every other scheme refused.
///
/// Devices get it without asking. It is public for the adapter of the conformance suite, which tests it together with
/// schemes that devices do not take.
#[derive(Clone, Copy, Debug)]
pub struct StrictEd25519;

static PROVIDER: StrictEd25519 = StrictEd25519;

/// Makes this provider the process's, once; later calls, from any thread, change nothing.
///
/// If the host process installed another provider first, that one counts towards thresholds. It cannot
/// weaken anything: [`super::envelope`] checks every signature again, strictly, by itself.
pub(super) fn install() {
    // `Err` hands back our provider because there is one already: this one, or the host's.
    let _already_there = sigstore_crypto::install_default_provider(&PROVIDER);
}

impl CryptoProvider for StrictEd25519 {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>, Error> {
        Ok(match algorithm {
            HashAlgorithm::Sha2256 => Box::new(Running(Sha256::new())),
            HashAlgorithm::Sha2384 => Box::new(Running(Sha384::new())),
            HashAlgorithm::Sha2512 => Box::new(Running(Sha512::new())),
            other => return Err(Error::UnsupportedAlgorithm(format!("{other:?}"))),
        })
    }

    fn verify_raw(&self, scheme: SigningScheme, public: &[u8], data: &[u8], signature: &[u8]) -> Result<(), Error> {
        if scheme != SigningScheme::Ed25519 {
            return Err(Error::UnsupportedAlgorithm(format!("{scheme:?}: only Ed25519 is used here")));
        }
        let public: &[u8; 32] =
            public.try_into().map_err(|_| Error::InvalidKey("an Ed25519 key has 32 bytes".to_owned()))?;
        let key = VerifyingKey::from_bytes(public).map_err(|e| Error::InvalidKey(e.to_string()))?;
        let signature = Signature::from_slice(signature).map_err(|e| Error::Verification(e.to_string()))?;
        key.verify_strict(data, &signature).map_err(|e| Error::Verification(e.to_string()))
    }

    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        _public: &[u8],
        _digest: &[u8],
        _signature: &[u8],
    ) -> Result<(), Error> {
        Err(Error::UnsupportedAlgorithm(format!("{scheme:?} over a digest: only Ed25519 is used here")))
    }
}

/// A hash of what came so far.
struct Running<D>(D);

impl<D: Digest + Send> HashContext for Running<D> {
    fn update(&mut self, data: &[u8]) {
        Digest::update(&mut self.0, data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_order_key_signs_nothing() {
        // The neutral point, and R = neutral, s = 0: `verify` accepts it for every message.
        let mut neutral = [0_u8; 32];
        neutral[0] = 1;
        let mut forged = [0_u8; 64];
        forged[0] = 1;
        let loose = VerifyingKey::from_bytes(&neutral).expect("the neutral point is on the curve");
        let signature = Signature::from_bytes(&forged);
        assert!(ed25519_dalek::Verifier::verify(&loose, b"any message", &signature).is_ok());
        let strict = PROVIDER.verify_raw(SigningScheme::Ed25519, &neutral, b"any message", &forged);
        assert!(matches!(strict, Err(Error::Verification(_))));
    }

    #[test]
    fn other_schemes_are_refused() {
        for scheme in [SigningScheme::EcdsaP256Sha256, SigningScheme::RsaPssSha256, SigningScheme::MlDsa44] {
            let refused = PROVIDER.verify_raw(scheme, &[0; 32], b"", &[0; 64]);
            assert!(matches!(refused, Err(Error::UnsupportedAlgorithm(_))), "{scheme:?}");
        }
    }

    #[test]
    fn installing_from_many_threads_is_harmless() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    install();
                    assert!(sigstore_crypto::try_default_provider().is_some());
                });
            }
        });
        assert_eq!(sigstore_crypto::sha256(b"abc").to_hex(), plimsoll_model::artifact::sha256_hex(b"abc"));
    }
}
