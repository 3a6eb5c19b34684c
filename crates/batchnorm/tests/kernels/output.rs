//! Gradients of which the output alone is read: [`Gate::Output`].

use batchnorm::{
    Coefficients, CpuOn, Element, Gate, GradientSums, Kernels, Reference, View, ViewMut, bf16, f16,
};

use crate::data::{Random, near, unit_roundoff};
use crate::judge::{close, smallest};
use crate::tensors::{assert_same_values, best, pool, sets, shape};

/// Runs, columns, rows; short and few ones, on plain loops; several threads' worth; streamed.
const SHAPES: [(usize, usize, usize); 10] = [
    (3, 5, 17),
    (2, 3, 4097),
    (9, 100, 49),
    (5, 3, 4),
    (12, 4, 1),
    (70, 33, 1),
    (1100, 65, 1),
    (2000, 40, 1),
    (40, 2, 900),
    (1, 300, 700),
];

struct Problem<E: Element> {
    extents: (usize, usize, usize),
    slope: f64,
    y: Vec<E>,
    dy: Vec<E>,
    /// Of z, the output before its activation.
    coefficients: Vec<Coefficients>,
}

struct Found<E> {
    sums: Vec<GradientSums>,
    dx: Vec<E>,
}

impl<E: Element> Problem<E> {
    /// Half of the gammas are negative.
    fn new(extents: (usize, usize, usize), slope: f64) -> Self {
        let (shape, mut random) = (shape(extents), Random::new(7));
        let coefficients = (0..shape.channels()).map(|channel| {
            let gamma = (0.5 + random.uniform()) * if channel % 2 == 0 { 1.0 } else { -1.0 };
            let saved = Coefficients { mean: 3.0, rstd: 0.5, gamma, beta: 0.3 * random.normal() };
            saved.of_output::<E>(channel).unwrap()
        });
        let coefficients = coefficients.collect();
        let y: Vec<E> = random.normals(shape.len(), 0.0, 1.0);
        // As the activation leaves it.
        let y = y.into_iter().map(|y| if y.to_f64() < 0.0 { E::from_f64(slope * y.to_f64()) } else { y });
        Self { extents, slope, y: y.collect(), dy: random.normals(shape.len(), 0.1, 1.0), coefficients }
    }

    fn backward(&self, kernels: &impl Kernels<E>) -> Found<E> {
        let shape = shape(self.extents);
        let (y, dy) = (View::new("y", shape, &self.y).unwrap(), View::new("dy", shape, &self.dy).unwrap());
        let mut sums = vec![GradientSums::default(); shape.channels()];
        let mut dx = vec![E::default(); shape.len()];
        let (gate, out) = (Gate::Output { y, slope: self.slope }, ViewMut::new("dx", shape, &mut dx).unwrap());
        let count = shape.positions() as u64;
        kernels.backward(&self.coefficients, count, y, dy, gate, out, None, &mut sums);
        Found { sums, dx }
    }

    fn judge(&self, found: &Found<E>, expected: &Found<E>) {
        let shape = shape(self.extents);
        let n = shape.positions() as f64;
        let what = format!("{shape}, slope {}", self.slope);
        // z is y times 1 / slope, both rounded to what is computed in: |z| is up to about 6, and |xhat| up to 14.
        let (u, computed) = (unit_roundoff::<E>(), unit_roundoff::<E::Parameter>());
        let (z, xhat) = (6.0, 14.0);
        let fold = 2f64.powi(-53) * (n + 8.0) + near::<E>(shape);
        for (found, expected) in found.sums.iter().zip(&expected.sums) {
            close(found.dy, expected.dy, (5.0 * fold + 2.0 * computed) * n, format_args!("sum dz, {what}"));
            let bound = 5.0 * n * (xhat * fold + 2.0 * computed * z / 0.5 + 2.0 * computed * xhat);
            close(found.dy_xhat, expected.dy_xhat, bound, format_args!("sum dz xhat, {what}"));
        }
        for (i, (found, dx)) in found.dx.iter().zip(&expected.dx).enumerate() {
            let channel = i / shape.inner() % shape.channels();
            let (scale, sums) = (self.coefficients[channel].scale().abs(), expected.sums[channel]);
            let size = self.dy[i].to_f64().abs() + (sums.dy.abs() + xhat * sums.dy_xhat.abs()) / n;
            // Of the sums, and of xhat: as above. Sums are of at most n terms of 5.
            let inherited = 5.0 * (1.0 + xhat) * (fold * xhat + 2.0 * computed * (z / 0.5 + xhat));
            // Each of the two rounds dx once more.
            let bound = scale * (8.0 * computed * size + 2.0 * u * size + inherited) + smallest::<E>();
            close(found.to_f64(), dx.to_f64(), bound, format_args!("dx[{i}], {what}"));
        }
    }
}

fn check<E: Element>()
where
    CpuOn: Kernels<E>,
{
    for extents in SHAPES {
        for slope in [0.125, 0.3, 1.0] {
            let problem = Problem::<E>::new(extents, slope);
            let found = pool(1).install(|| problem.backward(&best()));
            problem.judge(&found, &problem.backward(&Reference));
            for (kernels, threads) in sets().into_iter().flat_map(|set| [(set, 1), (set, 3)]) {
                let same = pool(threads).install(|| problem.backward(&kernels));
                let what = || format!("{extents:?}, {} on {threads}", kernels.instruction_set());
                assert_eq!(same.sums, found.sums, "{}", what());
                assert_same_values(&same.dx, &found.dx, &what);
            }
        }
    }
}

#[test]
fn gradients_from_the_output_agree_with_the_reference_and_are_the_same_bits_everywhere() {
    check::<f32>();
    check::<f64>();
}

#[test]
fn gradients_from_the_output_of_half_types() {
    check::<bf16>();
    check::<f16>();
}
