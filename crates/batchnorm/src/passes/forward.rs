//! The forward pass of every plan.
//!
//! ```text
//! for each slab:   moments of its rows                     fold
//! for each set:    merge the moments of its slabs, in the order of the batch; then those of all ranks
//! for each pair:   coefficients of its set and its bank    arithmetic on C numbers
//! for each slab:   y = epilogue(gamma rstd (x - mean) + beta)   map
//! ```
//!
//! Deviation from this pseudo-code:
//! 1. Plain batch normalization is one call of the kernels, which may fuse fold and map.
//! 2. Ghost batches and normalization by groups of channels have a file of their own, [`local`](super::local); so have short
//!    runs of rows of several banks, which are brought together first, [`gathered`](super::gathered).

use super::gathered::{self, Gathered};
use super::local::Local;
use super::plan::{Plan, Statistics, given};
use super::{Saved, check_shape, check_tensors, ranks, slabs};
use crate::{
    Blend, Coefficients, Correction, Element, Epilogue, Error, Kernels, Moments, Parameters, Partition, Policy,
    Shape, View, ViewMut, coefficients,
};

/// Carries out a plan: the forward pass of every variant.
///
/// ```text
/// y = epilogue(gamma (x - mean) / sqrt(variance + eps) + beta)
/// ```
///
/// with gamma and beta of the example's bank, and mean and variance of its statistics set. x may have a
/// [`Mask`](crate::Mask).
///
/// # Errors
///
/// Those of [`forward_train`](super::forward_train) and [`forward_fixed`](super::forward_fixed);
/// [`Error::SetsMismatch`] and [`Error::Incompatible`] if the plan contradicts itself; of a synchronized pass
/// [`Error::RanksDisagree`], [`Error::RankLeft`] and [`Error::Exchange`].
pub fn forward<E: Element>(
    kernels: &impl Kernels<E>,
    plan: &Plan<'_, E::Parameter>,
    x: View<'_, E>,
    epilogue: Epilogue<'_, E>,
    y: ViewMut<'_, E>,
) -> Result<Saved, Error> {
    let mut saved = Saved::default();
    forward_into(kernels, plan, x, epilogue, y, &mut saved)?;
    Ok(saved)
}

/// [`forward`], in the memory of an earlier `saved`: batch normalization of as many channels allocates nothing.
///
/// # Errors
///
/// Those of [`forward`]; `saved` is then of no pass.
pub fn forward_into<E: Element>(
    kernels: &impl Kernels<E>,
    plan: &Plan<'_, E::Parameter>,
    x: View<'_, E>,
    epilogue: Epilogue<'_, E>,
    y: ViewMut<'_, E>,
    saved: &mut Saved,
) -> Result<(), Error> {
    let memory = std::mem::take(saved);
    let checked = plan
        .check()
        .and_then(|()| check_shape("x", plan.partition.shape(), x.shape()))
        .and_then(|()| check_tensors(x.shape(), epilogue, &y));
    if let Err(error) = checked {
        if let (Some(exchange), false) = (plan.exchange, matches!(plan.statistics, Statistics::Fixed(_))) {
            ranks::tell_failure(exchange);
        }
        return Err(error);
    }
    if let Some(gathered) = Gathered::of(&plan.partition) {
        *saved = gathered::forward(gathered, kernels, plan, x, epilogue, y)?;
        return Ok(());
    }
    let job = Job { kernels, plan, x, epilogue };
    let by_part = job.is_by_part();
    let (coefficients, moments, corrections) = match plan.statistics {
        Statistics::Fixed(_) => {
            let coefficients = job.fixed(memory.coefficients)?;
            job.map(&coefficients, y);
            (coefficients, None, None)
        }
        Statistics::Batch if plan.exchange.is_none() && (is_plain(&plan.partition) || by_part) => {
            let (coefficients, moments) = job.at_once(y, memory);
            job.check(&coefficients, &moments)?;
            (coefficients, Some(moments), None)
        }
        _ => {
            let moments = job.moments()?;
            let corrections = job.corrections(&moments)?;
            let coefficients = job.coefficients(&moments, corrections.as_deref())?;
            let blended = matches!(plan.statistics, Statistics::Blended { .. });
            if !blended {
                job.check(&coefficients, &moments)?;
            }
            job.map(&coefficients, y);
            (coefficients, (!blended).then_some(moments), corrections)
        }
    };
    *saved = Saved {
        partition: plan.partition.clone(),
        eps: plan.config.eps,
        by_part,
        coefficients,
        synchronized: plan.exchange.is_some() && moments.is_some(),
        moments,
        corrections,
        mask: x.mask().map(|mask| mask.fingerprint()),
        counted: x.mask().map_or(x.shape().positions(), |mask| mask.count()) as u64,
    };
    Ok(())
}

/// [`forward_into`] where y overwrites x: batch normalization by the batch's own statistics or given ones.
///
/// Statistics are checked by their policies after the pass, as always: where they are refused, `data` may be lost.
///
/// # Errors
///
/// Those of [`forward`]; [`Error::Incompatible`] for a plan with more than one set of values.
pub fn forward_in_place<E: Element>(
    kernels: &impl Kernels<E>,
    plan: &Plan<'_, E::Parameter>,
    epilogue: Epilogue<'_, E>,
    mut data: ViewMut<'_, E>,
    saved: &mut Saved,
) -> Result<(), Error> {
    let memory = std::mem::take(saved);
    plan.check()?;
    check_shape("data", plan.partition.shape(), data.shape())?;
    check_tensors(data.shape(), epilogue, &data)?;
    let plain = matches!(plan.statistics, Statistics::Batch | Statistics::Fixed(_)) && plan.exchange.is_none();
    if !plain || !is_plain(&plan.partition) {
        return Err(Error::Incompatible {
            first: "a forward pass in place",
            second: "a variant",
            reason: "the input is overwritten before all of it was seen",
        });
    }
    // Of x itself, the job only reads the shape here.
    let x = View::new("x", Shape::EMPTY, &[])?;
    let job = Job { kernels, plan, x, epilogue };
    let (coefficients, moments) = match plan.statistics {
        Statistics::Fixed(_) => {
            let coefficients = job.fixed(memory.coefficients)?;
            kernels.normalize_in_place(&coefficients, epilogue, data.reborrow());
            (coefficients, None)
        }
        _ => {
            let (width, pair) = (job.channels(), plan.partition.pair(0));
            let mut moments = refilled(memory.moments.unwrap_or_default(), width, Moments::EMPTY);
            let mut coefficients = refilled(memory.coefficients, width, Coefficients::IDENTITY);
            let (eps, parameters) = (plan.config.eps, job.parameters(pair.bank));
            let data = data.reborrow();
            kernels.forward_train_in_place(eps, parameters, epilogue, data, &mut moments, &mut coefficients);
            job.check(&coefficients, &moments)?;
            (coefficients, Some(moments))
        }
    };
    *saved = Saved {
        partition: plan.partition.clone(),
        eps: plan.config.eps,
        coefficients,
        moments,
        counted: data.shape().positions() as u64,
        ..Saved::default()
    };
    Ok(())
}

/// Whether everything is one set.
fn is_plain(partition: &Partition) -> bool {
    partition.slabs() == 1 && partition.groups().is_none()
}

/// The vector again, with `len` times `value`.
fn refilled<T: Copy>(mut vector: Vec<T>, len: usize, value: T) -> Vec<T> {
    vector.clear();
    vector.resize(len, value);
    vector
}

struct Job<'a, E: Element, K> {
    kernels: &'a K,
    plan: &'a Plan<'a, E::Parameter>,
    x: View<'a, E>,
    epilogue: Epilogue<'a, E>,
}

impl<'a, E: Element, K: Kernels<E>> Job<'a, E, K> {
    /// Whether every set is a part of the batch that can be dealt with alone.
    fn is_by_part(&self) -> bool {
        let own = matches!(self.plan.statistics, Statistics::Batch) && self.plan.exchange.is_none();
        own && Local::is_for(self.partition())
    }

    fn partition(&self) -> &'a Partition {
        &self.plan.partition
    }

    fn channels(&self) -> usize {
        self.partition().shape().channels()
    }

    /// gamma and beta of a bank.
    fn parameters(&self, bank: usize) -> Parameters<'a, E::Parameter> {
        let channels = self.channels();
        let of = |values: Option<&'a [E::Parameter]>| {
            values.map(|values| &values[bank * channels..(bank + 1) * channels])
        };
        Parameters { gamma: of(self.plan.parameters.gamma), beta: of(self.plan.parameters.beta) }
    }

    /// Folds and maps set by set.
    fn at_once(&self, y: ViewMut<'_, E>, memory: Saved) -> (Vec<Coefficients>, Vec<Moments>) {
        let (partition, eps, channels) = (self.partition(), self.plan.config.eps, self.channels());
        let width = partition.width();
        // Sets without examples in this batch stay empty.
        let mut moments =
            refilled(memory.moments.unwrap_or_default(), partition.sets() * width, Moments::EMPTY);
        if is_plain(partition) {
            let pair = partition.pair(0);
            let (parameters, of_set) = (self.parameters(pair.bank), &mut moments[pair.set * width..][..width]);
            let mut coefficients = refilled(memory.coefficients, width, Coefficients::IDENTITY);
            let (x, epilogue) = (self.x, self.epilogue);
            self.kernels.forward_train(eps, parameters, x, epilogue, y, of_set, &mut coefficients);
            return (coefficients, moments);
        }
        let parameters = self.parameters(0);
        let affine: Vec<_> = (0..channels)
            .map(|channel| {
                let (gamma, beta) = parameters.of(channel);
                Coefficients { gamma, beta, ..Coefficients::IDENTITY }
            })
            .collect();
        let local = Local::new(partition, eps, &affine, self.x.mask().is_some());
        local.forward(self.kernels, self.x, self.epilogue, y, &mut moments);
        (affine, moments)
    }

    /// The moments of every set, of all ranks.
    fn moments(&self) -> Result<Vec<Moments>, Error> {
        let partition = self.partition();
        let width = partition.width();
        let mut of_slabs = vec![Moments::EMPTY; partition.slabs() * width];
        slabs::for_each(partition, of_slabs.chunks_mut(width).collect(), |slab, moments| {
            self.kernels.moments(self.x.rows(partition.rows(slab)), moments);
        });
        let mut merged = vec![Moments::EMPTY; partition.sets() * width];
        for (slab, moments) in of_slabs.chunks(width).enumerate() {
            let set = partition.pair(slab).set;
            for (merged, moments) in merged[set * width..].iter_mut().zip(moments) {
                *merged = merged.merge(*moments);
            }
        }
        if let Some(exchange) = self.plan.exchange {
            let limits = match self.plan.statistics {
                Statistics::Renormalized { limits, .. } => Some(limits),
                _ => None,
            };
            ranks::merge_moments(exchange, self.channels(), self.plan.config.eps, limits, &mut merged)?;
        }
        Ok(merged)
    }

    /// Of a renormalized pass: the correction of every set and channel.
    fn corrections(&self, moments: &[Moments]) -> Result<Option<Vec<Correction>>, Error> {
        let Statistics::Renormalized { limits, towards } = self.plan.statistics else { return Ok(None) };
        let (channels, eps) = (self.channels(), self.plan.config.eps);
        let of = |(i, moments): (usize, &Moments)| {
            let (given, channel) = (given(towards, i / channels), i % channels);
            let (mean, variance) = (given.mean[channel].to_f64(), given.variance[channel].to_f64());
            if moments.count > 0 {
                coefficients::checked(channel, mean, variance, eps, (1.0, 0.0))?;
            }
            Ok(limits.correction(moments, mean, variance, eps))
        };
        moments.iter().enumerate().map(of).collect::<Result<_, _>>().map(Some)
    }

    /// Coefficients of every pair from the moments of its set.
    fn coefficients(
        &self,
        moments: &[Moments],
        corrections: Option<&[Correction]>,
    ) -> Result<Vec<Coefficients>, Error> {
        let (partition, eps, channels) = (self.partition(), self.plan.config.eps, self.channels());
        let mut coefficients = Vec::with_capacity(partition.pairs().len() * channels);
        for pair in partition.pairs() {
            let parameters = self.parameters(pair.bank);
            for channel in 0..channels {
                let at = pair.set * channels + channel;
                let (gamma, beta) = parameters.of(channel);
                coefficients.push(match self.plan.statistics {
                    Statistics::Blended { blend, with } => {
                        let given = given(with, pair.set);
                        let source = (given.mean[channel].to_f64(), given.variance[channel].to_f64());
                        self.check_blended(blend, pair.set, channel, &moments[at], source)?;
                        let (mean, variance) = blend.of(&moments[at], source.0, source.1);
                        Coefficients::new(mean, variance, eps, (gamma, beta))
                    }
                    _ => {
                        let Correction { r, d } = corrections.map_or(Correction::NONE, |all| all[at]);
                        // y = gamma (xhat r + d) + beta
                        Coefficients::of_batch(&moments[at], eps, (gamma * r, beta + gamma * d))
                    }
                });
            }
        }
        if matches!(self.plan.statistics, Statistics::Blended { .. }) {
            coefficients::check_scales::<E::Parameter>(&coefficients)?;
        }
        Ok(coefficients)
    }

    /// What is mixed of a channel: given statistics as they are checked elsewhere, the batch's by the policies.
    fn check_blended(
        &self,
        blend: Blend,
        set: usize,
        channel: usize,
        own: &Moments,
        (mean, variance): (f64, f64),
    ) -> Result<(), Error> {
        let config = self.plan.config;
        if blend.weight < 1.0 || own.count == 0 {
            coefficients::checked(channel, mean, variance, config.eps, (1.0, 0.0))?;
        }
        if blend.weight == 0.0 || own.count == 0 {
            return Ok(());
        }
        if blend.weight == 1.0 {
            if own.count == 1 && config.one_value == Policy::Error {
                return Err(self.one_value(set));
            }
            if own.biased_variance() + config.eps == 0.0 {
                return Err(Error::ZeroVariance { channel });
            }
        }
        if config.non_finite == Policy::Error && !own.is_finite() {
            let (mean, variance) = (own.mean, own.biased_variance());
            return Err(Error::NonFiniteStatistics { channel, mean, variance });
        }
        Ok(())
    }

    /// Coefficients of every pair from given statistics.
    fn fixed(&self, memory: Vec<Coefficients>) -> Result<Vec<Coefficients>, Error> {
        let Statistics::Fixed(all) = self.plan.statistics else { unreachable!("asked for given statistics") };
        let mut coefficients = memory;
        coefficients.clear();
        for pair in self.partition().pairs() {
            let (given, parameters) = (given(all, pair.set), self.parameters(pair.bank));
            let eps = self.plan.config.eps;
            coefficients::of_statistics(given.mean, given.variance, eps, &parameters, &mut coefficients)?;
        }
        coefficients::check_scales::<E::Parameter>(&coefficients)?;
        Ok(coefficients)
    }

    fn map(&self, coefficients: &[Coefficients], y: ViewMut<'_, E>) {
        let (partition, channels) = (self.partition(), self.channels());
        if partition.slabs() == 1 {
            return self.kernels.normalize(coefficients, self.x, self.epilogue, y);
        }
        slabs::for_each(partition, slabs::split(partition, y), |slab, y| {
            let coefficients = &coefficients[partition.place(slab) * channels..][..channels];
            let epilogue = slabs::epilogue(partition, slab, self.epilogue);
            self.kernels.normalize(coefficients, self.x.rows(partition.rows(slab)), epilogue, y);
        });
    }

    /// The policies about statistics, and what cannot be normalized with.
    fn check(&self, coefficients: &[Coefficients], moments: &[Moments]) -> Result<(), Error> {
        let (partition, config, channels) = (self.partition(), self.plan.config, self.channels());
        let width = partition.width();
        if config.empty_batch == Policy::Error && moments.iter().all(|moments| moments.count == 0) {
            return Err(Error::EmptyBatch { shape: partition.shape() });
        }
        for (set, moments) in moments.chunks(width).enumerate() {
            // The channels of a set have as many values each; a set may be of examples that this batch has not.
            match moments[0].count {
                0 => continue,
                1 if config.one_value == Policy::Error => return Err(self.one_value(set)),
                _ => check_moments(moments, channels / width, config)?,
            }
        }
        if self.is_by_part() {
            return self.check_scales_of_parts(coefficients, moments);
        }
        for (pair, coefficients) in partition.pairs().iter().zip(coefficients.chunks(channels)) {
            if moments[pair.set * width].count > 0 {
                coefficients::check_scales::<E::Parameter>(coefficients)?;
            }
        }
        Ok(())
    }

    /// Of every group, the scale of the channel whose gamma is largest.
    fn check_scales_of_parts(&self, affine: &[Coefficients], moments: &[Moments]) -> Result<(), Error> {
        let (groups, channels) = (self.partition().width(), self.channels());
        let largest: Vec<&Coefficients> = affine
            .chunks(channels / groups)
            .filter_map(|of_group| of_group.iter().max_by(|a, b| a.gamma.abs().total_cmp(&b.gamma.abs())))
            .collect();
        // An example may be padding from end to end.
        for moments in moments.chunks(groups).filter(|moments| moments[0].count > 0) {
            let of = |(moments, affine): (&Moments, &&Coefficients)| {
                Coefficients::of_batch(moments, self.plan.config.eps, (affine.gamma, affine.beta))
            };
            let coefficients: Vec<_> = moments.iter().zip(&largest).map(of).collect();
            coefficients::check_scales::<E::Parameter>(&coefficients)?;
        }
        Ok(())
    }

    fn one_value(&self, set: usize) -> Error {
        let partition = self.partition();
        let slab = (0..partition.slabs()).find(|&slab| partition.pair(slab).set == set);
        let view = slab.map_or(self.x, |slab| self.x.rows(partition.rows(slab)));
        Error::OneValuePerChannel { shape: view.shape() }
    }
}

/// Of a set of means and variances of so many channels `together` each; of a group, its first channel is named.
fn check_moments(moments: &[Moments], together: usize, config: &crate::BatchNormConfig) -> Result<(), Error> {
    for (group, moments) in moments.iter().enumerate() {
        let channel = group * together;
        if config.non_finite == Policy::Error && !moments.is_finite() {
            return Err(Error::NonFiniteStatistics {
                channel,
                mean: moments.mean,
                variance: moments.biased_variance(),
            });
        }
        if moments.biased_variance() + config.eps == 0.0 {
            return Err(Error::ZeroVariance { channel });
        }
    }
    Ok(())
}
