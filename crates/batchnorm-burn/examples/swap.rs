//! A user's own Burn network, moved from Burn's batch normalization to this one in two lines.
//!
//! ```sh
//! cargo run --release -p batchnorm-burn --example swap
//! ```

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Distribution, Tensor, activation};

// Line 1. It read: use burn::nn::{BatchNorm, BatchNormConfig};
use batchnorm_burn::{BatchNorm, BatchNormConfig};

#[derive(Module, Debug)]
struct Network {
    convolution: Conv2d,
    norm: BatchNorm,
    output: Linear,
}

impl Network {
    fn new(device: &Device) -> Self {
        Self {
            convolution: Conv2dConfig::new([1, 8], [3, 3]).init(device),
            // Line 2, only to keep the biased running variance of Burn's layer; without it, as it read before
            // (`BatchNormConfig::new(8).init(device)`), the running variance is PyTorch's, the unbiased one.
            norm: BatchNormConfig::new(8).with_settings(batchnorm::BatchNormConfig::burn()).init(device),
            output: LinearConfig::new(8, 1).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = activation::relu(self.norm.forward(self.convolution.forward(images)));
        let [batch, channels, height, width] = x.dims();
        let pooled = x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels]);
        self.output.forward(pooled)
    }
}

/// Images whose contrast is to be learned.
fn batch(size: usize, device: &Device) -> (Tensor<4>, Tensor<2>) {
    let contrast = Tensor::<2>::random([size, 1], Distribution::Uniform(0.5, 2.0), device);
    let noise = Tensor::<4>::random([size, 1, 10, 10], Distribution::Normal(0.0, 1.0), device);
    (noise * contrast.clone().reshape([size, 1, 1, 1]), contrast)
}

fn main() {
    let device = Device::flex();
    device.seed(7);
    let device = device.autodiff();
    let mut network = Network::new(&device);
    let mut optimizer = SgdConfig::new().init();
    for step in 1..=60 {
        let (images, contrast) = batch(32, &device);
        let loss = (network.forward(images) - contrast).powi_scalar(2).mean();
        if step % 10 == 0 {
            println!("step {step:3}: loss {:.4}", loss.clone().into_scalar::<f32>());
        }
        let grads = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(0.1, network, grads);
    }
    let (images, contrast) = batch(256, &device.inner());
    let error = (network.valid().forward(images) - contrast).powi_scalar(2).mean();
    println!("evaluated with running statistics: {:.4}", error.into_scalar::<f32>());
    println!("{}", network.norm);
}
