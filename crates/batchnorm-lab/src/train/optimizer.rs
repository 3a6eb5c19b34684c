//! The optimizer that the settings ask for, and what it trains.

use batchnorm_burn::networks::affine_parameters;
use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Tensor;

use super::{Decayed, Optimizer, Settings, TrainedPart};
use crate::networks::{Classifier, Model};

/// An optimizer for a network's parameters.
pub(super) fn of(settings: &Settings, network: &Model) -> ModuleOptimizer {
    let decay = (settings.weight_decay > 0.0).then_some(settings.weight_decay);
    let weights = ParamGroup::from_ids(weights(network));
    match settings.optimizer {
        Optimizer::Sgd => {
            let config = match settings.sgd_momentum {
                0.0 => SgdConfig::new(),
                momentum => SgdConfig::new()
                    .with_momentum(Some(MomentumConfig::new().with_momentum(momentum).with_dampening(0.0))),
            };
            let decaying = config.clone().with_weight_decay(penalty(decay));
            match (decay, settings.decayed) {
                (None, _) => config.init(),
                (Some(_), Decayed::All) => decaying.init(),
                (Some(_), Decayed::Weights) => config.init().with_group(weights, decaying.build(), None),
            }
        }
        Optimizer::Adam => {
            let config = AdamConfig::new();
            let decaying = config.clone().with_weight_decay(penalty(decay));
            match (decay, settings.decayed) {
                (None, _) => config.init(),
                (Some(_), Decayed::All) => decaying.init(),
                (Some(_), Decayed::Weights) => config.init().with_group(weights, decaying.build(), None),
            }
        }
    }
}

/// The parameters of a part of the network; `None` is all.
pub(super) fn trained(part: TrainedPart, network: &Model) -> Option<Vec<ParamId>> {
    match part {
        TrainedPart::All => None,
        TrainedPart::Affine => Some(affine_parameters(network)),
        TrainedPart::Output => {
            let output = network.output();
            Some(std::iter::once(output.weight.id).chain(output.bias.as_ref().map(|bias| bias.id)).collect())
        }
    }
}

/// Keeps the gradients of these parameters alone: the optimizer leaves a parameter without a gradient as it is, and
/// does not let it decay.
pub(super) fn keep(gradients: &mut GradientsParams, network: &Model, trained: &[ParamId]) {
    struct Others<'a> {
        gradients: &'a mut GradientsParams,
        trained: &'a [ParamId],
    }
    impl ModuleVisitor for Others<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !self.trained.contains(&param.id) {
                self.gradients.remove::<D>(param.id);
            }
        }
    }
    network.visit(&mut Others { gradients, trained });
}

fn penalty(decay: Option<f64>) -> Option<WeightDecayConfig> {
    decay.map(|decay| WeightDecayConfig::new(decay as f32))
}

/// The weights of linear and convolutional maps: what has more than one axis.
fn weights(network: &Model) -> Vec<ParamId> {
    struct Weights(Vec<ParamId>);
    impl ModuleVisitor for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if D > 1 {
                self.0.push(param.id);
            }
        }
    }
    let mut weights = Weights(Vec::new());
    network.visit(&mut weights);
    weights.0
}
