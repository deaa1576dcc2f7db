//! The rules on a world in memory, with the published fixture's model and real signatures.

use std::collections::BTreeMap;
use std::path::Path;

use ed25519_dalek::SigningKey;
use plimsoll_edge::Evaluator;
use plimsoll_edge::trust::{Directory, Floors, TrustedRoot, verify};
use plimsoll_model::grant::{Bytes, Form, Grant, Payment, Signer as _, TokenId, Verified};
use plimsoll_model::policy::Policy;
use plimsoll_model::standing::{Cause, Party};
use plimsoll_model::transaction::Kind;
use plimsoll_model::{Flow, Money, Tier, UtcSeconds};
use proptest::prelude::*;

use super::enrol::{Opening, RefuseEnrolment, enrol, open, revoke, set_tier};
use super::history::{Movement, take};
use super::judge::{By, Judged, RefuseSettlement, judge};
use super::sync::{RefuseSync, Sync, Synced, decide_again, sync};
use super::{Basis, Overdraft, Rules, history, watch};
use crate::record::{Account, AccountId, Ended, GrantRecord, Liable, PaymentRecord, TierFrom};
use crate::unit::{Entry, Needs, Row, Unit};

/// A day after the fixture was published.
const NOW: UtcSeconds = UtcSeconds(1_795_219_200 + 86_400);
const HOUR: i64 = 3_600;

fn evaluator() -> Evaluator {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/tests/fixtures/published");
    let root = TrustedRoot::from_bytes(&std::fs::read(fixtures.join("root.json")).expect("reads")).expect("a root");
    let verified = verify(&Directory::new(fixtures.join("first")), &root, &Floors::default(), NOW, None);
    Evaluator::new(&verified.expect("verifies")).expect("runs")
}

fn id(name: &str) -> AccountId {
    AccountId::try_from(name).expect("a name")
}

fn money(minor: u64) -> Money {
    Money::from_minor(minor).expect("small")
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// Everything there is, and the rules over it.
struct World {
    evaluator: Option<Evaluator>,
    policy: Policy,
    overdraft: Overdraft,
    granted_ppm: [u32; Tier::COUNT],
    now: UtcSeconds,
    accounts: BTreeMap<AccountId, Account>,
    grants: BTreeMap<TokenId, GrantRecord>,
    payments: BTreeMap<TokenId, PaymentRecord>,
    rows: Vec<Row>,
    entries: Vec<Entry>,
    ended: Vec<Ended>,
    drawn: u8,
}

impl World {
    fn tng() -> Self {
        let evaluator = evaluator();
        Self { policy: evaluator.policy().clone(), evaluator: Some(evaluator), ..Self::floor("tng") }
    }

    fn floor(programme: &str) -> Self {
        Self {
            evaluator: None,
            policy: Policy::preset(programme).expect("a preset"),
            overdraft: Overdraft::Issuer,
            granted_ppm: [1_000_000; Tier::COUNT],
            now: NOW,
            accounts: BTreeMap::new(),
            grants: BTreeMap::new(),
            payments: BTreeMap::new(),
            rows: Vec::new(),
            entries: Vec::new(),
            ended: Vec::new(),
            drawn: 0,
        }
    }

    /// One request: loads what it needs, and keeps what it changed unless it was refused.
    fn run<T, E>(&mut self, needs: &Needs, work: impl FnOnce(&mut Unit, &Rules<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut unit = Unit::default();
        for id in &needs.accounts {
            unit.accounts.load(id.clone(), self.accounts.get(id).cloned());
        }
        for jti in &needs.grants {
            unit.grants.load(*jti, self.grants.get(jti).cloned());
        }
        for nonce in &needs.payments {
            unit.payments.load(*nonce, self.payments.get(nonce).cloned());
        }
        for (account, name) in &needs.rows {
            if self.rows.iter().any(|r| r.account == *account && r.name == *name) {
                unit.known_rows.insert((account.clone(), name.clone()));
            }
        }
        let rules = Rules {
            issuer: "tng.example",
            policy: &self.policy,
            policy_sha256: None,
            basis: self.evaluator.as_ref().map_or(Basis::Floor, Basis::Model),
            granted_ppm: self.granted_ppm,
            overdraft: self.overdraft,
            now: self.now,
        };
        let told = unit.attempt(|unit| work(unit, &rules));
        self.accounts.extend(unit.accounts.changed().map(|(k, v)| (k.clone(), v.clone())));
        self.grants.extend(unit.grants.changed().map(|(k, v)| (*k, v.clone())));
        self.payments.extend(unit.payments.changed().map(|(k, v)| (*k, v.clone())));
        self.rows.append(&mut unit.rows);
        self.entries.append(&mut unit.entries);
        self.ended.append(&mut unit.ended);
        told
    }

    fn open(&mut self, name: &str, tier: u8, balance: i64) -> AccountId {
        let id = id(name);
        let opening = Opening {
            opened_at: self.now.plus(-400 * 86_400),
            tier: Tier::new(tier).expect("a tier"),
            balance,
            lifetime_tx: 1_000,
            manual_wallet: Money::ZERO,
        };
        let needs = Needs { accounts: [id.clone()].into(), ..Needs::default() };
        assert_eq!(self.run(&needs, |unit, rules| open(unit, rules, &id, &opening)), Ok(true));
        id
    }

    fn enrol(&mut self, id: &AccountId, key: &SigningKey) -> Result<(), RefuseEnrolment> {
        let needs = Needs { accounts: [id.clone()].into(), ..Needs::default() };
        self.run(&needs, |unit, rules| enrol(unit, rules, id, key.public().as_bytes(), None)).map(drop)
    }

    /// An account that had its device for a while and that the fixture's model trusts.
    fn holder(&mut self, name: &str, seed: u8, balance: i64) -> AccountId {
        let id = self.open(name, 2, balance);
        self.enrol(&id, &key(seed)).expect("enrols");
        self.now = self.now.plus(25 * HOUR);
        id
    }

    fn sync_as(
        &mut self,
        id: &AccountId,
        seed: u8,
        wid: u8,
        payments: &[&Verified<Payment>],
    ) -> Result<Synced, RefuseSync> {
        self.drawn += 1;
        let jti = Bytes([self.drawn; 16]);
        let request = Sync {
            account: id.clone(),
            jkt: key(seed).public().thumbprint(),
            wid: Bytes([wid; 8]),
            payments: payments.iter().map(|p| (*p).clone()).collect(),
        };
        self.run(&super::sync::needs(&request), |unit, rules| sync(unit, rules, &request, jti))
    }

    fn sync(&mut self, id: &AccountId, seed: u8, payments: &[&Verified<Payment>]) -> Grant {
        self.sync_as(id, seed, 1, payments).expect("syncs").grant
    }

    fn judge(&mut self, payment: &Verified<Payment>, by: &By) -> Result<Judged, RefuseSettlement> {
        let needs = super::judge::needs(payment);
        self.run(&needs, |unit, rules| Ok::<_, ()>(judge(unit, rules, payment, by))).expect("runs").expect("reads")
    }

    fn balance(&self, id: &AccountId) -> i64 {
        self.accounts[id].balance_minor()
    }

    fn signals(&self, id: &AccountId) -> Vec<(Cause, Party)> {
        self.accounts[id].signals.iter().map(|s| (s.cause, s.party)).collect()
    }
}

/// A payment under a grant, as a wallet signs it.
fn payment(grant: &Grant, seed: u8, nonce: u8, number: u64, amount: u64, at: UtcSeconds) -> Verified<Payment> {
    signed(&claims(grant, nonce, number, amount, at), seed)
}

fn claims(grant: &Grant, nonce: u8, number: u64, amount: u64, at: UtcSeconds) -> Payment {
    Payment {
        payer: grant.sub.clone(),
        payee: "shop".into(),
        nonce: Bytes([nonce; 16]),
        iat: at,
        exp: at.plus(i64::from(grant.payment_valid_s)),
        grant: grant.jti,
        seq: grant.seq,
        number,
        amount: money(amount),
        currency: grant.cur,
        spent: money(amount),
    }
}

fn signed(payment: &Payment, seed: u8) -> Verified<Payment> {
    Payment::verify(&payment.sign(Form::Jws, &key(seed)).expect("signs")).expect("verifies")
}

/// A limit that the model of the fixture gives to nobody by itself: the grant is made as large as asked.
fn world_with_grant(limit: u64) -> (World, AccountId, AccountId, Grant) {
    let mut world = World::tng();
    let (payer, shop) = (world.holder("payer", 1, 100_000), world.open("shop", 2, 0));
    let mut grant = world.sync(&payer, 1, &[]);
    // What the model grants is its business; the judge's is any grant that the issuer signed.
    let points = grant.limit.points().iter().map(|(age, _)| (*age, money(limit))).collect();
    grant.limit = plimsoll_model::grant::Curve::new(points).expect("a curve");
    (grant.cap.total, grant.new_device) = (None, None);
    world.grants.get_mut(&grant.jti).expect("issued").claims = serde_json::to_vec(&grant).expect("JSON");
    let wallet = world.accounts.get_mut(&payer).and_then(|a| a.wallets.first_mut()).expect("a wallet");
    wallet.held.as_mut().expect("a grant").limit = money(limit);
    (world, payer, shop, grant)
}

#[test]
fn a_covered_payment_moves_its_money_once_however_often_it_comes() {
    let (mut world, payer, shop, grant) = world_with_grant(20_000);
    let paid = payment(&grant, 1, 1, 1, 4_000, world.now);
    for (by, again) in [(By::Account(shop.clone()), false), (By::Payer, true), (By::Bridge, true)] {
        let judged = world.judge(&paid, &by).expect("settles");
        assert_eq!(
            (judged.again, judged.record.outcome.credited, judged.record.outcome.liable),
            (again, money(4_000), None)
        );
        assert_eq!((world.balance(&payer), world.balance(&shop)), (96_000, 4_000));
    }
    assert_eq!(world.rows.len(), 2, "one row on each side");
    assert_eq!(world.entries.iter().filter(|e| e.kind == "settlement").count(), 1);
}

#[test]
fn the_other_form_of_a_payment_is_the_same_payment() {
    let (mut world, payer, _, grant) = world_with_grant(20_000);
    let claims = claims(&grant, 1, 1, 4_000, world.now);
    let cwt = Payment::verify(&claims.sign(Form::Cwt, &key(1)).expect("signs")).expect("verifies");
    world.judge(&signed(&claims, 1), &By::Payer).expect("settles");
    assert!(world.judge(&cwt, &By::Payer).expect("settles").again);
    assert_eq!(world.balance(&payer), 96_000);
}

#[test]
fn another_payment_under_a_used_nonce_is_refused_and_held_against_who_signed_it() {
    let (mut world, payer, _, grant) = world_with_grant(20_000);
    world.judge(&payment(&grant, 1, 1, 1, 4_000, world.now), &By::Payer).expect("settles");
    let twice = payment(&grant, 1, 1, 1, 4_001, world.now);
    assert_eq!(world.judge(&twice, &By::Bridge), Err(RefuseSettlement::NonceReused));
    assert_eq!(world.signals(&payer), [(Cause::DoubleSpend, Party::Holder)]);
    assert_eq!(world.balance(&payer), 96_000);
}

#[test]
fn a_payee_that_asks_two_payers_under_one_nonce_makes_neither_a_double_spender() {
    let (mut world, payer, _, grant) = world_with_grant(20_000);
    let other = world.holder("other", 7, 100_000);
    let theirs = world.sync(&other, 7, &[]);
    world.judge(&payment(&grant, 1, 1, 1, 400, world.now), &By::Payer).expect("settles");
    let asked_twice = payment(&theirs, 7, 1, 1, 400, world.now);
    assert_eq!(world.judge(&asked_twice, &By::Payer), Err(RefuseSettlement::NonceReused));
    assert!(world.signals(&other).is_empty() && world.signals(&payer).is_empty());
    assert_eq!(world.sync(&other, 7, &[]).seen, 1, "and its wallet need not keep it");
}

#[test]
fn a_payment_that_can_never_settle_does_not_stay_in_its_wallet() {
    let mut world = World::tng();
    let (payer, _) = (world.holder("payer", 1, 100_000), world.open("shop", 2, 0));
    let grant = world.sync(&payer, 1, &[]);
    let kept = payment(&grant, 1, 1, 1, 10, world.now);
    world.now = grant.exp.plus(i64::from(grant.payment_valid_s) + 86_400);
    let synced = world.sync_as(&payer, 1, 1, &[&kept]).expect("syncs");
    assert_eq!(synced.payments, [Err(RefuseSettlement::ExpiredToken)]);
    assert_eq!(synced.grant.seen, 1);
    // One that is only too early has still to come.
    let early = payment(&synced.grant, 1, 2, 2, 10, world.now.plus(3_600));
    assert_eq!(world.sync(&payer, 1, &[&early]).seen, 1);
}

#[test]
fn a_forgery_in_somebodys_name_is_refused_and_not_held_against_them() {
    let (mut world, payer, _, grant) = world_with_grant(20_000);
    let forged = payment(&grant, 66, 1, 1, 4_000, world.now);
    assert_eq!(world.judge(&forged, &By::Bridge), Err(RefuseSettlement::UnknownKid));
    world.judge(&payment(&grant, 1, 1, 1, 4_000, world.now), &By::Payer).expect("settles");
    let again = payment(&grant, 66, 1, 1, 4_001, world.now);
    assert_eq!(world.judge(&again, &By::Bridge), Err(RefuseSettlement::NonceReused));
    assert!(world.signals(&payer).is_empty(), "a victim is not punished");
}

#[test]
fn only_the_payee_may_hand_a_payment_in() {
    let (mut world, payer, _, grant) = world_with_grant(20_000);
    let thief = world.open("thief", 2, 0);
    let paid = payment(&grant, 1, 1, 1, 4_000, world.now);
    assert_eq!(world.judge(&paid, &By::Account(thief)), Err(RefuseSettlement::ReceiverMismatch));
    assert_eq!(world.balance(&payer), 100_000);
}

#[test]
fn beyond_its_grant_nothing_settles_and_the_holder_answers_for_it() {
    let (mut world, payer, shop, grant) = world_with_grant(10_000);
    world.judge(&payment(&grant, 1, 1, 1, 8_000, world.now), &By::Payer).expect("settles");
    let over = payment(&grant, 1, 2, 2, 3_000, world.now);
    assert_eq!(world.judge(&over, &By::Account(shop.clone())), Err(RefuseSettlement::OverGrant));
    assert_eq!(world.signals(&payer), [(Cause::CeilingExhaustion, Party::Holder)]);
    assert_eq!((world.balance(&payer), world.balance(&shop)), (92_000, 8_000));
}

#[test]
fn a_ceiling_settles_what_is_left_of_it() {
    let (mut world, payer, shop, grant) = world_with_grant(5_000);
    let naira = Policy::preset("naira").expect("a preset");
    world.policy.ceiling = naira.ceiling;
    let credited: Vec<_> = (1..=3)
        .map(|n| {
            let paid = payment(&grant, 1, n, u64::from(n), 3_000, world.now);
            let outcome = world.judge(&paid, &By::Payer).expect("settles").record.outcome;
            (outcome.credited.minor(), outcome.unpaid.minor(), outcome.liable)
        })
        .collect();
    let payee = Some(Liable::Payee);
    assert_eq!(credited, [(3_000, 0, None), (2_000, 1_000, payee), (0, 3_000, payee)]);
    assert_eq!((world.balance(&payer), world.balance(&shop)), (95_000, 5_000));
}

#[test]
fn what_a_device_signed_before_it_was_revoked_still_settles() {
    let (mut world, payer, _, grant) = world_with_grant(20_000);
    let before = payment(&grant, 1, 1, 1, 1_000, world.now);
    world.now = world.now.plus(1);
    let needs = Needs { accounts: [payer.clone()].into(), ..Needs::default() };
    let jkt = key(1).public().thumbprint();
    world.run(&needs, |unit, rules| revoke(unit, rules, &payer, &jkt, "support", "lost")).expect("revokes");
    let after = payment(&grant, 1, 2, 2, 1_000, world.now);
    assert_eq!(world.judge(&after, &By::Payer), Err(RefuseSettlement::DeviceRevoked));
    assert!(world.judge(&before, &By::Payer).is_ok());
    assert!(matches!(world.sync_as(&payer, 1, 1, &[]), Err(RefuseSync::Revoked)));
    assert_eq!(world.enrol(&payer, &key(1)), Err(RefuseEnrolment::Revoked));
}

#[test]
fn times_are_those_of_the_signature() {
    let (mut world, _, _, grant) = world_with_grant(20_000);
    let signed_at = world.now;
    let day = 86_400;
    let on_time = payment(&grant, 1, 1, 1, 1_000, signed_at.plus(2 * day));
    assert_eq!(world.judge(&on_time, &By::Payer), Err(RefuseSettlement::FutureDated));
    // The grant has ended meanwhile; when it was signed it had not.
    world.now = grant.exp.plus(day);
    assert!(world.judge(&on_time, &By::Payer).is_ok());
    let late = payment(&grant, 1, 2, 2, 1_000, grant.exp);
    assert_eq!(world.judge(&late, &By::Payer), Err(RefuseSettlement::OutsideGrant));
    let mut long = claims(&grant, 3, 3, 1_000, signed_at.plus(2 * day));
    long.exp = long.exp.plus(1);
    assert_eq!(world.judge(&signed(&long, 1), &By::Payer), Err(RefuseSettlement::ExpiredToken));
    world.now = grant.exp.plus(30 * day);
    let forgotten = payment(&grant, 1, 4, 4, 1_000, signed_at.plus(2 * day));
    assert_eq!(world.judge(&forgotten, &By::Payer), Err(RefuseSettlement::ExpiredToken));
}

#[test]
fn twenty_four_hours_are_counted_by_signing_time_in_whatever_order_payments_come() {
    let (mut world, payer, shop, mut grant) = world_with_grant(1_000_000);
    grant.cap.h24 = Some(money(10_000));
    world.grants.get_mut(&grant.jti).expect("issued").claims = serde_json::to_vec(&grant).expect("JSON");
    let t = world.now;
    world.now = t.plus(30 * HOUR);
    let pay = |world: &mut World, n: u8, hours: i64, amount| {
        let paid = payment(&grant, 1, n, u64::from(n), amount, t.plus(hours * HOUR));
        world.judge(&paid, &By::Account(shop.clone())).map(|j| j.record.outcome.credited.minor())
    };
    assert_eq!(pay(&mut world, 1, 25, 7_000), Ok(7_000));
    assert_eq!(pay(&mut world, 2, 2, 3_001), Err(RefuseSettlement::OverGrant), "23 hours before the first");
    assert_eq!(pay(&mut world, 3, 0, 10_000), Ok(10_000), "25 hours before it");
    assert_eq!(pay(&mut world, 4, 26, 3_000), Ok(3_000));
    assert_eq!(world.balance(&payer), 100_000 - 20_000);
}

#[test]
fn a_promise_that_the_balance_does_not_keep_is_the_issuers() {
    let (mut world, payer, shop, grant) = world_with_grant(20_000);
    let bill = Movement {
        name: "bill".into(),
        at: world.now,
        amount: Flow::from_minor(-95_000).expect("small"),
        kind: Kind::Bill,
        payee: "landlord".into(),
        place: None,
    };
    let needs = history::needs(&payer, std::slice::from_ref(&bill));
    world.run(&needs, |unit, rules| take(unit, rules, &payer, std::slice::from_ref(&bill))).expect("taken");
    let outcome = world.judge(&payment(&grant, 1, 1, 1, 8_000, world.now), &By::Payer).expect("settles").record.outcome;
    let told = [outcome.debited, outcome.overdraft, outcome.credited].map(Money::minor);
    assert_eq!((told, outcome.liable), ([5_000, 3_000, 8_000], Some(Liable::Issuer)));
    assert_eq!((world.balance(&payer), world.balance(&shop)), (-3_000, 8_000), "the payer owes it");

    let (mut world, payer, shop, grant) = world_with_grant(20_000);
    world.overdraft = Overdraft::Payee;
    let needs = history::needs(&payer, std::slice::from_ref(&bill));
    world.run(&needs, |unit, rules| take(unit, rules, &payer, &[bill])).expect("taken");
    let refused = world.judge(&payment(&grant, 1, 1, 1, 8_000, world.now), &By::Payer);
    assert_eq!(refused, Err(RefuseSettlement::InsufficientFunds));
    assert_eq!((world.balance(&payer), world.balance(&shop)), (5_000, 0));
}

#[test]
fn a_number_that_was_used_is_a_double_spend_even_within_the_grant() {
    let (mut world, payer, _, grant) = world_with_grant(20_000);
    world.judge(&payment(&grant, 1, 1, 1, 1_000, world.now), &By::Payer).expect("settles");
    world.judge(&payment(&grant, 1, 2, 1, 1_000, world.now), &By::Bridge).expect("the payee took a valid payment");
    assert_eq!(world.signals(&payer), [(Cause::DoubleSpend, Party::Holder)]);
}

#[test]
fn a_burst_of_uploads_is_no_burst_and_a_burst_of_signatures_is() {
    let (mut world, payer, _, grant) = world_with_grant(20_000);
    let t = world.now;
    world.now = t.plus(40 * HOUR);
    for n in 1..=25_u8 {
        let paid = payment(&grant, 1, n, u64::from(n), 10, t.plus(i64::from(n) * HOUR));
        world.judge(&paid, &By::Payer).expect("settles");
    }
    assert!(world.signals(&payer).is_empty());
    for n in 26..=60_u8 {
        let paid = payment(&grant, 1, n, u64::from(n), 10, t.plus(30 * HOUR + i64::from(n)));
        world.judge(&paid, &By::Payer).expect("settles");
    }
    assert_eq!(world.signals(&payer), [(Cause::VelocityBreach, Party::Holder)], "one burst is one breach");
}

#[test]
fn every_sync_has_the_next_number_and_acknowledges_what_came_in() {
    let mut world = World::tng();
    let (payer, _) = (world.holder("payer", 1, 100_000), world.open("shop", 2, 0));
    let first = world.sync(&payer, 1, &[]);
    assert_eq!((first.seq, first.seen, first.bal.minor()), (1, 0, 100_000));
    let paid = payment(&first, 1, 1, 1, 10, world.now);
    let third = payment(&first, 1, 3, 3, 10, world.now);
    let second = world.sync(&payer, 1, &[&paid, &third]);
    assert_eq!((second.seq, second.seen), (2, 1), "the second payment is missing");
    let late = payment(&first, 1, 2, 2, 10, world.now);
    let synced = world.sync_as(&payer, 1, 1, &[&paid, &late, &third]).expect("syncs");
    assert_eq!((synced.grant.seq, synced.grant.seen), (3, 3));
    assert_eq!(
        synced.payments.iter().map(|p| p.as_ref().expect("settled").again).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(world.balance(&payer), 100_000 - 30);
}

#[test]
fn a_wallet_that_lost_its_counters_carries_the_rest_of_its_grant() {
    let (mut world, payer, _, grant) = world_with_grant(20_000);
    world.judge(&payment(&grant, 1, 1, 1, 3_000, world.now), &By::Payer).expect("settles");
    let anew = world.sync_as(&payer, 1, 2, &[]).expect("syncs").grant;
    assert_eq!(anew.carried.minor(), 17_000);
    assert!(anew.seen > 1, "numbers begin beyond any that the lost life can have used");
    // A payment of the lost life is shown after all: it settles, and counts no longer.
    world.judge(&payment(&grant, 1, 2, 2, 5_000, world.now), &By::Bridge).expect("settles");
    assert_eq!(world.sync_as(&payer, 1, 2, &[]).expect("syncs").grant.carried.minor(), 12_000);
    assert!(world.signals(&payer).is_empty(), "its numbers are not held against the new life");
    world.now = grant.exp.plus(i64::from(grant.payment_valid_s));
    assert_eq!(world.sync_as(&payer, 1, 2, &[]).expect("syncs").grant.carried, Money::ZERO, "nothing can settle now");
}

#[test]
fn what_one_device_may_spend_the_other_may_not() {
    let (mut world, payer, _, _) = world_with_grant(20_000);
    world.enrol(&payer, &key(2)).expect("a second device");
    let second = world.sync(&payer, 2, &[]);
    assert_eq!(second.carried.minor(), 20_000);
    for seed in 3..=4 {
        let enrolled = world.enrol(&payer, &key(seed));
        assert_eq!(enrolled.is_ok(), seed == 3, "three devices at most");
    }
}

#[test]
fn the_tier_is_the_records_by_its_effective_date() {
    let mut world = World::tng();
    let payer = world.holder("payer", 1, 100_000);
    let needs = Needs { accounts: [payer.clone()].into(), ..Needs::default() };
    let tomorrow = TierFrom { tier: Tier::new(0).expect("a tier"), from: world.now.plus(86_400) };
    world.run(&needs, |unit, rules| set_tier(unit, rules, &payer, tomorrow, "risk", "expired papers")).expect("set");
    assert_eq!(world.sync(&payer, 1, &[]).tier.level(), 2);
    world.now = world.now.plus(86_400);
    assert_eq!(world.sync(&payer, 1, &[]).tier.level(), 0);
    let unknown = TierFrom { tier: Tier::new(3).expect("a tier"), from: world.now };
    let refused = world.run(&needs, |unit, rules| set_tier(unit, rules, &payer, unknown, "risk", "typo"));
    assert_eq!(refused, Err(RefuseEnrolment::UnknownTier { level: 3 }));
}

#[test]
fn a_payee_whose_tier_may_not_be_paid_is_not() {
    let (mut world, payer, _, grant) = world_with_grant(20_000);
    let low = world.open("low", 0, 0);
    let mut claims = claims(&grant, 1, 1, 1_000, world.now);
    claims.payee = "low".into();
    assert_eq!(world.judge(&signed(&claims, 1), &By::Account(low)), Err(RefuseSettlement::TierBlocked));
    assert_eq!(world.balance(&payer), 100_000);
}

#[test]
fn a_key_under_which_anything_verifies_is_not_enrolled() {
    let mut world = World::tng();
    let payer = world.open("payer", 2, 0);
    let needs = Needs { accounts: [payer.clone()].into(), ..Needs::default() };
    let mut weak = [0; 32];
    weak[0] = 1;
    let refused = world.run(&needs, |unit, rules| enrol(unit, rules, &payer, &weak, None));
    assert!(matches!(refused, Err(RefuseEnrolment::Key(_))), "{refused:?}");
}

#[test]
fn a_logged_decision_can_be_made_again_to_the_bit() {
    let mut world = World::tng();
    let payer = world.holder("payer", 1, 100_000);
    world.granted_ppm = [900_000; Tier::COUNT];
    let synced = world.sync_as(&payer, 1, 1, &[]).expect("syncs");
    let entry = world.entries.iter().rfind(|e| e.kind == "grant").expect("logged").told();
    let decided = serde_json::from_value(entry["decided"].clone()).expect("reads");
    let evaluator = world.evaluator.as_ref().expect("a model");
    let rules = Rules {
        issuer: "another",
        policy: &world.policy,
        policy_sha256: None,
        basis: Basis::Model(evaluator),
        granted_ppm: [1; Tier::COUNT],
        overdraft: Overdraft::Payee,
        now: UtcSeconds(0),
    };
    assert_eq!(decide_again(&rules, &decided), Some(synced.curve));
}

#[test]
fn a_tier_whose_promise_did_not_hold_is_granted_less_and_the_others_are_not() {
    let mut world = World::tng();
    let (one, two) = (world.open("one", 1, 100_000), world.holder("two", 2, 100_000));
    world.enrol(&one, &key(1)).expect("enrols");
    world.now = world.now.plus(25 * HOUR);
    world.enrol(&two, &key(2)).expect("enrols");
    world.now = world.now.plus(25 * HOUR);
    let first = |grant: Grant| (grant.limit.points()[0].1, grant.why);
    let before = [(&one, 1), (&two, 2)].map(|(id, seed)| first(world.sync(id, seed, &[])));
    world.granted_ppm[1] = 500_000;
    let after = [(&one, 1), (&two, 2)].map(|(id, seed)| first(world.sync(id, seed, &[])));
    assert!(before[0].0 > Money::ZERO, "there is something to lower");
    assert_eq!(after[0].0.minor(), before[0].0.minor() / 2);
    assert_eq!(after[0].1, plimsoll_model::decision::Bound::Margin);
    assert_eq!(after[1], before[1]);
}

#[test]
fn a_margin_only_lowers() {
    let mut world = World::tng();
    let payer = world.holder("payer", 1, 100_000);
    let whole = world.sync(&payer, 1, &[]);
    world.granted_ppm = [500_000; Tier::COUNT];
    let half = world.sync(&payer, 1, &[]);
    for (full, less) in whole.limit.points().iter().zip(half.limit.points()) {
        assert!(less.1 <= full.1 && less.1.minor() >= full.1.minor() / 2, "{full:?} {less:?}");
    }
    assert!(whole.limit.points()[0].1 > Money::ZERO, "the fixture grants something");
    world.granted_ppm = [u32::MAX; Tier::COUNT];
    assert_eq!(world.sync(&payer, 1, &[]).limit, whole.limit, "and never raises");
}

#[test]
fn a_late_movement_is_folded_in_where_the_history_stands_and_never_twice() {
    let mut world = World::tng();
    let payer = world.open("payer", 2, 0);
    let income = |name: &str, days: i64| Movement {
        name: name.into(),
        at: world.now.plus(-days * 86_400),
        amount: Flow::from_minor(1_000).expect("small"),
        kind: Kind::Income,
        payee: String::new(),
        place: None,
    };
    let (new, old) = (vec![income("b", 1)], vec![income("a", 2), income("b", 1), income("a", 2)]);
    let mut took = |movements: &[Movement]| {
        let needs = history::needs(&payer, movements);
        let taken = world.run(&needs, |unit, rules| take(unit, rules, &payer, movements)).expect("taken");
        (taken.new, taken.known, taken.late, taken.balance, taken.version)
    };
    assert_eq!(took(&new), (1, 0, 0, 1_000, 1));
    assert_eq!(took(&old), (1, 2, 1, 2_000, 2));
    assert_eq!(took(&old), (0, 3, 0, 2_000, 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever comes, in whatever order, however often: no money is made, no grant is overspent, balances add up.
    #[test]
    fn no_money_is_made(steps in prop::collection::vec((1..12_u8, 1..8_u64, 1..9_000_u64, 0..40_i64, 0..3_u8), 1..40)) {
        let (mut world, payer, shop, grant) = world_with_grant(20_000);
        let t = world.now;
        world.now = t.plus(41 * HOUR);
        for (nonce, number, amount, hours, by) in steps {
            let paid = payment(&grant, 1, nonce, number, amount, t.plus(hours * HOUR));
            let by = [By::Payer, By::Account(shop.clone()), By::Bridge][usize::from(by)].clone();
            let before = world.balance(&payer) + world.balance(&shop);
            if let Ok(judged) = world.judge(&paid, &by) {
                let o = judged.record.outcome;
                prop_assert_eq!(o.debited.saturating_add(o.overdraft), o.credited);
                prop_assert_eq!(o.credited.saturating_add(o.unpaid), judged.record.amount);
            }
            prop_assert_eq!(world.balance(&payer) + world.balance(&shop), before);
        }
        let settled: u64 = world.payments.values().map(|p| p.outcome.credited.minor()).sum();
        prop_assert!(settled <= 20_000);
        prop_assert_eq!(world.grants[&grant.jti].settled.minor(), settled);
        prop_assert_eq!(world.balance(&shop), settled as i64);
    }
}

/// Rows of the wallet's own ledger, now.
fn told(w: &mut World, id: &AccountId, rows: &[(&str, i64, Kind)]) {
    let movement = |&(name, minor, kind): &(&str, i64, Kind)| Movement {
        name: name.to_owned(),
        at: w.now,
        amount: Flow::from_minor(minor).expect("small"),
        kind,
        payee: "landlord".to_owned(),
        place: None,
    };
    let rows: Vec<Movement> = rows.iter().map(movement).collect();
    let needs = history::needs(id, &rows);
    w.run(&needs, |unit, rules| take(unit, rules, id, &rows)).expect("are taken");
}

fn windows(w: &World) -> Vec<(TokenId, bool)> {
    w.ended.iter().map(|e| (e.promise.jti, e.lost)).collect()
}

#[test]
fn a_window_opens_with_a_grant_and_ends_once_after_its_time_whoever_comes_first() {
    let mut w = World::tng();
    let id = w.holder("alice", 1, 40_000);
    let opened = w.sync(&id, 1, &[]).jti;
    let first = w.accounts[&id].window.expect("a certified limit is watched");
    assert_eq!(first.promise.jti, opened);
    w.sync(&id, 1, &[]);
    assert_eq!(w.accounts[&id].window, Some(first), "an overlapping grant is in the same window");
    let certificate = w.evaluator.as_ref().expect("a model").certificate().clone();
    assert_eq!(
        first.until,
        first.from.plus(first.promise.age.seconds() + i64::from(certificate.terms.window_h) * HOUR)
    );
    assert!(certificate.terms.ages.contains(&first.promise.age));
    assert_eq!((first.promise.alpha, first.promise.delta), (certificate.terms.alpha, certificate.terms.delta));

    let needs = Needs { accounts: [id.clone()].into(), ..Needs::default() };
    let end = |w: &mut World, at: UtcSeconds| {
        w.now = at;
        w.run(&needs, |unit, rules| Ok::<_, ()>(watch::end(unit, &id, rules.now))).expect("is done")
    };
    assert!(!end(&mut w, first.until.plus(watch::LATE_S)), "rows may still come in");
    assert!(end(&mut w, first.until.plus(watch::LATE_S + 1)));
    assert!(!end(&mut w, first.until.plus(watch::LATE_S + 2)), "once");
    assert_eq!(windows(&w), [(first.promise.jti, false)]);
    assert_eq!(w.entries.iter().filter(|e| e.kind == "window").count(), 1);

    // A sync ends a window as well, and opens the next.
    w.sync(&id, 1, &[]);
    let second = w.accounts[&id].window.expect("the next");
    w.now = second.until.plus(watch::LATE_S + 1);
    w.sync(&id, 1, &[]);
    assert_eq!(windows(&w), [(first.promise.jti, false), (second.promise.jti, false)]);
    let third = w.accounts[&id].window.expect("the next").promise.jti;
    assert!(third != second.promise.jti);
}

#[test]
fn a_window_whose_balance_fell_below_its_limit_is_lost_overdraft_or_not() {
    for (left, lost) in [(0, false), (1, true)] {
        let mut w = World::tng();
        let id = w.holder("alice", 1, 40_000);
        w.sync(&id, 1, &[]);
        // What the fixture's model grants is its business; a promise is a promise.
        let window = w.accounts.get_mut(&id).expect("is there").window.as_mut().expect("is watched");
        window.limit = money(30_000);
        let window = *window;
        let fall = 40_000 - window.limit.minor() as i64 + left;
        told(&mut w, &id, &[("rent", -fall, Kind::Bill), ("salary", 100_000, Kind::Income)]);
        w.now = window.until.plus(watch::LATE_S + 1);
        w.sync(&id, 1, &[]);
        assert_eq!(windows(&w), [(window.promise.jti, lost)], "{left} below");
    }
}

#[test]
fn nothing_is_watched_where_nothing_is_promised() {
    let mut floor = World::floor("tng");
    let id = floor.holder("alice", 1, 40_000);
    floor.sync(&id, 1, &[]);
    assert_eq!(floor.accounts[&id].window, None, "no model, no promise");
    let mut w = World::tng();
    let id = w.holder("bob", 2, 0);
    w.sync(&id, 2, &[]);
    assert_eq!(w.accounts[&id].window, None, "without money there is no window in calibration either");
    let id = w.open("young", 2, 40_000);
    w.accounts.get_mut(&id).expect("is there").lifetime_tx = 10;
    w.enrol(&id, &key(3)).expect("enrols");
    w.sync(&id, 3, &[]);
    assert_eq!(w.accounts[&id].window, None, "loaded by hand: the model did not decide");
}
