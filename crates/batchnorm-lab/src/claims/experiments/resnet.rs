//! A residual network with and without batch normalization.

use super::twin_networks::{ACCURACY, EXPERIMENT, MEASUREMENT, STEPS, Twins};
use crate::claims::claim::Claim;
use crate::networks::Network;

pub(super) const CLAIM: Claim = Claim {
    name: "resnet",
    claim: "A residual network trains faster and to a higher accuracy with batch normalization.",
    source: "He et al. 2015 (arXiv 1512.03385), which has batch normalization behind every convolution; De and Smith 2020 (arXiv \
             2002.10444) on why.",
    experiment: EXPERIMENT,
    measurement: MEASUREMENT,
    rules: &[ACCURACY, STEPS],
    published: "He et al. train no residual network without it. Without normalization the outputs of residual blocks add up, and \
                deep ones cannot be trained unless blocks begin near the identity (De and Smith 2020).",
    run: |lab| RESNET.findings(lab),
};

const RESNET: Twins = Twins {
    network: Network::Resnet20,
    called: "residual network",
    width: 4,
    batch: 16,
    steps: [200, 300],
    grids: [&[0.003, 0.01, 0.03, 0.1, 0.3], &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3]],
    differs: "No published twin of this network is known to us. Published remedies for residual networks without normalization \
              (a smaller last weight in each block, say) are not given to the plain twin, which has He's initial weights as its \
              other.",
};
