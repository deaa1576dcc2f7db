//! A grant comes in.

use plimsoll_model::grant::{CLOCK_SLACK_S, Directive, Grant, Signer, Verified};
use plimsoll_model::{Money, UtcSeconds};

use super::anchor::Anchor;
use super::refuse::{RefuseGrant, WalletError};
use super::{Distrust, Wallet};
use crate::storage::Storage;

/// What became of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It took the place of the one before.
    New,
    /// The wallet has it already: nothing changed.
    Already,
}

impl<S: Storage, A: Anchor, D: Signer> Wallet<S, A, D> {
    /// Accepts a grant in either form, and applies its directive to the counters. A grant is applied once: its `seq`
    /// must be above every earlier one's, and a copy of the one in use changes nothing.
    ///
    /// Payments above the grant's `seen` were not counted by the issuer when it computed the limit, so they count
    /// against the new grant; those up to it leave the outbox.
    ///
    /// # Errors
    /// [`WalletError::Grant`] when it is not to be accepted; [`WalletError`] when the device cannot write it: ask again.
    pub fn accept(&mut self, bytes: &[u8], now: UtcSeconds) -> Result<Accepted, WalletError> {
        self.ready()?;
        let grant = Grant::verify(bytes, &self.keys).map_err(RefuseGrant::from)?;
        self.check_ours(&grant)?;
        let head = &self.state.head;
        if grant.wid != head.wid {
            return Err(RefuseGrant::OtherState.into());
        }
        // The same grant in its other form is the same grant.
        if self.grant.as_ref().is_some_and(|held| held.claims() == grant.claims()) {
            return Ok(Accepted::Already);
        }
        if grant.seq <= head.seq {
            return Err(RefuseGrant::Stale { have: head.seq, found: grant.seq }.into());
        }
        check_time(&grant, now)?;
        if grant.seen < head.seen {
            return Err(RefuseGrant::SeenWentBack { have: head.seen, found: grant.seen }.into());
        }
        // A state that begins anew takes the issuer's word for what was paid before; any other must know it.
        let begun_anew = head.distrust.is_some() || (head.seq == 0 && head.number == 0);
        if grant.seen > head.number && !begun_anew {
            let refused = RefuseGrant::Gap { seen: grant.seen, made: head.number };
            return self.change(|wallet| wallet.begin_anew(Some(Distrust::Gap), 0)).and(Err(refused.into()));
        }
        if begun_anew && matches!(grant.reset, Directive::Keep | Directive::Add(_)) {
            return Err(RefuseGrant::NothingToKeep.into());
        }
        self.change(|wallet| {
            wallet.apply(&grant, now);
            wallet.grant = Some(grant);
        })?;
        Ok(Accepted::New)
    }

    /// Changes the state on the disk, or not at all.
    fn change(&mut self, change: impl FnOnce(&mut Self)) -> Result<(), WalletError> {
        let before = (self.state.clone(), self.grant.clone());
        change(self);
        self.commit().inspect_err(|_| (self.state, self.grant) = before)
    }

    /// Whether a grant names this wallet's account, programme, currency and device.
    pub(super) fn check_ours(&self, grant: &Grant) -> Result<(), RefuseGrant> {
        let ours = &self.identity;
        for (claim, expected, found) in [
            ("aud", ours.programme.clone(), grant.aud.clone()),
            ("sub", ours.account.clone(), grant.sub.clone()),
            ("cur", ours.currency.into(), grant.cur.into()),
            ("cnf.jkt", self.device.public().thumbprint().to_string(), grant.cnf.jkt.to_string()),
        ] {
            if expected != found {
                return Err(RefuseGrant::NotOurs { claim, expected, found });
            }
        }
        Ok(())
    }

    fn apply(&mut self, grant: &Verified<Grant>, now: UtcSeconds) {
        let unseen = self.state.records().iter().filter(|paid| paid.number > grant.seen);
        let (unseen_count, unseen_sum) =
            unseen.fold((0_u32, Money::ZERO), |(n, sum), paid| (n + 1, sum.saturating_add(paid.amount)));
        let head = &mut self.state.head;
        match grant.reset {
            Directive::Reset | Directive::Lock => (head.spent, head.count) = (unseen_sum, unseen_count),
            Directive::Keep => {}
            Directive::Add(amount) => head.spent = head.spent.saturating_add(amount),
        }
        head.grant = Some(grant.bytes().to_vec());
        head.seq = grant.seq;
        head.seen = grant.seen;
        head.number = head.number.max(grant.seen);
        head.distrust = None;
        // The issuer's time takes the place of our own payments': a wall clock that was ahead when they were signed
        // does not lock the wallet for longer than to the next sync.
        head.clock = self.grant.as_ref().map_or(grant.iat, |before| before.iat.max(grant.iat));
        let at = now.max(head.clock);
        // What was acknowledged may go, once its request cannot be answered a second time.
        self.state.retain(|paid| paid.number > grant.seen || paid.request_exp >= at);
    }
}

fn check_time(grant: &Grant, now: UtcSeconds) -> Result<(), RefuseGrant> {
    if grant.iat > now.plus(CLOCK_SLACK_S) {
        return Err(RefuseGrant::FutureDated { at: grant.iat });
    }
    let at = now.max(grant.iat);
    if at < grant.not_before() {
        return Err(RefuseGrant::NotYet { at: grant.not_before() });
    }
    if at >= grant.exp {
        return Err(RefuseGrant::Expired { at: grant.exp });
    }
    Ok(())
}
