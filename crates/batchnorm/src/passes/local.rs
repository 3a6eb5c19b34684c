//! Plans whose statistics sets are one run of rows each: ghost batches, and normalization by example and group of channels.
//!
//! ```text
//! for each run of rows, each channel or group:   mean and variance
//! y  = epilogue(gamma_c xhat + beta_c),          xhat = rstd (x - mean)
//! dz = gate(dy)
//! ghost batches:   dx = gamma_c rstd (dz - mean(dz) - xhat mean(dz xhat))             means over the run
//! groups:          dx = rstd (t - mean(t) - xhat mean(t xhat)),    t = gamma_c dz     means over the group
//! d gamma_c = sum(dz xhat),  d beta_c = sum(dz)                                       over everything
//! ```
//!
//! A group is a channel of the shape (outer, groups, channels / groups * inner), so that folds and maps are the four
//! primitives. gamma varies within a group, so it stays within the sums: dividing it out would fail for gamma = 0.
//!
//! A run is folded and mapped while it is in cache. Only its moments are kept for the backward pass: coefficients of every
//! run and channel would be as large as the data where runs are short.
//!
//! Deviations from this pseudo-code:
//! 1. Small examples in groups (layer normalization of 2-D data: one row) are taken many at a time, in two steps: xhat, then
//!    gamma xhat + beta. The values in between stay in the cache.
//! 2. For large examples t carries rstd, as the map that makes it has it in its scale.

use std::ops::Range;

use rayon::prelude::*;

use super::{Backward, slabs};
use crate::{
    Coefficients, Element, Epilogue, Gate, GradientSums, Kernels, Mask, Moments, Partition, Shape, View,
    ViewMut,
};

/// Elements that are worth a job of their own.
const JOB: usize = 16 * 1024;

/// How the runs are taken: several to a job if they are small.
pub struct Local<'a> {
    partition: &'a Partition,
    eps: f64,
    /// gamma and beta of each channel, with mean 0 and rstd 1.
    affine: &'a [Coefficients],
    /// Runs of a job.
    runs: usize,
    way: Way,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Every channel has its own statistics: run after run.
    Channels,
    /// Groups of channels share them: run after run.
    Groups,
    /// The same, all rows of a job at once.
    Rows,
}

impl<'a> Local<'a> {
    /// Whether a plan's sets are such runs, all with one gamma and beta.
    pub fn is_for(partition: &Partition) -> bool {
        let several = partition.slabs() > 1 || partition.groups().is_some();
        several && partition.is_local() && partition.banks() == 1
    }

    pub fn new(partition: &'a Partition, eps: f64, affine: &'a [Coefficients], masked: bool) -> Self {
        let shape = partition.shape();
        let elements = shape.len() / partition.slabs().max(1);
        let runs = (JOB / elements.max(1)).max(1);
        let rows = partition.slabs() == shape.outer();
        let way = match partition.groups() {
            None => Way::Channels,
            Some(_) if rows && !masked && runs > 1 => Way::Rows,
            Some(_) => Way::Groups,
        };
        Self { partition, eps, affine, runs, way }
    }

    /// Channels or groups that have statistics.
    fn width(&self) -> usize {
        self.partition.width()
    }

    fn jobs(&self) -> usize {
        self.partition.slabs().div_ceil(self.runs)
    }

    fn runs_of(&self, job: usize) -> Range<usize> {
        job * self.runs..((job + 1) * self.runs).min(self.partition.slabs())
    }

    /// The rows of a job.
    fn rows(&self, job: usize) -> Range<usize> {
        let runs = self.runs_of(job);
        self.partition.rows(runs.start).start..self.partition.rows(runs.end - 1).end
    }

    /// So many rows under the shape in which groups are channels: at once, all their groups side by side.
    fn folded(&self, rows: usize) -> Shape {
        let folded = self.partition.folded();
        let (outer, channels) =
            if self.way == Way::Rows { (1, rows * folded.channels()) } else { (rows, folded.channels()) };
        Shape::new(outer, channels, folded.inner()).expect("a part of the tensor")
    }

    fn split<'t, E>(&self, mut tensor: ViewMut<'t, E>) -> Vec<ViewMut<'t, E>> {
        let mut parts = Vec::with_capacity(self.jobs());
        for job in 0..self.jobs() {
            let (head, tail) = tensor.split_at_row(self.rows(job).len());
            parts.push(head);
            tensor = tail;
        }
        parts
    }

    fn split_if_wanted<'t, E>(&self, tensor: Option<ViewMut<'t, E>>) -> Vec<Option<ViewMut<'t, E>>> {
        match tensor {
            Some(tensor) => self.split(tensor).into_iter().map(Some).collect(),
            None => (0..self.jobs()).map(|_| None).collect(),
        }
    }

    fn for_each<T: Send>(&self, tasks: Vec<T>, job: impl Fn(usize, T) + Sync) {
        match tasks.len() {
            0 | 1 => tasks.into_iter().enumerate().for_each(|(i, task)| job(i, task)),
            _ => tasks.into_par_iter().enumerate().for_each(|(i, task)| job(i, task)),
        }
    }

    /// One group's coefficients without gamma and beta.
    fn plain(&self, moments: &Moments) -> Coefficients {
        Coefficients::of_batch(moments, self.eps, (1.0, 0.0))
    }

    /// Coefficients of every channel of one run.
    fn of_channels(&self, moments: &[Moments]) -> Vec<Coefficients> {
        let together = self.affine.len() / self.width();
        let mut coefficients = Vec::with_capacity(self.affine.len());
        for (moments, affine) in moments.iter().zip(self.affine.chunks(together)) {
            let plain = self.plain(moments);
            let with = |affine: &Coefficients| Coefficients { gamma: affine.gamma, beta: affine.beta, ..plain };
            coefficients.extend(affine.iter().map(with));
        }
        coefficients
    }

    /// Normalizes, and fills in the moments of every run and channel or group.
    pub fn forward<E: Element>(
        &self,
        kernels: &impl Kernels<E>,
        x: View<'_, E>,
        epilogue: Epilogue<'_, E>,
        y: ViewMut<'_, E>,
        moments: &mut [Moments],
    ) {
        let mask = slabs::mask_of_groups(self.partition, x);
        let folded_x = slabs::folded(self.partition, x, mask.as_deref());
        let tasks = self.split(y).into_iter().zip(moments.chunks_mut(self.runs * self.width()));
        self.for_each(tasks.collect(), |job, (mut y, moments)| {
            if self.way == Way::Rows {
                let rows = self.rows(job);
                let epilogue = slabs::epilogue_of_rows(rows.clone(), epilogue);
                return self.forward_of_rows(kernels, x.rows(rows), epilogue, y, moments);
            }
            for (run, moments) in self.runs_of(job).zip(moments.chunks_mut(self.width())) {
                let rows = self.partition.rows(run);
                let (out, rest) = y.split_at_row(rows.len());
                y = rest;
                let epilogue = slabs::epilogue_of_rows(rows.clone(), epilogue);
                kernels.moments(folded_x.rows(rows.clone()), moments);
                kernels.normalize(&self.of_channels(moments), x.rows(rows), epilogue, out);
            }
        });
    }

    fn forward_of_rows<E: Element>(
        &self,
        kernels: &impl Kernels<E>,
        x: View<'_, E>,
        epilogue: Epilogue<'_, E>,
        y: ViewMut<'_, E>,
        moments: &mut [Moments],
    ) {
        let folded = x.regrouped(self.folded(x.shape().outer()));
        kernels.moments(folded, moments);
        let mut xhat = vec![E::default(); x.shape().len()];
        self.xhat(kernels, folded, moments, &mut xhat);
        kernels.normalize(self.affine, view(x.shape(), &xhat), epilogue, y);
    }

    fn xhat<E: Element>(&self, kernels: &impl Kernels<E>, x: View<'_, E>, moments: &[Moments], xhat: &mut [E]) {
        let plain: Vec<Coefficients> = moments.iter().map(|moments| self.plain(moments)).collect();
        kernels.normalize(&plain, x, Epilogue::None, view_mut(x.shape(), xhat));
    }

    /// dx, d_addend, and the sums of every channel over everything.
    pub fn backward<E: Element>(
        &self,
        kernels: &impl Kernels<E>,
        moments: &[Moments],
        tensors: Backward<'_, E>,
    ) -> Vec<GradientSums> {
        let Backward { x, dy, gate, dx, d_addend } = tensors;
        let channels = self.affine.len();
        let mut sums = vec![GradientSums::default(); self.jobs() * channels];
        let mask = slabs::mask_of_groups(self.partition, dy);
        let part = |rows: Range<usize>, moments| Part {
            x: x.map(|x| x.rows(rows.clone())),
            dy: dy.rows(rows.clone()),
            gate: slabs::gate_of_rows(rows.clone(), gate),
            moments,
            mask: mask.as_deref().map(|mask| {
                let inner = self.partition.folded().inner();
                &mask[rows.start * inner..rows.end * inner]
            }),
        };
        let (dx, d_addend) = (self.split_if_wanted(dx), self.split_if_wanted(d_addend));
        let moments = moments.chunks(self.runs * self.width());
        let tasks = dx.into_iter().zip(d_addend).zip(sums.chunks_mut(channels)).zip(moments);
        self.for_each(tasks.collect(), |job, (((mut dx, mut d_addend), sums), moments)| {
            if self.way == Way::Rows {
                return self.backward_of_rows(kernels, &part(self.rows(job), moments), dx, d_addend, sums);
            }
            let mut of_run = vec![GradientSums::default(); channels];
            for (run, moments) in self.runs_of(job).zip(moments.chunks(self.width())) {
                let rows = self.partition.rows(run);
                let (dx, d_addend) = (take_rows(&mut dx, rows.len()), take_rows(&mut d_addend, rows.len()));
                let part = part(rows, moments);
                match self.way {
                    Way::Channels => self.backward_of_channels(kernels, &part, dx, d_addend, &mut of_run),
                    _ => self.backward_of_groups(kernels, &part, dx, d_addend, &mut of_run),
                }
                add(sums, &of_run);
            }
        });
        let mut total = vec![GradientSums::default(); channels];
        sums.chunks(channels).for_each(|sums| add(&mut total, sums));
        total
    }

    fn backward_of_channels<E: Element>(
        &self,
        kernels: &impl Kernels<E>,
        part: &Part<'_, E>,
        dx: Option<ViewMut<'_, E>>,
        d_addend: Option<ViewMut<'_, E>>,
        sums: &mut [GradientSums],
    ) {
        let mut coefficients = self.of_channels(part.moments);
        if let (Gate::Output { .. }, Some(_)) = (part.gate, part.x) {
            for (channel, coefficients) in coefficients.iter_mut().enumerate() {
                *coefficients = coefficients.of_output::<E>(channel).expect("gamma and beta were looked at");
            }
        }
        match (dx, part.x) {
            (Some(dx), Some(x)) => {
                let count = part.moments[0].count;
                kernels.backward(&coefficients, count, x, part.dy, part.gate, dx, d_addend, sums);
            }
            _ => kernels.gradient_sums(&coefficients, part.x, part.dy, part.gate, sums),
        }
    }

    fn backward_of_rows<E: Element>(
        &self,
        kernels: &impl Kernels<E>,
        part: &Part<'_, E>,
        dx: Option<ViewMut<'_, E>>,
        d_addend: Option<ViewMut<'_, E>>,
        sums: &mut [GradientSums],
    ) {
        let shape = part.dy.shape();
        let folded = self.folded(shape.outer());
        // Without x only beta's gradient is wanted, and a gate has its own x.
        let x = match part.gate {
            Gate::Relu { x } | Gate::LeakyRelu { x, .. } | Gate::AddRelu { x, .. } => x,
            Gate::None | Gate::Output { .. } => match part.x {
                Some(x) => x,
                None => return kernels.gradient_sums(self.affine, None, part.dy, part.gate, sums),
            },
        };
        let mut xhat = vec![E::default(); shape.len()];
        self.xhat(kernels, x.regrouped(folded), part.moments, &mut xhat);
        let seen = view(shape, &xhat);
        // The gate looks at z = gamma xhat + beta.
        let gate = match part.gate {
            // From outputs there are no gradients by groups.
            Gate::None | Gate::Output { .. } => Gate::None,
            Gate::Relu { .. } => Gate::Relu { x: seen },
            Gate::LeakyRelu { slope, .. } => Gate::LeakyRelu { x: seen, slope },
            Gate::AddRelu { addend, .. } => Gate::AddRelu { x: seen, addend },
        };
        kernels.gradient_sums(self.affine, part.x.map(|_| seen), part.dy, gate, sums);
        let Some(dx) = dx else { return };
        let mut t = vec![E::default(); shape.len()];
        kernels.input_gradient(self.affine, None, part.dy, gate, view_mut(shape, &mut t), d_addend);

        let (seen, t) = (view(folded, &xhat), view(folded, &t));
        let identity = vec![Coefficients::IDENTITY; folded.channels()];
        let mut of_groups = vec![GradientSums::default(); folded.channels()];
        kernels.gradient_sums(&identity, Some(seen), t, Gate::None, &mut of_groups);
        let count = folded.positions() as u64;
        let means: Vec<_> = of_groups.iter().map(|sums| sums.means(count)).collect();
        // xhat is there already: rstd is the scale that is left.
        let scales: Vec<Coefficients> = part
            .moments
            .iter()
            .map(|moments| Coefficients { gamma: self.plain(moments).rstd, ..Coefficients::IDENTITY })
            .collect();
        kernels.input_gradient(&scales, Some((seen, &means)), t, Gate::None, dx.regrouped(folded), None);
    }

    fn backward_of_groups<E: Element>(
        &self,
        kernels: &impl Kernels<E>,
        part: &Part<'_, E>,
        dx: Option<ViewMut<'_, E>>,
        d_addend: Option<ViewMut<'_, E>>,
        sums: &mut [GradientSums],
    ) {
        let shape = part.dy.shape();
        let coefficients = self.of_channels(part.moments);
        kernels.gradient_sums(&coefficients, part.x, part.dy, part.gate, sums);
        let (Some(dx), Some(x)) = (dx, part.x) else { return };
        let mut t = vec![E::default(); shape.len()];
        kernels.input_gradient(&coefficients, None, part.dy, part.gate, view_mut(shape, &mut t), d_addend);

        let (together, folded) = (self.affine.len() / self.width(), self.folded(shape.outer()));
        let mut means = Vec::with_capacity(self.width());
        let mut unscaled = Vec::with_capacity(self.width());
        for (group, moments) in part.moments.iter().enumerate() {
            let plain = self.plain(moments);
            let of_group = group * together..(group + 1) * together;
            let total = sums[of_group.clone()].iter().zip(&coefficients[of_group]).fold(
                GradientSums::default(),
                |total, (sums, coefficients)| {
                    let scale = coefficients.scale();
                    total.merge(GradientSums { dy: scale * sums.dy, dy_xhat: scale * sums.dy_xhat })
                },
            );
            means.push(total.means(moments.count));
            // A map whose scale gamma rstd is 1.
            unscaled.push(Coefficients { gamma: 1.0 / plain.rstd, ..plain });
        }
        let mask = part.mask.map(|counts| Mask::new(folded, counts).expect("made for this shape"));
        let t = view(folded, &t).with_mask(mask).expect("made for this shape");
        let x = x.regrouped(folded);
        kernels.input_gradient(&unscaled, Some((x, &means)), t, Gate::None, dx.regrouped(folded), None);
    }
}

/// The first rows, if the tensor is wanted, which is left with the others.
fn take_rows<'a, E>(tensor: &mut Option<ViewMut<'a, E>>, rows: usize) -> Option<ViewMut<'a, E>> {
    let (head, tail) = tensor.take()?.split_at_row(rows);
    *tensor = Some(tail);
    Some(head)
}

fn add(total: &mut [GradientSums], sums: &[GradientSums]) {
    for (total, sums) in total.iter_mut().zip(sums) {
        *total = total.merge(*sums);
    }
}

/// What the backward pass of some rows reads.
struct Part<'a, E> {
    /// There if dx or gamma's gradient is wanted.
    x: Option<View<'a, E>>,
    dy: View<'a, E>,
    gate: Gate<'a, E>,
    moments: &'a [Moments],
    mask: Option<&'a [bool]>,
}

fn view<E>(shape: Shape, data: &[E]) -> View<'_, E> {
    View::new("values in between", shape, data).expect("made for this shape")
}

fn view_mut<E>(shape: Shape, data: &mut [E]) -> ViewMut<'_, E> {
    ViewMut::new("values in between", shape, data).expect("made for this shape")
}
