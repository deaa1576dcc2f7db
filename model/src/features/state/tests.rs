use super::*;
use crate::money::Flow;

fn profile() -> Profile {
    Profile {
        opened_at: UtcSeconds(0),
        tier: Tier::new(1).expect("tier 1"),
        attested: true,
        offset: UtcOffset(0),
        currency: Currency::new("MYR", 2).expect("a currency"),
    }
}

fn row(day: i64, minor: i64, kind: Kind, payee: u64) -> Transaction {
    Transaction {
        at: UtcSeconds(day * DAY + 12 * 3_600),
        amount: Flow::from_minor(minor).expect("small"),
        kind,
        payee,
        channel: Channel::Online,
        device: 1,
        place: None,
        id: 0,
    }
}

fn state(rows: &[Transaction]) -> FeatureState {
    let mut state = FeatureState::new(profile(), 0, UtcSeconds(0));
    for r in rows {
        state.push(r).expect("rows are in order");
    }
    state
}

#[test]
fn spends_are_counted_in_their_windows() {
    let rows: Vec<_> = std::iter::once(row(0, 1_000_000, Kind::Income, 9))
        .chain((1..=100).map(|d| row(d, -(d * 100), Kind::Purchase, d as u64 % 4)))
        .collect();
    let v = state(&rows).snapshot(UtcSeconds(100 * DAY + 20 * 3_600));
    assert_eq!(v.get(F::TxCount30d), 30.0);
    assert_eq!(v.get(F::TxCount90d), 90.0);
    assert_eq!(v.get(F::AvgTxAmount30d), 85.5, "mean of 71..=100");
    assert_eq!(v.get(F::MedianTxAmount30d), 85.0, "nearest rank of 71..=100");
    assert_eq!(v.get(F::TxAmountP9530d), 99.0);
    assert_eq!(v.get(F::UniquePayees30d), 4.0);
    assert_eq!(v.get(F::TimeOfDayPrimary), 12.0);
    assert!((v.get(F::PayeeDiversityIdx) - 4f32.ln()).abs() < 1e-3, "nearly even over four payees");
}

#[test]
fn an_empty_account_has_missing_values_not_zeros() {
    let v = FeatureState::new(profile(), 0, UtcSeconds(0)).snapshot(UtcSeconds(DAY));
    assert_eq!(v.get(F::TxCount30d), 0.0);
    assert!(v.get(F::MedianTxAmount30d).is_nan());
    assert!(v.get(F::Out7dShare).is_nan(), "a share of no balance is missing");
    assert_eq!(v.get(F::PriorOfflineSettleRate), 1.0);
}

#[test]
fn a_fall_is_measured_from_the_day_before_its_window() {
    // 1,000.00 on day 0; down to 400.00 on day 10; back to 1,000.00 on day 11.
    let rows =
        [row(0, 100_000, Kind::Income, 1), row(10, -60_000, Kind::Purchase, 2), row(11, 60_000, Kind::Income, 1)];
    let v = state(&rows).snapshot(UtcSeconds(20 * DAY));
    assert_eq!(v.get(F::Low30dShare), 0.0, "the account began empty");
    assert_eq!(v.get(F::Low7dShare), 1.0);
    assert_eq!(v.get(F::Fall7dMaxShare), 0.6);
    assert_eq!(v.get(F::Depletion1d), ratio(1, 19), "one of the days 1 to 19");
}

#[test]
fn last_months_fall_is_seen_at_the_same_point_of_the_month() {
    let day = |m, d| CivilDate::new(2026, m, d).expect("a date").day_number();
    let rows = [
        row(day(1, 2), 100_000, Kind::Income, 1),
        row(day(2, 1), -50_000, Kind::Bill, 2),
        row(day(2, 10), 50_000, Kind::Income, 1),
    ];
    let mut from = FeatureState::new(profile(), 0, UtcSeconds(day(1, 1) * DAY));
    for r in &rows {
        from.push(r).expect("in order");
    }
    // On 28 February rent is due tomorrow: the aligned day is 31 January, not 28 January.
    let v = from.snapshot(UtcSeconds(day(2, 28) * DAY));
    assert_eq!(v.get(F::Lag1Fall3dShare), 0.5);
    assert_eq!(v.get(F::LagCommitted7dShare), 0.5);
}

#[test]
fn recurring_debits_are_foreseen() {
    let day = |m, d| CivilDate::new(2026, m, d).expect("a date").day_number();
    let rows = [
        row(day(1, 2), 100_000, Kind::Income, 1),
        row(day(1, 5), -10_000, Kind::Bill, 2),
        row(day(2, 5), -10_000, Kind::Bill, 2),
    ];
    let mut from = FeatureState::new(profile(), 0, UtcSeconds(day(1, 1) * DAY));
    for r in &rows {
        from.push(r).expect("in order");
    }
    let v = from.snapshot(UtcSeconds(day(3, 2) * DAY));
    assert_eq!(v.get(F::DueNextDays), 3.0);
    assert_eq!(v.get(F::Due3dShare), 0.125, "100.00 of 800.00");
}

#[test]
fn late_transactions_are_refused_and_leave_the_state_alone() {
    let mut state = state(&[row(5, 1_000, Kind::Income, 1)]);
    let before = state.clone();
    assert!(state.push(&row(4, -500, Kind::Purchase, 2)).is_err());
    assert_eq!(state, before);
}

#[test]
fn looking_does_not_change_what_is_seen_later() {
    let rows: Vec<_> = (0..60)
        .map(|d| row(d, if d % 7 == 0 { 9_000 } else { -1_000 }, Kind::ALL[(d % 12) as usize], d as u64))
        .collect();
    let mut watched = FeatureState::new(profile(), 50_000, UtcSeconds(0));
    let mut alone = watched.clone();
    for r in &rows {
        let _ = watched.snapshot(r.at);
        watched.push(r).expect("in order");
        alone.push(r).expect("in order");
    }
    let at = UtcSeconds(75 * DAY);
    let bits = |v: FeatureVector| v.0.map(f32::to_bits);
    assert_eq!(bits(watched.snapshot(at)), bits(alone.snapshot(at)));
}

#[test]
fn a_gap_of_years_costs_no_more_than_the_memory() {
    let mut state = state(&[row(0, 1_000, Kind::Income, 1)]);
    let v = state.snapshot(UtcSeconds(4_000 * DAY));
    assert_eq!(v.get(F::HistoryDays), DAYS as f32);
    assert_eq!(v.get(F::Low90dShare), 1.0);
}

#[test]
fn the_state_survives_storage() {
    let state = state(&[row(0, 1_000, Kind::Income, 1), row(3, -10, Kind::Purchase, 4)]);
    let stored = serde_json::to_vec(&state).expect("serialises");
    assert_eq!(serde_json::from_slice::<FeatureState>(&stored).expect("reads"), state);
}
