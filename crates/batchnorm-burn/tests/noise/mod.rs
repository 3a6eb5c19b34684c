//! Reproducible noise: Burn's own generator has one seed per process, which tests on several threads share.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Values of about `mean` and deviation `deviation`, the same for the same `salt`.
pub fn noise<const D: usize>(
    dims: [usize; D],
    salt: u64,
    (mean, deviation): (f64, f64),
    dtype: DType,
    device: &Device,
) -> Tensor<D> {
    let count: usize = dims.iter().product();
    // The sum of three uniform numbers from -1 to 1 has deviation 1.
    let values: Vec<f64> = (0..count as u64)
        .map(|index| {
            let sum: f64 = (0..3).map(|part| uniform(salt, 3 * index + part)).sum();
            mean + deviation * sum
        })
        .collect();
    Tensor::from_data(TensorData::new(values, dims), (device, dtype))
}

/// SplitMix64's output function (Steele, Lea & Flood 2014), as a number from -1 to 1.
fn uniform(salt: u64, index: u64) -> f64 {
    let mut z = salt
        .wrapping_mul(0xd134_2543_de82_ef95)
        .wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}
