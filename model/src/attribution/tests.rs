use proptest::prelude::*;

use super::*;

/// A tree of random shape over `columns`, from numbers that proptest shrinks.
fn tree(draws: &[u32], columns: u16) -> Tree {
    let mut nodes = Vec::new();
    let mut draws = draws.iter().copied();
    // Breadth first, so that children come after their parents.
    let mut open = std::collections::VecDeque::from([0usize]);
    nodes.push(Node::Leaf { steps: 0 });
    while let Some(at) = open.pop_front() {
        match draws.next() {
            Some(d) if d % 4 != 0 && nodes.len() < 40 => {
                let child = nodes.len() as u32;
                let feature = (d / 4 % u32::from(columns)) as u16;
                let threshold = (d / 64 % 7) as f32 - 3.0;
                nodes[at] = Node::Split { feature, threshold, low: child, high: child + 1 };
                nodes.extend([Node::Leaf { steps: 0 }, Node::Leaf { steps: 0 }]);
                open.extend([child as usize, child as usize + 1]);
            }
            d => nodes[at] = Node::Leaf { steps: (d.unwrap_or(9) % 2_000) as i32 - 1_000 },
        }
    }
    Tree::new(nodes).expect("children come after their parents")
}

/// The game itself: told columns follow the row, the others the background, by weight.
fn game(tree: &Tree, covers: &[u32], row: &[f32], told: u32, at: usize) -> f64 {
    match tree.nodes()[at] {
        Node::Leaf { steps } => f64::from(steps),
        Node::Split { feature, threshold, low, high } => {
            let (low, high) = (low as usize, high as usize);
            if told >> feature & 1 == 1 {
                let next = if row[usize::from(feature)] <= threshold { low } else { high };
                return game(tree, covers, row, told, next);
            }
            let share = |child: usize| match covers[at] {
                0 => 0.5,
                all => f64::from(covers[child]) / f64::from(all),
            };
            share(low) * game(tree, covers, row, told, low) + share(high) * game(tree, covers, row, told, high)
        }
    }
}

/// Shapley's values by their definition: every coalition.
fn by_definition(trees: &[Tree], covers: &Covers, row: &[f32], columns: usize) -> Vec<f64> {
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    let n = columns as u32;
    let value = |told: u32| -> f64 {
        trees.iter().enumerate().map(|(ix, tree)| game(tree, covers.tree(0, ix), row, told, 0)).sum()
    };
    let part = |i: u32| -> f64 {
        (0..1u32 << n)
            .filter(|told| told >> i & 1 == 0)
            .map(|told| {
                let size = told.count_ones();
                let weight = factorial(size) * factorial(n - size - 1) / factorial(n);
                weight * (value(told | 1 << i) - value(told))
            })
            .sum()
    };
    (0..n).map(part).collect()
}

fn cell() -> impl Strategy<Value = f32> {
    prop_oneof![6 => (-4i8..5).prop_map(f32::from), 1 => Just(f32::NAN), 1 => Just(f32::INFINITY)]
}

fn rows(columns: usize, n: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<f32>>> {
    proptest::collection::vec(proptest::collection::vec(cell(), columns), n)
}

proptest! {
    #[test]
    fn parts_are_shapleys_by_their_definition_and_sum_to_the_prediction_to_the_step(
        draws in proptest::collection::vec(proptest::collection::vec(any::<u32>(), 0..40), 1..4),
        background in rows(4, 1..30),
        row in proptest::collection::vec(cell(), 4),
    ) {
        let trees: Vec<Tree> = draws.iter().map(|d| tree(d, 4)).collect();
        // A fifth column that no tree asks.
        let forest = Forest::new(5, vec![trees.clone()]).expect("small leaves");
        let wide = |row: &Vec<f32>| row.iter().copied().chain([1.0]).collect::<Vec<f32>>();
        let (background, row): (Vec<Vec<f32>>, Vec<f32>) = (background.iter().map(wide).collect(), wide(&row));
        let covers = Covers::of(&forest, background.iter().map(Vec::as_slice)).expect("rows");
        let attributor = Attributor::new(&forest, &covers);
        let parts = attributor.parts(0, &row);
        for (found, want) in parts.iter().zip(by_definition(&trees, &covers, &row, 5)) {
            prop_assert!((found - want).abs() < 1e-8, "{found} {want}");
        }
        let whole = attributor.attribute(0, &row);
        prop_assert_eq!(whole.prediction(), forest.evaluate(&row)[0]);
        prop_assert_eq!(whole.features[4], 0);
        let mean = background.iter().map(|r| f64::from(forest.evaluate(r)[0])).sum::<f64>() / background.len() as f64;
        prop_assert!((f64::from(whole.expected) - mean).abs() <= 0.5 + 1e-9);
        for (step, part) in whole.features.iter().zip(&parts) {
            prop_assert!((f64::from(*step) - part).abs() < 1.0 + 1e-9, "{step} {part}");
        }
    }

    #[test]
    fn two_columns_with_the_same_part_differ_by_a_step_at_most(
        draws in proptest::collection::vec(any::<u32>(), 0..40),
        background in rows(3, 1..20),
        row in proptest::collection::vec(cell(), 3),
    ) {
        // Every tree once as it is and once with columns 0 and 1 exchanged, over rows where the two are equal.
        let one = tree(&draws, 3);
        let exchanged = one.nodes().iter().map(|node| match *node {
            Node::Split { feature, threshold, low, high } if feature < 2 => Node::Split { feature: 1 - feature, threshold, low, high },
            other => other,
        });
        let other = Tree::new(exchanged.collect()).expect("the same shape");
        let forest = Forest::new(3, vec![vec![one, other]]).expect("small leaves");
        let same = |row: &Vec<f32>| vec![row[0], row[0], row[2]];
        let (background, row): (Vec<Vec<f32>>, Vec<f32>) = (background.iter().map(same).collect(), same(&row));
        let covers = Covers::of(&forest, background.iter().map(Vec::as_slice)).expect("rows");
        let whole = Attributor::new(&forest, &covers).attribute(0, &row);
        prop_assert!((whole.features[0] - whole.features[1]).abs() <= 1, "{:?}", whole.features);
    }
}

#[test]
fn a_deep_tree_of_many_columns_keeps_its_sum() {
    // A comb: 60 columns asked one after the other, the deepest leaf reached by one row in 2⁶⁰ if they were coins.
    let columns = 60u16;
    let mut nodes = Vec::new();
    for c in 0..columns {
        let at = nodes.len() as u32;
        nodes.push(Node::Split { feature: c, threshold: 0.5, low: at + 1, high: at + 2 });
        nodes.push(Node::Leaf { steps: i32::from(c) * 1_000 });
    }
    nodes.push(Node::Leaf { steps: 1_000_000 });
    let forest = Forest::new(60, vec![vec![Tree::new(nodes).expect("a comb")]]).expect("small leaves");
    let rows: Vec<Vec<f32>> = (0..200u32)
        .map(|r| (0..60).map(|c| f32::from(u8::from((r * 31 + c * 17).is_multiple_of(9)))).collect())
        .collect();
    let covers = Covers::of(&forest, rows.iter().map(Vec::as_slice)).expect("rows");
    let attributor = Attributor::new(&forest, &covers);
    let told = vec![1.0; 60];
    assert_eq!(attributor.attribute(0, &told).prediction(), 1_000_000);
    let sum: f64 = attributor.parts(0, &told).iter().sum();
    let mean = rows.iter().map(|r| f64::from(forest.evaluate(r)[0])).sum::<f64>() / 200.0;
    assert!((sum - (1_000_000.0 - mean)).abs() < 1e-6, "{sum} {mean}");
}

#[test]
fn a_forest_of_constants_owes_nothing_to_any_column() {
    let forest = Forest::new(2, vec![vec![Tree::constant(7), Tree::constant(-3)]]).expect("constants");
    assert_eq!(Covers::of(&forest, []), None);
    let covers = Covers::of(&forest, [[1.0, f32::NAN].as_slice()]).expect("a row");
    let whole = Attributor::new(&forest, &covers).attribute(0, &[0.0, 0.0]);
    assert_eq!(whole, Attribution { expected: 4, features: vec![0, 0] });
}
