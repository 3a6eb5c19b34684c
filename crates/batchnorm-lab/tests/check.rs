//! The check finds what is wrong, and nothing where nothing is.

use std::sync::atomic::{AtomicBool, Ordering};

use batchnorm::{
    Coefficients, Cpu, Element, Epilogue, Gate, GradientMeans, GradientSums, Kernels, Moments, Reference, View,
    ViewMut,
};
use batchnorm_lab::check::{Limit, Outcome, Problem, Subject, Work, carry_out, subjects};

fn check(subjects: &[Subject], problems: u64) -> Outcome {
    carry_out(subjects, 1, Limit::Problems(problems), &mut |_| true).unwrap()
}

#[test]
fn the_kernels_of_this_machine_are_as_accurate_as_they_say() {
    let outcome = check(&subjects(), 96);
    assert!(outcome.is_good(), "{outcome:#?}");
    // Every work and type has a row, with something measured in it.
    let sets = subjects().len();
    assert!(outcome.rows.len() >= 20 * sets, "{outcome:#?}");
    assert!(outcome.rows.iter().all(|row| row.runs > 0 && row.error.is_finite() && row.error <= row.bound));
}

#[test]
fn the_reference_agrees_with_itself() {
    let outcome = check(&[Subject::new("reference", Reference)], 96);
    assert!(outcome.is_good(), "{outcome:#?}");
}

/// What a kernel does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The mean rounded to f32, as many libraries have it.
    RoundedMean,
    /// The last element of the output is not written.
    Unwritten,
    /// One term of the sums is missing.
    MissingTerm,
    /// The gate is left out.
    Ungated,
    /// Another result every second time.
    Moody,
    /// It ends.
    Panics,
}

/// The CPU's kernels with a fault.
#[derive(Clone, Copy, Debug)]
struct Faulty(Fault);

static MOOD: AtomicBool = AtomicBool::new(false);

impl<E: Element> Kernels<E> for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn moments(&self, x: View<'_, E>, moments: &mut [Moments]) {
        assert!(self.0 != Fault::Panics, "a fault on purpose");
        Cpu.moments(x, moments);
        for moments in moments {
            if self.0 == Fault::RoundedMean {
                moments.mean = f64::from(moments.mean as f32);
            }
        }
    }

    fn normalize(
        &self,
        coefficients: &[Coefficients],
        x: View<'_, E>,
        epilogue: Epilogue<'_, E>,
        mut y: ViewMut<'_, E>,
    ) {
        assert!(self.0 != Fault::Panics, "a fault on purpose");
        Cpu.normalize(coefficients, x, epilogue, y.reborrow());
        let last = y.data().last_mut().unwrap();
        match self.0 {
            Fault::Unwritten => *last = E::from_f64(f64::NAN),
            // One unit in the last place: far within every bound.
            Fault::Moody if MOOD.fetch_xor(true, Ordering::Relaxed) => {
                let size = if size_of::<E>() == 4 { 2f64.powi(-23) } else { f64::EPSILON };
                *last = E::from_f64(last.to_f64() * (1.0 + size) + f64::from(f32::MIN_POSITIVE));
            }
            _ => {}
        }
    }

    fn gradient_sums(
        &self,
        coefficients: &[Coefficients],
        x: Option<View<'_, E>>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        sums: &mut [GradientSums],
    ) {
        assert!(self.0 != Fault::Panics, "a fault on purpose");
        let gate = if self.0 == Fault::Ungated { Gate::None } else { gate };
        Cpu.gradient_sums(coefficients, x, dy, gate, sums);
        if self.0 == Fault::MissingTerm && !matches!(gate, Gate::Relu { .. } | Gate::AddRelu { .. }) {
            let first = dy.data()[0].to_f64();
            sums[0].dy -= if first.is_finite() { first } else { 1.0 };
        }
    }

    fn input_gradient(
        &self,
        coefficients: &[Coefficients],
        batch: Option<(View<'_, E>, &[GradientMeans])>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        dx: ViewMut<'_, E>,
        d_addend: Option<ViewMut<'_, E>>,
    ) {
        Cpu.input_gradient(coefficients, batch, dy, gate, dx, d_addend);
    }
}

#[test]
fn what_is_wrong_is_found() {
    let faults = [
        (Fault::RoundedMean, "is off by"),
        (Fault::Unwritten, "y is off by inf"),
        (Fault::MissingTerm, "sum(dy) is off by"),
        (Fault::Ungated, "sum(dy) is off by"),
        (Fault::Moody, "other bits than faulty on one thread"),
        (Fault::Panics, "it panicked"),
    ];
    for (fault, what) in faults {
        let outcome = check(&[Subject::new("faulty", Faulty(fault))], 100);
        assert!(!outcome.is_good(), "{fault:?} was not found");
        let failures: Vec<_> = outcome.rows.iter().filter_map(|row| row.failure.as_ref()).collect();
        assert!(failures.iter().any(|failure| failure.what.contains(what)), "{fault:?}: {failures:#?}");
    }
}

#[test]
fn a_failure_can_be_tried_again_by_its_number() {
    let faulty = [Subject::new("faulty", Faulty(Fault::Unwritten))];
    let outcome = check(&faulty, 20);
    let failure = outcome.rows.iter().find_map(|row| row.failure.as_ref()).unwrap();
    let number: u64 = failure.command.split("--problem ").nth(1).unwrap().parse().unwrap();
    assert!(failure.command.starts_with("batchnorm check --seed 1 --problem "));
    let again = carry_out(&faulty, 1, Limit::Only(number), &mut |_| true).unwrap();
    assert_eq!(again.problems, 1);
    assert_eq!(again.rows[0].failure.as_ref().unwrap().problem, failure.problem);
    assert!(Problem::draw(1, number).work != Work::Backward);
}

#[test]
fn subjects_that_disagree_are_found() {
    // Both are within every bound, and not the same.
    let outcome = check(&[Subject::new("cpu", Cpu), Subject::new("reference", Reference)], 20);
    let failures: Vec<_> = outcome.rows.iter().filter_map(|row| row.failure.as_ref()).collect();
    assert!(
        failures.iter().all(|failure| failure.what == "other bits than cpu on one thread"),
        "{failures:#?}"
    );
    assert!(!failures.is_empty());
}

#[test]
fn a_check_stops_when_it_is_told_to() {
    let outcome =
        carry_out(&subjects(), 1, Limit::Problems(1000), &mut |progress| progress.problems < 3).unwrap();
    assert_eq!(outcome.problems, 3);
}
