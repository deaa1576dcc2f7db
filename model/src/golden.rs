//! Golden vectors: transactions in, features, forest and limit out. They travel with the model and are run on the device
//! before it is activated: a device that computes one bit differently refuses the model.
//!
//! The histories are made up here from a fixed recurrence. A published file must not carry a customer's.

use serde::{Deserialize, Serialize};

use crate::artifact::Certificate;
use crate::features::{FEATURE_COUNT, FeatureState, FeatureVector, Profile};
use crate::forest::{Forest, uncross};
use crate::money::{Currency, Flow, Money};
use crate::quantile::Ppm;
use crate::time::{Age, DAY, UtcOffset, UtcSeconds};
use crate::transaction::{Channel, Kind, Place, Settlement, Tier, Transaction};

/// Histories in a file.
const CASES: u64 = 8;

/// A set of histories with the answers that a correct engine gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Feature schema the answers belong to.
    pub feature_schema: String,
    /// The histories.
    pub cases: Vec<Case>,
}

/// One history and its answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Who.
    pub profile: Profile,
    /// Balance before the first row, minor units.
    pub opening_minor: i64,
    /// What happened, oldest first.
    pub rows: Vec<GoldenRow>,
    /// When the features are taken.
    pub at: UtcSeconds,
    /// Bits of the features, IEEE 754 binary32; every NaN as 0x7fc00000.
    pub feature_bits: Vec<u32>,
    /// At each age: steps of each output, and the limit by the rule of the case's tier, before caps.
    pub outputs: Vec<(Age, Vec<i32>, Money)>,
}

/// `(at, minor units, kind, payee, offline outcome, [lat, lon] e6)`.
pub type GoldenRow = (UtcSeconds, i64, Kind, u32, Option<Settlement>, Option<(i32, i32)>);

fn transaction(row: &GoldenRow) -> Option<Transaction> {
    let &(at, minor, kind, payee, offline, place) = row;
    Some(Transaction {
        at,
        amount: Flow::from_minor(minor).ok()?,
        kind,
        payee: u64::from(payee),
        channel: offline.map_or(Channel::Online, Channel::Offline),
        device: 1,
        place: place.map(|(latitude_e6, longitude_e6)| Place { latitude_e6, longitude_e6 }),
        id: 0,
    })
}

/// The bits that count: all NaNs are one.
pub fn canonical_bits(value: f32) -> u32 {
    if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() }
}

impl Golden {
    /// Makes the vectors for a forest and the rules it was certified with.
    ///
    /// * `levels`: of the forest's outputs, rising.
    pub fn record(
        forest: &Forest,
        levels: &[Ppm],
        certificate: &Certificate,
        currency: Currency,
        offset: UtcOffset,
    ) -> Self {
        let answer = |seed| {
            let mut case = Case::made_up(seed, currency, offset);
            let (mut features, balance) = case.replay().expect("the made-up history is in order and small");
            case.feature_bits = features.0.iter().map(|v| canonical_bits(*v)).collect();
            for age in &certificate.terms.ages {
                features.set_age(*age);
                let steps = forest.evaluate(&features.0);
                case.outputs.push((*age, steps.clone(), case.limit(levels, certificate, balance, steps)));
            }
            case
        };
        Self { feature_schema: crate::features::schema_hash(), cases: (0..CASES).map(answer).collect() }
    }

    /// The bytes that are published.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("golden vectors hold only integers, text and lists")
    }

    /// Reads published vectors.
    ///
    /// # Errors
    /// [`GoldenMismatch::Unreadable`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, GoldenMismatch> {
        serde_json::from_slice(bytes).map_err(|e| GoldenMismatch::Unreadable { reason: e.to_string() })
    }

    /// Recomputes every answer: features and limits here, outputs by `evaluate` (row in, steps out, before uncrossing).
    /// Returns how many answers agreed.
    ///
    /// # Errors
    /// The first [`GoldenMismatch`].
    pub fn check(
        &self,
        levels: &[Ppm],
        certificate: &Certificate,
        mut evaluate: impl FnMut(&[f32]) -> Vec<i32>,
    ) -> Result<usize, GoldenMismatch> {
        let mut checked = 0;
        if self.cases.is_empty() {
            return Err(GoldenMismatch::Unreadable { reason: "no cases".into() });
        }
        for (ix, case) in self.cases.iter().enumerate() {
            let (mut features, balance) = case.replay().ok_or(GoldenMismatch::History { case: ix })?;
            let bits: Vec<u32> = features.0.iter().map(|v| canonical_bits(*v)).collect();
            if bits != case.feature_bits {
                let differs = |c: &usize| case.feature_bits.get(*c) != bits.get(*c);
                let column = (0..FEATURE_COUNT).find(differs).unwrap_or(FEATURE_COUNT);
                return Err(GoldenMismatch::Feature { case: ix, column });
            }
            for (age, expected, limit) in &case.outputs {
                features.set_age(*age);
                let steps = evaluate(&features.0);
                if steps != *expected {
                    return Err(GoldenMismatch::Output { case: ix, age: *age });
                }
                if case.limit(levels, certificate, balance, steps) != *limit {
                    return Err(GoldenMismatch::Limit { case: ix, age: *age });
                }
                checked += 1;
            }
        }
        Ok(checked)
    }
}

impl Case {
    /// Features and balance after the history.
    fn replay(&self) -> Option<(FeatureVector, Money)> {
        let from = self.rows.first().map_or(self.at, |r| r.0);
        let mut state = FeatureState::new(self.profile, self.opening_minor, from);
        for row in &self.rows {
            state.push(&transaction(row)?).ok()?;
        }
        Some((state.snapshot(self.at), Money::floor_at_zero(state.balance_minor())))
    }

    /// The limit by the rule of the case's tier; nothing where the programme has no such tier.
    fn limit(&self, levels: &[Ppm], certificate: &Certificate, balance: Money, mut steps: Vec<i32>) -> Money {
        uncross(&mut steps);
        certificate.cell(self.profile.tier).map_or(Money::ZERO, |cell| cell.rule.limit(balance, levels, &steps))
    }

    fn made_up(seed: u64, currency: Currency, offset: UtcOffset) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5151_5151;
        // Knuth's MMIX recurrence: a fixed list of numbers, not a source of chance.
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let start = UtcSeconds(1_767_225_600); // 2026-01-01
        let unit = currency.minor_per_major() as i64;
        let mut rows: Vec<GoldenRow> = Vec::new();
        for day in 0..(20 + seed as i64 * 13) {
            let noon = start.plus(day * DAY + 12 * 3_600);
            if day % 30 == 3 {
                rows.push((noon, 900 * unit, Kind::Income, 7, None, None));
            }
            if day % 30 == 9 {
                rows.push((noon, -200 * unit, Kind::Bill, 8, None, None));
            }
            if next(4) == 0 {
                let kind = [Kind::Purchase, Kind::TransferOut, Kind::CashOut, Kind::Reload][next(4) as usize];
                let size = (next(60) as i64 + 1) * unit + next(100) as i64 % unit.max(1);
                let outcome = match next(8) {
                    0 => Some(Settlement::Clean),
                    1 if next(3) == 0 => Some(Settlement::DoubleSpend),
                    _ => None,
                };
                let place =
                    (next(2) == 0).then(|| (3_139_000 + next(90_000) as i32, 101_686_000 + next(90_000) as i32));
                let signed = if kind.is_debit() { -size } else { size };
                rows.push((noon.plus(next(20_000) as i64), signed, kind, next(9) as u32, outcome, place));
            }
        }
        rows.sort_by_key(|r| r.0);
        let at = rows.last().map_or(start, |r| r.0).plus(3 * 3_600 + seed as i64 * 7_919);
        Self {
            profile: Profile {
                opened_at: start.plus(-(seed as i64) * 40 * DAY),
                tier: Tier::new((seed % 3) as u8).expect("tiers 0 to 2 exist"),
                attested: seed % 4 != 1,
                offset,
                currency,
            },
            opening_minor: 150 * unit * (seed as i64 + 1),
            rows,
            at,
            feature_bits: Vec::new(),
            outputs: Vec::new(),
        }
    }
}

/// How an engine differs from the one that made the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GoldenMismatch {
    /// Not golden vectors.
    #[error("golden vectors cannot be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// The rows of a case are out of order or out of range.
    #[error("golden case {case}: its history cannot be replayed")]
    History {
        /// Which.
        case: usize,
    },
    /// A feature has other bits here.
    #[error("golden case {case}: feature column {column} differs on this engine")]
    Feature {
        /// Which.
        case: usize,
        /// The first column that differs.
        column: usize,
    },
    /// The forest answers differently here.
    #[error("golden case {case}: the forest's output at age {age} differs on this engine")]
    Output {
        /// Which.
        case: usize,
        /// At this age.
        age: Age,
    },
    /// The certificate's rule gives another limit here.
    #[error("golden case {case}: the limit at age {age} differs on this engine")]
    Limit {
        /// Which.
        case: usize,
        /// At this age.
        age: Age,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Feature;
    use crate::forest::{Node, Tree};

    fn forest() -> Forest {
        let nodes = vec![
            Node::Split { feature: Feature::Out7dShare as u16, threshold: 0.2, low: 1, high: 2 },
            Node::Leaf { steps: 900_000 },
            Node::Split { feature: Feature::LastSyncAgeMin as u16, threshold: 60.0, low: 3, high: 4 },
            Node::Leaf { steps: 700_000 },
            Node::Leaf { steps: 500_000 },
        ];
        Forest::new(FEATURE_COUNT, vec![vec![Tree::new(nodes).expect("a tree")]]).expect("a forest")
    }

    const LEVEL: Ppm = match Ppm::new(10_000) {
        Ok(level) => level,
        Err(_) => panic!("1 % is a level"),
    };

    fn certificate(scale: u32) -> Certificate {
        use crate::artifact::{Basis, Cell, Rule, SCHEMA, Terms};
        let rule = Rule::Gap { level: LEVEL, scale: crate::calibration::GapScale(scale) };
        let cell = |level| Cell::new(Tier::new(level).expect("a tier"), rule, Basis::Certified);
        let ages = vec![Age(0), Age::hours(72)];
        Certificate {
            schema: SCHEMA,
            terms: Terms::new(LEVEL, LEVEL, crate::calibration::Target::Strict, 72, ages),
            calibration_root: String::new(),
            calibration_rows: 0,
            calibration_from: UtcSeconds(0),
            calibration_to: UtcSeconds(0),
            cells: (0..3).map(cell).collect(),
            limits_of_use: Vec::new(),
        }
    }

    fn golden() -> Golden {
        let myr = Currency::new("MYR", 2).expect("a currency");
        Golden::record(&forest(), &[LEVEL], &certificate(65_536), myr, UtcOffset(480))
    }

    fn check(golden: &Golden, evaluate: impl FnMut(&[f32]) -> Vec<i32>) -> Result<usize, GoldenMismatch> {
        golden.check(&[LEVEL], &certificate(65_536), evaluate)
    }

    #[test]
    fn the_engine_that_made_them_passes() {
        let read = Golden::from_json(&golden().to_json()).expect("reads");
        assert_eq!(check(&read, |row| forest().evaluate(row)), Ok(16));
        assert!(read.cases.iter().any(|c| c.outputs[0].2 > Money::ZERO), "limits are not all zero");
    }

    #[test]
    fn one_step_or_one_bit_of_difference_is_found() {
        let mut off = |row: &[f32]| forest().evaluate(row).iter().map(|s| s + 1).collect();
        assert_eq!(check(&golden(), &mut off), Err(GoldenMismatch::Output { case: 0, age: Age(0) }));
        let mut changed = golden();
        changed.cases[3].feature_bits[20] ^= 1;
        assert_eq!(check(&changed, |r| forest().evaluate(r)), Err(GoldenMismatch::Feature { case: 3, column: 20 }));
        let other_rule = golden().check(&[LEVEL], &certificate(65_537), |r| forest().evaluate(r));
        assert!(matches!(other_rule, Err(GoldenMismatch::Limit { .. })), "{other_rule:?}");
        changed = golden();
        changed.cases.clear();
        assert!(check(&changed, |r| forest().evaluate(r)).is_err());
    }

    /// Pins every feature's bits. A change here is a new feature schema: raise `DEFINITION_VERSION`, and record the
    /// new hash (the failure prints it).
    #[test]
    fn the_features_are_what_they_were() {
        let bits: Vec<u8> =
            golden().cases.iter().flat_map(|c| c.feature_bits.clone()).flat_map(u32::to_le_bytes).collect();
        assert_eq!(
            (crate::artifact::sha256_hex(&bits).as_str(), crate::features::schema_hash().as_str()),
            (
                "c6ebe3a994b61b8b5060821223efb69352c9ef3d9642441975c83771037c1ce2",
                "602a6f83ab6611978ab2f9a6f5fa82d2e25aa185051ca87d1bd1794d539172e9"
            ),
        );
    }

    #[test]
    fn the_cases_exercise_most_features() {
        let differing = (0..FEATURE_COUNT)
            .filter(|c| golden().cases.iter().any(|case| case.feature_bits[*c] != golden().cases[0].feature_bits[*c]))
            .count();
        assert!(differing * 10 >= FEATURE_COUNT * 8, "{differing} of {FEATURE_COUNT}");
    }
}
