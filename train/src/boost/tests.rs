use ndarray::Array2;
use plimsoll_model::forest::Node;
use plimsoll_model::monotone::prove;

use super::*;

/// Uniform numbers, fixed for ever.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
}

fn level(ppm: u32) -> Ppm {
    Ppm::new(ppm).expect("a level")
}

fn one_level(ppm: u32) -> BoostConfig {
    BoostConfig { levels: vec![level(ppm)], min_leaf: 20, ..BoostConfig::default() }
}

fn quiet(_: u64) {}

/// Column 0 raises the target, column 1 sets its spread, column 2 is noise with gaps.
fn sample(n: usize) -> (Array2<f32>, Vec<i32>) {
    let mut noise = Noise(1);
    let mut rows = Array2::zeros((n, 3));
    let mut targets = Vec::with_capacity(n);
    for r in 0..n {
        let (a, b, c, u) = (noise.next(), noise.next(), noise.next(), noise.next());
        rows[[r, 0]] = a;
        rows[[r, 1]] = b;
        rows[[r, 2]] = if c < 0.2 { f32::NAN } else { c };
        let y = 0.2 + 0.5 * a - 0.3 * b * u;
        targets.push((y * ONE as f32) as i32);
    }
    (rows, targets)
}

#[test]
fn a_stump_is_the_split_that_exhaustive_search_finds() {
    let (rows, targets) = sample(400);
    let config = BoostConfig { trees: 1, leaves: 2, learning_rate_milli: 1_000, min_leaf: 10, ..one_level(250_000) };
    let set = TrainingSet::new(rows.view(), &targets);
    let forest = fit(set, &config, &quiet).expect("fits");
    let Node::Split { feature, threshold, .. } = forest.outputs()[0][1].nodes()[0] else { panic!("a stump splits") };

    // By hand: every value of every column, the same score.
    let base = lower_quantile(&mut targets.clone(), 0.25);
    let score = |side: &[usize]| {
        let below = side.iter().filter(|r| targets[**r] < base).count() as f64;
        (below - 0.25 * side.len() as f64).powi(2) / side.len() as f64
    };
    let bins = Bins::of(rows.view(), 255);
    let mut best = (0.0, 0, 0.0);
    for f in 0..3 {
        for t in bins.thresholds(f) {
            let (low, high): (Vec<usize>, Vec<usize>) = (0..400).partition(|r| rows[[*r, f]] <= *t);
            if low.len() >= 10 && high.len() >= 10 && score(&low) + score(&high) > best.0 {
                best = (score(&low) + score(&high), f, *t);
            }
        }
    }
    assert_eq!((usize::from(feature), threshold), (best.1, best.2));
}

#[test]
fn leaves_hold_the_exact_quantile_of_their_rows() {
    let (rows, targets) = sample(1_000);
    let config = BoostConfig { trees: 1, leaves: 8, learning_rate_milli: 1_000, leaf_bits: 20, ..one_level(100_000) };
    let set = TrainingSet::new(rows.view(), &targets);
    let forest = fit(set, &config, &quiet).expect("fits");
    let tree = &forest.outputs()[0][1];
    let base = lower_quantile(&mut targets.clone(), 0.1);
    let mut by_leaf = std::collections::BTreeMap::<i32, Vec<i32>>::new();
    for (r, y) in targets.iter().enumerate() {
        by_leaf.entry(tree.evaluate(&rows.row(r).to_vec())).or_default().push(y - base);
    }
    assert!(by_leaf.len() >= 5);
    for (leaf, mut residuals) in by_leaf {
        residuals.sort_unstable();
        assert_eq!(leaf, residuals[(residuals.len() as f64 * 0.1).ceil() as usize - 1]);
    }
}

#[test]
fn predictions_cover_at_their_level() {
    let (rows, targets) = sample(20_000);
    for ppm in [10_000, 50_000, 500_000] {
        let set = TrainingSet::new(rows.view(), &targets);
        let forest = fit(set, &one_level(ppm), &quiet).expect("fits");
        let below = (0..targets.len()).filter(|r| targets[*r] < forest.evaluate(&rows.row(*r).to_vec())[0]).count();
        let share = below as f64 / targets.len() as f64;
        let nominal = f64::from(ppm) / 1e6;
        assert!((share - nominal).abs() < 0.3 * nominal, "{share} below at {nominal}");
    }
}

/// 3 % of rows keep nothing, and column 0 says which: the 1 % quantile starts at the atom at zero.
#[test]
fn a_level_below_the_atom_at_zero_still_learns() {
    let mut noise = Noise(7);
    let rows = Array2::from_shape_fn((10_000, 1), |_| noise.next());
    let targets: Vec<i32> = rows.iter().map(|x| if *x < 0.03 { 0 } else { ONE as i32 / 2 }).collect();
    let forest = fit(TrainingSet::new(rows.view(), &targets), &one_level(10_000), &quiet).expect("fits");
    assert!(forest.evaluate(&[0.01])[0] <= 0);
    assert!(forest.evaluate(&[0.5])[0] > ONE as i32 / 3);
}

#[test]
fn constraints_hold_where_the_data_says_otherwise() {
    let (rows, targets) = sample(5_000);
    // The data rises in column 0 and falls in column 1; ask for the opposite.
    let monotone = [(0, Direction::Decreasing), (1, Direction::Increasing), (2, Direction::Increasing)];
    let set = TrainingSet::new(rows.view(), &targets).monotone(&monotone);
    let forest = fit(set, &one_level(50_000), &quiet).expect("fits");
    for (column, direction) in monotone {
        prove(&forest, column, direction).expect("holds by construction");
    }
    let free = fit(TrainingSet::new(rows.view(), &targets), &one_level(50_000), &quiet).expect("fits");
    assert!(prove(&free, 0, Direction::Decreasing).is_err(), "the proof can fail");
}

#[test]
fn a_constraint_that_agrees_with_the_data_costs_little() {
    let (rows, targets) = sample(20_000);
    let loss = |monotone: &[(usize, Direction)]| {
        let set = TrainingSet::new(rows.view(), &targets).monotone(monotone);
        let forest = fit(set, &one_level(50_000), &quiet).expect("fits");
        let p: Vec<i32> = (0..targets.len()).map(|r| forest.evaluate(&rows.row(r).to_vec())[0]).collect();
        pinball(&targets, &p, level(50_000))
    };
    let (free, bound) = (loss(&[]), loss(&[(0, Direction::Increasing), (1, Direction::Decreasing)]));
    assert!(bound < free * 1.05, "{bound} against {free}");
}

#[test]
fn the_same_rows_give_the_same_forest_on_any_number_of_threads() {
    let (rows, targets) = sample(3_000);
    let set = TrainingSet::new(rows.view(), &targets).monotone(&[(0, Direction::Increasing)]);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| fit(set, &BoostConfig { min_leaf: 20, ..BoostConfig::default() }, &quiet)).expect("fits")
    };
    let one = on(1);
    assert_eq!(one, on(2));
    assert_eq!(one, on(4));
}

#[test]
fn odd_data_is_learned_without_panic() {
    let cases: Vec<(Array2<f32>, Vec<i32>)> = vec![
        (Array2::from_elem((1, 1), 1.0), vec![5]),
        (Array2::from_elem((50, 2), f32::NAN), (0..50).collect()),
        (Array2::from_elem((50, 1), f32::MAX), vec![ONE as i32; 50]),
        (Array2::from_shape_fn((90, 1), |(r, _)| [f32::INFINITY, f32::NEG_INFINITY, 0.0][r % 3]), (0..90).collect()),
    ];
    for (rows, targets) in cases {
        let set = TrainingSet::new(rows.view(), &targets).monotone(&[(0, Direction::Increasing)]);
        let forest = fit(set, &BoostConfig { min_leaf: 1, ..one_level(50_000) }, &quiet).expect("fits");
        prove(&forest, 0, Direction::Increasing).expect("holds");
    }
    let none = Array2::<f32>::zeros((0, 3));
    let set = TrainingSet::new(none.view(), &[]);
    assert_eq!(fit(set, &one_level(50_000), &quiet), Err(FitError::NoRows));
}

#[test]
fn parameters_out_of_range_are_named() {
    let refused = |config: BoostConfig| config.validate().expect_err("out of range").to_string();
    assert!(refused(BoostConfig { trees: 0, ..BoostConfig::default() }).contains("boost.trees"));
    assert!(refused(BoostConfig { trees: 200, ..BoostConfig::default() }).contains("learning_rate"));
    let crossed = vec![level(50_000), level(10_000)];
    assert!(refused(BoostConfig { levels: crossed, ..BoostConfig::default() }).contains("levels"));
}
