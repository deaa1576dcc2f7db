//! The triad: what a ceiling, a time to live and a sync frequency put at stake, and how far ceilings may go.

use plimsoll_model::artifact::{Basis, Certificate, Rule};
use plimsoll_model::money::Money;
use plimsoll_model::{Tier, artifact::Cell};
use serde::Serialize;

/// What one tier brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Promised {
    /// The tier.
    pub tier: Tier,
    /// Accounts in it.
    pub accounts: u64,
    /// The most that one grant can be: the cap, or the fallback where nothing is certified.
    pub most: Money,
    /// α in parts per million, and β where the tier has a cap; none where nothing is promised.
    pub promise: Option<(u32, Option<Money>)>,
}

impl Promised {
    /// What a certificate says of a tier.
    ///
    /// * `ceiling`: takes the place of the cap where the programme has none; none where neither is there.
    pub fn of(certificate: &Certificate, cell: &Cell, accounts: u64, ceiling: Option<Money>) -> Option<Self> {
        let terms = &certificate.terms;
        let cap = terms.tiers.iter().find(|t| t.tier == cell.tier).and_then(|t| t.cap);
        let rule = match cell.rule {
            Rule::Fallback { amount } => Some(amount),
            _ => None,
        };
        let most = [cap, ceiling, rule].into_iter().flatten().min()?;
        let promise = (cell.basis == Basis::Certified).then_some((terms.alpha.get(), cell.beta));
        Some(Self { tier: cell.tier, accounts, most, promise })
    }

    /// What one grant of `ceiling` is expected to lose, at most, in thousandths of a minor unit, rounded up.
    fn loss_milli(&self, ceiling: Money) -> u128 {
        let all = u128::from(ceiling.minor()) * 1_000;
        let Some((alpha, beta)) = self.promise else { return all };
        let by_chance = (all * u128::from(alpha)).div_ceil(1_000_000);
        beta.map_or(by_chance, |beta| by_chance.min(u128::from(beta.minor()) * 1_000))
    }
}

/// How grants are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Hours a grant can be spent.
    pub ttl_h: u32,
    /// Hours between two syncs, each of which makes a grant.
    pub sync_h: u32,
    /// Days that the budget is for.
    pub days: u32,
    /// Whether what is unsettled is carried into the next grant, so that only one is ever open.
    pub carried: bool,
}

impl Plan {
    /// Grants that one account can have open at once.
    pub fn open(&self) -> u128 {
        if self.carried { 1 } else { u128::from(self.ttl_h.div_ceil(self.sync_h.max(1)).max(1)) }
    }

    /// Grants that one account is given in the period.
    pub fn grants(&self) -> u128 {
        (u128::from(self.days) * 24).div_ceil(u128::from(self.sync_h.max(1)))
    }
}

/// What is at stake in one tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TierExposure {
    /// The tier.
    pub tier: Tier,
    /// Its accounts.
    pub accounts: u64,
    /// The most that one grant may be.
    pub ceiling: Money,
    /// Outstanding at once when everybody spends everything, minor units.
    pub worst: u128,
    /// Lost in the period, at most, in expectation; minor units, rounded up.
    pub expected: u128,
    /// Accounts that see a loss in the period, at most, in expectation.
    pub touched: u64,
}

/// What is at stake in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exposure {
    /// How grants are made.
    pub plan: Plan,
    /// By tier.
    pub tiers: Vec<TierExposure>,
    /// Of all tiers, as there.
    pub worst: u128,
    /// Of all tiers, as there.
    pub expected: u128,
}

/// Ceilings, as a share of the most that each tier can be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct At {
    /// Parts per million.
    pub share_ppm: u32,
}

impl At {
    /// Every tier's full cap.
    pub const FULL: Self = Self { share_ppm: 1_000_000 };

    /// The ceiling of a tier, rounded down.
    pub fn ceiling(self, most: Money) -> Money {
        let minor = u128::from(most.minor()) * u128::from(self.share_ppm.min(1_000_000)) / 1_000_000;
        Money::from_minor(minor as u64).expect("a share of an amount is an amount")
    }
}

/// What `plan` puts at stake with ceilings `at`.
pub fn exposure(tiers: &[Promised], plan: Plan, at: At) -> Exposure {
    let of = |tier: &Promised| {
        let ceiling = at.ceiling(tier.most);
        let accounts = u128::from(tier.accounts);
        // Parts per million: every account at most once, and the union of the chances of its grants.
        let touched = match tier.promise {
            _ if ceiling == Money::ZERO => 0,
            None => 1_000_000,
            Some((alpha, _)) => plan.grants().saturating_mul(u128::from(alpha)).min(1_000_000),
        };
        TierExposure {
            tier: tier.tier,
            accounts: tier.accounts,
            ceiling,
            worst: accounts * u128::from(ceiling.minor()) * plan.open(),
            expected: (accounts * plan.grants() * tier.loss_milli(ceiling)).div_ceil(1_000),
            touched: (accounts * touched).div_ceil(1_000_000) as u64,
        }
    };
    let tiers: Vec<TierExposure> = tiers.iter().map(of).collect();
    let (worst, expected) = (tiers.iter().map(|t| t.worst).sum(), tiers.iter().map(|t| t.expected).sum());
    Exposure { plan, tiers, worst, expected }
}

/// The largest ceilings with which `plan` keeps the budgets; none when not even a ceiling of nothing does.
///
/// Worst case and expected loss rise with the ceilings, so the largest is found by halving.
///
/// * `budget`: of expected loss in the period, minor units. `worst`: of what is outstanding at once.
pub fn fit(tiers: &[Promised], plan: Plan, budget: u128, worst: Option<u128>) -> Option<Exposure> {
    let keeps = |share_ppm: u32| {
        let found = exposure(tiers, plan, At { share_ppm });
        (found.expected <= budget && worst.is_none_or(|w| found.worst <= w)).then_some(found)
    };
    let (mut low, mut high) = (0, At::FULL.share_ppm);
    if let Some(all) = keeps(high) {
        return Some(all);
    }
    let mut best = keeps(low)?;
    while high - low > 1 {
        let middle = u32::midpoint(low, high);
        match keeps(middle) {
            Some(found) => (low, best) = (middle, found),
            None => high = middle,
        }
    }
    Some(best)
}
