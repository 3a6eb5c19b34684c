//! The passes over plain slices, without state: what the layer and every framework adapter call.
//!
//! ```text
//! forward_train    y from x by the batch's own statistics     1 fold, 1 map
//! forward_fixed    y from x by given statistics               1 map
//! forward          y from x by any plan: every variant        1 fold, 1 map
//! backward         dx, d gamma, d beta from x and dy          1 fold, 1 map
//! backward_across  the same, of one rank's part of a batch
//! ```
//!
//! All forward passes return a [`Saved`], by which [`backward`] knows what was done. The
//! running statistics are the caller's: see [`RunningStatistics`](crate::RunningStatistics).

mod backward;
mod forward;
mod gathered;
mod local;
mod plan;
mod ranks;
mod saved;
mod slabs;

pub use backward::{backward_across, backward_into};
pub use forward::{forward, forward_in_place, forward_into};
pub use plan::{Given, Plan, Statistics};
pub use ranks::tell_failure;
pub use saved::Saved;

use crate::{BatchNormConfig, Element, Epilogue, Error, Gate, Kernels, Parameters, Shape, View, ViewMut};

/// Which parameter gradients [`backward`] shall compute. The input's gradient is wanted when a slice for it
/// is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `d gamma = sum(dy xhat)`.
    pub gamma: bool,
    /// `d beta = sum(dy)`.
    pub beta: bool,
}

impl Wanted {
    /// Both gradients.
    pub const ALL: Self = Self { gamma: true, beta: true };
    /// Neither.
    pub const NONE: Self = Self { gamma: false, beta: false };
}

/// The parameters' gradients, one f64 per channel: those that were wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gradients {
    /// `d gamma = sum(dy xhat)`.
    pub gamma: Option<Vec<f64>>,
    /// `d beta = sum(dy)`.
    pub beta: Option<Vec<f64>>,
}

/// Normalizes by the batch's own statistics: the training pass (Ioffe & Szegedy 2015, Algorithm 1).
///
/// ```text
/// mean = sum(x) / n,    variance = sum((x - mean)^2) / n
/// y    = epilogue(gamma (x - mean) / sqrt(variance + eps) + beta)
/// ```
///
/// Of the configuration, eps and the policies are used; whether there are parameters is what `parameters`
/// says. Running statistics are updated from [`Saved::batch_moments`] by
/// [`RunningStatistics::update`](crate::RunningStatistics::update).
///
/// # Errors
///
/// [`Error::OneValuePerChannel`], [`Error::EmptyBatch`] and [`Error::NonFiniteStatistics`] as the policies say;
/// [`Error::ZeroVariance`] if a channel is constant and eps is 0; [`Error::ScaleOverflow`] if eps and variance are
/// too small for the tensor's type; invalid numbers in the configuration; shapes or lengths that do not fit.
///
/// ```
/// use batchnorm::{passes, BatchNormConfig, Cpu, Epilogue, Parameters, Shape, View, ViewMut};
///
/// let shape = Shape::channels_last(&[4, 1])?;
/// let x = [1.0f32, 3.0, 5.0, 7.0];
/// let mut y = [0.0; 4];
/// let saved = passes::forward_train(
///     &Cpu,
///     &BatchNormConfig::pytorch().with_eps(0.0),
///     Parameters { gamma: Some(&[5f32.sqrt()]), beta: None },
///     View::new("x", shape, &x)?,
///     Epilogue::None,
///     ViewMut::new("y", shape, &mut y)?,
/// )?;
/// assert_eq!(y, [-3.0, -1.0, 1.0, 3.0]);
/// assert_eq!(saved.batch_moments().unwrap()[0].mean, 4.0);
/// # Ok::<(), batchnorm::Error>(())
/// ```
pub fn forward_train<E: Element>(
    kernels: &impl Kernels<E>,
    config: &BatchNormConfig,
    parameters: Parameters<'_, E::Parameter>,
    x: View<'_, E>,
    epilogue: Epilogue<'_, E>,
    y: ViewMut<'_, E>,
) -> Result<Saved, Error> {
    forward(kernels, &Plan { parameters, ..Plan::of(config, x.shape()) }, x, epilogue, y)
}

/// Normalizes by given statistics: evaluation, and training with frozen statistics.
///
/// ```text
/// y = epilogue(gamma (x - mean) / sqrt(variance + eps) + beta)
/// ```
///
/// # Errors
///
/// [`Error::InvalidStatistics`] unless all statistics are finite and every variance + eps is positive;
/// [`Error::ScaleOverflow`] if they are too small for the tensor's type; an invalid eps; shapes or lengths that do
/// not fit.
///
/// ```
/// use batchnorm::{passes, BatchNormConfig, Cpu, Epilogue, Parameters, Shape, View, ViewMut};
///
/// let shape = Shape::channels_last(&[2, 2])?;
/// let x = [1.0f32, 10.0, 3.0, 30.0];
/// let mut y = [0.0; 4];
/// let (mean, variance) = ([1.0, 20.0], [4.0, 100.0]);
/// passes::forward_fixed(
///     &Cpu,
///     &BatchNormConfig::pytorch().with_eps(0.0),
///     Parameters::default(),
///     &mean,
///     &variance,
///     View::new("x", shape, &x)?,
///     Epilogue::Relu,
///     ViewMut::new("y", shape, &mut y)?,
/// )?;
/// assert_eq!(y, [0.0, 0.0, 1.0, 1.0]);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[allow(clippy::too_many_arguments, reason = "the operands of a forward pass")]
pub fn forward_fixed<E: Element>(
    kernels: &impl Kernels<E>,
    config: &BatchNormConfig,
    parameters: Parameters<'_, E::Parameter>,
    mean: &[E::Parameter],
    variance: &[E::Parameter],
    x: View<'_, E>,
    epilogue: Epilogue<'_, E>,
    y: ViewMut<'_, E>,
) -> Result<Saved, Error> {
    let given = [Given { mean, variance }];
    let plan = Plan { parameters, statistics: Statistics::Fixed(&given), ..Plan::of(config, x.shape()) };
    forward(kernels, &plan, x, epilogue, y)
}

/// The tensors of a backward pass.
#[derive(Debug)]
pub struct Backward<'a, E> {
    /// The input of the forward pass; needed if [`Saved::needs_input`].
    pub x: Option<View<'a, E>>,
    /// The gradient of y.
    pub dy: View<'a, E>,
    /// The derivative of the forward pass's epilogue.
    pub gate: Gate<'a, E>,
    /// Where the gradient of x goes, if it is wanted.
    pub dx: Option<ViewMut<'a, E>>,
    /// Where the gradient of [`Epilogue::AddRelu`]'s addend goes, if it is wanted (together with dx).
    pub d_addend: Option<ViewMut<'a, E>>,
}

impl<'a, E> Backward<'a, E> {
    /// The backward pass of a forward pass without epilogue, with the gradient of x wanted.
    pub fn new(x: View<'a, E>, dy: View<'a, E>, dx: ViewMut<'a, E>) -> Self {
        Self { x: Some(x), dy, gate: Gate::None, dx: Some(dx), d_addend: None }
    }
}

/// The gradients of the forward pass that returned `saved` (Ioffe & Szegedy 2015, section 3).
///
/// ```text
/// d beta  = sum(dz),    d gamma = sum(dz xhat),    dz = gate(dy)
/// dx      = gamma rstd (dz - mean(dz) - xhat mean(dz xhat))      statistics of the batch
/// dx      = gamma rstd dz                                        fixed statistics
/// ```
///
/// # Errors
///
/// [`Error::Missing`] if x is needed and not passed, or the addend's gradient is asked for without dx; shapes
/// that differ from the forward pass's.
///
/// ```
/// use batchnorm::passes::{self, Backward};
/// use batchnorm::{BatchNormConfig, Cpu, Epilogue, Parameters, Shape, View, ViewMut, Wanted};
///
/// let shape = Shape::channels_last(&[4, 1])?;
/// let (x, dy) = ([1.0f32, 3.0, 5.0, 7.0], [1.0f32, 0.0, 0.0, 0.0]);
/// let (mut y, mut dx) = ([0.0; 4], [0.0; 4]);
/// let (x, dy) = (View::new("x", shape, &x)?, View::new("dy", shape, &dy)?);
/// let saved = passes::forward_train(
///     &Cpu,
///     &BatchNormConfig::pytorch(),
///     Parameters::default(),
///     x,
///     Epilogue::None,
///     ViewMut::new("y", shape, &mut y)?,
/// )?;
/// let tensors = Backward::new(x, dy, ViewMut::new("dx", shape, &mut dx)?);
/// let gradients = passes::backward(&Cpu, &saved, Wanted::ALL, tensors)?;
/// assert_eq!(gradients.beta, Some(vec![1.0]));
/// assert!((gradients.gamma.unwrap()[0] - f64::from(y[0])).abs() < 1e-6);
/// assert!(dx.iter().sum::<f32>().abs() < 1e-6); // a shift of x changes nothing
/// # Ok::<(), batchnorm::Error>(())
/// ```
pub fn backward<E: Element>(
    kernels: &impl Kernels<E>,
    saved: &Saved,
    wanted: Wanted,
    tensors: Backward<'_, E>,
) -> Result<Gradients, Error> {
    backward_across(kernels, saved, wanted, tensors, None)
}

fn check_tensors<E>(shape: Shape, epilogue: Epilogue<'_, E>, y: &ViewMut<'_, E>) -> Result<(), Error> {
    if shape.channels() == 0 {
        return Err(Error::NoChannels);
    }
    if let Epilogue::AddRelu { addend } = epilogue {
        check_shape("addend", shape, addend.shape())?;
    }
    check_shape("y", shape, y.shape())
}

fn check_optional(what: &'static str, expected: Shape, found: Option<Shape>) -> Result<(), Error> {
    found.map_or(Ok(()), |found| check_shape(what, expected, found))
}

fn check_shape(what: &'static str, expected: Shape, found: Shape) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::ShapeMismatch { what, expected, found }) }
}
