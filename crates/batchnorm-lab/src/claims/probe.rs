//! A look inside a network: loss, logits, and every parameter and its gradient as a flat vector by its name.

use std::collections::HashMap;

use batchnorm_burn::networks::{freeze_statistics, pause_updates};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use super::lab::Halt;
use crate::data::{Dataset, Preprocessing};
use crate::feed::{Batch, Feed};
use crate::networks::{Architecture, Classifier, Init, Model, Watch};
use crate::streams::{Purpose, Stream};

/// One parameter, its gradient, or a change of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Flat {
    /// As in the module tree: `hidden.0.linear.weight`, `hidden.0.bn.gamma`.
    pub(crate) name: String,
    /// The number of axes: weights have two or four, vectors one.
    pub(crate) axes: usize,
    pub(crate) values: Vec<f32>,
    id: ParamId,
}

impl Flat {
    /// Whether it is the weights of a linear map or of a convolution.
    pub(crate) fn is_weights(&self) -> bool {
        self.axes > 1
    }

    /// Whether it is weights that lead to a norm layer, if the network has such: all but the last.
    pub(crate) fn is_hidden(&self) -> bool {
        self.is_weights() && !self.name.starts_with("output")
    }

    pub(crate) fn dot(&self, other: &Self) -> f64 {
        self.values.iter().zip(&other.values).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }

    pub(crate) fn norm(&self) -> f64 {
        self.dot(self).sqrt()
    }

    /// The distance to another one.
    pub(crate) fn distance(&self, other: &Self) -> f64 {
        let squares =
            self.values.iter().zip(&other.values).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        squares.sum::<f64>().sqrt()
    }
}

/// The norm of all of them as one vector.
pub(crate) fn norm(all: &[Flat]) -> f64 {
    all.iter().map(|one| one.dot(one)).sum::<f64>().sqrt()
}

/// The distance of all of them as one vector.
pub(crate) fn distance(all: &[Flat], others: &[Flat]) -> f64 {
    all.iter().zip(others).map(|(one, other)| one.distance(other).powi(2)).sum::<f64>().sqrt()
}

/// The cosine of the angle between two vectors; 0 if one of them is 0.
pub(crate) fn cosine(one: &Flat, other: &Flat) -> f64 {
    let norms = one.norm() * other.norm();
    if norms > 0.0 { one.dot(other) / norms } else { 0.0 }
}

/// What is seen of a network on a batch, in training mode.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// Mean softmax cross-entropy.
    pub(crate) loss: f64,
    /// Image after image.
    pub(crate) logits: Vec<f32>,
    /// Of every parameter, in the network's order.
    pub(crate) gradients: Vec<Flat>,
}

/// A network that is looked at and moved about; the one it was made of stays as it is.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    network: Model,
}

impl Probe {
    /// Of a network on a device with autodiff.
    pub(crate) fn of(network: &Model) -> Self {
        Self { network: network.clone() }
    }

    /// Of a new network.
    pub(crate) fn build(
        architecture: &Architecture,
        init: Init,
        init_std: f64,
        seed: u64,
    ) -> Result<Self, Halt> {
        let network = architecture.build(init, init_std, seed, &device());
        Ok(Self { network: network.map_err(|error| Halt::Impossible(error.to_string()))? })
    }

    /// Normalizing by its running statistics, in training as well.
    pub(crate) fn frozen(&self) -> Self {
        Self { network: freeze_statistics(self.network.clone()) }
    }

    /// Loss and gradients on a batch. The batch does not enter the running statistics.
    pub(crate) fn look(&self, batch: &Batch) -> Result<Look, Halt> {
        let _pause = pause_updates(&self.network);
        let device = device();
        let logits = self.network.forward(batch.images(&device), &mut Watch::nothing())?;
        let loss = CrossEntropyLossConfig::new().init(&device).forward(logits.clone(), batch.targets(&device));
        let value = f64::from(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        let logits = values(logits.inner());
        Ok(Look { loss: value, logits, gradients: gathered(&self.network, Some(&gradients)) })
    }

    /// Every parameter, in the order of [`Look::gradients`].
    pub(crate) fn parameters(&self) -> Vec<Flat> {
        gathered(&self.network, None)
    }

    /// With other values for these parameters.
    pub(crate) fn with(&self, parameters: &[Flat]) -> Self {
        let by_id = parameters.iter().map(|flat| (flat.id, &flat.values[..])).collect();
        Self { network: self.network.clone().map(&mut Replacing(by_id)) }
    }

    /// With every parameter changed, each by its name.
    pub(crate) fn changed(&self, mut change: impl FnMut(&mut Flat)) -> Self {
        let mut parameters = self.parameters();
        parameters.iter_mut().for_each(&mut change);
        self.with(&parameters)
    }

    /// Moved against a gradient, each parameter at its own rate: a step of gradient descent.
    pub(crate) fn descended(&self, gradients: &[Flat], rate: impl Fn(&Flat) -> f64) -> Self {
        let mut parameters = self.parameters();
        for parameter in &mut parameters {
            if let Some(gradient) = gradients.iter().find(|gradient| gradient.id == parameter.id) {
                let rate = rate(gradient) as f32;
                parameter
                    .values
                    .iter_mut()
                    .zip(&gradient.values)
                    .for_each(|(value, slope)| *value -= rate * slope);
            }
        }
        self.with(&parameters)
    }
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("networks compute in f32")
}

/// The parameters of a network, or their gradients.
fn gathered(network: &Model, gradients: Option<&GradientsParams>) -> Vec<Flat> {
    struct Gathering<'a> {
        gradients: Option<&'a GradientsParams>,
        path: Vec<String>,
        found: Vec<Flat>,
    }
    impl ModuleVisitor for Gathering<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            // Running statistics are visited, too.
            if self.path.last().is_some_and(|name| name.starts_with("running")) {
                return;
            }
            let values = match self.gradients {
                None => values(param.val().inner()),
                Some(gradients) => match gradients.get::<D>(param.id) {
                    Some(gradient) => values(gradient),
                    None => return,
                },
            };
            // The first name is that of the kind of network.
            let name = self.path[1..].join(".");
            self.found.push(Flat { name, axes: D, values, id: param.id });
        }
    }
    let mut gathering = Gathering { gradients, path: Vec::new(), found: Vec::new() };
    network.visit(&mut gathering);
    gathering.found
}

/// Gives parameters other values.
struct Replacing<'a>(HashMap<ParamId, &'a [f32]>);

impl ModuleMapper for Replacing<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(&values) = self.0.get(&param.id) else { return param };
        let data = TensorData::new(values.to_vec(), param.dims());
        Param::initialized(param.id, Tensor::from_data(data, &device()).require_grad())
    }
}

/// Batches of training images in random order, the same for the same seed; an epoch's last images that are no full batch are
/// left out.
pub(crate) struct Draws<'a> {
    feed: Feed<'a>,
    size: usize,
    stream: Stream,
    order: Vec<usize>,
    next: usize,
}

impl<'a> Draws<'a> {
    pub(crate) fn new(data: &'a Dataset, preprocessing: &'a Preprocessing, size: usize, seed: u64) -> Self {
        let feed = Feed::new(&data.train, data.dims, preprocessing);
        let size = size.min(feed.len());
        let order: Vec<usize> = (0..feed.len()).collect();
        Self { feed, size, stream: Stream::new(seed, Purpose::Batches), next: order.len(), order }
    }

    pub(crate) fn next(&mut self) -> Batch {
        if self.next + self.size > self.order.len() {
            self.stream.shuffle(&mut self.order);
            self.next = 0;
        }
        self.next += self.size;
        self.feed.batch(&self.order[self.next - self.size..self.next])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Access, Source};
    use crate::networks::{Network, Norm};

    fn setting(norm: Option<Norm>) -> (Probe, Batch) {
        let data = Source::Digits.load(&mut Access::none()).unwrap();
        let preprocessing = Preprocessing::plain(data.white);
        let batch = Draws::new(&data, &preprocessing, 32, 1).next();
        let architecture = Architecture {
            layers: vec![8, 6],
            norm,
            ..Architecture::new(Network::Mlp, data.dims, data.classes)
        };
        (Probe::build(&architecture, Init::He, 0.0, 1).unwrap(), batch)
    }

    #[test]
    fn a_look_leaves_no_trace_and_finds_everything_by_name() {
        let (probe, batch) = setting(Some(Norm::default()));
        let before = probe.network.norms()[0].1.num_batches_tracked();
        let look = probe.look(&batch).unwrap();
        assert_eq!(probe.network.norms()[0].1.num_batches_tracked(), before);
        let names: Vec<&str> = look.gradients.iter().map(|flat| &*flat.name).collect();
        assert_eq!(names[..3], ["hidden.0.linear.weight", "hidden.0.bn.gamma", "hidden.0.bn.beta"]);
        let parameters: Vec<String> = probe.parameters().into_iter().map(|flat| flat.name).collect();
        assert_eq!(names, parameters);
        assert_eq!(look.logits.len(), 320);
        assert_eq!(look.gradients.iter().filter(|flat| flat.is_hidden()).count(), 2);
    }

    #[test]
    fn gradients_are_slopes_of_the_loss() {
        for norm in [None, Some(Norm::default())] {
            let (probe, batch) = setting(norm);
            let look = probe.look(&batch).unwrap();
            let rate = 1e-3;
            let moved = probe.descended(&look.gradients, |_| rate).look(&batch).unwrap();
            let expected = look.loss - rate * norm_of(&look).powi(2);
            assert!((moved.loss - expected).abs() < 1e-4, "{} {expected}", moved.loss);
            assert!(moved.loss < look.loss);
            // The network itself did not move.
            assert_eq!(probe.look(&batch).unwrap().loss, look.loss);
        }
    }

    fn norm_of(look: &Look) -> f64 {
        super::norm(&look.gradients)
    }
}
