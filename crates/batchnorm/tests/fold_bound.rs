//! The bound of folding, by brute force: networks of one map and one layer computed in f32 as runtimes do, against the folded
//! ones. No difference may be beyond the bound, and the bound may not be beyond what occurs by much.

use batchnorm::ElementType;
use batchnorm::fold::{Affine, Folded, Rounding, WeightLayout, WeightOrder, fold_after, fold_before, store};
use batchnorm::health::Numbers;

const TRIALS: usize = 2000;
const EPS: f32 = 1e-3;

/// Numbers in [-1, 1) from a generator of its own.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    fn several(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// `w x + b` in f32, in order.
fn product(w: &[f32], x: &[f32], b: f32) -> f32 {
    w.iter().zip(x).fold(0.0, |sum, (w, x)| sum + w * x) + b
}

/// The ways in which runtimes compute a batch norm of one channel.
const WAYS: [fn(f32, &Layer) -> f32; 3] = [
    |z, l| (z - l.mean) * (1.0 / (l.variance + EPS).sqrt()) * l.gamma + l.beta,
    |z, l| {
        let a = l.gamma / (l.variance + EPS).sqrt();
        a * z + (l.beta - l.mean * a)
    },
    |z, l| l.gamma * (z - l.mean) / (l.variance + EPS).sqrt() + l.beta,
];

struct Layer {
    mean: f32,
    variance: f32,
    gamma: f32,
    beta: f32,
}

impl Layer {
    /// Means much larger than the deviation in some trials.
    fn random(random: &mut Random) -> Self {
        let far = if random.next() > 0.5 { 100.0 } else { 1.0 };
        let variance = random.next().abs() + 0.01;
        Self { mean: far * random.next(), variance, gamma: random.next(), beta: random.next() }
    }

    fn affine(layers: &[Self]) -> Affine {
        let column = |value: fn(&Self) -> f32| -> Vec<f32> { layers.iter().map(value).collect() };
        let (mean, variance) = (column(|l| l.mean), column(|l| l.variance));
        let (gamma, beta) = (column(|l| l.gamma), column(|l| l.beta));
        let numbers = Numbers::new(&mean, &variance, f64::from(EPS));
        Affine::new(&Numbers { gamma: Some(&gamma), beta: Some(&beta), ..numbers }).unwrap()
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// The folded map in f32, and its bound for this very x.
fn folded(layout: &WeightLayout, folded: &Folded, x: &[f32], roundings: usize) -> (f32, f64) {
    let (mut w, mut b) = (vec![0f32; layout.elements()], [0f32]);
    store(&folded.weights, &mut w).unwrap();
    store(&folded.bias.values, &mut b).unwrap();
    let sizes: Vec<f64> = x.iter().map(|&x| f64::from(x).abs()).collect();
    let mut size = folded.bias.magnitude.clone();
    layout.abs_sums(0, &folded.weights, Some(&sizes), &mut size).unwrap();
    let rounding = Rounding::of(ElementType::F32);
    let bound = rounding.output_bound(size[0], sizes.iter().sum(), layout.terms(), roundings);
    (product(&w, x, b[0]), bound)
}

/// Differences as parts of their bounds: none beyond 1, and the largest of them.
fn largest_part(terms: usize, trial: impl Fn(&WeightLayout, &mut Random, usize) -> (f32, f32, f64)) -> f64 {
    let layout = WeightLayout::new(WeightOrder::OutputsFirst, 1, 1, terms, 1).unwrap();
    let mut random = Random(terms as u64);
    let mut largest = 0f64;
    for number in 0..TRIALS {
        let (original, folded, bound) = trial(&layout, &mut random, number);
        let part = (f64::from(original) - f64::from(folded)).abs() / bound;
        assert!(part <= 1.0, "{terms} terms: {original:e} and {folded:e}, allowed {bound:e}");
        largest = largest.max(part);
    }
    largest
}

fn after(layout: &WeightLayout, random: &mut Random, number: usize) -> (f32, f32, f64) {
    let terms = layout.elements();
    let (w, x, b) = (random.several(terms), random.several(terms), random.next());
    let layer = Layer::random(random);
    let original = WAYS[number % WAYS.len()](product(&w, &x, b), &layer);
    let affine = Layer::affine(&[layer]);
    let map = fold_after(layout, &wide(&w), Some(&[f64::from(b)]), &affine).unwrap();
    let (found, bound) = folded(layout, &map, &x, affine.roundings());
    (original, found, bound)
}

fn before(layout: &WeightLayout, random: &mut Random, number: usize) -> (f32, f32, f64) {
    let terms = layout.elements();
    let (w, x, b) = (random.several(terms), random.several(terms), random.next());
    let layers: Vec<Layer> = (0..terms).map(|_| Layer::random(random)).collect();
    let normalized: Vec<f32> =
        x.iter().zip(&layers).map(|(&x, layer)| WAYS[number % WAYS.len()](x, layer)).collect();
    let original = product(&w, &normalized, b);
    let affine = Layer::affine(&layers);
    let map = fold_before(layout, &wide(&w), Some(&[f64::from(b)]), &affine).unwrap();
    let (found, bound) = folded(layout, &map, &x, affine.roundings());
    (original, found, bound)
}

#[test]
fn no_difference_is_beyond_the_bound() {
    for terms in [1, 2, 3, 9, 27, 100, 576] {
        largest_part(terms, after);
        largest_part(terms, before);
    }
}

/// Roundings are not all of one sign, so that a bound of the worst is never met: of some twenty roundings a few add up.
#[test]
fn the_bound_of_a_small_map_is_not_beyond_what_occurs_by_much() {
    for terms in [1, 2, 4, 8] {
        for (what, part) in [("after", largest_part(terms, after)), ("before", largest_part(terms, before))] {
            assert!(part > 0.05, "{terms} terms, {what}: the largest difference is {part:e} of the bound");
        }
    }
}

#[test]
fn half_types_are_bounded_by_their_own_roundings() {
    use batchnorm::{Element, f16};
    // One product of f16: z, what the layer makes of it, and the folded product are rounded to f16, sums are in f32.
    let layout = WeightLayout::new(WeightOrder::OutputsFirst, 1, 1, 1, 1).unwrap();
    let narrow = |value: f32| f16::from_f32(value).to_f32();
    let mut random = Random(16);
    let mut largest = 0f64;
    for number in 0..TRIALS {
        let (w, x, b) = (narrow(random.next()), narrow(random.next()), narrow(random.next()));
        let layer = Layer::random(&mut random);
        let original = narrow(WAYS[number % WAYS.len()](narrow(w * x + b), &layer));
        let affine = Layer::affine(&[layer]);
        let map = fold_after(&layout, &[f64::from(w)], Some(&[f64::from(b)]), &affine).unwrap();
        let mut stored = [f16::ZERO; 2];
        store(&[map.weights[0], map.bias.values[0]], &mut stored).unwrap();
        let found = narrow(stored[0].to_f32() * x + stored[1].to_f32());
        let size = map.weights[0].abs() * f64::from(x).abs() + map.bias.magnitude[0];
        let rounding = Rounding::of(ElementType::F16);
        let bound = rounding.output_bound(size, f64::from(x).abs(), 1, affine.roundings());
        let part = (f64::from(original) - f64::from(found)).abs() / bound;
        assert!(part <= 1.0, "{original} and {found}, allowed {bound}");
        largest = largest.max(part);
    }
    assert!(largest > 0.01 && f16::roundoff() > f32::roundoff(), "{largest}");
}
