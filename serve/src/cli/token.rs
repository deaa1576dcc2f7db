//! `token`: a bearer token by a developer's key. Real ones come from the operator's identity provider.

use std::path::PathBuf;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use plimsoll_model::grant::Thumbprint;
use plimsoll_serve::border::Role;
use plimsoll_serve::clock::Clock;
use plimsoll_serve::issuer::kid;
use plimsoll_serve::record::AccountId;
use serde_json::json;

use super::exit::Usage;
use super::{Context, dev};

#[derive(clap::Args)]
#[command(after_help = "\
Example: curl -H \"authorization: Bearer $(plimsoll-serve token --dev-key plimsoll-serve/dev/token.pem --account alice)\" …")]
pub(super) struct Args {
    /// The private key, PKCS#8 PEM; `run --dev` makes one. There is no default: a token is somebody's signature.
    #[arg(long, value_name = "FILE")]
    dev_key: PathBuf,
    /// For the holder of this account.
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "admin", required_unless_present = "admin")]
    account: Option<String>,
    /// The device that the token is bound to: its key's thumbprint.
    #[arg(long, value_name = "THUMBPRINT", requires = "account")]
    jkt: Option<String>,
    /// For one of the operator's people, of this name.
    #[arg(long, value_name = "NAME")]
    admin: Option<String>,
    /// What they may do: viewer, support, risk or admin.
    #[arg(long, value_name = "ROLE", default_value = "viewer", requires = "admin")]
    role: String,
    /// How long it counts.
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    ttl_s: u32,
}

pub(super) fn run(_: &Context, args: &Args) -> anyhow::Result<()> {
    let (key, public) = dev::read_key(&args.dev_key)?;
    let now = Clock::system().now().0;
    let mut claims = json!({ "iss": dev::ISS, "iat": now, "exp": now + i64::from(args.ttl_s) });
    if let Some(account) = &args.account {
        AccountId::try_from(account.as_str()).map_err(|e| Usage(format!("--account: {e}")))?;
        claims["aud"] = dev::HOLDERS.into();
        claims["sub"] = account.as_str().into();
        if let Some(jkt) = &args.jkt {
            Thumbprint::try_from(jkt.clone())
                .map_err(|_| Usage("--jkt: a thumbprint is 43 base64url characters".into()))?;
            claims["cnf"] = json!({ "jkt": jkt });
        }
    }
    if let Some(admin) = &args.admin {
        let role: Result<Role, _> = serde_json::from_value(args.role.as_str().into());
        role.map_err(|_| Usage("--role: viewer, support, risk or admin".into()))?;
        claims["aud"] = dev::ADMINS.into();
        claims["sub"] = admin.as_str().into();
        claims["role"] = args.role.as_str().into();
    }
    let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid(&public) });
    let part = |value: &serde_json::Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = plimsoll_model::grant::Signer::sign(&key, signed.as_bytes())?;
    super::print(&format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature)))
}
