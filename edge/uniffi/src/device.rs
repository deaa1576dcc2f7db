//! A whole device: models and wallet in a directory of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use plimsoll_edge::wire::{self, Command, StateIn, Token, TokenForm, Told};
use plimsoll_model::decision::{Bound, Reason};
use plimsoll_model::grant::{self, Bytes};
use plimsoll_model::{Age, Money, UtcSeconds};

use crate::evaluator::{bundle, currency, text};
use crate::refused::Refused;

/// A payer's device.
#[derive(uniffi::Object)]
pub struct Device(Mutex<wire::Device>);

/// What a device is opened with.
#[derive(Clone, uniffi::Record)]
pub struct Setup {
    /// A directory of the app's own, used by one process.
    pub directory: String,
    /// The pinned root: the text of its file.
    pub root: String,
    /// The model line.
    pub model_id: String,
    /// The policy file's text, for a device without a model.
    pub policy: String,
    /// The account.
    pub account: String,
    /// The programme.
    pub programme: String,
    /// What it pays in: `MYR/2`.
    pub currency: String,
    /// Whose grants are accepted.
    pub issuer: String,
    /// The issuer's JSON Web Key Set, its text.
    pub jwks: String,
    /// 32 bytes: the seed of the device's Ed25519 key.
    pub device_seed: Vec<u8>,
    /// 16 bytes, drawn at random for this call.
    pub entropy: Vec<u8>,
}

/// What an install did.
#[derive(Clone, Copy, Debug, uniffi::Record)]
pub struct Installed {
    /// The version that is active now.
    pub model_version: u64,
    /// `false` when it was active before.
    pub is_new: bool,
}

/// What may be spent.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Remaining {
    /// In total, until the next sync.
    pub remaining: Money,
    /// In one payment.
    pub per_payment: Money,
    /// Up to this amount no proof of presence is needed.
    pub without_proof: Money,
    /// The rule that had the last word.
    pub bound: Bound,
    /// Every rule that lowered it, in order.
    pub reasons: Vec<Reason>,
    /// What the bound means.
    pub says: String,
    /// What the holder can do; empty when nothing needs doing.
    pub advises: String,
}

/// What will remain at an age of the grant.
#[derive(Clone, Copy, Debug, uniffi::Record)]
pub struct Curved {
    /// Minutes since the sync.
    pub age: Age,
    /// Minor units.
    pub remaining: Money,
}

/// What a payee asks for.
#[derive(Clone, Debug, uniffi::Record)]
pub struct PaymentRequest {
    /// Who wants to be paid.
    pub payee: String,
    /// How much.
    pub amount: Money,
    /// In what: `MYR/2`.
    pub currency: String,
    /// 16 bytes, drawn by the payee.
    pub nonce: Vec<u8>,
    /// When it was asked for.
    pub issued_at: UtcSeconds,
    /// Until when it may be answered.
    pub expires_at: UtcSeconds,
}

/// The wallet's answer to a payment request.
#[derive(Clone, Debug, uniffi::Enum)]
pub enum Decided {
    /// Paid: durably recorded, and these bytes are for the payee, with the grant.
    Approve {
        /// The signed payment.
        token: Vec<u8>,
        /// Its number.
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
        bound: String,
        /// What it means.
        says: String,
        /// What the holder can do.
        advises: String,
        /// What remains.
        left: Remaining,
    },
}

/// A payment that the issuer has not acknowledged.
#[derive(Clone, Debug, uniffi::Record)]
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
    pub token: Vec<u8>,
}

#[uniffi::export]
impl Device {
    /// Opens what the directory holds, or begins anew.
    ///
    /// # Errors
    /// [`Refused`].
    #[uniffi::constructor]
    pub fn open(setup: Setup, now: UtcSeconds) -> Result<Arc<Self>, Refused> {
        let setup = wire::Setup {
            storage: StateIn::Directory(setup.directory),
            root: setup.root,
            model_id: setup.model_id,
            policy: wire::read("policy", setup.policy.as_bytes())?,
            account: setup.account,
            programme: setup.programme,
            currency: currency("currency", setup.currency)?,
            issuer: setup.issuer,
            jwks: wire::read("jwks", setup.jwks.as_bytes())?,
            device_seed: fixed("device_seed", setup.device_seed)?,
            entropy: fixed("entropy", setup.entropy)?,
            now,
        };
        Ok(Arc::new(Self(Mutex::new(wire::Device::open(setup)?))))
    }

    /// Verifies the newest release of a repository and installs it, if it is newer.
    ///
    /// # Errors
    /// [`Refused`]; what ran before runs on.
    pub fn install(&self, files: HashMap<String, Vec<u8>>, now: UtcSeconds) -> Result<Installed, Refused> {
        let wire::InstalledModel { model_version, new } = self.lock()?.install(&bundle(files)?, &wire::At { now })?;
        Ok(Installed { model_version, is_new: new })
    }

    /// Accepts a grant, in either form; `false` when the wallet had it already.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn accept(&self, grant: Vec<u8>, now: UtcSeconds) -> Result<bool, Refused> {
        match self.told(&Command::Accept { grant: Token::of(&grant), now })? {
            Told::Accepted { new } => Ok(new),
            other => Err(unexpected(&other)),
        }
    }

    /// What may be spent now, and why not more.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn limit(&self, now: UtcSeconds) -> Result<Remaining, Refused> {
        match self.told(&Command::Limit { now })? {
            Told::Limit(left) => Ok((*left).into()),
            other => Err(unexpected(&other)),
        }
    }

    /// What will remain at each age of the grant, if nothing more is paid.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn curve(&self) -> Result<Vec<Curved>, Refused> {
        match self.told(&Command::Curve {})? {
            Told::Curve(curve) => Ok(curve.into_iter().map(|(age, remaining)| Curved { age, remaining }).collect()),
            other => Err(unexpected(&other)),
        }
    }

    /// Decides on a payment request, and pays: JWS, or CWT when `compact`.
    ///
    /// # Errors
    /// [`Refused`]. A payment that is declined is an answer.
    pub fn authorise(
        &self,
        request: PaymentRequest,
        proved: bool,
        compact: bool,
        now: UtcSeconds,
    ) -> Result<Decided, Refused> {
        let request = grant::PaymentRequest {
            payee: request.payee,
            amount: request.amount,
            currency: currency("request.currency", request.currency)?,
            nonce: fixed("request.nonce", request.nonce)?,
            iat: request.issued_at,
            exp: request.expires_at,
        };
        let form = if compact { TokenForm::Cwt } else { TokenForm::Jws };
        match self.told(&Command::Authorise { request, proved, form, now })? {
            Told::Decided(decided) => Decided::read(*decided),
            other => Err(unexpected(&other)),
        }
    }

    /// Where everything stands, JSON.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn status(&self, now: UtcSeconds) -> Result<String, Refused> {
        Ok(text(wire::write(&self.told(&Command::Status { now })?)))
    }

    /// The grant that is held, for a payee.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn grant(&self) -> Result<Option<Vec<u8>>, Refused> {
        match self.told(&Command::Grant {})? {
            Told::Grant(grant) => Ok(grant.map(|grant| grant.bytes()).transpose()?),
            other => Err(unexpected(&other)),
        }
    }

    /// The payments the issuer has not acknowledged: what to hand in at the next sync.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn outbox(&self) -> Result<Vec<Paid>, Refused> {
        let paid = |p: wire::Paid| {
            Ok(Paid { number: p.number, payee: p.payee, amount: p.amount, at: p.at, token: p.token.bytes()? })
        };
        match self.told(&Command::Outbox {})? {
            Told::Outbox(outbox) => outbox.into_iter().map(paid).collect(),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes the active model back, for good.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn pull_back(&self, now: UtcSeconds) -> Result<(), Refused> {
        self.told(&Command::PullBack { now }).map(drop)
    }
}

impl Device {
    fn lock(&self) -> Result<MutexGuard<'_, wire::Device>, Refused> {
        // A call that panicked may have left the device between two states; a new one reads the directory again.
        self.0.lock().map_err(|_| Refused::request("device", "a call failed inside: open the device again"))
    }

    fn told(&self, command: &Command) -> Result<Told, Refused> {
        Ok(self.lock()?.command(command)?)
    }
}

impl Decided {
    fn read(decided: wire::Decided) -> Result<Self, Refused> {
        Ok(match decided {
            wire::Decided::Approve { token, number, repeated, left } => {
                Self::Approve { token: token.bytes()?, number, repeated, left: left.into() }
            }
            wire::Decided::StepUp { left } => Self::StepUp { left: left.into() },
            wire::Decided::Decline { bound, says, advises, left, .. } => {
                Self::Decline { bound: bound.into(), says: says.into(), advises: advises.into(), left: left.into() }
            }
        })
    }
}

impl From<wire::Remaining> for Remaining {
    fn from(left: wire::Remaining) -> Self {
        let allowance = left.allowance;
        Self {
            remaining: allowance.remaining,
            per_payment: allowance.per_payment,
            without_proof: allowance.without_proof,
            bound: allowance.bound,
            reasons: allowance.reasons,
            says: left.says.to_owned(),
            advises: left.advises.to_owned(),
        }
    }
}

fn fixed<const N: usize>(what: &str, bytes: Vec<u8>) -> Result<Bytes<N>, Refused> {
    bytes.try_into().map(Bytes).map_err(|_| Refused::request(what, format_args!("must have {N} bytes")))
}

fn unexpected(told: &Told) -> Refused {
    Refused::request("device", format_args!("answered something else: {told:?}"))
}
