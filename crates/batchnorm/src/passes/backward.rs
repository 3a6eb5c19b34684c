//! The backward pass of every plan.
//!
//! ```text
//! for each slab:   sum(dz) and sum(dz xhat) of its rows            fold, with dz = gate(dy)
//! for each bank:   d beta = sum(dz), d gamma = sum(dz (r xhat + d))     r = 1, d = 0 unless renormalized
//! for each set:    add up the sums of its slabs, in the order of the batch; then those of all ranks
//! for each slab:   dx = gamma rstd (dz - mean(dz) - xhat mean(dz xhat))   map; fixed statistics: dx = gamma rstd dz
//! ```
//!
//! Deviations from this pseudo-code:
//! 1. Plain batch normalization is one call of the kernels, which may fuse fold and map.
//! 2. Where values of a set have different gammas (conditional layers), gamma stays within the sums over a set: with
//!    t = gamma rstd dz, dx = t - mean(t) - xhat mean(t xhat), in two maps of which the second reads what the first left in
//!    the cache. Dividing gamma out would fail for gamma = 0.
//! 3. Of a pass of which the output alone is left, xhat = (z - beta) / gamma with the z of which y is the activation.
//! 4. Ghost batches and normalization by groups of channels have a file of their own, [`local`](super::local).

use std::borrow::Cow;

use super::gathered::{self, Gathered};
use super::local::Local;
use super::{Backward, Gradients, Saved, Wanted, check_optional, check_shape, ranks, slabs};
use crate::scratch;
use crate::{
    Coefficients, Correction, Element, Error, Exchange, Gate, GradientMeans, GradientSums, Kernels, Partition,
    Real, View, ViewMut,
};

/// The gradients of a synchronized forward pass, or of any other: what [`backward`](super::backward) computes, with the
/// ranks among which the batch is divided.
///
/// gamma's and beta's gradients are those of this rank's part, as gradients of all other parameters are: whoever adds up
/// or averages gradients over ranks does so with these, too.
///
/// # Errors
///
/// Those of [`backward`](super::backward), and those of an [`Exchange`]. [`Error::Missing`] if the forward pass was
/// synchronized and `exchange` is `None`.
pub fn backward_across<E: Element>(
    kernels: &impl Kernels<E>,
    saved: &Saved,
    wanted: Wanted,
    tensors: Backward<'_, E>,
    exchange: Option<&dyn Exchange>,
) -> Result<Gradients, Error> {
    let mut gradients = Gradients::default();
    backward_into(kernels, saved, wanted, tensors, exchange, &mut gradients)?;
    Ok(gradients)
}

/// [`backward_across`], in the memory of earlier `gradients`: batch normalization of as many channels allocates nothing.
///
/// # Errors
///
/// Those of [`backward_across`].
pub fn backward_into<E: Element>(
    kernels: &impl Kernels<E>,
    saved: &Saved,
    wanted: Wanted,
    tensors: Backward<'_, E>,
    exchange: Option<&dyn Exchange>,
    gradients: &mut Gradients,
) -> Result<(), Error> {
    let Backward { x, dy, gate, dx, d_addend } = tensors;
    let exchange = exchange.filter(|_| saved.synchronized);
    if saved.synchronized && exchange.is_none() {
        return Err(Error::Missing { what: "exchange", reason: "for the sums of the other ranks" });
    }
    let needs_x = saved.moments.is_some() && (dx.is_some() || exchange.is_some());
    let (both, x) = match gate {
        Gate::Output { y, .. } => (x.is_some(), Some(y)),
        _ => (false, x),
    };
    let checked = check_one_input(both)
        .and_then(|()| check(saved, x, dy, gate, dx.as_ref(), d_addend.as_ref()))
        .and_then(|()| check_input(needs_x, wanted, x.is_some()))
        .and_then(|()| of_outputs(saved, gate, needs_x || wanted.gamma));
    let coefficients = match checked {
        Ok(coefficients) => coefficients,
        Err(error) => {
            if let Some(exchange) = exchange {
                ranks::tell_failure(exchange);
            }
            return Err(error);
        }
    };
    if let Some(gathered) = Gathered::of(&saved.partition) {
        let x = x.filter(|_| !matches!(gate, Gate::Output { .. }));
        let tensors = Backward { x, dy, gate, dx, d_addend };
        *gradients = gathered::backward(gathered, kernels, saved, wanted, tensors, exchange)?;
        return Ok(());
    }
    let job = Job { kernels, saved, coefficients: &coefficients, x, dy, gate };
    let partition = &saved.partition;
    let channels = partition.shape().channels();
    if let (true, Some(moments)) = (saved.by_part, &saved.moments) {
        if wanted == Wanted::NONE && dx.is_none() {
            *gradients = Gradients::default();
            return Ok(());
        }
        let local = Local::new(partition, saved.eps, &saved.coefficients, dy.mask().is_some());
        let tensors = Backward { x, dy, gate, dx, d_addend };
        let sums = local.backward(kernels, moments, tensors);
        *gradients = Gradients {
            gamma: wanted.gamma.then(|| sums.iter().map(|sums| sums.dy_xhat).collect()),
            beta: wanted.beta.then(|| sums.iter().map(|sums| sums.dy).collect()),
        };
        return Ok(());
    }
    scratch::with(partition.slabs() * channels, GradientSums::default(), |sums| {
        job.fold_and_map(needs_x, wanted, dx, d_addend, exchange, sums)?;
        job.parameter_gradients(wanted, sums, gradients);
        Ok(())
    })
}

/// Whether x is there if the gradient flows through the batch's statistics, or gamma's is wanted.
fn check_input(through_statistics: bool, wanted: Wanted, is_there: bool) -> Result<(), Error> {
    let reason = match (through_statistics, wanted.gamma) {
        (true, _) => "for the gradient through the batch's statistics",
        (false, true) => "for the gradient of gamma",
        (false, false) => return Ok(()),
    };
    if is_there { Ok(()) } else { Err(Error::Missing { what: "x", reason }) }
}

/// Whether not both x and y were passed.
fn check_one_input(both: bool) -> Result<(), Error> {
    let reason = "where x is kept, its own gate is as precise as it gets; pass x with that, or y alone";
    let (first, second) = ("the gradient from the output", "the input of the forward pass");
    if both { Err(Error::Incompatible { first, second, reason }) } else { Ok(()) }
}

/// The coefficients that the kernels take: those saved, or those of z where that is all there is to read.
fn of_outputs<'s, E: Element>(
    saved: &'s Saved,
    gate: Gate<'_, E>,
    reads_it: bool,
) -> Result<Cow<'s, [Coefficients]>, Error> {
    let Gate::Output { slope, .. } = gate else { return Ok(Cow::Borrowed(&saved.coefficients)) };
    let inverse = E::Parameter::from_f64(1.0 / slope);
    // Written so that a NaN is none, and that neither becomes 0 or infinite in the type that is computed in.
    if !(slope > 0.0 && inverse.is_finite() && inverse > E::Parameter::ZERO) {
        return Err(Error::SlopeNotInvertible { found: slope });
    }
    let partition = &saved.partition;
    let across_banks = saved.synchronized && partition.banks() > 1;
    if partition.groups().is_some() || !partition.has_one_gamma_per_set() || across_banks {
        return Err(Error::Incompatible {
            first: "the gradient from the output",
            second: "statistics over values of several gammas",
            reason: "their gradient takes xhat before gamma; keep x",
        });
    }
    if !reads_it {
        return Ok(Cow::Borrowed(&saved.coefficients));
    }
    let channels = partition.shape().channels().max(1);
    let of_outputs: Result<Vec<_>, _> = saved
        .coefficients
        .iter()
        .enumerate()
        .map(|(i, coefficients)| coefficients.of_output::<E>(i % channels))
        .collect();
    // Those of ghost batches are gamma and beta alone, of which it was seen here that they can be inverted.
    let of_outputs = of_outputs?;
    Ok(if saved.by_part { Cow::Borrowed(&saved.coefficients) } else { Cow::Owned(of_outputs) })
}

fn check<E: Element>(
    saved: &Saved,
    x: Option<View<'_, E>>,
    dy: View<'_, E>,
    gate: Gate<'_, E>,
    dx: Option<&ViewMut<'_, E>>,
    d_addend: Option<&ViewMut<'_, E>>,
) -> Result<(), Error> {
    let shape = saved.shape();
    check_shape("dy", shape, dy.shape())?;
    let of_x = if let Gate::Output { .. } = gate { "gate's y" } else { "x" };
    check_optional(of_x, shape, x.map(|x| x.shape()))?;
    check_optional("dx", shape, dx.map(ViewMut::shape))?;
    check_optional("d_addend", shape, d_addend.map(ViewMut::shape))?;
    match gate {
        Gate::None | Gate::Output { .. } => {}
        Gate::Relu { x } | Gate::LeakyRelu { x, .. } => check_shape("gate's x", shape, x.shape())?,
        Gate::AddRelu { x, addend } => {
            check_shape("gate's x", shape, x.shape())?;
            check_shape("addend", shape, addend.shape())?;
        }
    }
    if d_addend.is_some() && dx.is_none() {
        return Err(Error::Missing {
            what: "dx",
            reason: "to compute the addend's gradient, which is written on the way",
        });
    }
    saved.check_mask(dy.mask())
}

struct Job<'a, E, K> {
    kernels: &'a K,
    saved: &'a Saved,
    coefficients: &'a [Coefficients],
    x: Option<View<'a, E>>,
    dy: View<'a, E>,
    gate: Gate<'a, E>,
}

/// Where a slab's gradients go.
type Outputs<'a, E> = (ViewMut<'a, E>, Option<ViewMut<'a, E>>);

fn split<'a, E>(
    partition: &Partition,
    dx: ViewMut<'a, E>,
    d_addend: Option<ViewMut<'a, E>>,
) -> Vec<Outputs<'a, E>> {
    let dx = slabs::split(partition, dx);
    match d_addend {
        None => dx.into_iter().map(|dx| (dx, None)).collect(),
        Some(d_addend) => {
            dx.into_iter().zip(slabs::split(partition, d_addend)).map(|(dx, d)| (dx, Some(d))).collect()
        }
    }
}

impl<'a, E: Element, K: Kernels<E>> Job<'a, E, K> {
    fn partition(&self) -> &'a Partition {
        &self.saved.partition
    }

    fn channels(&self) -> usize {
        self.partition().shape().channels()
    }

    /// Coefficients of a slab.
    fn coefficients(&self, slab: usize) -> &'a [Coefficients] {
        &self.coefficients[self.partition().place(slab) * self.channels()..][..self.channels()]
    }

    /// Values of a set and channel (or group), over which its statistics were taken.
    fn count(&self, set: usize) -> u64 {
        let moments = self.saved.moments.as_deref().unwrap_or_default();
        moments.get(set * self.partition().width()).map_or(0, |moments| moments.count)
    }

    fn gate(&self, slab: usize) -> Gate<'a, E> {
        slabs::gate_of_rows(self.partition().rows(slab), self.gate)
    }

    fn at_once(&self, dx: ViewMut<'_, E>, d_addend: Option<ViewMut<'_, E>>, sums: &mut [GradientSums]) {
        let x = self.x.expect("checked: gradients flow through the batch's statistics");
        let count = self.count(self.partition().pair(0).set);
        self.kernels.backward(self.coefficients(0), count, x, self.dy, self.gate, dx, d_addend, sums);
    }

    /// The sums of every slab, and dx if it is wanted.
    fn fold_and_map(
        &self,
        needs_x: bool,
        wanted: Wanted,
        mut dx: Option<ViewMut<'_, E>>,
        mut d_addend: Option<ViewMut<'_, E>>,
        exchange: Option<&dyn Exchange>,
        sums: &mut [GradientSums],
    ) -> Result<(), Error> {
        let partition = self.partition();
        if !needs_x {
            if wanted != Wanted::NONE {
                self.fold(self.x.filter(|_| wanted.gamma), sums);
            }
            if let Some(dx) = dx {
                self.map(None, dx, d_addend);
            }
            return Ok(());
        }
        if exchange.is_none() && partition.slabs() == 1 {
            let dx = dx.expect("asked for where nothing is exchanged");
            self.at_once(dx, d_addend, sums);
            return Ok(());
        }
        self.fold(self.x, sums);
        // All ranks must add up the same thing: another one may have a set's examples from several banks.
        let together = exchange.is_none_or(|exchange| exchange.ranks() == 1) || partition.banks() == 1;
        let one_gamma = together && partition.has_one_gamma_per_set();
        let means = self.means(sums, one_gamma, exchange)?;
        match (one_gamma, dx.take()) {
            (_, None) => {}
            (true, Some(dx)) => self.map(Some(&means), dx, d_addend.take()),
            (false, Some(dx)) => self.map_twice(&means, dx, d_addend.take()),
        }
        Ok(())
    }

    /// The sums of every slab.
    fn fold(&self, x: Option<View<'_, E>>, sums: &mut [GradientSums]) {
        let partition = self.partition();
        if partition.slabs() == 1 {
            return self.kernels.gradient_sums(self.coefficients(0), x, self.dy, self.gate, sums);
        }
        slabs::for_each(partition, sums.chunks_mut(self.channels()).collect(), |slab, sums| {
            let rows = partition.rows(slab);
            let x = x.map(|x| x.rows(rows.clone()));
            let dy = self.dy.rows(rows);
            self.kernels.gradient_sums(self.coefficients(slab), x, dy, self.gate(slab), sums);
        });
    }

    /// Means over every set: of dz and dz xhat, or of t and t xhat where a set has several gammas.
    fn means(
        &self,
        sums: &[GradientSums],
        one_gamma: bool,
        exchange: Option<&dyn Exchange>,
    ) -> Result<Vec<GradientMeans>, Error> {
        let (partition, channels) = (self.partition(), self.channels());
        let width = partition.width();
        let mut of_sets = vec![GradientSums::default(); partition.sets() * width];
        for (slab, sums) in sums.chunks(channels).enumerate() {
            let set = partition.pair(slab).set;
            for (channel, (sums, coefficients)) in sums.iter().zip(self.coefficients(slab)).enumerate() {
                let weight = if one_gamma { 1.0 } else { coefficients.scale() };
                let total = &mut of_sets[set * width + channel];
                *total = total.merge(GradientSums { dy: weight * sums.dy, dy_xhat: weight * sums.dy_xhat });
            }
        }
        if let Some(exchange) = exchange {
            ranks::add_sums(exchange, channels, &mut of_sets)?;
        }
        Ok(of_sets.iter().enumerate().map(|(i, sums)| sums.means(self.count(i / width))).collect())
    }

    /// dx from the means of the sets, or with fixed statistics.
    fn map(&self, means: Option<&[GradientMeans]>, dx: ViewMut<'_, E>, d_addend: Option<ViewMut<'_, E>>) {
        let (partition, channels) = (self.partition(), self.channels());
        if partition.slabs() == 1 {
            let set = partition.pair(0).set;
            let batch = means.zip(self.x).map(|(means, x)| (x, &means[set * channels..][..channels]));
            let coefficients = self.coefficients(0);
            return self.kernels.input_gradient(coefficients, batch, self.dy, self.gate, dx, d_addend);
        }
        slabs::for_each(partition, split(partition, dx, d_addend), |slab, (dx, d_addend)| {
            let rows = partition.rows(slab);
            let batch = means.zip(self.x).map(|(means, x)| {
                (x.rows(rows.clone()), &means[partition.pair(slab).set * channels..][..channels])
            });
            let (coefficients, dy) = (self.coefficients(slab), self.dy.rows(rows.clone()));
            self.kernels.input_gradient(coefficients, batch, dy, self.gate(slab), dx, d_addend);
        });
    }

    /// dx where values of a set have different gammas: first t = gamma rstd dz, then dx = t - mean(t) - xhat mean(t xhat).
    fn map_twice(&self, means: &[GradientMeans], dx: ViewMut<'_, E>, d_addend: Option<ViewMut<'_, E>>) {
        let (partition, channels) = (self.partition(), self.channels());
        let x = self.x.expect("checked: gradients flow through the batch's statistics");
        slabs::for_each(partition, split(partition, dx, d_addend), |slab, (dx, d_addend)| {
            let (rows, set) = (partition.rows(slab), partition.pair(slab).set);
            let (coefficients, dy) = (self.coefficients(slab), self.dy.rows(rows.clone()));
            let mut t = vec![E::default(); dy.shape().len()];
            let out = ViewMut::new("t", dy.shape(), &mut t).expect("made for this shape");
            self.kernels.input_gradient(coefficients, None, dy, self.gate(slab), out, d_addend);

            // A map without gamma: its scale gamma rstd is 1.
            let unscaled: Vec<Coefficients> =
                coefficients.iter().map(|c| Coefficients { gamma: 1.0 / c.rstd, beta: 0.0, ..*c }).collect();
            let t = View::new("t", dy.shape(), &t).and_then(|t| t.with_mask(dy.mask()));
            let batch = Some((x.rows(rows), &means[set * channels..][..channels]));
            let t = t.expect("made for this shape");
            self.kernels.input_gradient(&unscaled, batch, t, Gate::None, dx, None);
        });
    }

    fn parameter_gradients(&self, wanted: Wanted, sums: &[GradientSums], gradients: &mut Gradients) {
        let (partition, channels) = (self.partition(), self.channels());
        let corrections = self.saved.corrections();
        let zeros = |memory: Option<Vec<f64>>| {
            let mut values = memory.unwrap_or_default();
            values.clear();
            values.resize(partition.banks() * channels, 0.0);
            values
        };
        gradients.gamma = wanted.gamma.then(|| zeros(gradients.gamma.take()));
        gradients.beta = wanted.beta.then(|| zeros(gradients.beta.take()));
        for (slab, sums) in sums.chunks(channels).enumerate() {
            let pair = partition.pair(slab);
            let bank = pair.bank * channels..(pair.bank + 1) * channels;
            if let Some(beta) = &mut gradients.beta {
                beta[bank.clone()].iter_mut().zip(sums).for_each(|(beta, sums)| *beta += sums.dy);
            }
            let Some(gamma) = &mut gradients.gamma else { continue };
            for (channel, (gamma, sums)) in gamma[bank].iter_mut().zip(sums).enumerate() {
                *gamma += match corrections.map(|all| all[pair.set * channels + channel]) {
                    Some(Correction { r, d }) => r * sums.dy_xhat + d * sums.dy,
                    None => sums.dy_xhat,
                };
            }
        }
    }
}
