//! Initial weights: drawn from the seed's own stream, in f64, in the order in which a network is built.

use burn::module::{Flag, Module, ModuleMapper, Param, ParamId};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, PaddingConfig2d};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::Activation;
use crate::names::named;
use crate::streams::{Purpose, Stream};

named! {
    /// How initial weights are drawn; biases begin at 0. All are normally distributed about 0; only their standard
    /// deviation differs.
    pub enum Init, "initialization" {
        /// One standard deviation for all weights, the paper's "small random Gaussian values".
        Normal = "normal",
        /// gain / sqrt(fan in), with gain sqrt(2) before a ReLU and else 1 (He et al. 2015, arXiv 1502.01852).
        He = "he",
        /// sqrt(2 / (fan in + fan out)) (Glorot and Bengio 2010).
        Xavier = "xavier",
    }
}

impl Init {
    /// The standard deviation of weights from `fan_in` values to `fan_out`; `normal` is that of [`Init::Normal`], and
    /// `next` is the activation they lead to.
    fn std(self, normal: f64, [fan_in, fan_out]: [usize; 2], next: Option<Activation>) -> f64 {
        let [fan_in, fan_out] = [fan_in as f64, fan_out as f64];
        match (self, next) {
            (Self::Normal, _) => normal,
            (Self::He, Some(Activation::Relu)) => (2.0 / fan_in).sqrt(),
            (Self::He, _) => (1.0 / fan_in).sqrt(),
            (Self::Xavier, _) => (2.0 / (fan_in + fan_out)).sqrt(),
        }
    }
}

/// Draws the weights of one network.
pub(super) struct Weights<'a> {
    stream: Stream,
    init: Init,
    std: f64,
    device: &'a Device,
}

/// A square convolution, padded such that its kernel is centred on a pixel unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Convolution {
    pub(super) channels: [usize; 2],
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
}

impl Convolution {
    /// One that keeps height and width.
    pub(super) const fn new(channels: [usize; 2], kernel: usize) -> Self {
        Self { channels, kernel, stride: 1, padding: kernel / 2 }
    }

    pub(super) const fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub(super) const fn with_padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }
}

impl<'a> Weights<'a> {
    pub(super) fn new(init: Init, std: f64, seed: u64, device: &'a Device) -> Self {
        Self { stream: Stream::new(seed, Purpose::Weights), init, std, device }
    }

    /// A linear map that leads to the activation `next`.
    pub(super) fn linear(
        &mut self,
        [inputs, outputs]: [usize; 2],
        bias: bool,
        next: Option<Activation>,
    ) -> Linear {
        let std = self.init.std(self.std, [inputs, outputs], next);
        Linear { weight: self.normal([inputs, outputs], std), bias: self.bias(outputs, bias) }
    }

    /// A convolution that leads to the activation `next`.
    pub(super) fn conv(&mut self, conv: Convolution, bias: bool, next: Option<Activation>) -> Conv2d {
        let Convolution { channels: [inputs, outputs], kernel, stride, padding } = conv;
        let area = kernel * kernel;
        let std = self.init.std(self.std, [inputs * area, outputs * area], next);
        Conv2d {
            weight: self.normal([outputs, inputs, kernel, kernel], std),
            bias: self.bias(outputs, bias),
            // Burn draws a layer's own weights when they are first asked for, so never here.
            ..Conv2dConfig::new(conv.channels, [kernel; 2])
                .with_stride([stride; 2])
                .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
                .init(self.device)
        }
    }

    fn normal<const D: usize>(&mut self, shape: [usize; D], std: f64) -> Param<Tensor<D>> {
        let number = shape.iter().product();
        let values: Vec<f32> = (0..number).map(|_| (std * self.stream.normal()) as f32).collect();
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), self.device))
    }

    fn bias(&self, outputs: usize, bias: bool) -> Option<Param<Tensor<1>>> {
        bias.then(|| Param::from_tensor(Tensor::zeros([outputs], self.device)))
    }
}

/// Numbers a network's parameters in the order in which they are visited.
///
/// Burn's ids are random, and a saved optimizer knows parameters by their ids: numbered, they are those of every other
/// network of the same architecture.
pub(super) fn numbered<M: Module>(network: M) -> M {
    struct Numbering(u64);
    impl Numbering {
        fn next(&mut self) -> ParamId {
            self.0 += 1;
            ParamId::from(self.0)
        }
    }
    impl ModuleMapper for Numbering {
        fn map_float<const D: usize>(&mut self, mut param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.id = self.next();
            param
        }

        fn map_int<const D: usize>(&mut self, mut param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
            param.id = self.next();
            param
        }

        fn map_bool<const D: usize>(&mut self, mut param: Param<Tensor<D, Bool>>) -> Param<Tensor<D, Bool>> {
            param.id = self.next();
            param
        }

        fn map_flag(&mut self, mut flag: Param<Flag>) -> Param<Flag> {
            flag.id = self.next();
            flag
        }
    }
    network.map(&mut Numbering(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_deviations_are_the_published_ones() {
        let std = |init: Init, next| init.std(0.5, [50, 150], next);
        assert_eq!(std(Init::Normal, Some(Activation::Relu)), 0.5);
        assert_eq!(std(Init::He, Some(Activation::Relu)), 0.2);
        assert_eq!(std(Init::He, Some(Activation::Sigmoid)), (1.0f64 / 50.0).sqrt());
        assert_eq!(std(Init::He, None), (1.0f64 / 50.0).sqrt());
        assert_eq!(std(Init::Xavier, None), 0.1);
    }

    #[test]
    fn weights_have_the_standard_deviation_asked_for() {
        let device = Device::flex();
        let mut weights = Weights::new(Init::He, 0.0, 1, &device);
        let conv = weights.conv(Convolution::new([64, 32], 3), true, Some(Activation::Relu));
        let drawn: Vec<f32> = conv.weight.val().into_data().try_into_vec().unwrap();
        let variance = drawn.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>() / drawn.len() as f64;
        // The variance of so many squares is 2 / n of the variance's square: four deviations of it.
        let expected = 2.0 / (64.0 * 9.0);
        let slack = 4.0 * (2.0 / drawn.len() as f64).sqrt();
        assert!((variance / expected - 1.0).abs() < slack, "{variance} {expected}");
        assert!(conv.bias.unwrap().val().into_data().iter::<f32>().all(|bias| bias == 0.0));
    }
}
