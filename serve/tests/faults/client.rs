//! A client: one account with one device, and everything that a network does to its requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use plimsoll_model::Money;
use plimsoll_model::grant::{Bytes, Form, Grant, Payment, Signer as _, Thumbprint};
use plimsoll_serve::fleet::Draw;
use serde_json::{Value, json};

use super::history::{History, Token};
use super::replica::now;
use super::wire::{self, Ask};

/// How long a client waits for an answer: longer than the store's own patience with a database that is away.
const PATIENCE: Duration = Duration::from_secs(12);
/// A payee without an account: a bridge settles for it.
pub(crate) const OUTSIDE: &str = "shop-elsewhere";

/// Some time, drawn.
pub(crate) fn millis(draw: &mut Draw, most: u64) -> Duration {
    Duration::from_millis(draw.below(most + 1))
}

/// What clients share: where the replicas are, what was answered, and what was counted.
#[derive(Debug, Default)]
pub(crate) struct Town {
    pub(crate) accounts: Vec<String>,
    /// By replica; none while it is down.
    pub(crate) ports: Mutex<Vec<Option<u16>>>,
    pub(crate) history: Mutex<History>,
    pub(crate) counts: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) requests: AtomicU64,
}

impl Town {
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    /// A replica that is up, the drawn one if it is.
    fn port(&self, draw: &mut Draw) -> Option<u16> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ports[usize::try_from(draw.below(ports.len() as u64)).expect("an index")]
    }

    /// Sends once, and remembers what was answered.
    pub(crate) fn send(&self, port: u16, ask: &Ask) -> Option<(u16, Value)> {
        let request = ask.key.clone().unwrap_or_else(|| self.requests.fetch_add(1, Ordering::Relaxed).to_string());
        let Some((status, body)) = wire::send(port, ask, PATIENCE) else {
            self.count("lost answers");
            return None;
        };
        self.remember(ask, &request, status, &body);
        Some((status, body))
    }

    fn remember(&self, ask: &Ask, request: &str, status: u16, body: &Value) {
        let mut history = self.history();
        match (status, ask.path.as_str()) {
            (503, _) => self.count("503"),
            (500, path) => history.broken.push(format!("{path} answered 500: {body}")),
            (200, "/v1/sync") => {
                history.granted(&body["claims"]);
                let verdicts = body["payments"].as_array().map_or(&[][..], Vec::as_slice);
                verdicts.iter().for_each(|v| history.judged(v, request));
                history.replied(ask.key.as_ref(), json!([body["claims"], body["payments"], body["balance"]]));
                self.count("grants");
            }
            (200, "/v1/tokens/settle") => {
                let verdicts = body["results"].as_array().map_or(&[][..], Vec::as_slice);
                for v in verdicts {
                    history.judged(v, request);
                    self.count(match (v["status"].as_str(), v["again"].as_bool()) {
                        (Some("refused"), _) => "refused",
                        (_, Some(true)) => "settled again",
                        _ => "settled",
                    });
                }
                history.replied(ask.key.as_ref(), body.clone());
            }
            (200, "/v1/tokens/dispute") => {
                history.disputed.insert(ask.body["nonce"].as_str().unwrap_or_default().to_owned());
                self.count("disputes");
            }
            (200, path) if path.ends_with("/transactions") => {
                let account = path.split('/').nth(3).unwrap_or_default();
                for row in ask.body["transactions"].as_array().into_iter().flatten() {
                    history.taken.insert((account.to_owned(), row["id"].as_str().unwrap_or_default().to_owned()));
                }
                history.replied(ask.key.as_ref(), body.clone());
                self.count("movements");
            }
            _ => {}
        }
    }

    /// Asks until somebody answers otherwise than with `come again`, or for as long as `within`.
    pub(crate) fn insist(&self, ask: &Ask, draw: &mut Draw, within: Duration) -> Option<(u16, Value)> {
        let begun = Instant::now();
        loop {
            if let Some(port) = self.port(draw)
                && let Some((status, body)) = self.send(port, ask)
                && status != 503
                && body["error"]["code"] != "IN_FLIGHT"
            {
                return Some((status, body));
            }
            if begun.elapsed() > within {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20) + millis(draw, 40));
        }
    }
}

/// One account's device.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    town: &'a Town,
    name: String,
    key: SigningKey,
    wid: [u8; 8],
    grant: Option<Grant>,
    number: u64,
    /// What it signed, oldest first.
    signed: Vec<String>,
    movements: u64,
    draw: Draw,
}

impl<'a> Client<'a> {
    pub(crate) fn new(town: &'a Town, name: &str, mut draw: Draw) -> Self {
        let key = SigningKey::from_bytes(&draw.bytes());
        let wid = draw.bytes();
        let (grant, signed) = (None, Vec::new());
        Self { town, name: name.to_owned(), key, wid, grant, number: 0, signed, movements: 0, draw }
    }

    fn jkt(&self) -> Thumbprint {
        self.key.public().thumbprint()
    }

    fn holder(&self) -> String {
        format!("{}/{}", self.name, self.jkt())
    }

    /// Opens the account and enrols the device.
    pub(crate) fn open(&mut self) {
        let balance = *self.draw.of(&[2_000, 15_000, 60_000]);
        self.town.history().opened.insert(self.name.clone(), balance);
        let body = json!({ "opened_at": now().0 - 40_000_000, "tier": 2, "balance": balance, "lifetime_tx": 1_000 });
        let open = Ask { method: "PUT", path: format!("/v1/accounts/{}", self.name), body, ..self.by_bridge() };
        let body = json!({ "account": self.name, "public_key": Bytes(*self.key.public().as_bytes()) });
        let enrol = Ask { path: "/v1/devices".into(), body, ..self.by_bridge() };
        for ask in [open, enrol] {
            let told = self.town.insist(&ask, &mut self.draw, Duration::from_secs(20));
            assert!(told.as_ref().is_some_and(|(status, _)| (200..300).contains(status)), "{ask:?}: {told:?}");
        }
    }

    /// One thing that a device, a payee or a bridge does, drawn.
    pub(crate) fn step<'s>(&mut self, scope: &'s Scope<'s, '_>)
    where
        'a: 's,
    {
        std::thread::sleep(millis(&mut self.draw, 25));
        let ask = match self.draw.below(10) {
            0..4 => self.sync(),
            4..7 => self.settle(),
            7..9 => self.movements(),
            _ => match self.dispute() {
                Some(ask) => ask,
                None => self.sync(),
            },
        };
        self.trouble(scope, &ask);
        // Most come back until they are answered; some give up, and what they asked for may have been done.
        let within = if self.draw.one_in(6) { Duration::ZERO } else { Duration::from_secs(15) };
        if let Some((200, body)) = self.town.insist(&ask, &mut self.draw, within) {
            self.adopt(&body);
        }
        for _ in 0..self.draw.below(4) {
            self.pay();
        }
    }

    /// What a network does: a lost connection, the same request twice at once, and one that comes much later.
    fn trouble<'s>(&mut self, scope: &'s Scope<'s, '_>, ask: &Ask)
    where
        'a: 's,
    {
        let (town, kind, after) = (self.town, self.draw.below(6), millis(&mut self.draw, 250));
        let Some(port) = town.port(&mut self.draw) else { return };
        let ask = ask.clone();
        match kind {
            0 => {
                town.count("hung up");
                wire::hang_up(port, &ask, after / 16);
            }
            1 | 2 => {
                town.count(if kind == 1 { "twice" } else { "late" });
                scope.spawn(move || {
                    if kind == 2 {
                        std::thread::sleep(after);
                    }
                    town.send(port, &ask)
                });
            }
            _ => {}
        }
    }

    /// Whatever is left of what it has, at the end, when everything is well again.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        let within = Duration::from_secs(30);
        let sync = Ask { key: None, ..self.sync() };
        match self.town.insist(&sync, &mut self.draw, within) {
            Some((200, body)) => self.adopt(&body),
            other => return Err(format!("{} gets no grant when all is well: {other:?}", self.name)),
        }
        let tokens: Vec<Token> = self.town.history().tokens.clone();
        let mine: Vec<&Token> = tokens.iter().filter(|t| t.payee == self.name).collect();
        for tokens in mine.chunks(50) {
            let body = json!({ "tokens": tokens.iter().map(|t| &t.bytes).collect::<Vec<_>>() });
            let ask = Ask { path: "/v1/tokens/settle".into(), who: self.holder(), body, ..self.by_bridge() };
            match self.town.insist(&ask, &mut self.draw, within) {
                Some((200, _)) => {}
                other => return Err(format!("{} cannot settle when all is well: {other:?}", self.name)),
            }
        }
        Ok(())
    }

    fn by_bridge(&self) -> Ask {
        Ask { method: "POST", path: String::new(), who: "bridge".into(), key: None, body: Value::Null }
    }

    fn key(&mut self) -> Option<String> {
        (!self.draw.one_in(3)).then(|| Bytes(self.draw.bytes::<16>()).to_string())
    }

    fn sync(&mut self) -> Ask {
        let mut payments = self.signed.clone();
        if payments.len() > 20 {
            payments.drain(..payments.len() - 20);
        }
        for i in (1..payments.len()).rev() {
            if self.draw.one_in(3) {
                payments.swap(i, usize::try_from(self.draw.below(i as u64)).expect("an index"));
            }
        }
        payments.truncate(usize::try_from(self.draw.below(21)).expect("small"));
        let body = json!({ "wid": Bytes(self.wid), "payments": payments });
        Ask { path: "/v1/sync".into(), who: self.holder(), key: self.key(), body, ..self.by_bridge() }
    }

    /// Hands in what it was paid, in any order, what was settled before among it.
    fn settle(&mut self) -> Ask {
        let outside = self.draw.one_in(4);
        let payee = if outside { OUTSIDE } else { &self.name };
        let tokens = self.town.history().tokens.clone();
        let mine: Vec<&Token> = tokens.iter().filter(|t| t.payee == payee).collect();
        let mut chosen = Vec::new();
        for _ in 0..=self.draw.below(4) {
            chosen.push(if mine.is_empty() { "a.b.c".to_owned() } else { self.draw.of(&mine).bytes.clone() });
        }
        let who = if outside { "bridge".into() } else { self.holder() };
        Ask {
            path: "/v1/tokens/settle".into(),
            who,
            key: self.key(),
            body: json!({ "tokens": chosen }),
            ..self.by_bridge()
        }
    }

    /// Tells what happened on an account, now and then again.
    fn movements(&mut self) -> Ask {
        let rows: Vec<Value> = (0..=self.draw.below(2))
            .map(|_| {
                if self.movements == 0 || !self.draw.one_in(4) {
                    self.movements += 1;
                }
                let n = self.movements;
                // The name says what it is: told twice it is the same.
                let amount = if n.is_multiple_of(3) { 7_000 + n as i64 } else { -2_000 - n as i64 };
                let (id, kind) = (format!("m{n}"), if amount < 0 { "bill" } else { "income" });
                self.town.history().told.insert((self.name.clone(), id.clone()), amount);
                json!({ "id": id, "at": now().0 - 200, "amount": amount, "kind": kind })
            })
            .collect();
        let path = format!("/v1/accounts/{}/transactions", self.name);
        Ask { path, key: self.key(), body: json!({ "transactions": rows }), ..self.by_bridge() }
    }

    fn dispute(&mut self) -> Option<Ask> {
        let settled: Vec<String> = {
            let history = self.town.history();
            let of_mine = |t: &&Token| t.payer == self.name && history.paid.contains_key(&t.nonce);
            history.tokens.iter().filter(of_mine).map(|t| t.nonce.clone()).collect()
        };
        if settled.is_empty() {
            return None;
        }
        let body = json!({ "nonce": self.draw.of(&settled), "reason_code": "UNAUTHORIZED", "detail": "not me" });
        Some(Ask { path: "/v1/tokens/dispute".into(), who: self.holder(), body, ..self.by_bridge() })
    }

    fn adopt(&mut self, body: &Value) {
        let Ok(grant) = serde_json::from_value::<Grant>(body["claims"].clone()) else { return };
        if self.grant.as_ref().is_none_or(|held| held.seq < grant.seq) {
            self.number = self.number.max(grant.seen);
            self.grant = Some(grant);
        }
    }

    /// Signs a payment to somebody; now and then more than there is, a number twice, or a nonce twice.
    fn pay(&mut self) {
        let Some(grant) = self.grant.clone() else { return };
        let others: Vec<String> = self.town.accounts.iter().filter(|a| **a != self.name).cloned().collect();
        let payee = if self.draw.one_in(5) { OUTSIDE.to_owned() } else { self.draw.of(&others).clone() };
        let most = if self.draw.one_in(8) { 24_000 } else { 3_000 };
        let amount = Money::from_minor(100 + self.draw.below(most)).expect("small");
        if self.number == 0 || !self.draw.one_in(10) {
            self.number += 1;
        }
        let mut nonce = Bytes(self.draw.bytes::<16>());
        if self.draw.one_in(10)
            && let Some(used) = self.town.history().tokens.iter().rfind(|t| t.payer == self.name)
            && let Ok(used) = Bytes::<16>::try_from(used.nonce.clone())
        {
            nonce = used;
        }
        let iat = now().max(grant.iat);
        let payment = Payment {
            payer: self.name.clone(),
            payee: payee.clone(),
            nonce,
            iat,
            exp: iat.plus(i64::from(grant.payment_valid_s)),
            grant: grant.jti,
            seq: grant.seq,
            number: self.number,
            amount,
            currency: grant.cur,
            spent: amount,
        };
        let bytes = String::from_utf8(payment.sign(Form::Jws, &self.key).expect("signs")).expect("text");
        self.signed.push(bytes.clone());
        let token = Token { payer: self.name.clone(), payee, nonce: nonce.to_string(), bytes };
        self.town.history().tokens.push(token);
        self.town.count("signed");
    }
}
