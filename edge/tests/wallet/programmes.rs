//! Every programme from end to end: a published model, a curve, a grant, payments, a payee, and the next sync.

use plimsoll_edge::Evaluator;
use plimsoll_edge::payee::{Payee, PayeeRules};
use plimsoll_edge::storage::crash::CrashDisk;
use plimsoll_edge::trust::{Floors, verify};
use plimsoll_edge::wallet::{Advice, Decision, Identity, Presence, Wallet};
use plimsoll_model::decision::{Bound, Situation};
use plimsoll_model::features::{FeatureState, FeatureVector, Profile};
use plimsoll_model::grant::{Bytes, Form, Grant, Instance, Model, PaymentRequest, Signer, Terms, issue};
use plimsoll_model::policy::Policy;
use plimsoll_model::{Tier, UtcSeconds};

use crate::bank::{Counter, ISSUER, KID, PAYEE, PAYER, TestWallet, device_key, id, issuer_key, keys, money};
use crate::signer::{NOW, Order, Publisher};

/// One programme with a model that keeps about half of any balance, and one account.
struct Town {
    evaluator: Evaluator,
    situation: Situation,
    features: FeatureVector,
}

impl Town {
    fn new(programme: &'static str, tier: u8, balance: u64) -> Self {
        let mut publisher = Publisher::new();
        let files = publisher.release(&Order { programme, ..Order::version(1) });
        let verified = verify(&files, &publisher.root(), &Floors::default(), NOW, None).unwrap();
        let evaluator = Evaluator::new(&verified).unwrap();
        let tier = Tier::new(tier).unwrap();
        let profile = Profile {
            opened_at: NOW.plus(-400 * 86_400),
            tier,
            attested: true,
            offset: evaluator.policy().utc_offset_min,
            currency: evaluator.policy().currency,
        };
        let state = FeatureState::new(profile, i64::try_from(balance).unwrap(), NOW.plus(-86_400));
        let features = state.clone().snapshot(NOW);
        Self { evaluator, situation: Situation::fresh(money(balance), tier, NOW, 1_000), features }
    }

    fn policy(&self) -> &Policy {
        self.evaluator.policy()
    }

    fn identity(&self) -> Identity {
        Identity { account: PAYER.into(), programme: self.policy().programme.clone(), currency: self.policy().currency }
    }

    fn grant(&self, wid: Instance, seq: u64, seen: u64) -> Grant {
        let mut terms = Terms::new(ISSUER, PAYER, id(seq), seq, device_key().public().thumbprint(), wid);
        terms.seen = seen;
        terms.model = Some(Model { v: 1, d: Bytes([4; 32]) });
        terms.features = Some(self.features.clone());
        let curve = self.evaluator.curve(&self.features, &self.situation);
        issue(self.policy(), &curve, &self.situation, &terms).unwrap()
    }

    fn wallet<'a>(&self, disk: &'a CrashDisk, counter: &'a Counter) -> TestWallet<'a> {
        let mut wallet = Wallet::open(disk, counter, device_key(), self.identity(), keys(), [7; 16]).unwrap();
        let grant = self.grant(wallet.status().wid, 1, 0).sign(Form::Jws, KID, &issuer_key()).unwrap();
        wallet.accept(&grant, NOW).unwrap();
        wallet
    }

    fn payee<'a>(&self, disk: &'a CrashDisk) -> Payee<&'a CrashDisk> {
        let rules = PayeeRules {
            payee: PAYEE.into(),
            programme: self.policy().programme.clone(),
            currency: self.policy().currency,
            may_receive: true,
            exposure_max: None,
            request_valid_s: self.policy().token.request_valid_s,
        };
        Payee::open(disk, rules, keys()).unwrap()
    }

    fn request(&self, nonce: u64, amount: u64, at: UtcSeconds) -> PaymentRequest {
        PaymentRequest { currency: self.policy().currency, ..crate::bank::request(nonce, amount, at) }
    }

    /// Pays `amount` at the shop, with a proof of presence where one is asked for.
    fn buy(&self, wallet: &mut TestWallet<'_>, shop: &mut Payee<&CrashDisk>, nonce: u64, amount: u64) -> Bought {
        let at = NOW.plus(60 * i64::try_from(nonce).unwrap());
        let asked = shop.ask(money(amount), id(nonce), at).unwrap();
        let mut proved = false;
        let mut decision = wallet.authorise(&asked, at, Presence::Unproved, None, Form::Cwt).unwrap();
        if matches!(decision, Decision::StepUp { .. }) {
            proved = true;
            decision = wallet.authorise(&asked, at, Presence::Proved, None, Form::Cwt).unwrap();
        }
        match decision {
            Decision::Approve { token, .. } => {
                let grant = wallet.grant().unwrap().bytes().to_vec();
                assert_eq!(shop.take(&grant, &token, at).unwrap().amount, money(amount));
                Bought::Paid { proved }
            }
            Decision::Decline { bound, advice, .. } => Bought::Declined(bound, advice),
            Decision::StepUp { .. } => panic!("a proof was given"),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Bought {
    Paid { proved: bool },
    Declined(Bound, Advice),
}

/// Spends everything in payments of `amount`, then one minor unit more; syncs with nothing settled; syncs with all
/// settled.
fn lives(town: &mut Town, amount: u64, payments: u64, proved: bool) {
    let (disk, counter, till) = (CrashDisk::default(), Counter::default(), CrashDisk::default());
    let (mut wallet, mut shop) = (town.wallet(&disk, &counter), town.payee(&till));
    for nonce in 1..=payments {
        assert_eq!(town.buy(&mut wallet, &mut shop, nonce, amount), Bought::Paid { proved }, "payment {nonce}");
    }
    let spent = money(amount * payments);
    assert_eq!((shop.exposure(), wallet.outbox().count() as u64), (spent, payments));
    let left = wallet.limit(NOW.plus(3_600), None).unwrap().remaining;
    assert!(left < money(amount), "{left:?} is left");

    // The next sync, with nothing settled: what was spent is carried, and nothing comes back.
    town.situation.pending = spent;
    town.situation.synced_at = NOW.plus(7_200);
    let next = town.grant(wallet.status().wid, 2, payments);
    assert_eq!(next.carried, spent);
    wallet.accept(&next.sign(Form::Cwt, KID, &issuer_key()).unwrap(), NOW.plus(7_200)).unwrap();
    assert!(wallet.limit(NOW.plus(7_200), None).unwrap().remaining <= left, "only a settlement brings it back");

    // And with everything settled.
    town.situation.pending = money(0);
    town.situation.balance = town.situation.balance.saturating_sub(spent);
    town.situation.synced_at = NOW.plus(9_000);
    let next = town.grant(wallet.status().wid, 3, payments);
    wallet.accept(&next.sign(Form::Cwt, KID, &issuer_key()).unwrap(), NOW.plus(9_000)).unwrap();
    assert_eq!(wallet.outbox().count(), 0);
    // A device with the model comes to the signed curve by itself.
    let (situation, features) =
        (wallet.situation(NOW.plus(9_000)).unwrap(), wallet.grant().unwrap().features().unwrap());
    let own = town.evaluator.decide(&features, &situation, NOW.plus(9_000));
    let signed = wallet.limit(NOW.plus(9_000), None).unwrap();
    assert_eq!(wallet.limit(NOW.plus(9_000), Some(&own)).unwrap().remaining, signed.remaining.min(own.limit));
}

#[test]
fn tng_a_model_limit_on_a_cached_balance() {
    let mut town = Town::new("tng", 2, 40_000);
    let grant = town.grant(Bytes([1; 8]), 1, 0);
    assert_eq!((grant.cap.token, grant.cap.h24), (Some(money(25_000)), Some(money(50_000))));
    assert_eq!((grant.request_valid_s, grant.payment_valid_s, grant.exp), (300, 72 * 3_600, NOW.plus(72 * 3_600)));
    assert_eq!(grant.why, Bound::Model);
    let half = grant.limit.points()[0].1.minor();
    assert!((19_990..20_010).contains(&half), "{half}");
    lives(&mut town, 4_999, 4, true);

    // RM 5 and less need no fingerprint, until RM 50 of them.
    let town = Town::new("tng", 2, 40_000);
    let (disk, counter, till) = (CrashDisk::default(), Counter::default(), CrashDisk::default());
    let (mut wallet, mut shop) = (town.wallet(&disk, &counter), town.payee(&till));
    for nonce in 1..=10 {
        assert_eq!(town.buy(&mut wallet, &mut shop, nonce, 500), Bought::Paid { proved: false });
    }
    assert_eq!(town.buy(&mut wallet, &mut shop, 11, 500), Bought::Paid { proved: true });
    assert_eq!(town.buy(&mut wallet, &mut shop, 12, 500), Bought::Paid { proved: false });
    assert_eq!(town.buy(&mut wallet, &mut shop, 13, 20_000), Bought::Declined(Bound::Pending, Advice::PayLess));
}

#[test]
fn tng_a_young_account_spends_what_was_loaded_by_hand_and_a_new_device_rm_50() {
    let mut town = Town::new("tng", 2, 40_000);
    town.situation.lifetime_tx = 599;
    town.situation.manual_wallet = money(3_000);
    assert_eq!(town.grant(Bytes([1; 8]), 1, 0).manual, Some(money(3_000)));
    lives(&mut town, 1_500, 2, true);

    let mut town = Town::new("tng", 2, 40_000);
    town.situation.new_device = true;
    assert_eq!(town.grant(Bytes([1; 8]), 1, 0).new_device, Some(money(5_000)));
    lives(&mut town, 2_500, 2, true);
}

#[test]
fn naira_ceilings_with_a_pin_on_every_payment() {
    let mut town = Town::new("naira", 1, 10_000_000);
    assert_eq!(town.grant(Bytes([1; 8]), 1, 0).exp, NOW.plus(24 * 3_600));
    lives(&mut town, 1_000_000, 3, true);

    let town = Town::new("naira", 1, 10_000_000);
    let (disk, counter, till) = (CrashDisk::default(), Counter::default(), CrashDisk::default());
    let (mut wallet, mut shop) = (town.wallet(&disk, &counter), town.payee(&till));
    assert_eq!(town.buy(&mut wallet, &mut shop, 1, 1_000_001), Bought::Declined(Bound::PerPayment, Advice::PayLess));
    assert_eq!(town.buy(&mut wallet, &mut shop, 2, 1), Bought::Paid { proved: true });
}

#[test]
fn naira_standing_and_tier_stop_payments_by_name() {
    for (tier, fraud, want) in [
        (0, 0, Bought::Declined(Bound::TierMayNotPay, Advice::AskIssuer)),
        (1, 700_000, Bought::Declined(Bound::Standing, Advice::AskIssuer)),
        (1, 300_000, Bought::Declined(Bound::Standing, Advice::PayLess)),
        (1, 299_999, Bought::Paid { proved: true }),
    ] {
        let mut town = Town::new("naira", tier, 10_000_000);
        town.situation.fraud_ppm = fraud;
        let (disk, counter, till) = (CrashDisk::default(), Counter::default(), CrashDisk::default());
        let (mut wallet, mut shop) = (town.wallet(&disk, &counter), town.payee(&till));
        assert_eq!(town.buy(&mut wallet, &mut shop, 1, 500_001), want, "tier {tier}, score {fraud}");
    }
}

#[test]
fn p2p_an_allowance_with_nothing_behind_it() {
    let mut town = Town::new("p2p", 1, 1_000_000);
    assert_eq!(town.grant(Bytes([1; 8]), 1, 0).exp, NOW.plus(96 * 3_600));
    lives(&mut town, 50_000, 4, true);
    let mut town = Town::new("p2p", 0, 1_000_000);
    lives(&mut town, 20_000, 2, false);
}

#[test]
fn card_sessions_with_single_day_and_week_caps() {
    let mut town = Town::new("card", 0, 5_000_000);
    let grant = town.grant(Bytes([1; 8]), 1, 0);
    assert_eq!(
        (grant.cap.token, grant.cap.day, grant.cap.week),
        (Some(money(1_000_000)), Some(money(2_000_000)), Some(money(5_000_000)))
    );
    lives(&mut town, 1_000_000, 2, false);

    // The day turns at midnight in Jakarta; the week's cap is still there on Thursday.
    let mut town = Town::new("card", 0, 16_000_000);
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = town.wallet(&disk, &counter);
    let monday = UtcSeconds(NOW.0 - NOW.0.rem_euclid(7 * 86_400) + 11 * 86_400 - 7 * 3_600); // a Monday's midnight there
    let mut paid = 0;
    for day in 0..5 {
        let at = monday.plus(day * 86_400 + 60);
        town.situation.synced_at = at;
        let status = wallet.status();
        let next = town.grant(status.wid, 2 + day as u64, status.number);
        wallet.accept(&next.sign(Form::Cwt, KID, &issuer_key()).unwrap(), at).unwrap();
        for payment in 0..3 {
            let asked = town.request(100 + 10 * day as u64 + payment, 1_000_000, at);
            match wallet.authorise(&asked, at, Presence::Unproved, None, Form::Cwt).unwrap() {
                Decision::Approve { .. } => paid += 1,
                Decision::Decline { bound, .. } if paid < 5 => {
                    assert_eq!((bound, payment), (Bound::Pending, 2), "a session has one day's cap")
                }
                Decision::Decline { bound, advice, .. } => assert_eq!((bound, advice), (Bound::Week, Advice::Wait)),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(paid, 5);
}

#[test]
fn a_grant_may_be_shorter_and_smaller_than_the_programme_and_never_longer() {
    let town = Town::new("naira", 2, 10_000_000);
    let curve = town.evaluator.curve(&town.features, &town.situation);
    let issued = |hours| {
        let mut terms = Terms::new(ISSUER, PAYER, id(1), 1, device_key().public().thumbprint(), Bytes([1; 8]));
        (terms.hours_max, terms.count_max) = (Some(hours), Some(9_999));
        terms.ask_at = plimsoll_model::quantile::Ppm::new(800_000).ok();
        issue(town.policy(), &curve, &town.situation, &terms).unwrap()
    };
    assert_eq!(issued(6).exp, NOW.plus(6 * 3_600));
    let longest = issued(1_000);
    assert_eq!(longest.exp, NOW.plus(24 * 3_600));
    assert_eq!(longest.count_max(), 128);
    let total = longest.cap.total.unwrap();
    assert_eq!(total.ask.unwrap().minor(), total.stop.minor() * 8 / 10);
    // A curve that rises is lowered, not refused and not signed.
    let mut rising = curve.clone();
    rising[0].1.limit = money(100);
    let terms = Terms::new(ISSUER, PAYER, id(1), 1, device_key().public().thumbprint(), Bytes([1; 8]));
    let lowered = issue(town.policy(), &rising, &town.situation, &terms).unwrap();
    assert!(lowered.limit.points().iter().all(|p| p.1 == money(100)));
}
