//! An Inception network with and without batch normalization.

use super::twin_networks::{ACCURACY, EXPERIMENT, MEASUREMENT, STEPS, Twins};
use crate::claims::claim::Claim;
use crate::networks::Network;

pub(super) const CLAIM: Claim = Claim {
    name: "inception",
    claim: "An Inception network trains faster and to a higher accuracy with batch normalization.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), section 4.2.",
    experiment: EXPERIMENT,
    measurement: MEASUREMENT,
    rules: &[ACCURACY, STEPS],
    published: "On ImageNet, Inception takes 31.0 million steps to 72.2 %; with batch normalization at the same rate 13.3 million, \
                ending at 72.7 %; at five times the rate 2.1 million, ending at 73.0 % (Figure 3 of the paper).",
    run: |lab| INCEPTION.findings(lab),
};

const INCEPTION: Twins = Twins {
    network: Network::Inception,
    called: "Inception network",
    width: 4,
    batch: 32,
    steps: [200, 400],
    grids: [&[0.01, 0.03, 0.1, 0.3, 1.0]; 2],
    differs: "The published network is a full Inception on ImageNet, trained for weeks, and its plain rate was set by hand. This \
              one has three modules of a thirty-second of the width, and each twin the best rate of one grid.",
};
