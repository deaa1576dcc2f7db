//! A holder's phone: a real wallet and a real payee over storage in memory, and what its owner keeps in mind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::Method;
use ed25519_dalek::SigningKey;
use plimsoll_edge::payee::PayeeRules;
use plimsoll_edge::storage::Memory;
use plimsoll_edge::wallet::{Anchor, AnchorError, Decision, Identity, Presence};
use plimsoll_edge::{Payee, Wallet};
use plimsoll_model::grant::{Bytes, Form, PaymentRequest, Signer as _, Thumbprint, TokenId};
use plimsoll_model::time::DAY;
use plimsoll_model::{Money, Tier, UtcSeconds};
use serde_json::{Value, json};

use super::FleetError;
use super::draw::Draw;
use super::house::{By, House, SETTLE};
use super::household::Household;
use crate::ledger::share;
use crate::models::Active;
use crate::record::AccountId;

/// Days of history that the service is told before the first day.
const PAST_DAYS: i64 = 60;
/// Movements in one request.
const ROWS_MAX: usize = 200;

/// The platform's counter. Clones share it, as it lies outside the phone's files.
#[derive(Clone, Debug, Default)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Anchor for Counter {
    fn value(&self) -> Result<Option<u64>, AnchorError> {
        Ok(Some(self.0.load(Ordering::SeqCst)))
    }

    fn advance(&self, to: u64) -> Result<(), AnchorError> {
        self.0.fetch_max(to, Ordering::SeqCst);
        Ok(())
    }
}

/// What a settled token meant.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) nonce: Option<String>,
    pub(super) status: String,
    pub(super) code: String,
    pub(super) credited: i64,
    pub(super) overdraft: i64,
    pub(super) again: bool,
}

/// One holder's phone.
#[derive(Debug)]
pub(super) struct Phone {
    pub(super) account: String,
    pub(super) tier: Tier,
    pub(super) key: SigningKey,
    pub(super) jkt: Thumbprint,
    pub(super) files: Memory,
    pub(super) counter: Counter,
    pub(super) wallet: Wallet<Memory, Counter, SigningKey>,
    pub(super) payee: Payee<Memory>,
    pub(super) household: Household,
    /// In which form it asks for its grants.
    form: &'static str,
    pub(super) draw: Draw,
    /// The issuer's balance as this holder's own book has it, minor units.
    pub(super) book: i64,
    /// Comes back at this tick.
    pub(super) back_at: u64,
    /// Spends whatever it may.
    pub(super) spends_all: bool,
    windows: Vec<Window>,
    pub(super) seen: Seen,
}

/// From a sync to the last instant at which a payment made at once may settle: what is certified at age 0.
#[derive(Clone, Debug)]
struct Window {
    grant: TokenId,
    from: UtcSeconds,
    until: UtcSeconds,
    limit: i64,
    balance: i64,
    /// What came and went otherwise, and how low that got.
    other: i64,
    lowest: i64,
    overdrawn: bool,
}

/// What was counted on one phone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) syncs: u64,
    pub(super) paid: u64,
    pub(super) declined: u64,
    /// Windows with a limit above nothing that have ended.
    pub(super) windows: u64,
    /// Of those: the balance fell below the limit by other flows.
    pub(super) short: u64,
    /// Of those: the issuer paid something.
    pub(super) overdrawn: u64,
    /// Minor units that the issuer paid.
    pub(super) overdraft: i64,
}

impl Phone {
    /// Opens an account with some months behind it, and a device for it.
    pub(super) async fn open(house: &House, account: String, tier: Tier, mut draw: Draw) -> Result<Self, FleetError> {
        let mut household = Household::new(draw.clone());
        let key = SigningKey::from_bytes(&draw.bytes());
        let jkt = key.public().thumbprint();
        let mut book = household.opening();
        let opening = json!({
            "opened_at": house.begun.0 - 400 * DAY, "tier": tier, "balance": book, "lifetime_tx": 1_000,
        });
        house.must(By::Bridge, Method::PUT, &format!("/v1/accounts/{account}"), &opening).await?;
        let today = house.begun.0 / DAY;
        let mut rows = Vec::new();
        for day in today - PAST_DAYS..today {
            for movement in household.day(UtcSeconds(day * DAY), book, true) {
                book += movement.amount;
                rows.push(movement.row);
            }
        }
        for rows in rows.chunks(ROWS_MAX) {
            let path = format!("/v1/accounts/{account}/transactions");
            house.must(By::Bridge, Method::POST, &path, &json!({ "transactions": rows })).await?;
        }
        let enrol = json!({ "account": account, "public_key": Bytes(*key.public().as_bytes()) });
        house.must(By::Bridge, Method::POST, "/v1/devices", &enrol).await?;

        let active = house.app.models.for_everyone();
        let policy = active.policy();
        let (files, counter) = (Memory::default(), Counter::default());
        let wallet = wallet(house, &account, &key, files.clone(), counter.clone(), draw.bytes())?;
        let rules = PayeeRules {
            payee: account.clone(),
            programme: policy.programme.clone(),
            currency: policy.currency,
            may_receive: policy.tier(tier).receive,
            exposure_max: None,
            request_valid_s: policy.token.request_valid_s,
        };
        let payee = Payee::open(Memory::default(), rules, (*house.issuer_keys()).clone())
            .map_err(|e| FleetError::Wallet(e.to_string()))?;
        let spends_all = draw.one_in(8);
        Ok(Self {
            account,
            tier,
            key,
            jkt,
            files,
            counter,
            wallet,
            payee,
            household,
            form: if jkt.0[0].is_multiple_of(2) { "jws" } else { "cwt" },
            draw,
            book,
            back_at: 0,
            spends_all,
            windows: Vec::new(),
            seen: Seen::default(),
        })
    }

    pub(super) fn by(&self) -> By<'_> {
        By::Device(&self.account, &self.jkt)
    }

    pub(super) fn active(&self, house: &House) -> Arc<Active> {
        let id = AccountId::try_from(self.account.as_str()).expect("made by us");
        house.app.models.for_account(&id)
    }

    /// Tells what happened today, and keeps it in mind.
    pub(super) async fn live(&mut self, house: &House, midnight: UtcSeconds, at_home: bool) -> Result<i64, FleetError> {
        let movements = self.household.day(midnight, self.book, at_home);
        if movements.is_empty() {
            return Ok(0);
        }
        let rows: Vec<&Value> = movements.iter().map(|m| &m.row).collect();
        let path = format!("/v1/accounts/{}/transactions", self.account);
        let told = house.must(By::Bridge, Method::POST, &path, &json!({ "transactions": rows })).await?;
        let moved: i64 = movements.iter().map(|m| m.amount).sum();
        self.book += moved;
        let now = house.now();
        for window in self.windows.iter_mut().filter(|w| w.until > now) {
            for movement in &movements {
                window.other += movement.amount;
                window.lowest = window.lowest.min(window.other);
            }
        }
        if told["balance"].as_i64() != Some(self.book) {
            return Err(FleetError::Broken(format!(
                "{}: the service has {}, its book {}",
                self.account, told["balance"], self.book
            )));
        }
        Ok(moved)
    }

    /// What the phone's own model allows, as an app computes it.
    fn own(&self, active: &Active, wall: UtcSeconds) -> Option<plimsoll_model::decision::Decision> {
        let evaluator = active.evaluator()?;
        let features = self.wallet.grant()?.features()?;
        Some(evaluator.decide(&features, &self.wallet.situation(wall)?, wall))
    }

    /// What may be spent.
    pub(super) fn remaining(&mut self, house: &House) -> Result<(Money, Money), FleetError> {
        let own = self.own(&self.active(house), house.now());
        let left = self.wallet.limit(house.now(), own.as_ref()).map_err(|e| FleetError::Wallet(e.to_string()))?;
        Ok((left.remaining, left.per_payment))
    }

    /// Decides on a request, offline.
    pub(super) fn answer(
        &mut self,
        house: &House,
        request: &PaymentRequest,
        wall: UtcSeconds,
    ) -> Result<Decision, FleetError> {
        let own = self.own(&self.active(house), wall);
        let form = if self.draw.one_in(2) { Form::Cwt } else { Form::Jws };
        let decided = self.wallet.authorise(request, wall, Presence::Proved, own.as_ref(), form);
        decided.map_err(|e| FleetError::Wallet(format!("{}: {e}", self.account)))
    }

    /// Asks for a payment, offline.
    pub(super) fn request(&mut self, amount: Money, now: UtcSeconds) -> Result<PaymentRequest, FleetError> {
        let nonce = Bytes(self.draw.bytes());
        self.payee.ask(amount, nonce, now).map_err(|e| FleetError::Wallet(format!("{}: {e}", self.account)))
    }

    /// Hands in what it was paid.
    pub(super) async fn settle(&mut self, house: &House) -> Result<Vec<Verdict>, FleetError> {
        let held = held(&self.payee);
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let tokens: Vec<&String> = held.iter().map(|h| &h.1).collect();
        let verdicts = settle(house, self.by(), &tokens).await?;
        let nonces: Vec<TokenId> = held.iter().map(|h| h.0).collect();
        self.payee.settled(&nonces).map_err(|e| FleetError::Wallet(e.to_string()))?;
        Ok(verdicts)
    }

    /// Syncs: hands in its payments, and accepts the grant.
    ///
    /// * returns what became of the payments, and whether its limits equal the service's to the bit.
    pub(super) async fn sync(&mut self, house: &House) -> Result<(Vec<Verdict>, bool), FleetError> {
        let (status, told) = self.ask_sync(house).await?;
        if status != 200 {
            return Err(FleetError::Answer { path: "/v1/sync".to_owned(), status, told: told.to_string() });
        }
        let grant = as_bytes(told["grant"][self.form].as_str().unwrap_or_default());
        let now = house.now();
        self.wallet.accept(&grant, now).map_err(|e| FleetError::Wallet(format!("{}: {e}", self.account)))?;
        self.seen.syncs += 1;
        let equal = self.is_equal(house);
        self.close_windows(now, false);
        let grant = self.wallet.grant().expect("accepted just now").claims();
        if let Some((_, limit)) = grant.limit.points().first()
            && *limit > Money::ZERO
        {
            let until = now.plus(i64::from(grant.payment_valid_s));
            let (limit, balance) = (limit.minor() as i64, grant.bal.minor() as i64);
            let grant = grant.jti;
            self.windows.push(Window {
                grant,
                from: now,
                until,
                limit,
                balance,
                other: 0,
                lowest: 0,
                overdrawn: false,
            });
        }
        Ok((verdicts(&told["payments"]), equal))
    }

    /// The same without accepting anything.
    pub(super) async fn ask_sync(&self, house: &House) -> Result<(u16, Value), FleetError> {
        let payments: Vec<String> = self.wallet.outbox().map(|paid| as_text(&paid.token)).collect();
        let mut body = json!({ "wid": self.wallet.status().wid, "payments": payments, "form": self.form });
        if let Some(grant) = self.wallet.grant()
            && let Some((age, _)) = grant.limit.points().first()
            && let Some(features) = grant.features()
            && let Some(evaluator) = self.active(house).evaluator()
        {
            // As of its sync, before anything was spent: what this phone came to by itself.
            let mut situation = self.wallet.situation(grant.iat).expect("it has a grant");
            situation.pending = grant.carried;
            let limit = evaluator.decide(&features, &situation, grant.iat).limit;
            body["computed"] = json!({ "grant": grant.jti, "age_min": age.0, "limit": limit });
        }
        Ok(house.ask(self.by(), Method::POST, "/v1/sync", &body).await)
    }

    /// Whether this phone, from the signed features and its own memory, comes to the very limits that the service signed.
    fn is_equal(&self, house: &House) -> bool {
        let active = self.active(house);
        let (Some(evaluator), Some(grant)) = (active.evaluator(), self.wallet.grant()) else { return false };
        let (Some(features), Some(situation)) = (grant.features(), self.wallet.situation(grant.iat)) else {
            return false;
        };
        let mut lowest = grant.bal;
        let ours = evaluator.curve(&features, &situation).into_iter().map(|(age, decision)| {
            lowest = lowest.min(share(decision.limit, active.granted_ppm(grant.tier)));
            (age, lowest)
        });
        grant.mdl.is_some_and(|m| m.d == evaluator.digest()) && ours.eq(grant.limit.points().iter().copied())
    }

    /// The issuer paid a part of a payment under a grant.
    pub(super) fn overdrawn(&mut self, grant: &TokenId, amount: i64) {
        self.seen.overdraft += amount;
        if let Some(window) = self.windows.iter_mut().find(|w| w.grant == *grant) {
            window.overdrawn = true;
        }
    }

    /// Counts the windows that have ended.
    ///
    /// * `settled`: nothing is under way any more.
    pub(super) fn close_windows(&mut self, now: UtcSeconds, settled: bool) {
        let seen = &mut self.seen;
        self.windows.retain(|w| {
            // Until the last payment under it, signed in its last minute, has settled.
            let late = if settled { 0 } else { w.until.since(w.from) };
            let open = w.until.plus(late) > now;
            if !open {
                seen.windows += 1;
                seen.short += u64::from((w.balance + w.lowest).clamp(0, w.balance) < w.limit);
                seen.overdrawn += u64::from(w.overdrawn);
            }
            open
        });
    }
}

/// A wallet over files.
pub(super) fn wallet<A: Anchor>(
    house: &House,
    account: &str,
    key: &SigningKey,
    files: Memory,
    anchor: A,
    entropy: [u8; 16],
) -> Result<Wallet<Memory, A, SigningKey>, FleetError> {
    let active = house.app.models.for_everyone();
    let (programme, currency) = (active.policy().programme.clone(), active.policy().currency);
    let identity = Identity { account: account.to_owned(), programme, currency };
    let keys = (*house.issuer_keys()).clone();
    Wallet::open(files, anchor, key.clone(), identity, keys, entropy).map_err(|e| FleetError::Wallet(e.to_string()))
}

/// A token as the API takes it.
pub(super) fn as_text(token: &[u8]) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding as _};
    match std::str::from_utf8(token) {
        Ok(jws) if jws.contains('.') => jws.to_owned(),
        _ => Base64UrlUnpadded::encode_string(token),
    }
}

/// A token as [`as_text`] wrote it.
fn as_bytes(token: &str) -> Vec<u8> {
    use base64ct::{Base64UrlUnpadded, Encoding as _};
    if token.contains('.') { token.into() } else { Base64UrlUnpadded::decode_vec(token).unwrap_or_default() }
}

/// Hands tokens in.
pub(super) async fn settle(house: &House, by: By<'_>, tokens: &[&String]) -> Result<Vec<Verdict>, FleetError> {
    let told = house.must(by, Method::POST, SETTLE, &json!({ "tokens": tokens })).await?;
    Ok(verdicts(&told["results"]))
}

pub(super) fn verdicts(told: &Value) -> Vec<Verdict> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let one = |v: &Value| Verdict {
        nonce: v["nonce"].as_str().map(str::to_owned),
        status: text(&v["status"]),
        code: text(&v["code"]),
        credited: v["credited"].as_i64().unwrap_or(-1),
        overdraft: v["overdraft"].as_i64().unwrap_or(-1),
        again: v["again"].as_bool().unwrap_or(false),
    };
    told.as_array().into_iter().flatten().map(one).collect()
}

/// What a payee has to hand in, as much as goes into one request.
pub(super) fn held(payee: &Payee<Memory>) -> Vec<(TokenId, String)> {
    let tokens = payee.unsettled().filter_map(|r| Some((r.nonce, as_text(&r.tokens.as_ref()?.1))));
    tokens.take(50).collect()
}
