//! How long a step takes: `cargo test -p batchnorm-lab --test step_times -- --ignored --nocapture`.

use std::time::Instant;

use batchnorm_lab::networks::{Architecture, Classifier, Init, Network, Norm, Watch};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

mod fixtures;
use fixtures::{CIFAR, MNIST, images};

#[test]
#[ignore = "measures, and asserts nothing"]
fn a_step_with_a_batch_of_64_on_one_core() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let device = Device::flex().autodiff();
    for dims in [MNIST, CIFAR] {
        for &network in Network::ALL {
            for norm in [None, Some(Norm::default())] {
                let architecture = Architecture { norm, ..Architecture::new(network, dims, 10) };
                let milliseconds = pool.install(|| measure(&architecture, &device));
                let arm = if norm.is_some() { "with batch normalization" } else { "plain" };
                println!("{dims:?} {network} {arm}: {milliseconds:.1} ms");
            }
        }
    }
}

/// The fastest of a few steps.
fn measure(architecture: &Architecture, device: &Device) -> f64 {
    let mut network = architecture.build(Init::He, 0.0, 1, device).unwrap();
    let mut sgd = SgdConfig::new().init();
    let x = images(64, architecture.dims, device);
    let labels = TensorData::new((0..64i64).map(|index| index % 10).collect::<Vec<_>>(), [64]);
    let labels = Tensor::<1, Int>::from_data(labels, device);
    let mut fastest = f64::INFINITY;
    for _ in 0..6 {
        let started = Instant::now();
        let logits = network.forward(x.clone(), &mut Watch::nothing()).unwrap();
        let loss = CrossEntropyLossConfig::new().init(device).forward(logits, labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = sgd.step(0.01, network, gradients);
        fastest = fastest.min(started.elapsed().as_secs_f64() * 1e3);
    }
    fastest
}
