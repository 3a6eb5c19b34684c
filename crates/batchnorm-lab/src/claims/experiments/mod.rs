//! The claims, one file each, all of the same four parts: the claim with its source, the experiment, the measurement, the
//! rule of the verdict. `seeds` has what several of them share.
//!
//! To add a claim: a file here with a constant [`Claim`], and a line in [`ALL`].

mod accuracy;
mod affine_only;
mod batch_of_one;
mod batch_size;
mod bias_growth;
mod course;
mod drift;
mod figure1;
mod figure3;
mod gradient_flow;
mod gradient_profile;
mod inception;
mod init;
mod landscape;
mod large_steps;
mod learning_rate;
mod memory;
mod placement;
mod regularization;
mod resnet;
mod saturation;
mod scale_invariance;
mod seeds;
mod train_inference;
mod twin_networks;
mod vgg;
mod zero_gamma;

use super::Claim;

/// Every claim, in the order in which they are listed and carried out.
pub const ALL: &[&Claim] = &[
    &figure1::CLAIM,
    &drift::CLAIM,
    &figure3::CLAIM,
    &learning_rate::CLAIM,
    &saturation::CLAIM,
    &init::CLAIM,
    &gradient_flow::CLAIM,
    &regularization::CLAIM,
    &accuracy::CLAIM,
    &batch_size::CLAIM,
    &batch_of_one::CLAIM,
    &train_inference::CLAIM,
    &placement::CLAIM,
    &vgg::CLAIM,
    &inception::CLAIM,
    &resnet::CLAIM,
    &bias_growth::CLAIM,
    &scale_invariance::CLAIM,
    &landscape::CLAIM,
    &large_steps::CLAIM,
    &affine_only::CLAIM,
    &zero_gamma::CLAIM,
    &memory::CLAIM,
];

/// The claim of that name.
///
/// # Errors
///
/// If there is none: with the names nearest to it.
pub fn named(name: &str) -> Result<&'static Claim, UnknownClaim> {
    ALL.iter().copied().find(|claim| claim.name == name).ok_or_else(|| {
        let distance = |claim: &Claim| strsim::damerau_levenshtein(claim.name, &name.to_lowercase());
        let mut near: Vec<(usize, &str)> = ALL.iter().map(|claim| (distance(claim), claim.name)).collect();
        near.sort();
        // As many as are about as near as the nearest, of which there are few unless nothing is near.
        let least = near.first().map_or(0, |first| first.0);
        let contains = |known: &str| name.len() >= 3 && (known.contains(name) || name.contains(known));
        // A part of a name says more than a short name that is no farther away.
        near.sort_by_key(|(_, known)| !contains(known));
        let nearest: Vec<&str> = near
            .iter()
            .filter(|(far, known)| *far <= least.max(1) || contains(known))
            .map(|near| near.1)
            .take(4)
            .collect();
        UnknownClaim { found: name.to_owned(), nearest: nearest.join(", ") }
    })
}

/// A name that no claim has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no claim `{found}`; the nearest: {nearest}. `batchnorm claims` lists all")]
pub struct UnknownClaim {
    /// The name.
    pub found: String,
    /// The names nearest to it.
    pub nearest: String,
}

/// Does the work of a [`Meter`](super::Meter), on the calling thread.
///
/// # Errors
///
/// If the text asks for no work that there is.
pub fn work_in_a_process(work: &str) -> Result<(), String> {
    memory::work(work).unwrap_or_else(|| Err(format!("there is no such work: {work}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_told_the_nearest() {
        assert_eq!(named("figure1").unwrap().name, "figure1");
        assert!(named("figur1").unwrap_err().nearest.contains("figure1"));
        assert!(named("learning_rate").unwrap_err().nearest.contains("learning-rate"));
        assert!(named("rate").unwrap_err().nearest.contains("learning-rate"));
    }

    #[test]
    fn every_claim_says_all_it_has_to() {
        for claim in ALL {
            let parts = [claim.claim, claim.source, claim.experiment, claim.measurement, claim.published];
            assert!(parts.iter().all(|part| part.len() > 20 && part.ends_with('.')), "{}", claim.name);
            assert!(!claim.rules.is_empty(), "{}", claim.name);
            for rule in claim.rules {
                assert!(rule.enough != rule.none, "{}: nothing is mixed", claim.name);
            }
            assert_eq!(ALL.iter().filter(|other| other.name == claim.name).count(), 1);
        }
    }
}
