//! A batch-norm layer of its own, for those who use no framework: parameters, running statistics, passes.

use crate::passes::{self, Backward, Gradients, Plan, Saved, Wanted};
use crate::{
    BatchNormConfig, Cpu, Element, Epilogue, Error, Gate, Inference, Kernels, Parameters, Population, Real,
    RunningStatistics, RunningUpdate, Shape, View, ViewMut,
};

/// A batch-norm layer: configuration, gamma, beta and running statistics of a fixed number of channels.
///
/// `P` is the parameters' type, f32 or f64; `K` the backend that computes.
///
/// ```
/// use batchnorm::{BatchNorm, BatchNormConfig, Shape, Wanted};
///
/// let mut layer = BatchNorm::<f32>::new(2, BatchNormConfig::pytorch())?;
/// let shape = Shape::channels_first(&[3, 2])?; // three rows of two channels
/// let x = [1.0f32, 10.0, 2.0, 20.0, 3.0, 60.0];
/// let mut y = [0.0f32; 6];
///
/// // A training step: the batch's statistics normalize, and enter the running ones.
/// let forward = layer.forward_train(shape, &x, &mut y)?;
/// assert!((y[0] + 1.2247).abs() < 1e-4); // (1 - 2) / sqrt(2/3)
/// assert_eq!(layer.running().unwrap().mean, [0.2, 3.0]);
///
/// // Its gradients.
/// let dy = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
/// let mut dx = [0.0; 6];
/// let gradients = layer.backward(&forward.saved, &x, &dy, Some(&mut dx), Wanted::ALL)?;
/// assert_eq!(gradients.beta.unwrap(), [1.0, 0.0]);
///
/// // Evaluation: the running statistics normalize.
/// layer.forward_eval(shape, &x, &mut y)?;
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchNorm<P = f32, K = Cpu> {
    config: BatchNormConfig,
    channels: usize,
    gamma: Option<Vec<P>>,
    beta: Option<Vec<P>>,
    running: Option<RunningStatistics<P>>,
    kernels: K,
}

/// What a training pass returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// What the backward pass needs.
    pub saved: Saved,
    /// What became of the batch's statistics.
    pub update: RunningUpdate,
}

impl<P: Real> BatchNorm<P> {
    /// A new layer: gamma 1, beta 0, running mean 0, running variance 1, as configured.
    ///
    /// # Errors
    ///
    /// [`Error::NoChannels`] for zero channels, [`Error::TooLarge`] for more than memory can hold; an eps or
    /// momentum that is no number to compute with.
    pub fn new(channels: usize, config: BatchNormConfig) -> Result<Self, Error> {
        Self::with_kernels(channels, config, Cpu)
    }
}

impl<P: Real, K> BatchNorm<P, K> {
    /// A new layer on another backend.
    ///
    /// # Errors
    ///
    /// As for [`BatchNorm::new`].
    pub fn with_kernels(channels: usize, config: BatchNormConfig, kernels: K) -> Result<Self, Error> {
        config.validate()?;
        if channels == 0 {
            return Err(Error::NoChannels);
        }
        // The system refuses memory of absurd size for a wrong argument here, by an error and not by an abort.
        Vec::<[P; 4]>::new().try_reserve_exact(channels).map_err(|_| Error::TooLarge {
            outer: 1,
            channels,
            inner: 1,
        })?;
        Ok(Self {
            config,
            channels,
            gamma: config.scale.then(|| vec![P::ONE; channels]),
            beta: config.shift.then(|| vec![P::ZERO; channels]),
            running: config.track_running_statistics.then(|| RunningStatistics::new(channels)),
            kernels,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &BatchNormConfig {
        &self.config
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The scale; none if configured without.
    pub fn gamma(&self) -> Option<&[P]> {
        self.gamma.as_deref()
    }

    /// The scale, to be changed by an optimizer.
    pub fn gamma_mut(&mut self) -> Option<&mut [P]> {
        self.gamma.as_deref_mut()
    }

    /// The shift; none if configured without.
    pub fn beta(&self) -> Option<&[P]> {
        self.beta.as_deref()
    }

    /// The shift, to be changed by an optimizer.
    pub fn beta_mut(&mut self) -> Option<&mut [P]> {
        self.beta.as_deref_mut()
    }

    /// The running statistics; none if configured without.
    pub fn running(&self) -> Option<&RunningStatistics<P>> {
        self.running.as_ref()
    }

    /// Replaces the running statistics, by a saved state's or a [`Population`]'s.
    ///
    /// # Errors
    ///
    /// [`Error::NotTracked`] if the layer has none, [`Error::PerChannelMismatch`] if the channels are not the
    /// layer's, [`Error::InvalidStatistics`] if a mean or variance is not finite. A variance may be negative, as in
    /// some files; what counts is that variance + eps is positive when it is normalized with.
    pub fn set_running(&mut self, statistics: RunningStatistics<P>) -> Result<(), Error> {
        let Some(running) = &mut self.running else {
            return Err(Error::NotTracked { what: "none can be set" });
        };
        for (what, values) in [("mean", &statistics.mean), ("variance", &statistics.variance)] {
            if values.len() != self.channels {
                return Err(Error::PerChannelMismatch { what, expected: self.channels, found: values.len() });
            }
        }
        for (channel, (mean, variance)) in statistics.mean.iter().zip(&statistics.variance).enumerate() {
            if !(mean.is_finite() && variance.is_finite()) {
                return Err(Error::InvalidStatistics {
                    channel,
                    mean: mean.to_f64(),
                    variance: variance.to_f64(),
                    eps: self.config.eps,
                });
            }
        }
        *running = statistics;
        Ok(())
    }

    /// Forgets the running statistics: mean 0, variance 1, no batches.
    pub fn reset_running(&mut self) {
        if let Some(running) = &mut self.running {
            *running = RunningStatistics::new(self.channels);
        }
    }

    /// Normalizes by the batch's own statistics and lets them into the running ones.
    ///
    /// `x` and `y` hold `shape.len()` elements. The equations are [`passes::forward_train`]'s and
    /// [`RunningStatistics::update`]'s.
    ///
    /// # Errors
    ///
    /// Those of [`passes::forward_train`], and [`Error::ChannelMismatch`]. Running statistics are then as they
    /// were.
    pub fn forward_train<E>(&mut self, shape: Shape, x: &[E], y: &mut [E]) -> Result<Forward, Error>
    where
        E: Element<Parameter = P>,
        K: Kernels<E>,
    {
        let mut saved = Saved::default();
        let update = self.forward_train_into(shape, x, y, &mut saved)?;
        Ok(Forward { saved, update })
    }

    /// [`forward_train`](Self::forward_train) in the memory of an earlier `saved`, which allocates nothing.
    ///
    /// # Errors
    ///
    /// Those of [`BatchNorm::forward_train`]; `saved` is then of no pass.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, BatchNormConfig, Gradients, Saved, Shape, Wanted};
    ///
    /// let mut layer = BatchNorm::<f32>::new(1, BatchNormConfig::pytorch())?;
    /// let (shape, dy, mut y, mut dx) = (Shape::channels_last(&[3, 1])?, [1.0, 0.0, 0.0], [0.0f32; 3], [0.0; 3]);
    /// let (mut saved, mut gradients) = (Saved::default(), Gradients::default());
    /// for x in [[1.0f32, 2.0, 3.0], [4.0, 5.0, 9.0]] {
    ///     let _ = layer.forward_train_into(shape, &x, &mut y, &mut saved)?;
    ///     layer.backward_into(&saved, &x, &dy, Some(&mut dx), Wanted::ALL, &mut gradients)?;
    /// }
    /// assert_eq!(saved.batch_moments().unwrap()[0].mean, 6.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_train_into<E>(
        &mut self,
        shape: Shape,
        x: &[E],
        y: &mut [E],
        saved: &mut Saved,
    ) -> Result<RunningUpdate, Error>
    where
        E: Element<Parameter = P>,
        K: Kernels<E>,
    {
        self.normalize_by_batch(shape, x, y, saved)?;
        self.let_in(saved)
    }

    /// [`forward_train_into`](Self::forward_train_into) where y overwrites x, whose gradients are
    /// [`backward_from_output`](Self::backward_from_output)'s then.
    ///
    /// # Errors
    ///
    /// Those of [`BatchNorm::forward_train`]. Where statistics are refused, `data` may have been overwritten.
    pub fn forward_train_in_place<E>(
        &mut self,
        shape: Shape,
        data: &mut [E],
        saved: &mut Saved,
    ) -> Result<RunningUpdate, Error>
    where
        E: Element<Parameter = P>,
        K: Kernels<E>,
    {
        self.check_channels(shape)?;
        let plan = Plan { parameters: self.parameters(), ..Plan::of(&self.config, shape) };
        let data = ViewMut::new("data", shape, data)?;
        passes::forward_in_place(&self.kernels, &plan, Epilogue::None, data, saved)?;
        self.let_in(saved)
    }

    /// Lets the batch's statistics into the running ones.
    fn let_in(&mut self, saved: &Saved) -> Result<RunningUpdate, Error> {
        match (&mut self.running, saved.batch_moments()) {
            (Some(running), Some(moments)) => running.update(&self.config, moments),
            _ => Ok(RunningUpdate::NotTracked),
        }
    }

    /// Normalizes by the running statistics, or by the batch's own if the layer tracks none. Changes nothing
    /// in the layer.
    ///
    /// The result serves [`BatchNorm::backward`] for a layer whose statistics are frozen while the rest of the
    /// network trains.
    ///
    /// # Errors
    ///
    /// Those of [`passes::forward_fixed`] (of [`passes::forward_train`] without tracking), and
    /// [`Error::ChannelMismatch`].
    pub fn forward_eval<E>(&self, shape: Shape, x: &[E], y: &mut [E]) -> Result<Saved, Error>
    where
        E: Element<Parameter = P>,
        K: Kernels<E>,
    {
        let Some(running) = &self.running else {
            let mut saved = Saved::default();
            self.normalize_by_batch(shape, x, y, &mut saved)?;
            return Ok(saved);
        };
        self.check_channels(shape)?;
        passes::forward_fixed(
            &self.kernels,
            &self.config,
            self.parameters(),
            &running.mean,
            &running.variance,
            View::new("x", shape, x)?,
            Epilogue::None,
            ViewMut::new("y", shape, y)?,
        )
    }

    /// Evaluation with its coefficients computed once, by the running statistics and parameters as they are now.
    ///
    /// # Errors
    ///
    /// [`Error::NotTracked`] if the layer has no running statistics; [`Error::InvalidStatistics`] and
    /// [`Error::ScaleOverflow`] if they are none to normalize with.
    pub fn inference(&self) -> Result<Inference<K>, Error>
    where
        K: Clone,
    {
        let Some(running) = &self.running else {
            return Err(Error::NotTracked { what: "there is nothing to evaluate with" });
        };
        Inference::new(self.config.eps, &self.parameters(), running, self.kernels.clone())
    }

    /// The gradients of the pass that returned `saved`: of x into `dx` if it is given, of gamma and beta as
    /// wanted. The equations are [`passes::backward`]'s.
    ///
    /// With fixed statistics and gamma's gradient not wanted, x is not read and may be empty.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] if a slice's length is not the forward pass's.
    pub fn backward<E>(
        &self,
        saved: &Saved,
        x: &[E],
        dy: &[E],
        dx: Option<&mut [E]>,
        wanted: Wanted,
    ) -> Result<Gradients, Error>
    where
        E: Element<Parameter = P>,
        K: Kernels<E>,
    {
        let mut gradients = Gradients::default();
        self.backward_into(saved, x, dy, dx, wanted, &mut gradients)?;
        Ok(gradients)
    }

    /// [`backward`](Self::backward) in the memory of earlier `gradients`, which allocates nothing.
    ///
    /// # Errors
    ///
    /// Those of [`BatchNorm::backward`].
    pub fn backward_into<E>(
        &self,
        saved: &Saved,
        x: &[E],
        dy: &[E],
        dx: Option<&mut [E]>,
        wanted: Wanted,
        gradients: &mut Gradients,
    ) -> Result<(), Error>
    where
        E: Element<Parameter = P>,
        K: Kernels<E>,
    {
        let (shape, wanted) = (saved.shape(), self.existing(wanted));
        let x = saved.needs_input(wanted).then(|| View::new("x", shape, x)).transpose()?;
        let mut tensors =
            Backward { x, dy: View::new("dy", shape, dy)?, gate: Default::default(), dx: None, d_addend: None };
        if let Some(dx) = dx {
            tensors.dx = Some(ViewMut::new("dx", shape, dx)?);
        }
        passes::backward_into(&self.kernels, saved, wanted, tensors, None, gradients)
    }

    /// [`backward`](Self::backward) of a pass of which only y is left, as of
    /// [`forward_train_in_place`](Self::forward_train_in_place): `xhat = (y - beta) / gamma`.
    ///
    /// What is lost by rounding y is said at
    /// [`Coefficients::of_output`](crate::Coefficients::of_output); for a pass with an activation see
    /// [`Gate::Output`].
    ///
    /// # Errors
    ///
    /// Those of [`BatchNorm::backward`]; [`Error::NotInvertible`] for a gamma of 0, or one that is lost beside beta.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, BatchNormConfig, Saved, Shape, Wanted};
    ///
    /// let mut layer = BatchNorm::<f32>::new(1, BatchNormConfig::pytorch().with_eps(0.0))?;
    /// let (shape, mut data, dy, mut dx) = (Shape::new(4, 1, 1)?, [1.0, 3.0, 5.0, 7.0], [1.0, 0.0, 0.0, 0.0], [0.0; 4]);
    /// let mut saved = Saved::default();
    /// let _ = layer.forward_train_in_place(shape, &mut data, &mut saved)?;
    /// let gradients = layer.backward_from_output(&saved, &data, &dy, Some(&mut dx), Wanted::ALL)?;
    /// assert!((gradients.gamma.unwrap()[0] - f64::from(data[0])).abs() < 1e-6);
    /// assert!(dx.iter().sum::<f32>().abs() < 1e-6);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_from_output<E>(
        &self,
        saved: &Saved,
        y: &[E],
        dy: &[E],
        dx: Option<&mut [E]>,
        wanted: Wanted,
    ) -> Result<Gradients, Error>
    where
        E: Element<Parameter = P>,
        K: Kernels<E>,
    {
        let (shape, wanted) = (saved.shape(), self.existing(wanted));
        let tensors = Backward {
            x: None,
            dy: View::new("dy", shape, dy)?,
            gate: Gate::Output { y: View::new("y", shape, y)?, slope: 1.0 },
            dx: dx.map(|dx| ViewMut::new("dx", shape, dx)).transpose()?,
            d_addend: None,
        };
        passes::backward(&self.kernels, saved, wanted, tensors)
    }

    /// What is wanted of what the layer has: parameters that it has not have no gradients.
    fn existing(&self, wanted: Wanted) -> Wanted {
        Wanted { gamma: wanted.gamma && self.gamma.is_some(), beta: wanted.beta && self.beta.is_some() }
    }

    /// Replaces the running statistics by the paper's Algorithm 2 over `batches`, each of `shape`'s kind; the
    /// weights stay fixed.
    ///
    /// # Errors
    ///
    /// [`Error::NoBatches`] if no batch of two or more values per channel came, [`Error::NotTracked`] if the
    /// layer has no running statistics, and shapes that do not fit. The old statistics are then as they were.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, BatchNormConfig, Shape};
    ///
    /// let mut layer = BatchNorm::<f32>::new(1, BatchNormConfig::paper())?;
    /// let shape = Shape::channels_last(&[2, 1])?;
    /// layer.estimate_population([(shape, &[1.0f32, 3.0][..]), (shape, &[5.0, 5.0])])?;
    /// assert_eq!(layer.running().unwrap().mean, [3.5]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn estimate_population<'a, E>(
        &mut self,
        batches: impl IntoIterator<Item = (Shape, &'a [E])>,
    ) -> Result<(), Error>
    where
        E: Element<Parameter = P>,
        K: Kernels<E>,
    {
        let mut population = Population::new();
        let mut moments = vec![Default::default(); self.channels];
        for (shape, x) in batches {
            self.check_channels(shape)?;
            self.kernels.moments(View::new("x", shape, x)?, &mut moments);
            population.push(&moments)?;
        }
        self.set_running(population.finish()?)
    }

    fn normalize_by_batch<E>(&self, shape: Shape, x: &[E], y: &mut [E], saved: &mut Saved) -> Result<(), Error>
    where
        E: Element<Parameter = P>,
        K: Kernels<E>,
    {
        self.check_channels(shape)?;
        let plan = Plan { parameters: self.parameters(), ..Plan::of(&self.config, shape) };
        let (x, y) = (View::new("x", shape, x)?, ViewMut::new("y", shape, y)?);
        passes::forward_into(&self.kernels, &plan, x, Epilogue::None, y, saved)
    }

    fn parameters(&self) -> Parameters<'_, P> {
        Parameters { gamma: self.gamma(), beta: self.beta() }
    }

    fn check_channels(&self, shape: Shape) -> Result<(), Error> {
        if shape.channels() == self.channels {
            Ok(())
        } else {
            Err(Error::ChannelMismatch { expected: self.channels, found: shape.channels(), shape })
        }
    }
}
