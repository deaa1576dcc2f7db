//! What must not work, tried with everything that a crook has: its own key, its own files, an accomplice, the wire.
//!
//! | attack | ends |
//! |---|---|
//! | replay | the payee's device refuses; the service gives the same answer again; nobody else may hand it in |
//! | tampered amount | `Signature` on the device, `BAD_SIGNATURE` at the service |
//! | expired | `EXPIRED_TOKEN`, by payee and by payer |
//! | unknown key | `OtherDevice` on the device, `UNKNOWN_KID` at the service |
//! | over the limit | `OverCap`, `OverLimit` on the device; `OVER_TOKEN_CAP`, `OVER_GRANT` at the service |
//! | double spend | with a counter the restored wallet declines; without one at most the grant is paid, and it is noticed |
//! | revoked device | signed before: settles; after: `DEVICE_REVOKED`; no grant any more |
//! | tampered bridge message | 401, whichever part of it was touched, and for a second copy of a good one |
//! | poisoned model | device and service refuse it and go on with what they have |
//! | forged grant | refused by wallet, payee and service |
//! | clock set back | wallet and payee decline; a payment of the future is `FUTURE_DATED` |

use std::fmt;

use axum::http::Method;
use ed25519_dalek::SigningKey;
use plimsoll_edge::Device;
use plimsoll_edge::payee::RefusePayment;
use plimsoll_edge::slots::{Installed, RefuseInstall, Settings};
use plimsoll_edge::storage::Memory;
use plimsoll_edge::trust::{Directory, RefuseRelease, TrustedRoot};
use plimsoll_edge::wallet::{Decision, Distrust, NoAnchor, Presence, RefuseGrant, WalletError};
use plimsoll_model::decision::Bound;
use plimsoll_model::grant::{Bytes, Form, Grant, Payment, RefuseToken};
use plimsoll_model::time::DAY;
use plimsoll_model::{Money, Tier};
use serde_json::{Value, json};

use super::draw::Draw;
use super::house::{By, House};
use super::phone::{self, Phone, Verdict, as_text, settle};
use super::street::Book;
use super::{FleetError, TICKS_A_DAY};
use crate::models::{self, Models, Rollout};
use crate::record::AccountId;

/// The attacks of the test plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attack {
    /// A payment handed in again.
    Replay,
    /// Another amount in a signed payment.
    TamperedAmount,
    /// A payment handed in too late.
    Expired,
    /// A payment signed by a key that nobody enrolled.
    UnknownKey,
    /// More than the grant covers.
    OverTheLimit,
    /// A wallet restored from a backup pays several receivers with the same money.
    DoubleSpend,
    /// A device goes on paying after it was revoked.
    RevokedDevice,
    /// A bridge's message changed on its way.
    TamperedBridgeMessage,
    /// A repository with a changed model.
    PoisonedModel,
    /// A grant that the issuer did not sign.
    ForgedGrant,
    /// A device whose clock was set back, or ahead.
    ClockSetBack,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Replay,
        Self::TamperedAmount,
        Self::Expired,
        Self::UnknownKey,
        Self::OverTheLimit,
        Self::DoubleSpend,
        Self::RevokedDevice,
        Self::TamperedBridgeMessage,
        Self::PoisonedModel,
        Self::ForgedGrant,
        Self::ClockSetBack,
    ];

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::TamperedAmount => "tampered amount",
            Self::Expired => "expired",
            Self::UnknownKey => "unknown key",
            Self::OverTheLimit => "over the limit",
            Self::DoubleSpend => "double spend across receivers",
            Self::RevokedDevice => "revoked device",
            Self::TamperedBridgeMessage => "tampered bridge message",
            Self::PoisonedModel => "poisoned model",
            Self::ForgedGrant => "forged grant",
            Self::ClockSetBack => "clock set back",
        }
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Minor units below which a limit is not worth abusing.
const WORTHWHILE: u64 = 1_000;
/// Accounts that are tried in the crook's part.
const CROOKS_MAX: usize = 20;

/// One attack, by one crook with one accomplice.
#[derive(Debug)]
pub(super) struct Crime {
    pub(super) attack: Attack,
    crook: Phone,
    accomplice: Phone,
    /// Accounts that were not granted enough to be worth a crook's while.
    passed_over: Vec<Phone>,
    begins: u64,
    /// Kept from the first part for the second.
    kept: Vec<String>,
    draw: Draw,
    /// How it ended, once it has.
    pub(super) ended: Option<Result<(), String>>,
}

/// Why an attack did not end as it should have.
enum Wrong {
    /// It worked, or failed otherwise.
    Ended(String),
    /// The fleet cannot go on.
    Fleet(FleetError),
}

impl From<FleetError> for Wrong {
    fn from(error: FleetError) -> Self {
        Self::Fleet(error)
    }
}

type Played = Result<(), Wrong>;

macro_rules! expect {
    ($what:expr, $pattern:pat) => {
        match $what {
            $pattern => {}
            other => {
                return Err(Wrong::Ended(format!("{}: {other:?}, expected {}", stringify!($what), stringify!($pattern))))
            }
        }
    };
}

impl Crime {
    pub(super) async fn open(house: &House, attack: Attack, name: &str, draw: &mut Draw) -> Result<Self, FleetError> {
        let tier = Tier::new(2).expect("exists");
        let mut phones = Vec::with_capacity(2);
        for (i, role) in ["crook", "friend"].iter().enumerate() {
            let draw = Draw::new(draw.next(), i as u64);
            phones.push(Phone::open(house, format!("{name}-{role}"), tier, draw).await?);
        }
        let (accomplice, crook) = (phones.remove(1), phones.remove(0));
        let begins = TICKS_A_DAY + draw.below(TICKS_A_DAY);
        let draw = Draw::new(draw.next(), 9);
        Ok(Self { attack, crook, accomplice, passed_over: Vec::new(), begins, kept: Vec::new(), draw, ended: None })
    }

    pub(super) fn phones(&self) -> impl Iterator<Item = &Phone> {
        [&self.crook, &self.accomplice].into_iter().chain(&self.passed_over)
    }

    pub(super) async fn tick(&mut self, house: &House, tick: u64, book: &mut Book) -> Result<(), FleetError> {
        if self.ended.is_some() || tick < self.begins {
            return Ok(());
        }
        // A second part comes the day after the last payment of the first may settle.
        let second = match self.attack {
            Attack::Expired => 3 * TICKS_A_DAY + 2,
            Attack::RevokedDevice => 1,
            _ => 0,
        };
        let played = match (tick - self.begins, second) {
            (0, _) => match self.is_able(house, book).await {
                Ok(true) => self.first(house, book).await,
                Ok(false) => {
                    self.begins += 1;
                    return Ok(());
                }
                Err(wrong) => Err(wrong),
            },
            (since, second) if since == second => self.second(house).await,
            _ => return Ok(()),
        };
        match played {
            Ok(()) if tick - self.begins < second => {}
            Ok(()) => self.ended = Some(Ok(())),
            Err(Wrong::Ended(why)) => self.ended = Some(Err(why)),
            Err(Wrong::Fleet(error)) => return Err(error),
        }
        Ok(())
    }

    /// What neither of them was granted, neither can abuse: loads money, and looks whether that is enough. If not, another
    /// account takes the crook's part and it is tried again later.
    async fn is_able(&mut self, house: &House, book: &mut Book) -> Result<bool, Wrong> {
        let reload = json!({ "transactions": [
            { "id": "before", "at": house.now(), "amount": 300_000, "kind": "reload", "payee": "bank" },
        ] });
        let path = format!("/v1/accounts/{}/transactions", self.crook.account);
        house.must(By::Bridge, Method::POST, &path, &reload).await?;
        self.crook.book += 300_000;
        book.came_in += 300_000;
        self.crook.sync(house).await?;
        let (remaining, per_payment) = self.crook.remaining(house)?;
        if remaining.minor() >= WORTHWHILE && per_payment.minor() >= WORTHWHILE / 2 {
            return Ok(true);
        }
        let tried = self.passed_over.len() + 1;
        if tried == CROOKS_MAX {
            return Err(Wrong::Ended(format!("of {tried} accounts none was granted enough to abuse")));
        }
        let name = format!("{}-{tried}", self.crook.account);
        let draw = Draw::new(self.draw.next(), tried as u64);
        let next = Phone::open(house, name, self.crook.tier, draw).await?;
        book.came_in += next.book;
        self.passed_over.push(std::mem::replace(&mut self.crook, next));
        Ok(false)
    }

    async fn first(&mut self, house: &House, book: &mut Book) -> Played {
        match self.attack {
            Attack::Replay => self.replay(house).await,
            Attack::TamperedAmount => self.tamper(house).await,
            Attack::Expired | Attack::RevokedDevice => {
                let token = self.honest(house, 300)?;
                self.kept.push(token);
                Ok(())
            }
            Attack::UnknownKey => self.unknown_key(house).await,
            Attack::OverTheLimit => self.over_the_limit(house).await,
            Attack::DoubleSpend => self.double_spend(house, book).await,
            Attack::TamperedBridgeMessage => self.tamper_bridge(house, book).await,
            Attack::PoisonedModel => self.poison(house),
            Attack::ForgedGrant => self.forge(house).await,
            Attack::ClockSetBack => self.set_clock(house).await,
        }
    }

    async fn second(&mut self, house: &House) -> Played {
        match self.attack {
            Attack::Expired => self.too_late(house).await,
            Attack::RevokedDevice => self.revoked(house).await,
            _ => Ok(()),
        }
    }

    async fn replay(&mut self, house: &House) -> Played {
        let token = self.honest(house, 300)?;
        let grant = self.grant()?.bytes().to_vec();
        expect!(self.accomplice.payee.take(&grant, &bytes(&token), house.now()), Err(RefusePayment::SeenBefore { .. }));
        let stolen = settle(house, self.crook.by(), &[&token]).await?;
        expect!(first_of(&stolen), ("refused", "RECEIVER_MISMATCH", 0, false));
        expect!(first_of(&self.hand_in(house, &token).await?), ("settled", _, 300, false));
        for _ in 0..3 {
            expect!(first_of(&self.hand_in(house, &token).await?), ("settled", _, 300, true));
        }
        let (verdicts, _) = self.crook.sync(house).await?;
        expect!(first_of(&verdicts), ("settled", _, 300, true));
        self.check_balances(house).await
    }

    async fn tamper(&mut self, house: &House) -> Played {
        use base64ct::{Base64UrlUnpadded, Encoding as _};
        let token = self.honest(house, 300)?;
        let jws = self.as_jws(&token)?;
        let mut parts: Vec<String> = jws.split('.').map(str::to_owned).collect();
        let claims = Base64UrlUnpadded::decode_vec(&parts[1]).unwrap_or_default();
        let mut claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
        for field in ["amt", "spent"] {
            claims[field] = json!(claims[field].as_u64().unwrap_or_default() * 10);
        }
        parts[1] = Base64UrlUnpadded::encode_string(claims.to_string().as_bytes());
        let forged = parts.join(".");
        let grant = self.grant()?.bytes().to_vec();
        let taken = self.accomplice.payee.take(&grant, forged.as_bytes(), house.now());
        expect!(taken, Err(RefusePayment::Payment(RefuseToken::Signature)));
        expect!(first_of(&self.hand_in(house, &forged).await?), ("refused", "BAD_SIGNATURE", 0, false));
        expect!(first_of(&self.hand_in(house, &token).await?), ("settled", _, 300, false));
        self.check_balances(house).await
    }

    async fn too_late(&mut self, house: &House) -> Played {
        let token = self.kept[0].clone();
        expect!(first_of(&self.hand_in(house, &token).await?), ("refused", "EXPIRED_TOKEN", 0, false));
        let (status, told) = self.crook.ask_sync(house).await?;
        expect!(status, 200);
        expect!(first_of(&phone::verdicts(&told["payments"])), ("refused", "EXPIRED_TOKEN", 0, false));
        // A payee that meets it only now does not take it either.
        let grant = self.grant()?.bytes().to_vec();
        let payment = Payment::verify(&bytes(&token)).map_err(|e| Wrong::Ended(e.to_string()))?;
        let asked = self.accomplice.request(Money::from_minor(300).expect("small"), house.now())?;
        let late = Payment { nonce: asked.nonce, ..payment.claims().clone() };
        let late = late.sign(Form::Jws, &self.crook.key).expect("a key in memory signs");
        expect!(
            self.accomplice.payee.take(&grant, &late, house.now()),
            Err(RefusePayment::Backdated { .. } | RefusePayment::Expired { .. })
        );
        self.check_balances(house).await
    }

    async fn unknown_key(&mut self, house: &House) -> Played {
        let stranger = SigningKey::from_bytes(&self.draw.bytes());
        let payment = self.payment(house, 300, 1)?;
        let token = payment.sign(Form::Jws, &stranger).expect("a key in memory signs");
        let grant = self.grant()?.bytes().to_vec();
        expect!(self.accomplice.payee.take(&grant, &token, house.now()), Err(RefusePayment::OtherDevice));
        expect!(first_of(&self.hand_in(house, &as_text(&token)).await?), ("refused", "UNKNOWN_KID", 0, false));
        self.check_balances(house).await
    }

    async fn over_the_limit(&mut self, house: &House) -> Played {
        let (cap, ceiling) = {
            let grant = self.grant()?;
            let ceiling = grant.ceiling(house.now()).amount().minor();
            (grant.cap.token.map_or(ceiling, Money::minor), ceiling)
        };
        if ceiling == 0 {
            return Err(Wrong::Ended("a crook without a limit shows nothing".into()));
        }
        // One that is too large by itself: an honest payee refuses it, and for a dishonest one it does not settle.
        let large = self.payment(house, cap.max(ceiling) + 1, 1)?;
        let large = large.sign(Form::Jws, &self.crook.key).expect("a key in memory signs");
        let grant = self.grant()?.bytes().to_vec();
        expect!(
            self.accomplice.payee.take(&grant, &large, house.now()),
            Err(RefusePayment::OverCap { .. } | RefusePayment::OverLimit { .. })
        );
        expect!(
            first_of(&self.hand_in(house, &as_text(&large)).await?),
            ("refused", "OVER_TOKEN_CAP" | "OVER_GRANT", 0, false)
        );
        // Many that are small enough: together they settle for what the grant covers.
        let piece = cap.min(ceiling / 3 + 1);
        let mut settled = 0;
        for number in 2..2 + ceiling / piece + 2 {
            let payment = self.payment(house, piece, number)?;
            let token = as_text(&payment.sign(Form::Cwt, &self.crook.key).expect("a key in memory signs"));
            match first_of(&self.hand_in(house, &token).await?) {
                ("settled", _, _, false) => settled += piece,
                ("refused", "OVER_GRANT", 0, false) if settled + piece > ceiling => {}
                other => return Err(Wrong::Ended(format!("{settled} of {ceiling} settled, {piece} more: {other:?}"))),
            }
        }
        expect!((settled <= ceiling, settled + piece > ceiling), (true, true));
        self.check_balances(house).await
    }

    async fn double_spend(&mut self, house: &House, book: &mut Book) -> Played {
        let now = house.now();
        let backup = self.crook.files.files();
        let (left, most) = self.crook.remaining(house)?;
        let amount = Money::from_minor(most.minor().min(left.minor() / 2 + 1)).expect("smaller than a limit");
        if amount == Money::ZERO {
            return Err(Wrong::Ended("a crook without a limit shows nothing".into()));
        }
        // With the platform's counter the restored files are known for what they are.
        self.honest(house, 100)?;
        let (account, key) = (self.crook.account.clone(), self.crook.key.clone());
        let counter = self.crook.counter.clone();
        let mut restored =
            phone::wallet(house, &account, &key, Memory::new(backup.clone()), counter, self.draw.bytes())?;
        expect!(restored.status().distrust, Some(Distrust::Restored));
        let request = self.accomplice.request(amount, now)?;
        let declined = restored.authorise(&request, now, Presence::Proved, None, Form::Jws);
        expect!(declined, Ok(Decision::Decline { bound: Bound::State, .. }));

        // Without one it pays every time; what its grant covers settles, the rest does not, and it is noticed.
        let ceiling = self.grant()?.ceiling(now).amount().minor() as i64;
        let held = self.grant()?.bytes().to_vec();
        let mut tokens = Vec::new();
        let mut sum = 0;
        while sum <= ceiling {
            let entropy = self.draw.bytes();
            let mut copy = phone::wallet(house, &account, &key, Memory::new(backup.clone()), NoAnchor, entropy)?;
            let mut request = self.accomplice.request(amount, now)?;
            let elsewhere = tokens.len() % 2 == 1;
            if elsewhere {
                request.payee = "shop-elsewhere".to_owned();
            }
            let paid = copy.authorise(&request, now, Presence::Proved, None, Form::Jws);
            let Ok(Decision::Approve { token, .. }) = paid else {
                return Err(Wrong::Ended(format!("a copied wallet without a counter pays: {paid:?}")));
            };
            if !elsewhere {
                // Who was paid by this device before sees the number again; one who helps the crook hands it in anyway.
                expect!(self.accomplice.payee.take(&held, &token, now), Err(RefusePayment::NumberReused { .. }));
            }
            tokens.push((as_text(&token), elsewhere));
            sum += amount.minor() as i64;
        }
        let (first, _) = self.crook.sync(house).await?;
        let mut settled = 0;
        for verdict in &first {
            settled += verdict.credited;
            self.paid(verdict);
        }
        let mut refused = 0;
        for (token, elsewhere) in &tokens {
            let verdicts = if *elsewhere {
                let verdicts = settle(house, By::Bridge, &[token]).await?;
                let left: i64 = verdicts.iter().map(|v| v.credited).sum();
                self.crook.book -= left;
                book.left += left;
                verdicts
            } else {
                self.hand_in(house, token).await?
            };
            match first_of(&verdicts) {
                ("settled", _, credited, false) => settled += credited,
                ("refused", "OVER_GRANT", 0, false) => refused += 1,
                other => return Err(Wrong::Ended(format!("{other:?}"))),
            }
        }
        expect!((settled <= ceiling, refused > 0), (true, true));
        let id = AccountId::try_from(account.as_str()).expect("made by us");
        let entries = house.app.store.log_of(&id, None, 100).await.map_err(|e| FleetError::Service(e.to_string()))?;
        let noticed =
            entries.iter().any(|e| e.kind == "signal" && String::from_utf8_lossy(&e.body).contains("double_spend"));
        expect!(noticed, true);
        // And the copy learns at its next sync that it is one.
        let mut copy = phone::wallet(house, &account, &key, Memory::new(backup), NoAnchor, self.draw.bytes())?;
        let sync = json!({ "wid": copy.status().wid, "payments": [] });
        let told = house.must(self.crook.by(), Method::POST, "/v1/sync", &sync).await?;
        let grant = told["grant"]["jws"].as_str().unwrap_or_default().as_bytes().to_vec();
        expect!(copy.accept(&grant, now), Err(WalletError::Grant(RefuseGrant::Gap { .. })));
        self.check_balances(house).await
    }

    async fn revoked(&mut self, house: &House) -> Played {
        let path = format!("/v1/devices/{}/revoke", self.crook.jkt);
        let body = json!({ "account": self.crook.account, "reason": "lost" });
        house.must(By::Bridge, Method::POST, &path, &body).await?;
        let after = self.honest(house, 200)?;
        let before = self.kept[0].clone();
        expect!(first_of(&self.hand_in(house, &before).await?), ("settled", _, 300, false));
        expect!(first_of(&self.hand_in(house, &after).await?), ("refused", "DEVICE_REVOKED", 0, false));
        expect!(self.crook.ask_sync(house).await?.0, 403);
        self.check_balances(house).await
    }

    async fn tamper_bridge(&mut self, house: &House, book: &mut Book) -> Played {
        let path = format!("/v1/accounts/{}/transactions", self.crook.account);
        let row = |amount: i64| json!({ "transactions": [{ "id": "salary", "at": house.now(), "amount": amount, "kind": "income" }] });
        let good = house.message(By::Bridge, Method::POST, &path, &row(1_000));
        let mut more = good.clone();
        more.body = row(9_000_000).to_string().into_bytes();
        expect!(house.deliver(more).await.0, 401);
        let mut digest = house.message(By::Bridge, Method::POST, &path, &row(1_000));
        let other = house.message(By::Bridge, Method::POST, &path, &row(9_000_000));
        digest.body = other.body.clone();
        for (name, value) in &mut digest.headers {
            if *name == "content-digest" {
                *value = other.headers.iter().find(|h| h.0 == *name).map(|h| h.1.clone()).unwrap_or_default();
            }
        }
        expect!(house.deliver(digest).await.0, 401);
        let mut elsewhere = house.message(By::Bridge, Method::POST, &path, &row(1_000));
        elsewhere.path = format!("/v1/accounts/{}/transactions", self.accomplice.account);
        expect!(house.deliver(elsewhere).await.0, 401);
        let mut stranger = house.message(By::Bridge, Method::POST, &path, &row(1_000));
        stranger.headers.retain(|h| h.0 == "content-type");
        house.sign(&mut stranger, &SigningKey::from_bytes(&self.draw.bytes()));
        expect!(house.deliver(stranger).await.0, 401);
        expect!(house.ask(self.crook.by(), Method::POST, &path, &row(1_000)).await.0, 403);
        // The good one is taken, once.
        expect!(house.deliver(good.clone()).await.0, 200);
        self.crook.book += 1_000;
        book.came_in += 1_000;
        expect!(house.deliver(good).await.0, 401);
        self.check_balances(house).await
    }

    fn poison(&mut self, house: &House) -> Played {
        let failed = |e: String| Wrong::Fleet(FleetError::Service(e));
        let config = &house.app.config.programme;
        let (Some(repository), Some(root)) = (&config.repository, &config.trust_root) else {
            return Err(failed("there is no repository".into()));
        };
        let root = std::fs::read(root).map_err(|e| failed(e.to_string()))?;
        let root = TrustedRoot::from_bytes(&root).map_err(|e| failed(e.to_string()))?;
        let home = config.archive.with_file_name(format!("poisoned-{}", self.crook.account));
        copy(repository, &home).map_err(|e| failed(e.to_string()))?;
        let targets = home.join("targets/models");
        for file in std::fs::read_dir(&targets).map_err(|e| failed(e.to_string()))?.flatten() {
            if file.path().extension().is_some_and(|e| e == "onnx") {
                let mut model = std::fs::read(file.path()).map_err(|e| failed(e.to_string()))?;
                let at = usize::try_from(self.draw.below(model.len() as u64)).expect("an index");
                model[at] ^= 1 << self.draw.below(8);
                std::fs::write(file.path(), model).map_err(|e| failed(e.to_string()))?;
            }
        }
        let active = house.app.models.for_everyone();
        let (evaluator, policy) = (active.evaluator().expect("the fleet has a model"), active.policy().clone());
        let model_id = evaluator.manifest().model_id.clone();
        let identity = self.crook.wallet.identity().clone();
        let keys = (*house.issuer_keys()).clone();
        let settings = Settings::new(root.clone(), model_id.as_str(), policy.clone());
        let (files, entropy) = (Memory::default(), self.draw.bytes());
        // Of the day of the release: later its metadata has expired, and that would be the reason.
        let then = house.begun;
        let device = Device::open(files, NoAnchor, self.crook.key.clone(), settings, identity, keys, entropy, then);
        let mut device = device.map_err(|e| failed(e.to_string()))?;
        expect!(device.install(&Directory::new(repository), then), Ok(Installed::Activated { .. }));
        let before = device.slots().report(then);
        expect!(
            device.install(&Directory::new(&home), then),
            Err(RefuseInstall::Release(RefuseRelease::WrongHash { .. }))
        );
        expect!(device.slots().report(then).model == before.model, true);
        // One that has nothing yet stays without, and a service goes on with its floor.
        let identity = self.crook.wallet.identity().clone();
        let settings = Settings::new(root.clone(), model_id.as_str(), policy.clone());
        let keys = (*house.issuer_keys()).clone();
        let (files, entropy) = (Memory::default(), self.draw.bytes());
        let fresh = Device::open(files, NoAnchor, self.crook.key.clone(), settings, identity, keys, entropy, then);
        let mut fresh = fresh.map_err(|e| failed(e.to_string()))?;
        expect!(
            fresh.install(&Directory::new(&home), then),
            Err(RefuseInstall::Release(RefuseRelease::WrongHash { .. }))
        );
        let settings = models::Settings {
            source: Some(models::Source { directory: home.clone(), root, model_id: Some(model_id) }),
            archive: home.join("archive"),
            policy,
            ring_seed: "fleet".into(),
            replica: "poisoned".into(),
            margin_gain: None,
        };
        let poisoned = Models::open(settings, &Rollout::default(), then).map_err(|e| failed(e.to_string()))?;
        expect!(poisoned.status().refused, Some(_));
        expect!(poisoned.for_everyone().version(), None);
        std::fs::remove_dir_all(&home).map_err(|e| failed(e.to_string()))
    }

    async fn forge(&mut self, house: &House) -> Played {
        let mut claims: Grant = self.grant()?.claims().clone();
        claims.seq += 1;
        claims.bal = Money::from_minor(claims.bal.minor() * 100 + 100_000_000).expect("below the most there is");
        claims.limit = plimsoll_model::grant::Curve::new(vec![(plimsoll_model::Age(0), claims.bal)])
            .map_err(|e| Wrong::Ended(e.to_string()))?;
        claims.cap = plimsoll_model::grant::Caps::default();
        claims.jti = Bytes(self.draw.bytes());
        let signing = house.app.keys.signing().expect("the service has a key");
        let stranger = SigningKey::from_bytes(&self.draw.bytes());
        let forged = claims.sign(Form::Jws, signing.kid(), &stranger).expect("a key in memory signs");
        let now = house.now();
        expect!(
            self.crook.wallet.accept(&forged, now),
            Err(WalletError::Grant(RefuseGrant::Token(RefuseToken::Signature)))
        );
        let request = self.accomplice.request(Money::from_minor(90_000_000).expect("small"), now)?;
        let payment = Payment {
            nonce: request.nonce,
            grant: claims.jti,
            seq: claims.seq,
            amount: request.amount,
            spent: request.amount,
            ..self.payment(house, 100, 1)?
        };
        let token = payment.sign(Form::Jws, &self.crook.key).expect("a key in memory signs");
        let taken = self.accomplice.payee.take(&forged, &token, now);
        expect!(taken, Err(RefusePayment::Grant(RefuseToken::Signature)));
        expect!(first_of(&self.hand_in(house, &as_text(&token)).await?), ("refused", "UNKNOWN_GRANT", 0, false));
        self.check_balances(house).await
    }

    async fn set_clock(&mut self, house: &House) -> Played {
        let now = house.now();
        let token = self.honest(house, 300)?;
        expect!(first_of(&self.hand_in(house, &token).await?), ("settled", _, 300, false));
        let back = now.plus(-2 * DAY);
        let request = self.accomplice.request(Money::from_minor(100).expect("small"), now)?;
        expect!(self.crook.answer(house, &request, back)?, Decision::Decline { bound: Bound::Clock, .. });
        let Decision::Approve { token, .. } = self.crook.answer(house, &request, now)? else {
            return Err(Wrong::Ended("with the right time the wallet pays again".into()));
        };
        let grant = self.grant()?.bytes().to_vec();
        expect!(self.accomplice.payee.take(&grant, &token, back), Err(RefusePayment::Clock { .. }));
        expect!(self.accomplice.payee.take(&grant, &token, now), Ok(_));
        expect!(first_of(&self.hand_in(house, &as_text(&token)).await?), ("settled", _, 100, false));
        // A clock that is ahead signs a payment of tomorrow.
        let ahead = now.plus(DAY);
        let asked = self.accomplice.request(Money::from_minor(100).expect("small"), now)?;
        let exp = ahead.plus(self.grant()?.payment_valid_s.into());
        let ahead = Payment { nonce: asked.nonce, iat: ahead, exp, ..self.payment(house, 100, 9)? };
        let token = ahead.sign(Form::Jws, &self.crook.key).expect("a key in memory signs");
        expect!(self.accomplice.payee.take(&grant, &token, now), Err(RefusePayment::FutureDated { .. }));
        expect!(first_of(&self.hand_in(house, &as_text(&token)).await?), ("refused", "FUTURE_DATED", 0, false));
        self.check_balances(house).await
    }

    /// An ordinary payment to the accomplice.
    fn honest(&mut self, house: &House, amount: u64) -> Result<String, Wrong> {
        let now = house.now();
        let request = self.accomplice.request(Money::from_minor(amount).expect("small"), now)?;
        let decided = self.crook.answer(house, &request, now)?;
        let Decision::Approve { token, .. } = decided else {
            return Err(Wrong::Ended(format!("an ordinary payment of {amount} is not approved: {decided:?}")));
        };
        let grant = self.grant()?.bytes().to_vec();
        match self.accomplice.payee.take(&grant, &token, now) {
            Ok(_) => Ok(as_text(&token)),
            Err(refused) => Err(Wrong::Ended(format!("an ordinary payment is not taken: {refused}"))),
        }
    }

    /// A payment as whoever has the device's key can write it.
    fn payment(&mut self, house: &House, amount: u64, number: u64) -> Result<Payment, Wrong> {
        let now = house.now();
        let amount = Money::from_minor(amount).expect("small");
        let request = self.accomplice.request(amount, now)?;
        let grant = self.grant()?;
        Ok(Payment {
            payer: grant.sub.clone(),
            payee: request.payee,
            nonce: request.nonce,
            iat: now,
            exp: now.plus(i64::from(grant.payment_valid_s)),
            grant: grant.jti,
            seq: grant.seq,
            number,
            amount,
            currency: grant.cur,
            spent: amount,
        })
    }

    /// The same payment as text, whichever form it came in.
    fn as_jws(&self, token: &str) -> Result<String, Wrong> {
        let payment = Payment::verify(&bytes(token)).map_err(|e| Wrong::Ended(e.to_string()))?;
        let jws = payment.claims().sign(Form::Jws, &self.crook.key).expect("a key in memory signs");
        Ok(as_text(&jws))
    }

    fn grant(&self) -> Result<&plimsoll_model::grant::Verified<Grant>, Wrong> {
        self.crook.wallet.grant().ok_or_else(|| Wrong::Ended("the crook has no grant".into()))
    }

    /// The accomplice hands a token in.
    async fn hand_in(&mut self, house: &House, token: &str) -> Result<Vec<Verdict>, Wrong> {
        let verdicts = settle(house, self.accomplice.by(), &[&token.to_owned()]).await?;
        verdicts.iter().for_each(|verdict| self.paid(verdict));
        Ok(verdicts)
    }

    fn paid(&mut self, verdict: &Verdict) {
        if !verdict.again && verdict.credited > 0 {
            self.crook.book -= verdict.credited;
            self.accomplice.book += verdict.credited;
        }
    }

    /// The service has what the two have in their books: no attack moved any other money.
    async fn check_balances(&self, house: &House) -> Played {
        for phone in self.phones() {
            let path = format!("/v1/accounts/{}", phone.account);
            let (status, told) = house.ask(phone.by(), Method::GET, &path, &Value::Null).await;
            expect!((status, told["balance"].as_i64() == Some(phone.book)), (200, true));
        }
        Ok(())
    }
}

fn first_of(verdicts: &[Verdict]) -> (&str, &str, i64, bool) {
    verdicts.first().map_or(("none", "", -1, false), |v| (&v.status, &v.code, v.credited, v.again))
}

/// A token's own bytes.
fn bytes(text: &str) -> Vec<u8> {
    use base64ct::{Base64UrlUnpadded, Encoding as _};
    if text.contains('.') { text.as_bytes().to_vec() } else { Base64UrlUnpadded::decode_vec(text).unwrap_or_default() }
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?
        } else {
            std::fs::copy(entry.path(), to).map(|_| ())?
        }
    }
    Ok(())
}
