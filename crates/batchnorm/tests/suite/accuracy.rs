//! Every primitive against the reference.

use batchnorm::{
    Coefficients, Element, Epilogue, Gate, GradientSums, Kernels, Moments, Parameters, Reference, Shape, View,
    ViewMut,
};

use super::data::{Random, near, relative_rms, shapes, unit_roundoff, unset};

/// One backend's results for one input.
pub struct Results<E> {
    pub moments: Vec<Moments>,
    pub y: Vec<E>,
    pub sums: Vec<GradientSums>,
    pub dx: Vec<E>,
    pub dx_fixed: Vec<E>,
}

pub struct Input<E: Element> {
    pub shape: Shape,
    pub x: Vec<E>,
    pub dy: Vec<E>,
    pub gamma: Vec<E::Parameter>,
    pub beta: Vec<E::Parameter>,
}

impl<E: Element> Input<E> {
    pub fn normal(shape: Shape, mean: f64, std: f64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            shape,
            x: random.normals(shape.len(), mean, std),
            dy: random.normals(shape.len(), 0.0, 1.0),
            gamma: random.normals(shape.channels(), 1.0, 0.5),
            beta: random.normals(shape.channels(), 0.0, 0.5),
        }
    }

    pub fn parameters(&self) -> Parameters<'_, E::Parameter> {
        Parameters { gamma: Some(&self.gamma), beta: Some(&self.beta) }
    }

    /// All that `kernels` computes from it, with gamma as it is for dx and the statistics taken by itself.
    pub fn through(&self, kernels: &impl Kernels<E>, eps: f64) -> Results<E> {
        let (shape, len) = (self.shape, self.shape.len());
        let x = View::new("x", shape, &self.x).unwrap();
        let dy = View::new("dy", shape, &self.dy).unwrap();
        let mut results = Results {
            moments: vec![Moments::EMPTY; shape.channels()],
            y: vec![E::default(); len],
            sums: vec![GradientSums::default(); shape.channels()],
            dx: vec![E::default(); len],
            dx_fixed: vec![E::default(); len],
        };
        let y = ViewMut::new("y", shape, &mut results.y).unwrap();
        let mut coefficients = unset(shape);
        let moments = &mut results.moments;
        kernels.forward_train(eps, self.parameters(), x, Epilogue::None, y, moments, &mut coefficients);
        let dx = ViewMut::new("dx", shape, &mut results.dx).unwrap();
        let count = shape.positions() as u64;
        kernels.backward(&coefficients, count, x, dy, Gate::None, dx, None, &mut results.sums);
        let dx = ViewMut::new("dx", shape, &mut results.dx_fixed).unwrap();
        kernels.input_gradient(&coefficients, None, dy, Gate::None, dx, None);
        results
    }
}

const EPS: f64 = 1e-5;

pub fn agrees_with_the_reference_in_f32(kernels: &impl Kernels<f32>) {
    agrees_with_the_reference(kernels);
}

pub fn agrees_with_the_reference_in_f64(kernels: &impl Kernels<f64>) {
    agrees_with_the_reference(kernels);
}

/// All primitives, all shapes, data about a mean of 3.
///
/// Tolerances: the folds run in f64 on both sides, but for what [`near`] says, so they differ by f64 roundings only: each of
/// n terms contributes at most one unit per addition, and additions go in lanes and blocks, hence n u is generous. The
/// maps make at most eight roundings of relative size u on the terms of their equations, bounded elementwise,
/// and inherit what the folds' results are off by (which matters in f64 only).
fn agrees_with_the_reference<E: Element>(kernels: &impl Kernels<E>) {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let input = Input::<E>::normal(shape, 3.0, 2.0, seed as u64);
        let found = input.through(kernels, EPS);
        let expected = input.through(&Reference, EPS);
        let u = unit_roundoff::<E>();
        let fold = 2f64.powi(-53) * (shape.positions() as f64 + 8.0) + near::<E>(shape);
        for channel in 0..shape.channels() {
            let (found, expected) = (found.moments[channel], expected.moments[channel]);
            assert_eq!(found.count, expected.count, "{shape}");
            close(found.mean, expected.mean, fold * 8.0, shape, "mean");
            close(found.m2, expected.m2, fold * expected.m2.max(1.0), shape, "M2");
        }
        for channel in 0..shape.channels() {
            let (found, expected) = (found.sums[channel], expected.sums[channel]);
            // Each term is at most about 5 sigma * 5 sigma; sums of n of them.
            let bound = fold * 25.0 * shape.positions() as f64;
            close(found.dy, expected.dy, bound, shape, "sum dy");
            close(found.dy_xhat, expected.dy_xhat, bound, shape, "sum dy xhat");
        }
        let channels = shape.channels();
        for i in 0..shape.len() {
            let channel = i / shape.inner() % channels;
            let gamma = input.gamma[channel].to_f64();
            let coefficients =
                Coefficients::of_batch(&expected.moments[channel], EPS, (gamma, input.beta[channel].to_f64()));
            let xhat = (input.x[i].to_f64() - coefficients.mean) * coefficients.rstd;
            let size = (gamma * xhat).abs() + coefficients.beta.abs();
            let means = expected.sums[channel].means(shape.positions() as u64);
            // The mean is off by 8 fold, mean(dy) by 5 fold, mean(dy xhat) by 25 fold: see above.
            let xhat_error = fold * (8.0 * coefficients.rstd + xhat.abs());
            let bound = 8.0 * u * size + gamma.abs() * xhat_error;
            close(found.y[i].to_f64(), expected.y[i].to_f64(), bound, shape, "y");
            let dy = input.dy[i].to_f64().abs();
            let size = dy + means.dy.abs() + (xhat * means.dy_xhat).abs();
            let sums_error = fold * (5.0 + 25.0 * xhat.abs()) + xhat_error * means.dy_xhat.abs();
            let bound = coefficients.scale().abs() * (8.0 * u * size + sums_error + fold * size);
            close(found.dx[i].to_f64(), expected.dx[i].to_f64(), bound, shape, "dx");
            let bound = coefficients.scale().abs() * dy * (4.0 * u + fold);
            close(found.dx_fixed[i].to_f64(), expected.dx_fixed[i].to_f64(), bound, shape, "fixed dx");
        }
    }
}

#[track_caller]
fn close(found: f64, expected: f64, tolerance: f64, shape: Shape, what: &str) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{what} for {shape}: found {found:e}, expected {expected:e}, off by {:e}, allowed {tolerance:e}",
        (found - expected).abs()
    );
}

/// Large enough for blocks, strips and threads; both layouts.
fn large_shapes() -> [Shape; 4] {
    [(8, 16, 1024), (4, 3, 4100), (4096, 24, 1), (3000, 3, 1)].map(|(o, c, i)| Shape::new(o, c, i).unwrap())
}

/// The project's goal: y within 2e-7 relative RMS of f64, the variance within 1e-6, for data of std 1 about 0,
/// 1e4 and 1e6. An f32 map has about four roundings of at most 2^-24 = 6e-8 each, which add up to 1.2e-7 as
/// root mean square if all were maximal; peers are off by 1e-4 to 1.4 here.
pub fn output_is_accurate_however_large_the_mean(kernels: &impl Kernels<f32>) {
    for mean in [0.0, 1e4, 1e6] {
        for shape in large_shapes() {
            let input = Input::<f32>::normal(shape, mean, 1.0, 11);
            let found = input.through(kernels, EPS);
            // The reference's y, unrounded.
            let mut expected = vec![0f64; shape.len()];
            let wide = widen(&input);
            let y = ViewMut::new("y", shape, &mut expected).unwrap();
            let x = View::new("x", shape, &wide.x).unwrap();
            let mut moments = vec![Moments::EMPTY; shape.channels()];
            let (parameters, coefficients) = (wide.parameters(), &mut unset(shape));
            Reference.forward_train(EPS, parameters, x, Epilogue::None, y, &mut moments, coefficients);
            let error = relative_rms(&found.y, &expected);
            assert!(error <= 2e-7, "y about {mean:e}, {shape}: relative RMS error {error:e}");
            for (found, expected) in found.moments.iter().zip(&moments) {
                let (found, expected) = (found.biased_variance(), expected.biased_variance());
                // Far within the goal of 1e-6: an f64 mean of 1e6 is good to 1e-10 standard deviations, and so
                // are the differences of block means that merging squares. Roundings to f32 have no sign in common:
                // the root of n / 8 groups of rows divides what one is off by. Squares are about a shift up to two deviations from
                // the mean (beyond, they are added up again), so they are up to five times the M2 that is left of them.
                let bound = 1e-9 + 5.0 * near::<f32>(shape) / (shape.positions() as f64 / 8.0).sqrt();
                let off = (found / expected - 1.0).abs();
                assert!(off <= bound, "variance about {mean:e}, {shape}: off by {off:e}, allowed {bound:e}");
            }
        }
    }
}

pub fn gradients_are_accurate_however_large_the_mean(kernels: &impl Kernels<f32>) {
    for mean in [0.0, 1e4, 1e6] {
        for dy_mean in [0.0, 100.0] {
            for shape in large_shapes() {
                let mut input = Input::<f32>::normal(shape, mean, 1.0, 12);
                for dy in &mut input.dy {
                    *dy += dy_mean as f32;
                }
                let found = input.through(kernels, EPS);
                let expected = widen(&input).through(&Reference, EPS);
                let error = relative_rms(&found.dx, &expected.dx);
                // Next to a mean of dy of 100, dx is small: mean(dy xhat) is off by roundings of products of that size, which have no
                // sign in common.
                let groups = shape.positions() as f64 / 8.0;
                let bound = 2e-7 + near::<f32>(shape) * dy_mean / groups.sqrt();
                assert!(error <= bound, "dx about {mean:e}, {shape}: relative RMS error {error:e} > {bound:e}");
                for (found, expected) in found.sums.iter().zip(&expected.sums) {
                    // n terms of size dy |x|, each with a few f64 roundings.
                    let n = shape.positions() as f64;
                    let wide = 2f64.powi(-50) * n * (dy_mean + 5.0) * (mean + 25.0);
                    // Of products by deviations from the mean, whatever it is.
                    let bound = wide + near::<f32>(shape) * n * (dy_mean + 5.0);
                    assert!((found.dy - expected.dy).abs() <= bound, "sum dy about {mean:e}, {shape}");
                    let error = (found.dy_xhat - expected.dy_xhat).abs();
                    assert!(error <= bound, "sum dy xhat about {mean:e}, {shape}: {error:e} > {bound:e}");
                }
            }
        }
    }
}

/// The same input with every number in f64.
pub fn widen(input: &Input<f32>) -> Input<f64> {
    let widen = |values: &[f32]| values.iter().map(|&value| value.into()).collect();
    Input {
        shape: input.shape,
        x: widen(&input.x),
        dy: widen(&input.dy),
        gamma: widen(&input.gamma),
        beta: widen(&input.beta),
    }
}

/// Every epilogue and gate, in f64 so that no z near zero can fall on different sides: there rounding moves z
/// by 1e-15, and no z of this data is that close to 0.
pub fn epilogues_and_gates_agree_with_the_reference(kernels: &impl Kernels<f64>) {
    // Of very few values dx is a difference of nearly equal terms, so that its relative error means nothing.
    for (seed, shape) in shapes().into_iter().filter(|shape| shape.positions() >= 8).enumerate() {
        let input = Input::<f64>::normal(shape, 1.0, 2.0, seed as u64);
        let addend: Vec<f64> = Random::new(99).normals(shape.len(), 0.0, 1.0);
        let x = View::new("x", shape, &input.x).unwrap();
        let addend = View::new("addend", shape, &addend).unwrap();
        let pairs = [
            (Epilogue::Relu, Gate::Relu { x }),
            (Epilogue::LeakyRelu { slope: 0.1 }, Gate::LeakyRelu { x, slope: 0.1 }),
            (Epilogue::AddRelu { addend }, Gate::AddRelu { x, addend }),
        ];
        for (epilogue, gate) in pairs {
            let found = with_epilogue(kernels, &input, epilogue, gate);
            let expected = with_epilogue(&Reference, &input, epilogue, gate);
            for (found, expected) in found.iter().zip(&expected) {
                let error = relative_rms(found, expected);
                // Each result inherits the roundings of sums over n values; ten of them for each term.
                let bound = 2f64.powi(-53) * 10.0 * (shape.positions() as f64 + 10.0);
                assert!(error <= bound, "{epilogue:?}, {shape}: relative RMS error {error:e}");
            }
        }
    }
}

/// y, dx, the addend's gradient, and both sums.
fn with_epilogue(
    kernels: &impl Kernels<f64>,
    input: &Input<f64>,
    epilogue: Epilogue<'_, f64>,
    gate: Gate<'_, f64>,
) -> [Vec<f64>; 5] {
    let (shape, len, channels) = (input.shape, input.shape.len(), input.shape.channels());
    let x = View::new("x", shape, &input.x).unwrap();
    let dy = View::new("dy", shape, &input.dy).unwrap();
    let (mut y, mut dx, mut d_addend) = (vec![0.0; len], vec![0.0; len], vec![0.0; len]);
    let mut moments = vec![Moments::EMPTY; channels];
    let mut sums = vec![GradientSums::default(); channels];
    let mut coefficients = unset(shape);
    kernels.forward_train(
        EPS,
        input.parameters(),
        x,
        epilogue,
        ViewMut::new("y", shape, &mut y).unwrap(),
        &mut moments,
        &mut coefficients,
    );
    kernels.backward(
        &coefficients,
        shape.positions() as u64,
        x,
        dy,
        gate,
        ViewMut::new("dx", shape, &mut dx).unwrap(),
        Some(ViewMut::new("d_addend", shape, &mut d_addend).unwrap()),
        &mut sums,
    );
    let (dy, dy_xhat) = sums.iter().map(|sums| (sums.dy, sums.dy_xhat)).unzip();
    [y, dx, d_addend, dy, dy_xhat]
}
