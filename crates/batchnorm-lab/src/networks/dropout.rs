//! Dropout (Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting").

use burn::tensor::{Tensor, TensorData};

use crate::streams::{Purpose, Stream};

/// Inverted dropout in the forward pass of one training step: each value becomes 0 with a probability p, and the others are
/// divided by 1 - p, so that a network without dropout is the mean, and evaluation needs nothing.
///
/// Which values become 0 depends on the seed, the step and the place of the layer among those with dropout, and on nothing
/// else: not on how a network is normalized, nor on how many threads compute it.
///
/// ```
/// use batchnorm_lab::networks::Dropout;
/// use burn::tensor::{Device, Tensor};
///
/// let y = Tensor::<2>::ones([4, 100], &Device::flex());
/// let (seed, step) = (1, 7);
/// let left: Vec<f32> = Dropout::new(0.75, seed, step).forward(y).into_data().try_into_vec().unwrap();
/// assert!(left.iter().all(|&value| value == 0.0 || value == 4.0));
/// ```
#[derive(Clone, Debug)]
pub struct Dropout {
    probability: f64,
    seed: u64,
    step: usize,
    /// Layers that have passed.
    layers: usize,
}

impl Dropout {
    /// Of a step under a seed, with a probability in [0, 1).
    pub const fn new(probability: f64, seed: u64, step: usize) -> Self {
        Self { probability, seed, step, layers: 0 }
    }

    /// What is left of the next layer's output `[batch, units, ...]`.
    pub fn forward<const D: usize>(&mut self, y: Tensor<D>) -> Tensor<D> {
        let mut stream = Stream::new(self.seed, Purpose::Dropout { step: self.step, layer: self.layers });
        self.layers += 1;
        let left = (1.0 / (1.0 - self.probability)) as f32;
        let dims = y.dims();
        let values = dims.iter().product();
        let mask: Vec<f32> =
            (0..values).map(|_| if stream.happens(self.probability) { 0.0 } else { left }).collect();
        let mask = Tensor::from_data(TensorData::new(mask, dims), &y.device());
        y * mask
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn mask(dropout: &mut Dropout) -> Vec<f32> {
        dropout.forward(Tensor::<2>::ones([50, 40], &Device::flex())).into_data().try_into_vec().unwrap()
    }

    #[test]
    fn so_many_values_become_zero_and_the_mean_stays() {
        for probability in [0.0, 0.2, 0.5, 0.9] {
            let mask = mask(&mut Dropout::new(probability, 3, 1));
            let zeros = mask.iter().filter(|&&value| value == 0.0).count() as f64 / mask.len() as f64;
            // Four standard deviations of the share at most.
            assert!((zeros - probability).abs() <= 0.045, "{zeros} {probability}");
            let left = (1.0 / (1.0 - probability)) as f32;
            assert!(mask.iter().all(|&value| value == 0.0 || value == left), "{probability}");
        }
    }

    #[test]
    fn masks_depend_on_seed_step_and_layer_alone() {
        let first = |seed, step| mask(&mut Dropout::new(0.5, seed, step));
        assert_eq!(first(1, 1), first(1, 1));
        assert_ne!(first(1, 1), first(2, 1));
        assert_ne!(first(1, 1), first(1, 2));
        let mut dropout = Dropout::new(0.5, 1, 1);
        assert_eq!(mask(&mut dropout), first(1, 1));
        assert_ne!(mask(&mut dropout), first(1, 1), "the second layer has a mask of its own");
    }

    #[test]
    fn the_gradient_takes_the_way_of_the_values() {
        let device = Device::flex().autodiff();
        let y = Tensor::<2>::ones([5, 6], &device).require_grad();
        let left = Dropout::new(0.5, 1, 1).forward(y.clone());
        let gradient = y.grad(&left.clone().sum().backward()).unwrap();
        assert_eq!(gradient.into_data(), left.inner().into_data());
    }
}
