//! A VGG with and without batch normalization.

use super::twin_networks::{ACCURACY, EXPERIMENT, MEASUREMENT, STEPS, Twins};
use crate::claims::claim::Claim;
use crate::networks::Network;

pub(super) const CLAIM: Claim = Claim {
    name: "vgg",
    claim: "A VGG trains faster and to a higher accuracy with batch normalization.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167); the network after Simonyan and Zisserman 2014 (arXiv 1409.1556).",
    experiment: EXPERIMENT,
    measurement: MEASUREMENT,
    rules: &[ACCURACY, STEPS],
    published: "A public repetition with a VGG on CIFAR-10 ends at 83 % with batch normalization and 80 % without.",
    run: |lab| VGG.findings(lab),
};

const VGG: Twins = Twins {
    network: Network::Vgg,
    called: "VGG",
    width: 4,
    batch: 64,
    steps: [150, 300],
    grids: [&[0.003, 0.01, 0.03, 0.1, 0.3, 1.0]; 2],
    differs: "The public figures are of one learning rate for both, a larger VGG and a training of many epochs on CIFAR-10. Here \
              the plain twin has its own best rate, and the network is small, shallow and trained for a short time: what a deep VGG \
              needs batch normalization for is hardly there.",
};
