//! `sign`: the headers that sign a message of a developer's bridge, for curl. Real bridges sign with their own keys.

use std::path::PathBuf;

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use plimsoll_serve::border::TAG;
use plimsoll_serve::clock::Clock;
use sha2::{Digest as _, Sha256};

use super::{Context, dev};

#[derive(clap::Args)]
#[command(after_help = "\
Example: curl -X PUT \"$URL\" -d \"$BODY\" --config <(plimsoll-serve sign --dev-key plimsoll-serve/dev/bridge.pem PUT \"$URL\" \"$BODY\")")]
pub(super) struct Args {
    /// The private key, PKCS#8 PEM; `run --dev` makes one.
    #[arg(long, value_name = "FILE")]
    dev_key: PathBuf,
    /// The method, in capitals.
    method: String,
    /// The whole URL, as the service is called.
    url: String,
    /// The body, to the byte.
    body: String,
}

pub(super) fn run(_: &Context, args: &Args) -> anyhow::Result<()> {
    let (key, _) = dev::read_key(&args.dev_key)?;
    let now = Clock::system().now().0;
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    let digest = format!("sha-256=:{}:", Base64::encode_string(&Sha256::digest(&args.body)));
    let parameters = format!(
        r#"("@method" "@target-uri" "content-digest" "content-type");created={now};expires={};nonce="{}";keyid="{}";tag="{TAG}""#,
        now + 60,
        Base64UrlUnpadded::encode_string(&nonce),
        dev::BRIDGE,
    );
    let base = format!(
        "\"@method\": {}\n\"@target-uri\": {}\n\"content-digest\": {digest}\n\"content-type\": application/json\n\"@signature-params\": {parameters}",
        args.method, args.url,
    );
    let signature = Base64::encode_string(&ed25519_dalek::Signer::sign(&key, base.as_bytes()).to_bytes());
    let quoted = |text: &str| text.replace('"', "\\\"");
    super::print(&format!(
        "header = \"content-type: application/json\"\nheader = \"content-digest: {digest}\"\n\
         header = \"signature-input: sig={}\"\nheader = \"signature: sig=:{signature}:\"",
        quoted(&parameters),
    ))
}
