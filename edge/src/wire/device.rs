//! A whole device across the border: one setup, then commands, each one JSON object with an answer.
//!
//! ```text
//! Setup ─► Device::open ─► install(bundle) · command({"limit": {"now": …}})
//! ```

use std::collections::BTreeMap;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ed25519_dalek::SigningKey;
use plimsoll_model::grant::{Bytes, Form, IssuerKeys, PaymentRequest};
use plimsoll_model::policy::Policy;
use plimsoll_model::time::{Age, UtcSeconds};
use plimsoll_model::{Currency, Money};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Refused, known_time, write};
use crate::device::Status;
use crate::slots::{Installed, PullBack, Settings};
use crate::storage::{Files, Memory, Storage, StorageError};
use crate::trust::{Bundle, TrustedRoot};
use crate::wallet::{Accepted, Advice, Allowance, Decision, Identity, NoAnchor, Presence};

/// What a device is opened with.
///
/// The device key is a seed in memory here. An app whose key is in secure hardware signs through
/// [`plimsoll_model::grant::Signer`], in Rust.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Where the state is.
    pub storage: StateIn,
    /// The pinned root: the text of its file.
    pub root: String,
    /// The model line.
    pub model_id: String,
    /// The programme's rules, for the static floor of a device without a model: the policy file's object.
    pub policy: Value,
    /// The account.
    pub account: String,
    /// The programme.
    pub programme: String,
    /// What it pays in, `MYR/2`.
    pub currency: Currency,
    /// Whose grants are accepted.
    pub issuer: String,
    /// The issuer's keys: a JSON Web Key Set.
    pub jwks: Value,
    /// Seed of the device's Ed25519 key, base64url.
    pub device_seed: Bytes<32>,
    /// Drawn at random for this call, base64url.
    pub entropy: Bytes<16>,
    /// The wall clock.
    pub now: UtcSeconds,
}

/// Where a device keeps its state.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateIn {
    /// A directory of its own, durable by itself.
    Directory(String),
    /// Files that the host kept, base64url by name; an empty object the first time. The host stores what the command
    /// `files` gives before it lets a payment out.
    Files(BTreeMap<String, String>),
}

/// When something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// The wall clock.
    pub now: UtcSeconds,
}

/// What an install did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct InstalledModel {
    /// The version that is active now.
    pub model_version: u64,
    /// `false` when it was active before.
    pub new: bool,
}

/// What a device can be told: `{"limit": {"now": 1795305600}}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
// Not tagged inside (`{"do": "limit", …}`): serde would buffer it, which is 30 KiB more of WebAssembly.
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Accept a grant.
    Accept {
        /// The grant.
        grant: Token,
        /// The wall clock.
        now: UtcSeconds,
    },
    /// What may be spent now.
    Limit {
        /// The wall clock.
        now: UtcSeconds,
    },
    /// What will remain at each age of the grant, if nothing more is paid.
    Curve {},
    /// Pay.
    Authorise {
        /// What the payee asks for.
        request: PaymentRequest,
        /// Whether the holder proved presence for it.
        #[serde(default)]
        proved: bool,
        /// How the payment is written; what the grant's form is does not matter.
        #[serde(default)]
        form: TokenForm,
        /// The wall clock.
        now: UtcSeconds,
    },
    /// Where everything stands.
    Status {
        /// The wall clock.
        now: UtcSeconds,
    },
    /// The grant that is held, for a payee; null when there is none.
    Grant {},
    /// The payments the issuer has not acknowledged.
    Outbox {},
    /// Take the active model back, for good.
    PullBack {
        /// The wall clock.
        now: UtcSeconds,
    },
    /// The files to keep, base64url by name; null when they are in a directory.
    Files {},
}

/// A signed text or signed bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Token {
    /// JWS compact.
    Jws(String),
    /// CWT, base64url.
    Cwt(String),
}

/// How a payment is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenForm {
    /// JWS compact.
    #[default]
    Jws,
    /// CWT.
    Cwt,
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// To `accept`.
    Accepted {
        /// `false` when the wallet had it already.
        new: bool,
    },
    /// To `limit`.
    Limit(Box<Remaining>),
    /// To `curve`.
    Curve(Vec<(Age, Money)>),
    /// To `authorise`.
    Decided(Box<Decided>),
    /// To `status`.
    Status(Box<Status>),
    /// To `grant`.
    Grant(Option<Token>),
    /// To `outbox`.
    Outbox(Vec<Paid>),
    /// To `files`.
    Files(Option<BTreeMap<String, String>>),
    /// To `pull_back`.
    Done {},
}

/// What may be spent, in words too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remaining {
    /// The amounts and rules.
    #[serde(flatten)]
    pub allowance: Allowance,
    /// What the bound means.
    pub says: &'static str,
    /// What the holder can do.
    pub advises: &'static str,
}

/// A decision on a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decided {
    /// Paid.
    Approve {
        /// For the payee, with the grant.
        token: Token,
        /// The payment's number.
        number: u64,
        /// The same request was approved before: the same payment.
        repeated: bool,
        /// What remains.
        left: Remaining,
    },
    /// Prove presence and ask again.
    StepUp {
        /// What remains.
        left: Remaining,
    },
    /// Not paid.
    Decline {
        /// The rule that said no.
        bound: &'static str,
        /// What it means.
        says: &'static str,
        /// What the holder can do.
        advice: Advice,
        /// The same, in words.
        advises: &'static str,
        /// What remains.
        left: Remaining,
    },
}

/// A payment in the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paid {
    /// Its number.
    pub number: u64,
    /// To whom.
    pub payee: String,
    /// How much.
    pub amount: Money,
    /// When.
    pub at: UtcSeconds,
    /// The signed payment.
    pub token: Token,
}

/// A device.
pub struct Device {
    device: crate::Device<Shelf, NoAnchor, SigningKey>,
    memory: Option<Memory>,
}

impl Device {
    /// Opens what the storage holds, or begins anew.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn open(setup: Setup) -> Result<Self, Refused> {
        known_time("now", setup.now)?;
        let root = TrustedRoot::from_bytes(setup.root.as_bytes())?;
        let policy = Policy::from_json(&write(&setup.policy)).map_err(|e| refuse("policy", &e))?;
        let keys = IssuerKeys::from_jwks(setup.issuer, &write(&setup.jwks)).map_err(|e| refuse("jwks", &e))?;
        let (shelf, memory) = match setup.storage {
            StateIn::Directory(path) => (Shelf::Files(Files::open(path).map_err(|e| Refused::Wallet(e.into()))?), None),
            StateIn::Files(kept) => {
                let read = |(name, text): (String, String)| Ok((name, bytes_of("storage", &text)?));
                let memory = Memory::new(kept.into_iter().map(read).collect::<Result<_, Refused>>()?);
                (Shelf::Memory(memory.clone()), Some(memory))
            }
        };
        let device = crate::Device::open(
            shelf,
            NoAnchor,
            SigningKey::from_bytes(&setup.device_seed.0),
            Settings::new(root, setup.model_id, policy),
            Identity { account: setup.account, programme: setup.programme, currency: setup.currency },
            keys,
            setup.entropy.0,
            setup.now,
        )?;
        Ok(Self { device, memory })
    }

    /// Installs the newest release of a bundle.
    ///
    /// # Errors
    /// [`Refused::Install`]; what ran before runs on.
    pub fn install(&mut self, bundle: &Bundle, at: &At) -> Result<InstalledModel, Refused> {
        known_time("now", at.now)?;
        Ok(match self.device.install(bundle, at.now)? {
            Installed::Activated { model_version } => InstalledModel { model_version, new: true },
            Installed::Current { model_version } => InstalledModel { model_version, new: false },
        })
    }

    /// Does what it is told.
    ///
    /// # Errors
    /// [`Refused`]. A payment that is declined is an answer.
    pub fn command(&mut self, command: &Command) -> Result<Told, Refused> {
        if let Some(now) = command.now() {
            known_time("now", now)?;
        }
        Ok(match command {
            Command::Accept { grant, now } => {
                Told::Accepted { new: self.device.accept(&grant.bytes()?, *now)? == Accepted::New }
            }
            Command::Limit { now } => Told::Limit(Box::new(Remaining::new(self.device.limit(*now)?))),
            Command::Curve {} => Told::Curve(self.device.curve()?),
            Command::Authorise { request, proved, form, now } => {
                let presence = if *proved { Presence::Proved } else { Presence::Unproved };
                let form = match form {
                    TokenForm::Jws => Form::Jws,
                    TokenForm::Cwt => Form::Cwt,
                };
                Told::Decided(Box::new(self.device.authorise(request, *now, presence, form)?.into()))
            }
            Command::Status { now } => Told::Status(Box::new(self.device.status(*now)?)),
            Command::Grant {} => Told::Grant(self.device.wallet().grant().map(|grant| Token::of(grant.bytes()))),
            Command::Outbox {} => Told::Outbox(self.device.wallet().outbox().map(Paid::from).collect()),
            Command::PullBack { now } => {
                let pulled = self.device.pull_back(PullBack::Ordered, *now);
                pulled.map_err(|e| Refused::Wallet(e.into()))?;
                Told::Done {}
            }
            Command::Files {} => Told::Files(self.memory.as_ref().map(|memory| {
                let text = |(name, bytes): (String, Vec<u8>)| (name, Base64UrlUnpadded::encode_string(&bytes));
                memory.files().into_iter().map(text).collect()
            })),
        })
    }
}

impl Command {
    const fn now(&self) -> Option<UtcSeconds> {
        match self {
            Self::Accept { now, .. }
            | Self::Limit { now }
            | Self::Authorise { now, .. }
            | Self::Status { now }
            | Self::PullBack { now } => Some(*now),
            Self::Curve {} | Self::Grant {} | Self::Outbox {} | Self::Files {} => None,
        }
    }
}

impl Token {
    /// Of bytes. A JWS is text that begins like every JSON object in base64; a CWT begins with a CBOR tag, which is not.
    pub fn of(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) if text.starts_with("ey") => Self::Jws(text.to_owned()),
            _ => Self::Cwt(Base64UrlUnpadded::encode_string(bytes)),
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// [`Refused::Request`] for a CWT that is not base64url.
    pub fn bytes(&self) -> Result<Vec<u8>, Refused> {
        match self {
            Self::Jws(text) => Ok(text.clone().into_bytes()),
            Self::Cwt(text) => bytes_of("grant", text),
        }
    }
}

impl Remaining {
    fn new(allowance: Allowance) -> Self {
        Self { says: allowance.bound.says(), advises: allowance.advice.says(), allowance }
    }
}

impl From<Decision> for Decided {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Approve { token, number, repeated, left } => {
                Self::Approve { token: Token::of(&token), number, repeated, left: Remaining::new(left) }
            }
            Decision::StepUp { left } => Self::StepUp { left: Remaining::new(left) },
            Decision::Decline { bound, advice, left } => Self::Decline {
                bound: bound.name(),
                says: bound.says(),
                advice,
                advises: advice.says(),
                left: Remaining::new(left),
            },
        }
    }
}

impl From<&crate::wallet::Paid> for Paid {
    fn from(paid: &crate::wallet::Paid) -> Self {
        let (number, payee, token) = (paid.number, paid.payee.clone(), Token::of(&paid.token));
        Self { number, payee, amount: paid.amount, at: paid.at, token }
    }
}

fn refuse(what: &str, reason: &dyn std::fmt::Display) -> Refused {
    Refused::Request { what: what.to_owned(), reason: reason.to_string() }
}

fn bytes_of(what: &str, text: &str) -> Result<Vec<u8>, Refused> {
    Base64UrlUnpadded::decode_vec(text).map_err(|_| refuse(what, &"not base64url without padding"))
}

/// The storage a setup names.
#[derive(Clone, Debug)]
enum Shelf {
    Files(Files),
    Memory(Memory),
}

impl Shelf {
    fn storage(&self) -> &dyn Storage {
        match self {
            Self::Files(files) => files,
            Self::Memory(memory) => memory,
        }
    }
}

impl Storage for Shelf {
    fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage().read(name, max)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.storage().write(name, bytes)
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        self.storage().sync(name)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.storage().rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.storage().remove(name)
    }

    fn sync_names(&self) -> Result<(), StorageError> {
        self.storage().sync_names()
    }
}
