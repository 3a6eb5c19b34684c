//! One forward pass: what a layer's settings and state make of it.

use std::sync::Arc;

use batchnorm::{Shape, Variant};
use burn::backend::Dispatch;
use burn::module::Param;
use burn::tensor::Tensor;

use crate::ops::{Affine, BatchNormOps, Cut, Outcome, Pass, Source};
use crate::{BatchNorm, Error, Inference};

/// Which positions of an input count.
pub(crate) type Counts = Arc<[bool]>;

/// What the layer is doing in a pass.
pub(crate) struct Role {
    /// It normalizes by the batch: in training, for a population, or for want of running statistics.
    by_batch: bool,
    /// It does so as the variant says and over all ranks: in training, or for a population.
    as_in_training: bool,
    /// The batch enters the running statistics or the population.
    taking_in: bool,
    /// It collects a population, for which renormalization corrects nothing.
    collecting: bool,
}

impl Role {
    /// Whether all ranks take part.
    pub(crate) fn is_as_in_training(&self) -> bool {
        self.as_in_training
    }

    /// Whether it normalizes by the batch, whether over all ranks, and whether it takes the batch in.
    pub(crate) fn mode(&self) -> (bool, bool, bool) {
        (self.by_batch, self.as_in_training, self.taking_in)
    }
}

impl BatchNorm {
    pub(crate) fn pass<const D: usize>(
        &self,
        x: Tensor<D>,
        addend: Option<Tensor<D>>,
        mask: Option<Counts>,
    ) -> Result<Tensor<D>, Error> {
        let role = self.role(&x);
        let exchange = self.exchange.clone().filter(|_| role.as_in_training);
        let checked = self.check_channels(&x).and_then(|_| self.check_role(&role));
        if let (Err(_), Some(exchange)) = (&checked, &exchange) {
            batchnorm::passes::tell_failure(&**exchange);
        }
        checked?;
        let settings = &self.config.settings;
        let pass = Pass {
            config: *settings,
            axis: self.config.channel_axis,
            cut: self.cut(&role),
            source: self.source(&role),
            mask,
            exchange,
            activation: self.config.activation,
            keep: self.config.keep,
            outcome: Outcome::default(),
        };
        let parameter = |param: &Param<Tensor<1>>| param.val().into_dispatch();
        let affine =
            Affine::<Dispatch>::new(self.gamma.as_ref().map(parameter), self.beta.as_ref().map(parameter));
        let y = apply(x, addend, affine, &pass)?;
        if role.taking_in
            && let Some(moments) = pass.outcome.get()?.batch_moments()
        {
            // Of ghost batches, each is a batch.
            self.running.take_in(settings, self.tracked(), moments.chunks(self.channels()))?;
        }
        Ok(y)
    }

    pub(crate) fn check_channels<const D: usize>(&self, x: &Tensor<D>) -> Result<Shape, Error> {
        let shape = Shape::of(&x.dims(), self.config.channel_axis)?;
        if shape.channels() == self.config.num_features {
            return Ok(shape);
        }
        let (expected, found) = (self.config.num_features, shape.channels());
        Err(batchnorm::Error::ChannelMismatch { expected, found, shape }.into())
    }

    pub(crate) fn role<const D: usize>(&self, x: &Tensor<D>) -> Role {
        let training = x.device().is_autodiff() && self.training.is_enabled();
        let together = self.config.variant.normalizes_by_batch();
        let collecting = together && self.running.is_collecting();
        let tracking = together && self.config.settings.track_running_statistics;
        let updating = tracking && training && !self.frozen_statistics;
        let taking_in = updating || collecting;
        Role {
            by_batch: taking_in || !tracking,
            as_in_training: taking_in || (together && !tracking && training),
            taking_in,
            collecting,
        }
    }

    /// What cannot be without running statistics.
    fn check_role(&self, role: &Role) -> Result<(), Error> {
        let together = self.config.variant.normalizes_by_batch();
        if !together || self.config.settings.track_running_statistics || !role.as_in_training {
            return Ok(());
        }
        let what = match self.config.variant {
            Variant::Renorm { .. } => "there is nothing for renormalization to correct the batch's towards",
            _ if self.frozen_statistics => "they cannot be frozen",
            _ => return Ok(()),
        };
        Err(batchnorm::Error::NotTracked { what }.into())
    }

    fn cut(&self, role: &Role) -> Cut {
        if let Some(groups) = self.config.variant.groups(self.channels()) {
            return Cut::Groups(groups);
        }
        match (self.config.variant, self.inference) {
            (Variant::Ghost { size }, _) if role.as_in_training => Cut::Ghosts(size),
            (_, Inference::Examples(_)) if !role.by_batch => Cut::Groups(self.channels()),
            _ => Cut::Whole,
        }
    }

    fn source(&self, role: &Role) -> Source {
        let statistics = self.running.statistics();
        match (self.config.variant, self.inference) {
            (Variant::Renorm { schedule, .. }, _) if role.taking_in && !role.collecting => {
                Source::Renormalized(schedule.at(statistics.batches()), vec![statistics])
            }
            _ if role.by_batch => Source::Batch,
            (_, Inference::Running) => Source::Fixed(vec![statistics]),
            (_, Inference::Batch(blend) | Inference::Examples(blend)) => {
                Source::Blended(blend, vec![statistics])
            }
        }
    }
}

/// Carries out a pass.
pub(crate) fn apply<const D: usize>(
    x: Tensor<D>,
    addend: Option<Tensor<D>>,
    affine: Affine<Dispatch>,
    pass: &Pass,
) -> Result<Tensor<D>, Error> {
    let x = x.into_dispatch();
    let y = match addend {
        None => Dispatch::normalize_batch(x, affine, pass.clone()),
        Some(addend) => Dispatch::normalize_add_relu(x, addend.into_dispatch(), affine, pass.clone()),
    };
    pass.outcome.get()?;
    Ok(Tensor::from_dispatch(y))
}
