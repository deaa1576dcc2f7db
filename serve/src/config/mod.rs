//! The configuration: one typed value from a file, the environment and flags, each above the one before.
//!
//! Durations and sizes carry their unit in the name. A secret is never in it: only where a secret is to be read from.

mod load;

mod secret;

pub use load::{Load, RefuseConfig};
pub use secret::{Secret, SecretFrom};

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Config {
    /// Sockets, sizes and times.
    pub server: Server,
    /// Where everything is remembered.
    pub store: Store,
    /// Whose rules hold.
    pub programme: Programme,
    /// Who signs grants.
    pub issuer: Issuer,
    /// Who may ask.
    pub auth: Auth,
    /// How often they may ask.
    pub limits: Limits,
    /// What is logged.
    pub log: Log,
}

/// Sockets, sizes and times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Scheme and authority that clients call it by, without a path: what a bridge's signature covers as `@target-uri`.
    /// `http://`, or `https://` with `tls`, and the listening address when it is not set.
    pub public_url: Option<String>,
    /// TLS at the service itself; without it, something in front ends it.
    pub tls: Option<Tls>,
    /// A second address for `/metrics`, `/healthz` and `/readyz`; the first then has no `/metrics`.
    pub ops_listen: Option<SocketAddr>,
    /// Addresses whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpAddr>,
    /// Body of an ordinary request.
    pub body_bytes_max: usize,
    /// Body of a sync, a settlement or an import: 128 tokens of 4 KiB, and the rest.
    pub batch_bytes_max: usize,
    /// For a request's head to arrive, and between two requests of a connection.
    pub head_s: u64,
    /// For a request's body to arrive.
    pub body_s: u64,
    /// For a whole request.
    pub request_s: u64,
    /// For what was accepted to finish, when it stops.
    pub shutdown_s: u64,
    /// Requests worked on at a time; more are turned away with 503.
    pub in_flight_max: usize,
    /// Open connections; more wait to be accepted.
    pub connections_max: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            tls: None,
            ops_listen: None,
            trusted_proxies: Vec::new(),
            body_bytes_max: 64 * 1024,
            batch_bytes_max: 640 * 1024,
            head_s: 10,
            body_s: 15,
            request_s: 30,
            shutdown_s: 30,
            in_flight_max: 512,
            connections_max: 4_096,
        }
    }
}

impl Server {
    /// What a bridge's `@target-uri` begins with.
    pub fn public_origin(&self) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.listen),
        }
    }
}

/// Files in PEM, read again when they change. Needs the feature `https`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate, and those between it and one that clients trust.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Whose certificates clients must show (mutual TLS); without it they show none.
    pub clients: Option<PathBuf>,
}

/// Where everything is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `sqlite:PATH` or `postgres://USER@HOST/DATABASE`; a password belongs into `password`, or the whole into the
    /// environment.
    pub url: String,
    /// The database's password, where it has one.
    pub password: Option<SecretFrom>,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: "sqlite:plimsoll-serve/plimsoll.db".to_owned(), password: None }
    }
}

/// Whose rules hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Programme {
    /// While no model is installed: a preset (`tng`, `naira`, `p2p`, `card`), or the path of a policy file.
    pub policy: String,
    /// The repository that models are installed from: a directory with `metadata/` and `targets/`.
    pub repository: Option<PathBuf>,
    /// The first root of the repository, pinned; what devices have.
    pub trust_root: Option<PathBuf>,
    /// Which model line of the repository; needed only where there are several.
    pub model_id: Option<String>,
    /// How often the repository is looked at.
    pub watch_s: u64,
    /// A directory of this replica's own, where verified releases are kept.
    pub archive: PathBuf,
    /// Mixed into the places of accounts in the rings of a rollout; the same on every replica.
    pub ring_seed: String,
    /// This replica's name among those on one store.
    pub replica: String,
    /// Who bears a payment within its grant that the balance does not cover.
    pub overdraft: crate::ledger::Overdraft,
    /// What one lost window takes off the limits of its tier, parts per million; good windows give it back at the
    /// promised rate, up to what is certified. 20,000 follows drift within some 50 losses; 0 for no margin. The same on
    /// every replica.
    pub margin_gain_ppm: u32,
}

impl Default for Programme {
    fn default() -> Self {
        Self {
            policy: "tng".to_owned(),
            repository: None,
            trust_root: None,
            model_id: None,
            watch_s: 10,
            archive: PathBuf::from("plimsoll-serve/models"),
            ring_seed: "plimsoll".to_owned(),
            replica: "1".to_owned(),
            overdraft: crate::ledger::Overdraft::Issuer,
            margin_gain_ppm: 0,
        }
    }
}

/// Who signs grants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Issuer {
    /// `iss` of its grants.
    pub name: String,
    /// A directory of PKCS#8 PEM files, one Ed25519 key each.
    pub keys: Option<PathBuf>,
    /// The name (without `.pem`) of the key that signs. The directory's file `active`, where there is one, wins; with a
    /// single key neither is needed.
    pub active: Option<String>,
    /// How long a key stays published after its file went.
    pub retire_h: u32,
    /// How often the directory is looked at.
    pub watch_s: u64,
}

impl Default for Issuer {
    fn default() -> Self {
        // 72 h of a grant, 72 h of a payment under it, and a day.
        Self { name: "plimsoll".to_owned(), keys: None, active: None, retire_h: 168, watch_s: 10 }
    }
}

/// Who may ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// What clocks may differ by.
    pub skew_s: u32,
    /// Those whose tokens count, by a name of your choice.
    pub issuers: BTreeMap<String, TokenIssuer>,
    /// Backends that sign their messages, by key id.
    pub bridges: BTreeMap<String, Bridge>,
    /// The longest a bridge's signature may be valid.
    pub bridge_window_s: u32,
}

impl Default for Auth {
    fn default() -> Self {
        Self { skew_s: 60, issuers: BTreeMap::new(), bridges: BTreeMap::new(), bridge_window_s: 300 }
    }
}

/// One whose tokens count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenIssuer {
    /// `iss` of its tokens.
    pub iss: String,
    /// One of the tokens' `aud`.
    pub aud: String,
    /// Its key set: a path, or an `http://` or `https://` address.
    pub jwks: String,
    /// The algorithms that count.
    #[serde(default = "all_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// What `typ` may be.
    #[serde(default = "token_types")]
    pub typ: Vec<String>,
    /// The claim that names the account.
    #[serde(default = "subject")]
    pub account_claim: String,
    /// Whether its tokens are for the operator's people and carry a `role`; otherwise they are for holders.
    #[serde(default)]
    pub admins: bool,
}

fn all_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256]
}

fn token_types() -> Vec<String> {
    vec!["JWT".to_owned(), "at+jwt".to_owned()]
}

fn subject() -> String {
    "sub".to_owned()
}

/// How a token is signed (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits or more.
    #[serde(rename = "RS256")]
    Rs256,
}

/// A backend that signs its messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "algorithm", rename_all = "kebab-case")]
pub enum Bridge {
    /// By an Ed25519 key of its own.
    Ed25519 {
        /// Its public key, PEM.
        public_key: PathBuf,
    },
    /// By a secret of at least 32 bytes that both have.
    HmacSha256 {
        /// Where the secret is, base64 or hex or as it is.
        secret: SecretFrom,
    },
}

/// How often they may ask; 0 is no limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests of one holder a minute. Refreshes are limited by the policy beside it.
    pub holder_per_minute: u32,
    /// Requests of one bridge a minute.
    pub bridge_per_minute: u32,
    /// Requests of one of the operator's people a minute.
    pub admin_per_minute: u32,
    /// Requests of one address a minute that show no valid credential: public paths, and failed attempts.
    pub peer_per_minute: u32,
    /// Identities and addresses remembered.
    pub remembered: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            holder_per_minute: 60,
            bridge_per_minute: 6_000,
            admin_per_minute: 600,
            peer_per_minute: 600,
            remembered: 200_000,
        }
    }
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Text for people, or JSON for machines.
    pub format: LogFormat,
    /// e.g. `info`, or `info,plimsoll_serve::border=debug`.
    pub level: String,
    /// Where spans of requests go, OTLP over HTTP: `http://127.0.0.1:4318`. In builds with the feature `otlp`.
    pub otlp: Option<String>,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned(), otlp: None }
    }
}

/// Text for people, or JSON for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One readable line each.
    Text,
    /// One JSON object each.
    Json,
}
