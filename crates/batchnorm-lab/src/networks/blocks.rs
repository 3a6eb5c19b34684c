//! What the networks are made of: a linear map or a convolution, batch normalization or none, an activation.

use batchnorm::Variant;
use batchnorm_burn::{BatchNorm, BatchNormConfig, Error};
use batchnorm_model::onnx::Value;
use burn::module::Module;
use burn::nn::Linear;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

use super::pool::Pool;
use super::weights::{Convolution, Weights};
use super::{Activation, Architecture, Export, Init, Placement, Watch};

/// Makes the layers of one network.
pub(super) struct Builder<'a> {
    weights: Weights<'a>,
    norm: Option<(batchnorm::BatchNormConfig, Variant)>,
    placement: Placement,
    activation: Activation,
    device: &'a Device,
}

/// What stands around the map of a layer: its activation and, before or after it, its norm.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// The map's name in the state.
    map: String,
    /// The norm's.
    norm: String,
    activation: Activation,
    placement: Placement,
}

/// A linear map with what stands around it.
#[derive(Module, Debug)]
pub(super) struct LinearBlock {
    linear: Linear,
    bn: Option<BatchNorm>,
    #[module(skip)]
    around: Surroundings,
    /// Whether it is added to its input.
    #[module(skip)]
    skip: bool,
}

/// A convolution with what stands around it, and perhaps a pool behind.
#[derive(Module, Debug)]
pub(super) struct ConvBlock {
    conv: Conv2d,
    bn: Option<BatchNorm>,
    pool: Option<Pool>,
    #[module(skip)]
    around: Surroundings,
}

impl<'a> Builder<'a> {
    /// For a network with norm layers of that configuration and variant, or for its plain twin.
    pub(super) fn new(
        architecture: &Architecture,
        norm: Option<(batchnorm::BatchNormConfig, Variant)>,
        (init, std, seed): (Init, f64, u64),
        device: &'a Device,
    ) -> Self {
        Self {
            weights: Weights::new(init, std, seed, device),
            norm,
            placement: architecture.placement,
            activation: architecture.activation,
            device,
        }
    }

    pub(super) fn linear_block(&mut self, name: &str, shape: [usize; 2]) -> LinearBlock {
        let bias = self.bias();
        LinearBlock {
            linear: self.weights.linear(shape, bias, Some(self.activation)),
            bn: self.norm(shape[1]),
            around: self.surroundings(format!("{name}.linear"), format!("{name}.bn")),
            skip: false,
        }
    }

    pub(super) fn conv_block(&mut self, name: &str, conv: Convolution) -> ConvBlock {
        ConvBlock {
            conv: self.conv(conv),
            bn: self.norm(conv.channels[1]),
            pool: None,
            around: self.surroundings(format!("{name}.conv"), format!("{name}.bn")),
        }
    }

    /// The last map of a network, to the classes.
    pub(super) fn output(&mut self, shape: [usize; 2]) -> Linear {
        self.weights.linear(shape, true, None)
    }

    /// A convolution that leads to a norm, if there is one, and to an activation.
    pub(super) fn conv(&mut self, conv: Convolution) -> Conv2d {
        let bias = self.bias();
        self.weights.conv(conv, bias, Some(self.activation))
    }

    /// A convolution and its norm with no activation in between or behind: the norm always comes next.
    pub(super) fn projection(&mut self, conv: Convolution) -> (Conv2d, Option<BatchNorm>) {
        let map = self.weights.conv(conv, self.norm.is_none(), Some(self.activation));
        (map, self.norm(conv.channels[1]))
    }

    pub(super) fn norm(&self, channels: usize) -> Option<BatchNorm> {
        self.norm.map(|(config, variant)| {
            BatchNormConfig::new(channels).with_settings(config).with_variant(variant).init(self.device)
        })
    }

    pub(super) fn surroundings(&self, map: String, norm: String) -> Surroundings {
        Surroundings { map, norm, activation: self.activation, placement: self.placement }
    }

    pub(super) fn device(&self) -> &'a Device {
        self.device
    }

    /// A bias before batch normalization would be subtracted again, and beta takes its place. The other variants have none
    /// there either, as the network of the group normalization paper, so that all have the same parameters.
    fn bias(&self) -> bool {
        self.norm.is_none() || self.placement == Placement::AfterActivation
    }
}

impl Surroundings {
    /// From the map's result to the layer's.
    pub(super) fn forward<const D: usize>(
        &self,
        z: Tensor<D>,
        norm: Option<&BatchNorm>,
        watch: &mut Watch,
    ) -> Result<Tensor<D>, Error> {
        let (before, after) = self.placed(norm);
        let z = normalized(z, before)?;
        watch.see(&self.map, &z);
        normalized(self.activation.forward(z), after)
    }

    /// As [`forward`](Self::forward), in a graph.
    pub(super) fn export(&self, export: &mut Export, z: Value, norm: &Option<BatchNorm>) -> Value {
        let (before, after) = self.placed(self.named(norm));
        let z = export.norm(before, z);
        let y = export.activation(&self.map, self.activation, &z);
        export.norm(after, y)
    }

    /// The norm if it stands before the activation, and the norm if it stands after.
    pub(super) fn placed<N>(&self, norm: Option<N>) -> (Option<N>, Option<N>) {
        match self.placement {
            Placement::BeforeActivation => (norm, None),
            Placement::AfterActivation => (None, norm),
        }
    }

    /// The map's name in the state.
    pub(super) fn map(&self) -> &str {
        &self.map
    }

    pub(super) fn activation(&self) -> Activation {
        self.activation
    }

    /// The norm with its name in the state.
    pub(super) fn named<'a>(&self, norm: &'a Option<BatchNorm>) -> Option<(String, &'a BatchNorm)> {
        norm.as_ref().map(|norm| (self.norm.clone(), norm))
    }
}

/// x, or the norm of it if there is one.
pub(super) fn normalized<const D: usize>(x: Tensor<D>, norm: Option<&BatchNorm>) -> Result<Tensor<D>, Error> {
    norm.map_or(Ok(x.clone()), |norm| norm.try_forward(x))
}

impl LinearBlock {
    /// Added to its input, which is as wide as it is, or not.
    pub(super) fn with_skip(self, skip: bool) -> Self {
        Self { skip, ..self }
    }

    pub(super) fn forward(&self, x: Tensor<2>, watch: &mut Watch) -> Result<Tensor<2>, Error> {
        let input = self.skip.then(|| x.clone());
        let y = self.around.forward(self.linear.forward(x), self.bn.as_ref(), watch)?;
        let y = watch.dropped(y);
        Ok(match input {
            Some(x) => x + y,
            None => y,
        })
    }

    pub(super) fn export(&self, export: &mut Export, x: &Value) -> Value {
        let z = export.linear(self.around.map(), x);
        let y = self.around.export(export, z, &self.bn);
        match self.skip {
            true => export.graph().add(&format!("{}.sum", self.around.map()), x, &y),
            false => y,
        }
    }

    pub(super) fn norm(&self) -> Option<(String, &BatchNorm)> {
        self.around.named(&self.bn)
    }

    pub(super) fn norm_mut(&mut self) -> Option<&mut BatchNorm> {
        self.bn.as_mut()
    }
}

impl ConvBlock {
    pub(super) fn with_pool(self, pool: Option<Pool>) -> Self {
        Self { pool, ..self }
    }

    pub(super) fn forward(&self, x: Tensor<4>, watch: &mut Watch) -> Result<Tensor<4>, Error> {
        let y = self.around.forward(self.conv.forward(x), self.bn.as_ref(), watch)?;
        Ok(match &self.pool {
            Some(pool) => pool.forward(y),
            None => y,
        })
    }

    pub(super) fn export(&self, export: &mut Export, x: &Value) -> Value {
        let z = export.conv(self.around.map(), &self.conv, x);
        let y = self.around.export(export, z, &self.bn);
        match &self.pool {
            Some(pool) => pool.export(export, &format!("{}.pool", self.around.map()), &y),
            None => y,
        }
    }

    pub(super) fn norm(&self) -> Option<(String, &BatchNorm)> {
        self.around.named(&self.bn)
    }

    pub(super) fn norm_mut(&mut self) -> Option<&mut BatchNorm> {
        self.bn.as_mut()
    }
}
