//! The device's cryptography, and P-256, which the suite's recorded repositories are signed with.

use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use plimsoll_edge::trust::StrictEd25519;
use sigstore_crypto::{CryptoProvider, Error, HashContext, SigningScheme};
use sigstore_types::HashAlgorithm;

#[derive(Debug)]
struct WithP256(StrictEd25519);

static PROVIDER: WithP256 = WithP256(StrictEd25519);

/// Makes it the process's provider.
pub(crate) fn install() {
    if sigstore_crypto::install_default_provider(&PROVIDER).is_err() {
        unreachable!("nothing was installed before main");
    }
}

impl CryptoProvider for WithP256 {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>, Error> {
        self.0.hash(algorithm)
    }

    fn verify_raw(&self, scheme: SigningScheme, public: &[u8], data: &[u8], signature: &[u8]) -> Result<(), Error> {
        if scheme != SigningScheme::EcdsaP256Sha256 {
            return self.0.verify_raw(scheme, public, data, signature);
        }
        let key = VerifyingKey::from_sec1_bytes(public).map_err(|e| Error::InvalidKey(e.to_string()))?;
        let signature = Signature::from_der(signature).map_err(|e| Error::Verification(e.to_string()))?;
        key.verify(data, &signature).map_err(|e| Error::Verification(e.to_string()))
    }

    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        public: &[u8],
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        self.0.verify_prehashed(scheme, public, digest, signature)
    }
}
