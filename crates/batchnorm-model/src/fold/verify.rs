//! Whether a folded model still computes the same, in a runtime, on data.
//!
//! Each folded map has a bound on what rounding can do to its outputs ([`batchnorm::fold::Rounding`]). What that comes to at
//! the model's outputs depends on everything behind it, and is found by experiment: the folded weights are moved by what
//! rounding is likely to be at most ([`likely`](batchnorm::fold::Rounding::likely)), up or down at random
//! ([`Options::disturbed`](super::Options)), and the model is run again, twice. By how much its
//! outputs move is by how much rounding could move them; an error in folding (another eps, a channel too far) moves them by
//! more. The bound printed is [`FACTOR`] times the largest move seen of an output, and the rounding of its own numbers.

use crate::runtime::ModelSource;
use crate::runtime::{Array, Runtime, RuntimeError, Session};

/// How much further than in the experiment an output may move: signs drawn at random do not find the worst ones.
pub const FACTOR: f64 = 4.0;
/// Last places of its largest number that an output may be off by in any case: operators behind the last folded map round,
/// too.
const LAST_PLACES: f64 = 8.0;

/// How far an output of the folded model is from that of the original.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The output.
    pub output: String,
    /// The largest of its numbers.
    pub largest: f64,
    /// The largest difference found.
    pub difference: f64,
    /// The most there may be.
    pub bound: f64,
}

impl Difference {
    /// Whether the difference is within the bound, and all numbers are finite where the original's are.
    pub fn is_good(&self) -> bool {
        self.difference <= self.bound
    }
}

/// What a named tensor is given as.
pub type Inputs = Vec<(String, Array)>;

/// Runs the original, the folded model and its disturbed versions on the same inputs.
///
/// # Errors
///
/// If the runtime cannot run one of them, or their outputs are not alike.
pub fn verify(
    runtime: &dyn Runtime,
    original: ModelSource<'_>,
    folded: ModelSource<'_>,
    disturbed: &[ModelSource<'_>],
    inputs: &[Inputs],
) -> Result<Vec<Difference>, RuntimeError> {
    let expected = outputs(&mut *runtime.load(original)?, inputs)?;
    let found = outputs(&mut *runtime.load(folded)?, inputs)?;
    let mut moved = Vec::new();
    for model in disturbed {
        moved.push(outputs(&mut *runtime.load(*model)?, inputs)?);
    }
    let mut differences: Vec<Difference> = Vec::new();
    for (run, given) in expected.iter().enumerate() {
        for (index, (name, values)) in given.iter().enumerate() {
            let folded = &found[run][index].1;
            let largest = values
                .iter()
                .filter(|value| value.is_finite())
                .fold(0.0_f64, |most, value| most.max(value.abs()));
            let difference = apart(values, folded);
            let by_rounding = moved.iter().map(|moved| apart(folded, &moved[run][index].1)).fold(0.0, f64::max);
            let bound = FACTOR * by_rounding + LAST_PLACES * unit(values) * largest;
            match differences.iter_mut().find(|known| known.output == *name) {
                Some(known) => {
                    known.largest = known.largest.max(largest);
                    known.difference = known.difference.max(difference);
                    known.bound = known.bound.max(bound);
                }
                None => differences.push(Difference { output: name.clone(), largest, difference, bound }),
            }
        }
    }
    Ok(differences)
}

/// Half a last place of 1 in the narrowest type that holds all of some numbers.
fn unit(values: &[f64]) -> f64 {
    let single = |value: &f64| f64::from(*value as f32) == *value || value.is_nan();
    let half = |value: &f64| half::f16::from_f64(*value).to_f64() == *value || value.is_nan();
    let brain = |value: &f64| half::bf16::from_f64(*value).to_f64() == *value || value.is_nan();
    let bits = match values {
        values if values.len() > 1 && values.iter().all(brain) => 8,
        values if values.len() > 1 && values.iter().all(half) => 11,
        values if values.iter().all(single) => 24,
        _ => 53,
    };
    2_f64.powi(-bits)
}

/// The largest distance of two numbers; infinite where one is not finite and the other differs, or there are not as many.
fn apart(left: &[f64], right: &[f64]) -> f64 {
    if left.len() != right.len() {
        return f64::INFINITY;
    }
    left.iter().zip(right).fold(0.0, |most, (&left, &right)| {
        let same = left == right || left.is_nan() && right.is_nan();
        let apart = (left - right).abs();
        let apart = if same {
            0.0
        } else if apart.is_nan() {
            f64::INFINITY
        } else {
            apart
        };
        most.max(apart)
    })
}

/// The outputs of each run: names and numbers.
type Outputs = Vec<Vec<(String, Vec<f64>)>>;

fn outputs(session: &mut dyn Session, inputs: &[Inputs]) -> Result<Outputs, RuntimeError> {
    inputs
        .iter()
        .map(|given| {
            let given: Vec<(&str, &Array)> = given.iter().map(|(name, array)| (name.as_str(), array)).collect();
            let outputs = session.run(&given)?;
            Ok(outputs.into_iter().map(|(name, array)| (name, array.to_f64())).collect())
        })
        .collect()
}
