//! A layer's state in and out, under the names that PyTorch and Keras give it.

use crate::{BatchNorm, Error, Real, RunningStatistics};

/// Whose names a state uses.
///
/// | | gamma | beta | running mean | running variance | batches |
/// |---|---|---|---|---|---|
/// | PyTorch | `weight` | `bias` | `running_mean` | `running_var` | `num_batches_tracked` |
/// | Keras | `gamma` | `beta` | `moving_mean` | `moving_variance` | - |
///
/// eps and momentum are in neither: they are the configuration's, and the two libraries' defaults differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The names of a PyTorch `state_dict`.
    PyTorch,
    /// The names of a Keras layer's variables.
    Keras,
}

impl Names {
    /// The name of gamma.
    pub const fn gamma(self) -> &'static str {
        match self {
            Self::PyTorch => "weight",
            Self::Keras => "gamma",
        }
    }

    /// The name of beta.
    pub const fn beta(self) -> &'static str {
        match self {
            Self::PyTorch => "bias",
            Self::Keras => "beta",
        }
    }

    /// The name of the running mean.
    pub const fn running_mean(self) -> &'static str {
        match self {
            Self::PyTorch => "running_mean",
            Self::Keras => "moving_mean",
        }
    }

    /// The name of the running variance.
    pub const fn running_variance(self) -> &'static str {
        match self {
            Self::PyTorch => "running_var",
            Self::Keras => "moving_variance",
        }
    }

    /// The name of the batch counter, where there is one.
    pub const fn batches(self) -> Option<&'static str> {
        match self {
            Self::PyTorch => Some("num_batches_tracked"),
            Self::Keras => None,
        }
    }
}

/// One named value of a state.
#[derive(Clone, Debug, PartialEq)]
pub enum StateValue<P> {
    /// One value per channel.
    PerChannel(Vec<P>),
    /// A counter, a scalar i64 in files.
    Counter(i64),
}

impl<P> StateValue<P> {
    fn describe(&self) -> String {
        match self {
            Self::PerChannel(values) => format!("{} values", values.len()),
            Self::Counter(counter) => format!("the counter {counter}"),
        }
    }
}

impl<P: Real, K> BatchNorm<P, K> {
    /// The state under the given names, in the libraries' order: what the layer has, and nothing else.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, BatchNormConfig, Names};
    ///
    /// let layer = BatchNorm::<f32>::new(8, BatchNormConfig::pytorch())?;
    /// let names: Vec<_> = layer.state(Names::PyTorch).into_iter().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn state(&self, names: Names) -> Vec<(&'static str, StateValue<P>)> {
        let mut state = Vec::with_capacity(5);
        let mut per_channel = |name, values: Option<&[P]>| {
            if let Some(values) = values {
                state.push((name, StateValue::PerChannel(values.to_vec())));
            }
        };
        per_channel(names.gamma(), self.gamma());
        per_channel(names.beta(), self.beta());
        per_channel(names.running_mean(), self.running().map(|running| &running.mean[..]));
        per_channel(names.running_variance(), self.running().map(|running| &running.variance[..]));
        if let (Some(name), Some(running)) = (names.batches(), self.running()) {
            state.push((name, StateValue::Counter(i64::try_from(running.batches).unwrap_or(i64::MAX))));
        }
        state
    }

    /// Replaces the whole state by `state`: all of it or, on an error, nothing.
    ///
    /// A missing counter is 0 batches: files from before PyTorch 0.4.1 and frozen layers have none.
    ///
    /// # Errors
    ///
    /// [`Error::MissingState`] and [`Error::UnexpectedState`] if the names are not exactly this layer's,
    /// [`Error::InvalidState`] for a value of the wrong kind or length, a running statistic that is not finite,
    /// a negative counter.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, BatchNormConfig, Names, StateValue};
    ///
    /// let mut layer = BatchNorm::<f32>::new(1, BatchNormConfig::pytorch())?;
    /// let per_channel = |value| StateValue::PerChannel(vec![value]);
    /// layer.load_state(Names::PyTorch, [
    ///     ("weight", per_channel(2.0)),
    ///     ("bias", per_channel(0.5)),
    ///     ("running_mean", per_channel(-1.0)),
    ///     ("running_var", per_channel(4.0)),
    ///     ("num_batches_tracked", StateValue::Counter(100)),
    /// ])?;
    /// assert_eq!(layer.running().unwrap().batches, 100);
    ///
    /// let error = layer.load_state(Names::PyTorch, [("gamma", per_channel(1.0))]).unwrap_err();
    /// assert!(error.to_string().contains("expected `weight`, `bias`"));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn load_state<'n>(
        &mut self,
        names: Names,
        state: impl IntoIterator<Item = (&'n str, StateValue<P>)>,
    ) -> Result<(), Error> {
        let mine: Vec<&'static str> = self.state(names).into_iter().map(|(name, _)| name).collect();
        let expected = || {
            let quoted: Vec<String> = mine.iter().map(|name| format!("`{name}`")).collect();
            quoted.join(", ")
        };
        let mut found: Vec<(&'static str, StateValue<P>)> = Vec::new();
        for (name, value) in state {
            let Some(&mine) = mine.iter().find(|&&mine| mine == name) else {
                return Err(Error::UnexpectedState { name: name.to_owned(), expected: expected() });
            };
            self.check_value(names, mine, &value)?;
            found.retain(|(name, _)| *name != mine);
            found.push((mine, value));
        }
        if let Some(&name) = mine
            .iter()
            .find(|&&name| Some(name) != names.batches() && !found.iter().any(|(found, _)| *found == name))
        {
            return Err(Error::MissingState { name, expected: expected() });
        }

        // Everything is there and right: now it may be moved in.
        let mut running = self.running().map(|_| RunningStatistics::new(self.channels()));
        for (name, value) in found {
            match value {
                StateValue::Counter(counter) => {
                    if let Some(running) = &mut running {
                        running.batches = counter.unsigned_abs();
                    }
                }
                StateValue::PerChannel(values) => {
                    let target = if name == names.gamma() {
                        self.gamma_mut()
                    } else if name == names.beta() {
                        self.beta_mut()
                    } else if name == names.running_mean() {
                        running.as_mut().map(|running| &mut running.mean[..])
                    } else {
                        running.as_mut().map(|running| &mut running.variance[..])
                    };
                    if let Some(target) = target {
                        target.copy_from_slice(&values);
                    }
                }
            }
        }
        running.map_or(Ok(()), |running| self.set_running(running))
    }

    fn check_value(&self, names: Names, name: &'static str, value: &StateValue<P>) -> Result<(), Error> {
        let invalid = |expected, found| Err(Error::InvalidState { name: name.to_owned(), expected, found });
        match value {
            StateValue::Counter(counter) if Some(name) == names.batches() => {
                if *counter < 0 {
                    return invalid("a count of batches, 0 or more", counter.to_string());
                }
            }
            StateValue::PerChannel(values)
                if Some(name) != names.batches() && values.len() == self.channels() =>
            {
                let bad = |ok: fn(P) -> bool| values.iter().position(|&value| !ok(value));
                let (expected, position) = if name == names.running_mean() {
                    ("finite running means", bad(P::is_finite))
                } else if name == names.running_variance() {
                    ("finite running variances", bad(P::is_finite))
                } else {
                    ("", None)
                };
                if let Some(channel) = position {
                    return invalid(expected, format!("{:?} in channel {channel}", values[channel]));
                }
            }
            _ if Some(name) == names.batches() => {
                return invalid("a scalar counter", value.describe());
            }
            _ => {
                return invalid(
                    "one value per channel",
                    format!("{} for {} channels", value.describe(), self.channels()),
                );
            }
        }
        Ok(())
    }
}
