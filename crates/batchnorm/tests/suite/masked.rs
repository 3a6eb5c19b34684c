//! Masked tensors: what does not count is as if it had been cut out.
//!
//! The expectation is formed without any mask: the elements that count are cut out of every tensor into a dense one of
//! shape 1 x channels x count, the reference computes that, and its results are put back among zeros.

use std::fmt::Arguments;

use batchnorm::{
    Coefficients, Element, Epilogue, Gate, GradientMeans, GradientSums, Kernels, Mask, Moments, Reference,
    Shape, View, ViewMut,
};

use super::accuracy::Input;
use super::data::{Random, elements, near, relative_rms, shapes, unit_roundoff, unset};

const EPS: f64 = 1e-5;
const SLOPE: f64 = 0.1;

/// The epilogues, each with its gate.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    Relu,
    LeakyRelu,
    AddRelu,
}

const ALL: [Then; 4] = [Then::Nothing, Then::Relu, Then::LeakyRelu, Then::AddRelu];

/// The tensors of a layer, and what counts of them.
#[derive(Clone)]
struct Tensors<E> {
    shape: Shape,
    counts: Option<Vec<bool>>,
    x: Vec<E>,
    dy: Vec<E>,
    addend: Vec<E>,
}

/// What the primitives make of them.
struct Found<E> {
    y: Vec<E>,
    sums: Vec<GradientSums>,
    /// Without x.
    plain_sums: Vec<GradientSums>,
    dx: Vec<E>,
    d_addend: Vec<E>,
    /// With fixed statistics.
    dx_fixed: Vec<E>,
}

impl<E: Element> Found<E> {
    /// All numbers' bits: -0 is not 0 here.
    fn bits(&self) -> Vec<u64> {
        let sums = self.sums.iter().chain(&self.plain_sums).flat_map(|sums| [sums.dy, sums.dy_xhat]);
        let tensors = [&self.y, &self.dx, &self.d_addend, &self.dx_fixed];
        sums.chain(tensors.into_iter().flatten().map(|value| value.to_f64())).map(f64::to_bits).collect()
    }
}

impl<E: Element> Tensors<E> {
    fn new(input: &Input<E>, counts: Option<Vec<bool>>) -> Self {
        let addend = Random::new(99).normals(input.shape.len(), 0.0, 1.0);
        Self { shape: input.shape, counts, x: input.x.clone(), dy: input.dy.clone(), addend }
    }

    fn map(&self, change: impl Fn(&[E]) -> Vec<E>) -> Self {
        let [x, dy, addend] = [&self.x, &self.dy, &self.addend].map(|values| change(values));
        Self { x, dy, addend, ..self.clone() }
    }

    /// The elements that count, densely.
    fn compressed(&self) -> Self {
        let counts = self.counts.as_deref().unwrap();
        let count = counts.iter().filter(|&&counts| counts).count();
        let dense = self.map(|values| kept(self.shape, counts).into_iter().map(|i| values[i]).collect());
        Self { shape: Shape::new(1, self.shape.channels(), count).unwrap(), counts: None, ..dense }
    }

    /// The same tensors that hold NaN and infinities wherever nothing counts.
    fn poisoned(&self) -> Self {
        let kept = kept(self.shape, self.counts.as_deref().unwrap());
        self.map(|values| {
            let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX].map(E::from_f64);
            let mut poisoned: Vec<E> = (0..values.len()).map(|i| bad[i % bad.len()]).collect();
            for &i in &kept {
                poisoned[i] = values[i];
            }
            poisoned
        })
    }

    /// A tensor without a mask.
    fn plain<'a>(&self, values: &'a [E]) -> View<'a, E> {
        View::new("a tensor", self.shape, values).unwrap()
    }

    /// A tensor with the mask.
    fn view<'a>(&'a self, values: &'a [E]) -> View<'a, E> {
        let mask = self.counts.as_deref().map(|counts| Mask::new(self.shape, counts).unwrap());
        self.plain(values).with_mask(mask).unwrap()
    }

    fn epilogue(&self, then: Then) -> Epilogue<'_, E> {
        match then {
            Then::Nothing => Epilogue::None,
            Then::Relu => Epilogue::Relu,
            Then::LeakyRelu => Epilogue::LeakyRelu { slope: SLOPE },
            Then::AddRelu => Epilogue::AddRelu { addend: self.plain(&self.addend) },
        }
    }

    fn gate(&self, then: Then) -> Gate<'_, E> {
        let x = self.plain(&self.x);
        match then {
            Then::Nothing => Gate::None,
            Then::Relu => Gate::Relu { x },
            Then::LeakyRelu => Gate::LeakyRelu { x, slope: SLOPE },
            Then::AddRelu => Gate::AddRelu { x, addend: self.plain(&self.addend) },
        }
    }

    fn moments(&self, kernels: &impl Kernels<E>) -> Vec<Moments> {
        // Not empty: what nothing is written over would show.
        let mut moments = vec![Moments { count: 7, mean: 7.0, m2: 7.0 }; self.shape.channels()];
        kernels.moments(self.view(&self.x), &mut moments);
        moments
    }

    /// Every primitive but `moments`, with these coefficients and means.
    fn through(
        &self,
        kernels: &impl Kernels<E>,
        coefficients: &[Coefficients],
        means: &[GradientMeans],
        then: Then,
    ) -> Found<E> {
        let (shape, gate) = (self.shape, self.gate(then));
        let (x, dy) = (self.plain(&self.x), self.view(&self.dy));
        let unwritten = || vec![E::from_f64(7.0); shape.len()];
        let mut found = Found {
            y: unwritten(),
            sums: vec![GradientSums { dy: 7.0, dy_xhat: 7.0 }; shape.channels()],
            plain_sums: vec![GradientSums { dy: 7.0, dy_xhat: 7.0 }; shape.channels()],
            dx: unwritten(),
            d_addend: unwritten(),
            dx_fixed: unwritten(),
        };
        let y = ViewMut::new("y", shape, &mut found.y).unwrap();
        kernels.normalize(coefficients, self.view(&self.x), self.epilogue(then), y);
        kernels.gradient_sums(coefficients, Some(x), dy, gate, &mut found.sums);
        kernels.gradient_sums(coefficients, None, dy, gate, &mut found.plain_sums);
        let dx = ViewMut::new("dx", shape, &mut found.dx).unwrap();
        let d_addend = ViewMut::new("d_addend", shape, &mut found.d_addend).unwrap();
        kernels.input_gradient(coefficients, Some((x, means)), dy, gate, dx, Some(d_addend));
        let dx = ViewMut::new("dx", shape, &mut found.dx_fixed).unwrap();
        kernels.input_gradient(coefficients, None, dy, gate, dx, None);
        found
    }
}

/// Indices of the elements that count, channel by channel.
fn kept(shape: Shape, counts: &[bool]) -> Vec<usize> {
    (0..shape.channels())
        .flat_map(|channel| elements(shape, channel).zip(counts).filter(|&(_, &counts)| counts))
        .map(|(i, _)| i)
        .collect()
}

/// Random masks of several densities, those at the ends, and padding behind sequences of any length.
fn masks(shape: Shape, random: &mut Random) -> Vec<(&'static str, Vec<bool>)> {
    let positions = shape.positions();
    let dense: Vec<bool> = (0..positions).map(|_| random.uniform() < 0.95).collect();
    let half = (0..positions).map(|_| random.uniform() < 0.5).collect();
    let sparse = (0..positions).map(|_| random.uniform() < 0.05).collect();
    let mut one = vec![false; positions];
    one[random.below(positions)] = true;
    // Channels last, an example is a step: sequences of up to 37 of them.
    let steps = if shape.inner() == 1 { 37 } else { shape.inner() };
    let mut padding = vec![false; positions];
    for sequence in padding.chunks_mut(steps) {
        let len = random.below(sequence.len() + 1);
        sequence[..len].fill(true);
    }
    // In large tensors whole blocks, of which none count, then all.
    let second_half = (0..positions).map(|position| position >= positions / 2).collect();
    vec![
        ("dense", dense),
        ("half", half),
        ("sparse", sparse),
        ("one", one),
        ("padding", padding),
        ("second half", second_half),
        ("all", vec![true; positions]),
        ("none", vec![false; positions]),
    ]
}

fn coefficients<E: Element>(input: &Input<E>, moments: &[Moments]) -> Vec<Coefficients> {
    let of = |(channel, moments)| Coefficients::of_batch(moments, EPS, input.parameters().of(channel));
    moments.iter().enumerate().map(of).collect()
}

/// Any means do for a map.
fn some_means(channels: usize) -> Vec<GradientMeans> {
    let mut random = Random::new(3);
    (0..channels).map(|_| GradientMeans { dy: random.normal(), dy_xhat: random.normal() }).collect()
}

pub fn what_does_not_count_is_as_if_cut_out_in_f32(kernels: &impl Kernels<f32>) {
    // Without gates: in f32 a z near zero may round to either side, and with it all of dz.
    what_does_not_count_is_as_if_cut_out(kernels, &[Then::Nothing]);
}

pub fn what_does_not_count_is_as_if_cut_out_in_f64(kernels: &impl Kernels<f64>) {
    what_does_not_count_is_as_if_cut_out(kernels, &ALL);
}

/// Every primitive by itself: the maps and the sums get the same coefficients and means on both sides.
///
/// Tolerances: as for unmasked tensors (`accuracy`), n being the positions that count. Folds of n terms in f64 are off
/// by n u relative to their terms, and by what [`near`] says; maps make at most eight roundings of relative size u on the terms of their
/// equations, nine with an addend or a slope.
fn what_does_not_count_is_as_if_cut_out<E: Element>(kernels: &impl Kernels<E>, then: &[Then]) {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let input = Input::<E>::normal(shape, 3.0, 2.0, seed as u64);
        for (name, counts) in masks(shape, &mut Random::new(seed as u64)) {
            let what = format!("{shape}, mask {name}");
            let kept = kept(shape, &counts);
            let tensors = Tensors::new(&input, Some(counts));
            let dense = tensors.compressed();
            let n = dense.shape.positions() as f64;
            let fold = 2f64.powi(-53) * (n + 8.0) + near::<E>(shape);
            let expected = dense.moments(&Reference);
            for (found, expected) in tensors.moments(kernels).iter().zip(&expected) {
                assert_eq!(found.count, expected.count, "count, {what}");
                close(found.mean, expected.mean, fold * 8.0, format_args!("mean, {what}"));
                close(found.m2, expected.m2, fold * expected.m2.max(1.0), format_args!("M2, {what}"));
                assert!(n > 0.0 || *found == Moments::EMPTY, "{what}");
            }
            let (coefficients, means) = (coefficients(&input, &expected), some_means(shape.channels()));
            for &then in then {
                let what = format!("{what}, then {then:?}");
                let found = tensors.through(kernels, &coefficients, &means, then);
                let expected = dense.through(&Reference, &coefficients, &means, then);
                let sums = found.sums.iter().chain(&found.plain_sums);
                for (found, expected) in sums.zip(expected.sums.iter().chain(&expected.plain_sums)) {
                    // Each term is at most about 5 sigma * 5 sigma; sums of n of them.
                    let bound = fold * 25.0 * n;
                    close(found.dy, expected.dy, bound, format_args!("sum dy, {what}"));
                    close(found.dy_xhat, expected.dy_xhat, bound, format_args!("sum dy xhat, {what}"));
                }
                let u = 9.0 * unit_roundoff::<E>();
                for (i, &at) in kept.iter().enumerate() {
                    let channel = at / shape.inner() % shape.channels();
                    let (coefficients, means) = (coefficients[channel], means[channel]);
                    let xhat = (input.x[at].to_f64() - coefficients.mean) * coefficients.rstd;
                    let addend = tensors.addend[at].to_f64().abs();
                    let size = (coefficients.gamma * xhat).abs() + coefficients.beta.abs() + addend;
                    close(found.y[at].to_f64(), expected.y[i].to_f64(), u * size, format_args!("y, {what}"));
                    let dy = input.dy[at].to_f64().abs();
                    let (dz, of_dense) = (found.d_addend[at].to_f64(), expected.d_addend[i].to_f64());
                    close(dz, of_dense, u * dy, format_args!("d addend, {what}"));
                    let scale = coefficients.scale().abs();
                    let size = dy + means.dy.abs() + (xhat * means.dy_xhat).abs();
                    let (dx, of_dense) = (found.dx[at].to_f64(), expected.dx[i].to_f64());
                    close(dx, of_dense, u * scale * size, format_args!("dx, {what}"));
                    let (dx, of_dense) = (found.dx_fixed[at].to_f64(), expected.dx_fixed[i].to_f64());
                    close(dx, of_dense, u * scale * dy, format_args!("fixed dx, {what}"));
                }
                for mut values in [found.y, found.dx, found.d_addend, found.dx_fixed] {
                    kept.iter().for_each(|&at| values[at] = E::default());
                    assert!(values.iter().all(|value| value.to_f64().to_bits() == 0), "not zero, {what}");
                }
            }
        }
    }
}

#[track_caller]
fn close(found: f64, expected: f64, tolerance: f64, what: Arguments<'_>) {
    let error = (found - expected).abs();
    assert!(
        error <= tolerance,
        "{what}: found {found:e}, expected {expected:e}, off by {error:e}, allowed {tolerance:e}"
    );
}

/// A whole training step, the primitives put together by the provided methods: the count to divide by is the
/// moments'.
///
/// Tolerance: as for whole steps without a mask (`accuracy`), ten roundings for each of n terms.
pub fn a_masked_training_step_is_that_of_what_counts(kernels: &impl Kernels<f64>) {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let input = Input::<f64>::normal(shape, 1.0, 2.0, seed as u64);
        for (name, counts) in masks(shape, &mut Random::new(seed as u64)) {
            let kept = kept(shape, &counts);
            let tensors = Tensors::new(&input, Some(counts));
            let dense = tensors.compressed();
            // Of very few values dx is a difference of nearly equal terms: its relative error means nothing.
            if dense.shape.positions() < 8 {
                continue;
            }
            for then in ALL {
                let found = training_step(&tensors, kernels, &input, then);
                let expected = training_step(&dense, &Reference, &input, then);
                for (values, dense_values) in found.iter().zip(&expected) {
                    let values: Vec<f64> = match values.len() {
                        len if len == shape.len() => kept.iter().map(|&at| values[at]).collect(),
                        _ => values.clone(),
                    };
                    let error = relative_rms(&values, dense_values);
                    let bound = 2f64.powi(-53) * 10.0 * (dense.shape.positions() as f64 + 10.0);
                    assert!(error <= bound, "{then:?}, {shape}, mask {name}: relative RMS error {error:e}");
                }
            }
        }
    }
}

/// y, dx, the addend's gradient, and both sums.
fn training_step(
    tensors: &Tensors<f64>,
    kernels: &impl Kernels<f64>,
    input: &Input<f64>,
    then: Then,
) -> [Vec<f64>; 5] {
    let (shape, len, channels) = (tensors.shape, tensors.shape.len(), tensors.shape.channels());
    let (mut y, mut dx, mut d_addend) = (vec![0.0; len], vec![0.0; len], vec![0.0; len]);
    let mut moments = vec![Moments::EMPTY; channels];
    let mut sums = vec![GradientSums::default(); channels];
    let out = ViewMut::new("y", shape, &mut y).unwrap();
    let (x, epilogue) = (tensors.view(&tensors.x), tensors.epilogue(then));
    let mut coefficients = unset(shape);
    kernels.forward_train(EPS, input.parameters(), x, epilogue, out, &mut moments, &mut coefficients);
    let (dy, gate) = (tensors.view(&tensors.dy), tensors.gate(then));
    let out = ViewMut::new("dx", shape, &mut dx).unwrap();
    let second = ViewMut::new("d_addend", shape, &mut d_addend).unwrap();
    kernels.backward(&coefficients, moments[0].count, x, dy, gate, out, Some(second), &mut sums);
    let (dy, dy_xhat) = sums.iter().map(|sums| (sums.dy, sums.dy_xhat)).unzip();
    [y, dx, d_addend, dy, dy_xhat]
}

/// Padding may hold anything.
pub fn nothing_that_does_not_count_changes_a_bit(kernels: &(impl Kernels<f32> + Kernels<f64>)) {
    no_poison_changes_a_bit::<f32>(kernels);
    no_poison_changes_a_bit::<f64>(kernels);
}

fn no_poison_changes_a_bit<E: Element>(kernels: &impl Kernels<E>) {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let input = Input::<E>::normal(shape, 3.0, 2.0, seed as u64);
        for (name, counts) in masks(shape, &mut Random::new(seed as u64)) {
            let tensors = Tensors::new(&input, Some(counts));
            let poisoned = tensors.poisoned();
            let moments = tensors.moments(kernels);
            assert_eq!(poisoned.moments(kernels), moments, "{shape}, mask {name}");
            let (coefficients, means) = (coefficients(&input, &moments), some_means(shape.channels()));
            for then in ALL {
                let expected = tensors.through(kernels, &coefficients, &means, then);
                let found = poisoned.through(kernels, &coefficients, &means, then);
                assert!(found.bits() == expected.bits(), "{shape}, mask {name}, then {then:?}");
            }
        }
    }
}

/// To the bit, so that a layer need not ask whether a mask masks anything.
pub fn a_mask_that_counts_everything_is_no_mask(kernels: &(impl Kernels<f32> + Kernels<f64>)) {
    whole_mask_is_no_mask::<f32>(kernels);
    whole_mask_is_no_mask::<f64>(kernels);
}

fn whole_mask_is_no_mask<E: Element>(kernels: &impl Kernels<E>) {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let input = Input::<E>::normal(shape, 3.0, 2.0, seed as u64);
        let plain = Tensors::new(&input, None);
        let masked = Tensors::new(&input, Some(vec![true; shape.positions()]));
        let moments = plain.moments(kernels);
        assert_eq!(masked.moments(kernels), moments, "{shape}");
        let (coefficients, means) = (coefficients(&input, &moments), some_means(shape.channels()));
        for then in ALL {
            let expected = plain.through(kernels, &coefficients, &means, then);
            let found = masked.through(kernels, &coefficients, &means, then);
            assert!(found.bits() == expected.bits(), "{shape}, then {then:?}");
        }
    }
}

/// dy decides in the gradient kernels: masks on x and on the gate's tensors are not looked at.
pub fn the_mask_of_the_tensor_read_first_decides(kernels: &impl Kernels<f64>) {
    for shape in [Shape::new(40, 7, 16).unwrap(), Shape::new(700, 3, 1).unwrap()] {
        let input = Input::<f64>::normal(shape, 3.0, 2.0, 1);
        let plain = Tensors::new(&input, None);
        let nothing = Tensors { counts: Some(vec![false; shape.positions()]), ..plain.clone() };
        let moments = plain.moments(kernels);
        let coefficients = coefficients(&input, &moments);
        let sums = |x, addend| {
            let mut sums = vec![GradientSums::default(); shape.channels()];
            let gate = Gate::AddRelu { x, addend };
            kernels.gradient_sums(&coefficients, Some(x), plain.view(&plain.dy), gate, &mut sums);
            sums
        };
        let expected = sums(plain.view(&plain.x), plain.view(&plain.addend));
        assert_eq!(sums(nothing.view(&plain.x), nothing.view(&plain.addend)), expected);
    }
}

pub fn one_to_eight_threads_compute_the_same_bits_of_what_counts(kernels: &impl Kernels<f32>) {
    for (outer, channels, inner) in
        [(64, 3, 1000), (2, 130, 300), (1, 1, 200_000), (3000, 37, 1), (70_000, 2, 1), (500, 20, 7)]
    {
        let shape = Shape::new(outer, channels, inner).unwrap();
        let input = Input::<f32>::normal(shape, 10.0, 1.0, 6);
        let partial = |mask: &(&str, Vec<bool>)| ["half", "padding", "second half"].contains(&mask.0);
        for (name, counts) in masks(shape, &mut Random::new(6)).into_iter().filter(partial) {
            let tensors = Tensors::new(&input, Some(counts));
            let means = some_means(channels);
            let results = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let moments = tensors.moments(kernels);
                    let coefficients = coefficients(&input, &moments);
                    (moments, tensors.through(kernels, &coefficients, &means, Then::AddRelu).bits())
                })
            };
            let one = results(1);
            for threads in 2..=8 {
                assert!(results(threads) == one, "{shape}, mask {name}, {threads} threads");
            }
        }
    }
}
