//! The variants as their papers write them: loops over examples in f64, and how far a correct result may lie from them.
//!
//! For the values x of one population (those that share a mean and a variance) of m values, with the corrections r and d
//! of batch renormalization (1 and 0 in all other variants):
//!
//! ```text
//! mu = sum(x) / m,    sigma = sqrt(sum((x - mu)^2) / m + eps)
//! v = (x - mu) / sigma r + d,    z = gamma v + beta,    y = activation(z + addend)
//!
//! dv    = dz gamma
//! dsigma = sum(dv (x - mu)) (-r / sigma^2),    dmu = sum(dv) (-r / sigma)
//! dx    = dv r / sigma + dsigma (x - mu) / (m sigma) + dmu / m
//! ```
//!
//! That is Ioffe 2017 (arXiv 1702.03275), Algorithm 1 and the equations below it; with r = 1 and d = 0 it is Ioffe & Szegedy
//! 2015, section 3, by the chain rule and not, as in the engine, with the sums taken together.
//!
//! # Tolerances
//!
//! As in `goldens/tolerance.rs`: u is half a unit in the last place, X the largest |x|, s the deviation. Two sums of m
//! terms differ by at most `2 (m + 8) u` of the terms' magnitudes, in f64 on both sides. So
//!
//! ```text
//! e(mu) = 2 (m + 8) u64 X        e(var) = 2 (m + 8) u64 (s^2 + s X)        e(rstd) / rstd = e(var) / (2 (var + eps)) + 8 u
//! e(xhat) = rstd e(mu) + |xhat| e(rstd) / rstd
//! e(v)  = r e(xhat) + r |xhat| e(rstd) / rstd + e(mu) / sigma_running + 8 u |d|       (the last three: renormalized)
//! e(z)  = |gamma| e(v) + 8 u of its terms
//! e(dx) = max|gamma| r rstd max|dz| (2 e(rstd) / rstd (2 + |xhat|) + (2 e(xhat) + 2 (m + 8) u64) (1 + |xhat|))
//! e(d gamma) = sum|dz| e(v) + 2 (M + 8) u64 sum|dz v| over all M values,    e(d beta) = 2 (M + 8) u64 sum|dz|
//! ```
//!
//! where u is that of the tensor's type in y and dx, and f64's in the sums, which are taken in f64 from x whatever the type. Columns
//! (runs of less than 64 elements) of f32 are added up in f32 over sixteen rows, which is eleven roundings more (`data::near`): of x's range in
//! e(mu), of squares of up to 5 s^2 in e(var), of dz |xhat| in d gamma, of dz in d beta, and of these in dx.
//! Normalization by groups is the exception: its sums may be taken over xhat as it is rounded to the tensor's type.

use batchnorm::{RenormLimits, Spread};

use crate::data::{near, unit_roundoff};
use crate::problem::{Activation, Problem, Rule, SLOPE, Together};

/// A value, and how far another may lie from it.
pub type Figure = (f64, f64);

#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub y: Vec<Figure>,
    pub dx: Vec<Figure>,
    pub d_addend: Vec<Figure>,
    pub dgamma: Vec<Figure>,
    pub dbeta: Vec<Figure>,
    /// Count, mean and biased variance of every population; empty where the statistics were given.
    pub moments: Vec<(u64, Figure, Figure)>,
    /// r and d of every population of a renormalized problem.
    pub corrections: Vec<(Figure, Figure)>,
    /// The mean and variance that every population was normalized with.
    pub used: Vec<(f64, f64)>,
    /// What the activation was applied to.
    pub z: Vec<f64>,
    /// The population of every element.
    pub population: Vec<usize>,
}

/// An example, a channel and a position.
type Place = (usize, usize, usize);

/// The values that share statistics: population after population, in the order in which the engine reports them.
pub fn populations(problem: &Problem) -> Vec<Vec<Place>> {
    let extents = problem.extents;
    let (examples, channels) = (extents.examples, extents.channels);
    let at = |example, channel| (0..extents.positions()).map(move |position| (example, channel, position));
    let mut all = Vec::new();
    match &problem.together {
        Together::Batch => {
            for channel in 0..channels {
                all.push((0..examples).flat_map(|example| at(example, channel)).collect());
            }
        }
        Together::Chunks(size) => {
            let order: Vec<usize> = (0..examples).collect();
            for chunk in order.chunks(*size) {
                for channel in 0..channels {
                    all.push(chunk.iter().flat_map(|&example| at(example, channel)).collect());
                }
            }
        }
        Together::Groups(groups) => {
            let order: Vec<usize> = (0..channels).collect();
            for example in 0..examples {
                for group in order.chunks(channels / groups) {
                    all.push(group.iter().flat_map(|&channel| at(example, channel)).collect());
                }
            }
        }
        Together::Domains(domains) => {
            for domain in 0..domains.count {
                for channel in 0..channels {
                    let members = (0..examples).filter(|&example| domains.of[example] == domain);
                    all.push(members.flat_map(|example| at(example, channel)).collect());
                }
            }
        }
    }
    all
}

const FEW: f64 = 8.0;
const U64: f64 = f64::EPSILON / 2.0;

fn sums(terms: usize) -> f64 {
    2.0 * (terms as f64 + FEW) * U64
}

/// What a population is normalized with.
struct Normal {
    mean: f64,
    variance: f64,
    mean_error: f64,
    variance_error: f64,
    r: f64,
    d: f64,
    /// e(r) / r and e(d).
    correction_errors: (f64, f64),
    gradient_flows: bool,
}

fn normal(problem: &Problem, population: usize, channel: usize, batch: (usize, Figure, Figure)) -> Normal {
    let sets = problem.given.len();
    let set = if sets == 1 { 0 } else { population / problem.extents.channels };
    let given = || (problem.given[set].0[channel], problem.given[set].1[channel]);
    let (count, (mean, mean_error), (variance, variance_error)) = batch;
    let own = Normal {
        mean,
        variance,
        mean_error,
        variance_error,
        r: 1.0,
        d: 0.0,
        correction_errors: (0.0, 0.0),
        gradient_flows: true,
    };
    match problem.rule {
        Rule::Batch => own,
        Rule::Fixed => {
            let (mean, variance) = given();
            Normal { mean, variance, mean_error: 0.0, variance_error: 0.0, gradient_flows: false, ..own }
        }
        Rule::Renorm(_) if count == 0 => own,
        Rule::Renorm(RenormLimits { r_max, d_max }) => {
            let (running_mean, running_variance) = given();
            let sigma = (running_variance + problem.eps).sqrt();
            let sigma_b = (variance + problem.eps).sqrt();
            let r = (sigma_b / sigma).clamp(1.0 / r_max, r_max);
            let d = ((mean - running_mean) / sigma).clamp(-d_max, d_max);
            let of_r = variance_error / (2.0 * (variance + problem.eps)) + FEW * U64;
            let of_d = mean_error / sigma + FEW * U64 * d.abs();
            Normal { r, d, correction_errors: (of_r, of_d), ..own }
        }
        Rule::Blend(_) if count == 0 => {
            let (mean, variance) = given();
            Normal { mean, variance, gradient_flows: false, ..own }
        }
        Rule::Blend(blend) => {
            let ((source, source_variance), w) = (given(), blend.weight);
            let apart = mean - source;
            let mixed = match blend.spread {
                Spread::Convex => 0.0,
                Spread::Mixture => w * (1.0 - w) * apart * apart,
            };
            Normal {
                mean: (1.0 - w) * source + w * mean,
                variance: (1.0 - w) * source_variance + w * variance + mixed,
                mean_error: mean_error + FEW * U64 * (mean.abs() + source.abs()),
                variance_error: variance_error
                    + 2.0 * apart.abs() * mean_error
                    + FEW * U64 * (variance + source_variance + mixed),
                gradient_flows: false,
                ..own
            }
        }
    }
}

fn activation(kind: Activation, z: f64) -> (f64, f64) {
    match kind {
        Activation::None => (z, 1.0),
        _ if z > 0.0 => (z, 1.0),
        Activation::LeakyRelu => (SLOPE * z, SLOPE),
        Activation::Relu | Activation::AddRelu => (0.0, 0.0),
    }
}

/// All results, with bounds for maps in a type of unit roundoff `unit`.
pub fn expected(problem: &Problem, unit: f64) -> Expected {
    let (extents, eps) = (problem.extents, problem.eps);
    let len = extents.shape().len();
    let parameters = problem.banks() * extents.channels;
    let none = (0.0, 0.0);
    let mut results = Expected {
        y: vec![none; len],
        dx: vec![none; len],
        d_addend: vec![none; len],
        dgamma: vec![none; parameters],
        dbeta: vec![none; parameters],
        // A masked value is on no side of 0.
        z: vec![1.0; len],
        population: vec![usize::MAX; len],
        ..Expected::default()
    };
    let unit_of_sums = match problem.together {
        Together::Groups(groups) if groups < extents.channels => unit,
        _ => U64,
    };
    let roundings_of_sums = sums(extents.examples * extents.positions());
    let near = if unit == unit_roundoff::<f32>() { near::<f32>(extents.shape()) } else { 0.0 };
    for (at, places) in populations(problem).into_iter().enumerate() {
        for &(example, channel, position) in &places {
            results.population[extents.index(example, channel, position)] = at;
        }
        let counted: Vec<Place> = places.into_iter().filter(|&(n, _, s)| problem.counts(n, s)).collect();
        let value =
            |&(example, channel, position): &Place| problem.x[extents.index(example, channel, position)];
        let m = counted.len();
        let mean = if m == 0 { 0.0 } else { counted.iter().map(value).sum::<f64>() / m as f64 };
        let squares: f64 = counted.iter().map(|place| (value(place) - mean).powi(2)).sum();
        let variance = squares / m.max(1) as f64;
        let largest = counted.iter().map(|place| value(place).abs()).fold(0.0, f64::max);
        let smallest = counted.iter().map(value).fold(f64::INFINITY, f64::min);
        let range = counted.iter().map(|place| value(place) - smallest).fold(0.0, f64::max);
        let mean = (mean, sums(m) * largest + near * range);
        let variance = (variance, sums(m) * (variance + variance.sqrt() * largest) + 5.0 * near * variance);
        if matches!(problem.rule, Rule::Batch | Rule::Renorm(_)) {
            results.moments.push((m as u64, mean, variance));
        }
        let used = normal(problem, at, at % extents.channels, (m, mean, variance));
        if matches!(problem.rule, Rule::Renorm(_)) {
            let (of_r, of_d) = used.correction_errors;
            results.corrections.push(((used.r, used.r * of_r), (used.d, of_d)));
        }
        let Normal { mean: mu, r, d, .. } = used;
        results.used.push((mu, used.variance));
        let sigma = (used.variance + eps).sqrt();
        let relative = |unit: f64| used.variance_error / (2.0 * (used.variance + eps)) + FEW * unit;
        // e(v), with maps or sums of this unit.
        let error = |xhat: f64, unit: f64| {
            let of_xhat = used.mean_error / sigma + xhat.abs() * relative(unit);
            let (of_r, of_d) = used.correction_errors;
            r * (of_xhat + xhat.abs() * of_r) + of_d + FEW * unit * d.abs()
        };
        let of = |&(example, channel, _): &Place| {
            let at = problem.bank(example) * extents.channels + channel;
            let (gamma, beta) = (problem.gamma.as_ref(), problem.beta.as_ref());
            (at, gamma.map_or(1.0, |gamma| gamma[at]), beta.map_or(0.0, |beta| beta[at]))
        };

        // Forward, and dz.
        let mut dz = Vec::with_capacity(m);
        for place in &counted {
            let i = extents.index(place.0, place.1, place.2);
            let (at, gamma, beta) = of(place);
            let addend = if problem.activation == Activation::AddRelu { problem.addend[i] } else { 0.0 };
            let xhat = (problem.x[i] - mu) / sigma;
            let v = xhat * r + d;
            let z = gamma * v + beta + addend;
            let (y, slope) = activation(problem.activation, z);
            let terms = (gamma * xhat * r).abs() + (gamma * d).abs() + beta.abs() + addend.abs();
            results.z[i] = z;
            results.y[i] = (y, gamma.abs() * error(xhat, unit) + FEW * unit * terms);
            let gradient = slope * problem.dy[i];
            results.d_addend[i] = (gradient, FEW * unit * gradient.abs());
            results.dgamma[at].0 += gradient * v;
            let of_sums = roundings_of_sums * v.abs() + near * (v.abs() + xhat.abs());
            results.dgamma[at].1 += gradient.abs() * (error(xhat, unit_of_sums) + of_sums);
            results.dbeta[at].0 += gradient;
            results.dbeta[at].1 += gradient.abs() * (roundings_of_sums + near);
            dz.push(gradient);
        }

        // Backward.
        let dv: Vec<f64> = dz.iter().zip(&counted).map(|(dz, place)| dz * of(place).1).collect();
        let deviations = || counted.iter().map(|place| value(place) - mu);
        let dsigma = dv.iter().zip(deviations()).map(|(dv, x)| dv * x).sum::<f64>() * (-r / (sigma * sigma));
        let dmu = dv.iter().sum::<f64>() * (-r / sigma);
        let largest = |values: &[f64]| values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let largest_gamma = counted.iter().map(|place| of(place).1.abs()).fold(0.0, f64::max);
        let size = largest_gamma * r / sigma * largest(&dz);
        for ((place, dv), deviation) in counted.iter().zip(&dv).zip(deviations()) {
            let i = extents.index(place.0, place.1, place.2);
            let xhat = (deviation / sigma).abs();
            let relative = 2.0 * relative(unit) + used.correction_errors.0;
            results.dx[i] = if used.gradient_flows {
                let dx = dv * r / sigma + dsigma * deviation / (m as f64 * sigma) + dmu / m as f64;
                let of_xhat = used.mean_error / sigma + xhat * relative;
                let of_near = size * 3.0 * near * (1.0 + xhat);
                (dx, size * (relative * (2.0 + xhat) + (2.0 * of_xhat + sums(m)) * (1.0 + xhat)) + of_near)
            } else {
                (dv / sigma, (dv / sigma).abs() * relative)
            };
        }
    }
    results
}
