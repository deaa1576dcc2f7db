//! `run --dev`: keys of a developer's own, made once, so that a first request can be tried on an empty machine.
//!
//! ```text
//! plimsoll-serve/dev/grants/issuer.pem        signs grants
//! plimsoll-serve/dev/token.pem, jwks.json     signs tokens; what the service checks them with
//! plimsoll-serve/dev/bridge.pem, bridge.pub   signs messages of the bridge `dev`, see `sign`
//! ```

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use plimsoll_model::grant::{IssuerKeys, PublicKey, Signer};
use plimsoll_serve::config::{Algorithm, Bridge, Config, TokenIssuer};
use plimsoll_serve::issuer::kid;

use super::exit::Usage;

/// Issuer of a developer's tokens, and their audiences.
pub(super) const ISS: &str = "plimsoll-dev";
pub(super) const HOLDERS: &str = "plimsoll";
pub(super) const ADMINS: &str = "plimsoll-admin";

/// Key id of a developer's bridge.
pub(super) const BRIDGE: &str = "dev";

const DIRECTORY: &str = "plimsoll-serve/dev";

/// Makes what is missing, and puts it into the configuration.
pub(super) fn prepare(config: &mut Config) -> anyhow::Result<()> {
    refuse_to_be_seen(config.server.listen)?;
    let directory = Path::new(DIRECTORY);
    let jwks = directory.join("jwks.json");
    let key = directory.join("token.pem");
    if !key.exists() {
        let made = make_key(&key)?;
        let public = Signer::public(&made);
        let set = IssuerKeys::new(ISS, [(kid(&public), public)])?;
        std::fs::write(&jwks, set.to_jwks()).with_context(|| jwks.display().to_string())?;
    }
    let issuer = |aud: &str, admins| TokenIssuer {
        iss: ISS.to_owned(),
        aud: aud.to_owned(),
        jwks: jwks.display().to_string(),
        algorithms: vec![Algorithm::EdDsa],
        typ: vec!["JWT".to_owned()],
        account_claim: "sub".to_owned(),
        admins,
    };
    let (bridge, public) = (directory.join("bridge.pem"), directory.join("bridge.pub"));
    if !bridge.exists() {
        let pem = make_key(&bridge)?.verifying_key().to_public_key_pem(LineEnding::LF)?;
        std::fs::write(&public, pem).with_context(|| public.display().to_string())?;
    }
    config.auth.bridges.insert(BRIDGE.to_owned(), Bridge::Ed25519 { public_key: public });
    config.auth.issuers.insert("dev".to_owned(), issuer(HOLDERS, false));
    config.auth.issuers.insert("dev-admin".to_owned(), issuer(ADMINS, true));
    if config.issuer.keys.is_none() {
        let grants = directory.join("grants");
        if !grants.join("issuer.pem").exists() {
            make_key(&grants.join("issuer.pem"))?;
        }
        config.issuer.keys = Some(grants);
    }
    tracing::warn!(
        directory = DIRECTORY,
        "--dev: whoever reads this directory can sign tokens and grants; never outside a developer's machine"
    );
    Ok(())
}

fn refuse_to_be_seen(listen: SocketAddr) -> anyhow::Result<()> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    Err(Usage(format!("--dev serves this machine only, and server.listen is {listen}: use 127.0.0.1, or real keys"))
        .into())
}

/// Makes a key in a new file that only its owner reads.
fn make_key(path: &Path) -> anyhow::Result<SigningKey> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    let key = SigningKey::from_bytes(&seed);
    let pem = key.to_pkcs8_pem(LineEnding::LF)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(|| path.display().to_string())?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).with_context(|| path.display().to_string())?;
    Ok(key)
}

/// A developer's key.
pub(super) fn read_key(path: &PathBuf) -> anyhow::Result<(SigningKey, PublicKey)> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let key = SigningKey::from_pkcs8_pem(&text)
        .map_err(|e| Usage(format!("{}: no Ed25519 key in PKCS#8 PEM: {e}", path.display())))?;
    let public = Signer::public(&key);
    Ok((key, public))
}
