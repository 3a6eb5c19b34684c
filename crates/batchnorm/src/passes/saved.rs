//! What a backward pass needs to know of its forward pass.

use crate::{Coefficients, Correction, Error, Mask, Moments, Partition, Shape};

use super::Wanted;

/// What a backward pass needs to know of its forward pass, besides x: a few f64 numbers per channel.
///
/// [`forward_into`](super::forward_into) fills one in again, without allocating if it is of as many channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    pub(super) partition: Partition,
    pub(super) eps: f64,
    /// Whether every set is a part of the batch, whose coefficients follow from its moments.
    pub(super) by_part: bool,
    /// One per pair of the partition and channel; by parts, gamma and beta alone, one per channel.
    pub(super) coefficients: Vec<Coefficients>,
    /// One per set and channel (or group of channels); none when the statistics were given.
    pub(super) moments: Option<Vec<Moments>>,
    /// Of a renormalized pass: one per set and channel.
    pub(super) corrections: Option<Vec<Correction>>,
    /// The positions that counted here: all, without a mask.
    pub(super) counted: u64,
    /// The mask's fingerprint, if there was one.
    pub(super) mask: Option<u64>,
    /// Whether the moments are those of all ranks.
    pub(super) synchronized: bool,
}

impl Default for Saved {
    /// Of no forward pass yet, to be filled in: no backward pass fits it.
    fn default() -> Self {
        Self {
            partition: Partition::whole(Shape::EMPTY),
            eps: 0.0,
            by_part: false,
            coefficients: Vec::new(),
            moments: None,
            corrections: None,
            counted: 0,
            mask: None,
            synchronized: false,
        }
    }
}

impl Saved {
    /// The shape of x.
    pub fn shape(&self) -> Shape {
        self.partition.shape()
    }

    /// What was normalized together.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// What each channel was normalized with; of a plan with several sets or banks, one after the other in the order
    /// in which the batch has them. Of ghost batches and of normalization by example, gamma and beta alone (mean 0,
    /// rstd 1): the others follow from the moments.
    pub fn coefficients(&self) -> &[Coefficients] {
        &self.coefficients
    }

    /// What a channel of a slab was normalized with, however that was saved.
    pub(crate) fn coefficients_of(&self, slab: usize, channel: usize) -> Coefficients {
        let partition = &self.partition;
        match &self.moments {
            Some(moments) if self.by_part => {
                let of_set = partition.pair(slab).set * partition.width() + partition.group_of(channel);
                let Coefficients { gamma, beta, .. } = self.coefficients[channel];
                Coefficients::of_batch(&moments[of_set], self.eps, (gamma, beta))
            }
            _ => self.coefficients[partition.place(slab) * partition.shape().channels() + channel],
        }
    }

    /// The batch's own statistics, or `None` when they were given: one per channel, set after set. With normalization by
    /// groups, one per group of each example. Of a synchronized pass, those of all ranks together.
    pub fn batch_moments(&self) -> Option<&[Moments]> {
        self.moments.as_deref()
    }

    /// How the batch's statistics were corrected, if the pass was renormalized: one per channel.
    pub fn corrections(&self) -> Option<&[Correction]> {
        self.corrections.as_deref()
    }

    /// How many positions counted: all, without a mask.
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// Checks that a gradient comes with the mask of the forward pass; a mask that counts everything is as good as none.
    pub(crate) fn check_mask(&self, mask: Option<Mask<'_>>) -> Result<(), Error> {
        let positions = self.shape().positions();
        let found = mask.map_or(positions, |mask| mask.count()) as u64;
        let other = found != positions as u64 && self.mask != mask.map(|mask| mask.fingerprint());
        if found == self.counted && !other {
            return Ok(());
        }
        Err(Error::OtherMask { expected: self.counted, found, positions })
    }

    /// Whether the backward pass has to exchange its sums with the other ranks.
    pub fn is_synchronized(&self) -> bool {
        self.synchronized
    }

    /// The channels whose batch statistics are NaN or infinite, which a layer without running statistics learns
    /// only here; none when the statistics were given.
    pub fn non_finite_channels(&self) -> Vec<usize> {
        let moments = self.moments.as_deref().unwrap_or_default();
        let width = self.partition.width().max(1);
        (0..self.shape().channels())
            .filter(|&channel| {
                let group = self.partition.group_of(channel);
                moments.chunks(width).any(|moments| !moments[group].is_finite())
            })
            .collect()
    }

    /// Whether [`backward`](super::backward) has to read x (without a [`Gate`](crate::Gate), which reads its own).
    ///
    /// With the batch's statistics always; with fixed ones only for gamma's gradient, so that a caller who
    /// does not want that one need not keep x.
    pub fn needs_input(&self, wanted: Wanted) -> bool {
        self.moments.is_some() || wanted.gamma
    }
}
