//! Which share of a training step is batch normalization: a network of four convolutions, with this layer, with Burn's stock
//! layer, and with none.
//!
//! ```sh
//! cargo bench -p batchnorm-burn --bench network
//! ```
//!
//! Batches of 64 x 3 x 32 x 32; two convolutions (3 x 3) of 32 channels at 32 x 32, pooling, two of 64 at 16 x 16, pooling, a
//! linear map to 10 classes; cross entropy and gradient descent. All networks take turns, so that none has the quieter machine.
//! "none" has the ReLUs alone, so what a network takes beyond it is the price of its layers; "alone" is the layers' time by
//! themselves, forward and backward, without anything around them.

use std::time::Instant;

use batchnorm_burn::{Activation, BatchNorm, BatchNormConfig, Keep};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{self, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Distribution, Int, Tensor, activation};

const BATCH: usize = 64;
const SIDE: usize = 32;
/// Channels and side of each convolution's output.
const STAGES: [(usize, usize); 4] = [(32, SIDE), (32, SIDE), (64, SIDE / 2), (64, SIDE / 2)];
const ROUNDS: usize = 12;
/// The first rounds warm up caches and the allocator.
const WARM: usize = 2;
const SLOPE: f64 = 0.01;

/// What follows a convolution.
#[derive(Module, Debug)]
enum Then {
    Relu(nn::Relu),
    Stock(nn::BatchNorm),
    Ours(BatchNorm),
    Fused(BatchNorm),
}

impl Then {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Relu(relu) => relu.forward(x),
            Self::Stock(norm) => activation::relu(norm.forward(x)),
            Self::Ours(norm) => activation::relu(norm.forward(x)),
            Self::Fused(norm) => norm.forward(x),
        }
    }
}

#[derive(Module, Debug)]
struct Network {
    convolutions: Vec<Conv2d>,
    then: Vec<Then>,
    pool: MaxPool2d,
    linear: Linear,
}

impl Network {
    fn new(device: &Device, then: impl Fn(usize) -> Then) -> Self {
        let inputs = [3, STAGES[0].0, STAGES[1].0, STAGES[2].0];
        let convolution = |(input, (channels, _)): (usize, (usize, usize))| {
            Conv2dConfig::new([input, channels], [3, 3])
                .with_padding(PaddingConfig2d::Same)
                .with_bias(false)
                .init(device)
        };
        let (channels, side) = STAGES[3];
        Self {
            convolutions: inputs.into_iter().zip(STAGES).map(convolution).collect(),
            then: STAGES.iter().map(|&(channels, _)| then(channels)).collect(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            linear: LinearConfig::new(channels * side * side / 4, 10).init(device),
        }
    }

    fn forward(&self, mut x: Tensor<4>) -> Tensor<2> {
        for (i, (convolution, then)) in self.convolutions.iter().zip(&self.then).enumerate() {
            x = then.forward(convolution.forward(x));
            if i % 2 == 1 {
                x = self.pool.forward(x);
            }
        }
        self.linear.forward(x.flatten(1, 3))
    }
}

/// Milliseconds of one training step.
fn step(network: &mut Option<Network>, x: &Tensor<4>, labels: &Tensor<1, Int>) -> f64 {
    let mut optimizer = SgdConfig::new().init();
    let start = Instant::now();
    let net = network.take().expect("there is one");
    let loss = CrossEntropyLossConfig::new().init(&x.device()).forward(net.forward(x.clone()), labels.clone());
    let gradients = GradientsParams::from_grads(loss.backward(), &net);
    *network = Some(optimizer.step(0.01, net, gradients));
    start.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds of the four layers by themselves, forward and backward.
fn alone(layers: &[Then], data: &[(Tensor<4>, Tensor<4>)]) -> f64 {
    let mut total = 0.0;
    for (layer, (x, dy)) in layers.iter().zip(data) {
        let x = x.clone().require_grad();
        let start = Instant::now();
        let y = layer.forward(x);
        total += start.elapsed().as_secs_f64() * 1e3;
        // The product and the sum that bring dy are not the layer's: timed without it, and taken off.
        let leaf = Tensor::<4>::from_inner(y.clone().inner()).require_grad();
        let around = (leaf * dy.clone()).sum();
        let start = Instant::now();
        let _ = around.backward();
        let other = start.elapsed().as_secs_f64();
        let loss = (y * dy.clone()).sum();
        let start = Instant::now();
        let _ = loss.backward();
        total += (start.elapsed().as_secs_f64() - other).max(0.0) * 1e3;
    }
    total
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let device = Device::flex().autodiff();
    let config = BatchNormConfig::new;
    let leaky = Activation::LeakyRelu { slope: SLOPE };
    type Make<'a> = &'a dyn Fn(usize) -> Then;
    let kinds: [(&str, Make<'_>); 5] = [
        ("none, ReLU", &|_| Then::Relu(nn::Relu::new())),
        ("stock layer, ReLU", &|channels| Then::Stock(nn::BatchNormConfig::new(channels).init(&device))),
        ("this layer, ReLU", &|channels| Then::Ours(config(channels).init(&device))),
        ("this layer with its ReLU", &|channels| {
            Then::Fused(config(channels).with_activation(Activation::Relu).init(&device))
        }),
        ("the same, leaky, y kept", &|channels| {
            let config = config(channels).with_activation(leaky).with_keep(Keep::Output);
            Then::Fused(config.init(&device))
        }),
    ];
    let mut networks: Vec<Option<Network>> =
        kinds.iter().map(|(_, make)| Some(Network::new(&device, make))).collect();
    let layers: Vec<Vec<Then>> =
        kinds.iter().map(|(_, make)| STAGES.iter().map(|&(channels, _)| make(channels)).collect()).collect();
    let normal = |dims: [usize; 4]| Tensor::<4>::random(dims, Distribution::Normal(0.0, 1.0), &device);
    let x = normal([BATCH, 3, SIDE, SIDE]);
    let labels = Tensor::<1, Int>::from_data(std::array::from_fn::<i64, BATCH, _>(|i| i as i64 % 10), &device);
    let data: Vec<_> = STAGES
        .iter()
        .map(|&(channels, side)| [BATCH, channels, side, side])
        .map(|dims| (normal(dims), normal(dims)))
        .collect();

    let (mut steps, mut by_themselves) = (vec![Vec::new(); kinds.len()], vec![Vec::new(); kinds.len()]);
    for round in 0..ROUNDS + WARM {
        for kind in 0..kinds.len() {
            let (step, alone) = (step(&mut networks[kind], &x, &labels), alone(&layers[kind], &data));
            if round >= WARM {
                steps[kind].push(step);
                by_themselves[kind].push(alone);
            }
        }
    }
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "a training step of four convolutions, {BATCH} x 3 x {SIDE} x {SIDE}; medians in ms, {threads} threads\n"
    );
    println!(
        "{:<26} {:>8} {:>12} {:>7} {:>8} {:>7}",
        "layers", "step", "beyond none", "share", "alone", "share"
    );
    let steps: Vec<f64> = steps.into_iter().map(median).collect();
    let alone: Vec<f64> = by_themselves.into_iter().map(median).collect();
    for (kind, (name, _)) in kinds.iter().enumerate() {
        let (beyond, alone) = (steps[kind] - steps[0], alone[kind]);
        println!(
            "{name:<26} {:>8.1} {beyond:>12.1} {:>6.1}% {alone:>8.1} {:>6.1}%",
            steps[kind],
            100.0 * beyond / steps[kind],
            100.0 * alone / steps[kind],
        );
    }
}
