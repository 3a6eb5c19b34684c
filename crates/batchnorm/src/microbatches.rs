//! The statistics and the gradients of a whole batch that is seen in parts.
//!
//! ```text
//! for each part:  moments of the part                                 MicroBatches::push
//! merge                                                               MicroBatches::finish
//! for each part:  y  = epilogue(gamma rstd (x - mean) + beta)         WholeBatch::normalize
//! for each part:  sum(dz), sum(dz xhat)                               MicroGradients::push
//! add                                                                 MicroGradients::finish
//! for each part:  dx = gamma rstd (dz - mean(dz) - xhat mean(dz xhat))    WholeGradients::input_gradient
//! ```
//!
//! mean, rstd and the two means are those of the whole batch, so the result is the whole batch's to rounding, however it
//! is split. Each line is one primitive over the batch: 2 reads and 1 write forward, 4 reads and 1 write backward.

use crate::coefficients;
use crate::{
    BatchNormConfig, Coefficients, Element, Epilogue, Error, Gate, GradientMeans, GradientSums, Gradients,
    Kernels, Moments, Parameters, Policy, Real, Shape, View, ViewMut,
};

/// Collects the statistics of a batch from its micro-batches: the first step of three.
///
/// When to use: gradients are accumulated over micro-batches because the batch does not fit memory, and the statistics of
/// a micro-batch are too few values to train with (gradient accumulation alone leaves each micro-batch to its own
/// statistics: it trains ghost batches). The price is the order: every layer must have seen all micro-batches before
/// one of them goes on to the next layer, forward and backward. If ghost statistics are good enough, take them.
///
/// Source: the sums of Ioffe & Szegedy 2015 (Algorithm 1 and section 3), split; merged as in Chan, Golub & LeVeque 1979.
///
/// ```
/// use batchnorm::{
///     BatchNormConfig, Cpu, Epilogue, Gate, MicroBatches, Parameters, RunningStatistics, Shape, View, ViewMut,
/// };
///
/// let config = BatchNormConfig::pytorch();
/// let parameters = Parameters::<f32>::default();
/// // A batch of 5 examples of 1 channel, as 2 and 3.
/// let batch = [vec![1.0f32, 2.0], vec![3.0, 4.0, 5.0]];
/// let shape = |values: &[f32]| Shape::channels_last(&[values.len(), 1]);
///
/// let mut parts = MicroBatches::new(1);
/// for x in &batch {
///     parts.push(&Cpu, View::new("x", shape(x)?, x)?)?;
/// }
/// let whole = parts.finish(&config, parameters)?;
/// // Once per batch, not once per part.
/// let mut running = RunningStatistics::<f32>::new(1);
/// let _ = running.update(&config, whole.moments())?;
/// assert_eq!((whole.moments()[0].mean, running.batches), (3.0, 1));
///
/// let mut y = [0.0; 3];
/// let x = View::new("x", shape(&batch[1])?, &batch[1])?;
/// whole.normalize(&Cpu, x, Epilogue::None, ViewMut::new("y", x.shape(), &mut y)?)?;
/// assert!(y[0].abs() < 1e-6 && y[2] > 1.4); // 3 is the mean of all five
///
/// let mut sums = whole.gradients();
/// for x in &batch {
///     let (x, dy) = (View::new("x", shape(x)?, x)?, vec![1.0; x.len()]);
///     sums.push(&Cpu, x, View::new("dy", x.shape(), &dy)?, Gate::None)?;
/// }
/// let gradients = sums.finish()?;
/// assert_eq!(gradients.parameters().beta, Some(vec![5.0]));
/// let (dy, mut dx) = ([1.0; 3], [0.0; 3]);
/// let (dy, dx_view) = (View::new("dy", x.shape(), &dy)?, ViewMut::new("dx", x.shape(), &mut dx)?);
/// gradients.input_gradient(&Cpu, x, dy, Gate::None, dx_view, None)?;
/// assert!(dx.iter().all(|dx| dx.abs() < 1e-6)); // adding a constant to y's gradient changes nothing
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MicroBatches {
    moments: Vec<Moments>,
}

impl MicroBatches {
    /// A batch of which nothing was seen yet.
    pub fn new(channels: usize) -> Self {
        Self { moments: vec![Moments::EMPTY; channels] }
    }

    /// Lets a micro-batch in, of any number of examples and positions. A mask of x is honoured.
    ///
    /// # Errors
    ///
    /// [`Error::ChannelMismatch`] if it has another number of channels.
    pub fn push<E: Element>(&mut self, kernels: &impl Kernels<E>, x: View<'_, E>) -> Result<(), Error> {
        check_channels(self.moments.len(), x.shape())?;
        let mut part = vec![Moments::EMPTY; self.moments.len()];
        kernels.moments(x, &mut part);
        for (all, part) in self.moments.iter_mut().zip(part) {
            *all = all.merge(part);
        }
        Ok(())
    }

    /// The statistics of the whole batch, with which each micro-batch is then normalized.
    ///
    /// # Errors
    ///
    /// Those of [`passes::forward_train`](crate::passes::forward_train), of the whole batch: its policies are asked once,
    /// and a micro-batch of one value or of none is fine.
    pub fn finish<P: Real>(
        self,
        config: &BatchNormConfig,
        parameters: Parameters<'_, P>,
    ) -> Result<WholeBatch, Error> {
        config.validate()?;
        let Self { moments } = self;
        parameters.check(moments.len())?;
        let count = moments.first().ok_or(Error::NoChannels)?.count;
        // How the values lie is each micro-batch's affair: as rows, for the message.
        let shape = || Shape::new(usize::try_from(count).unwrap_or(usize::MAX), moments.len(), 1);
        match count {
            0 if config.empty_batch == Policy::Error => return Err(Error::EmptyBatch { shape: shape()? }),
            1 if config.one_value == Policy::Error => {
                return Err(Error::OneValuePerChannel { shape: shape()? });
            }
            _ => {}
        }
        let mut coefficients = vec![Coefficients::IDENTITY; moments.len()];
        coefficients::fill_of_batch(&moments, config.eps, &parameters, &mut coefficients);
        if count > 0 {
            check_moments(&moments, config)?;
            coefficients::check_scales::<P>(&coefficients)?;
        }
        Ok(WholeBatch { coefficients, moments })
    }
}

/// A whole batch's statistics, by which its micro-batches are normalized: the second step.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeBatch {
    coefficients: Vec<Coefficients>,
    moments: Vec<Moments>,
}

impl WholeBatch {
    /// What each channel is normalized with.
    pub fn coefficients(&self) -> &[Coefficients] {
        &self.coefficients
    }

    /// The whole batch's moments: what enters the running statistics, once.
    pub fn moments(&self) -> &[Moments] {
        &self.moments
    }

    /// `y = epilogue(gamma (x - mean) / sqrt(variance + eps) + beta)` for one micro-batch.
    ///
    /// # Errors
    ///
    /// [`Error::ChannelMismatch`] if it has another number of channels, [`Error::ShapeMismatch`] if y or an addend has not
    /// x's shape.
    pub fn normalize<E: Element>(
        &self,
        kernels: &impl Kernels<E>,
        x: View<'_, E>,
        epilogue: Epilogue<'_, E>,
        y: ViewMut<'_, E>,
    ) -> Result<(), Error> {
        check_channels(self.moments.len(), x.shape())?;
        if let Epilogue::AddRelu { addend } = epilogue {
            check_shape("addend", x.shape(), addend.shape())?;
        }
        check_shape("y", x.shape(), y.shape())?;
        kernels.normalize(&self.coefficients, x, epilogue, y);
        Ok(())
    }

    /// The gradients' sums over micro-batches, of which none was seen yet.
    pub fn gradients(&self) -> MicroGradients<'_> {
        MicroGradients { whole: self, sums: vec![GradientSums::default(); self.moments.len()], count: 0 }
    }
}

/// Collects the gradients' sums of a batch from its micro-batches: the third step.
#[derive(Clone, Debug, PartialEq)]
pub struct MicroGradients<'a> {
    whole: &'a WholeBatch,
    sums: Vec<GradientSums>,
    /// Values per channel so far.
    count: u64,
}

impl<'a> MicroGradients<'a> {
    /// Lets a micro-batch in: its x as in the forward pass, and the gradient of its y, with the forward pass's mask if it
    /// had one.
    ///
    /// # Errors
    ///
    /// [`Error::ChannelMismatch`] if it has another number of channels, [`Error::ShapeMismatch`] if the tensors differ.
    pub fn push<E: Element>(
        &mut self,
        kernels: &impl Kernels<E>,
        x: View<'_, E>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
    ) -> Result<(), Error> {
        check_channels(self.sums.len(), x.shape())?;
        check_gradient(x.shape(), dy.shape(), gate)?;
        let mut part = vec![GradientSums::default(); self.sums.len()];
        kernels.gradient_sums(&self.whole.coefficients, Some(x), dy, gate, &mut part);
        for (all, part) in self.sums.iter_mut().zip(part) {
            *all = all.merge(part);
        }
        self.count += dy.mask().map_or(dy.shape().positions(), |mask| mask.count()) as u64;
        Ok(())
    }

    /// The whole batch's gradients.
    ///
    /// # Errors
    ///
    /// [`Error::MicroBatchesMismatch`] if these were not as many values as in the forward pass: a micro-batch was left out
    /// or came twice, or its mask is another one.
    pub fn finish(self) -> Result<WholeGradients<'a>, Error> {
        let Self { whole, sums, count: found } = self;
        let expected = whole.moments.first().map_or(0, |moments| moments.count);
        if found != expected {
            return Err(Error::MicroBatchesMismatch { expected, found });
        }
        let means = sums.iter().map(|sums| sums.means(expected)).collect();
        Ok(WholeGradients { whole, sums, means })
    }
}

/// A whole batch's gradients, by which those of its micro-batches' inputs are computed.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeGradients<'a> {
    whole: &'a WholeBatch,
    sums: Vec<GradientSums>,
    means: Vec<GradientMeans>,
}

impl WholeGradients<'_> {
    /// `d gamma = sum(dz xhat)` and `d beta = sum(dz)` of the whole batch.
    pub fn parameters(&self) -> Gradients {
        Gradients {
            gamma: Some(self.sums.iter().map(|sums| sums.dy_xhat).collect()),
            beta: Some(self.sums.iter().map(|sums| sums.dy).collect()),
        }
    }

    /// `dx = gamma rstd (dz - mean(dz) - xhat mean(dz xhat))` for one micro-batch, with the means of the whole batch.
    /// `d_addend`, when given, receives dz, as in [`Kernels::input_gradient`].
    ///
    /// # Errors
    ///
    /// [`Error::ChannelMismatch`] if it has another number of channels, [`Error::ShapeMismatch`] if the tensors differ.
    pub fn input_gradient<E: Element>(
        &self,
        kernels: &impl Kernels<E>,
        x: View<'_, E>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        dx: ViewMut<'_, E>,
        d_addend: Option<ViewMut<'_, E>>,
    ) -> Result<(), Error> {
        check_channels(self.sums.len(), x.shape())?;
        check_gradient(x.shape(), dy.shape(), gate)?;
        check_shape("dx", x.shape(), dx.shape())?;
        if let Some(d_addend) = &d_addend {
            check_shape("d_addend", x.shape(), d_addend.shape())?;
        }
        kernels.input_gradient(&self.whole.coefficients, Some((x, &self.means)), dy, gate, dx, d_addend);
        Ok(())
    }
}

fn check_moments(moments: &[Moments], config: &BatchNormConfig) -> Result<(), Error> {
    for (channel, moments) in moments.iter().enumerate() {
        let (mean, variance) = (moments.mean, moments.biased_variance());
        if config.non_finite == Policy::Error && !moments.is_finite() {
            return Err(Error::NonFiniteStatistics { channel, mean, variance });
        }
        if variance + config.eps == 0.0 {
            return Err(Error::ZeroVariance { channel });
        }
    }
    Ok(())
}

fn check_channels(expected: usize, shape: Shape) -> Result<(), Error> {
    let found = shape.channels();
    if found == expected { Ok(()) } else { Err(Error::ChannelMismatch { expected, found, shape }) }
}

fn check_shape(what: &'static str, expected: Shape, found: Shape) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::ShapeMismatch { what, expected, found }) }
}

fn check_gradient<E>(x: Shape, dy: Shape, gate: Gate<'_, E>) -> Result<(), Error> {
    check_shape("dy", x, dy)?;
    match gate {
        Gate::None => Ok(()),
        Gate::Output { .. } => Err(Error::Incompatible {
            first: "the gradient from the output",
            second: "micro-batches",
            reason: "their x is computed again anyway",
        }),
        Gate::Relu { x: own } | Gate::LeakyRelu { x: own, .. } => check_shape("gate's x", x, own.shape()),
        Gate::AddRelu { x: own, addend } => {
            check_shape("gate's x", x, own.shape())?;
            check_shape("addend", x, addend.shape())
        }
    }
}
