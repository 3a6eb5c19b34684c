//! The paper's Algorithm 2: population statistics over the training batches, after training.

use batchnorm_burn::Error;
use burn::tensor::Device;

use super::batches::Batch;
use crate::data::Split;
use crate::networks::Classifier;

/// A copy of the network, in evaluation mode, that normalizes with population statistics.
///
/// The training images come in the data set's own order, in full batches of the training's size, the images left
/// over at the end left out.
///
/// # Errors
///
/// If a layer refuses its input, or saw no batch with finite statistics.
pub(super) fn estimate<N: Classifier>(network: &N, train: &Split, batch_size: usize) -> Result<N, Error> {
    let network = network.valid();
    let device = Device::flex();
    for norm in network.norms() {
        norm.begin_population()?;
    }
    let order: Vec<usize> = (0..train.len()).collect();
    for indices in order.chunks_exact(batch_size) {
        network.forward(Batch::of(train, indices).images(&device))?;
    }
    for norm in network.norms() {
        norm.finish_population()?;
    }
    Ok(network)
}
