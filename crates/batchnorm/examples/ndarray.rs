//! Batch normalization of `ndarray` arrays: images, channels first and channels last, without copying.
//!
//! ```sh
//! cargo run -p batchnorm --example ndarray
//! ```

use batchnorm::{BatchNorm, BatchNormConfig, Shape, Wanted};
use ndarray::{Array, Array4, Axis};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // 4 images of 3 channels and 8 x 8 pixels, brighter from channel to channel.
    let x: Array4<f32> = Array::from_shape_fn((4, 3, 8, 8), |(n, c, h, w)| {
        100.0 * c as f32 + ((n * 31 + h * 7 + w * 3) % 17) as f32
    });

    let mut layer = BatchNorm::<f32>::new(3, BatchNormConfig::pytorch())?;
    let (y, forward) = train(&mut layer, &x, 1)?;
    for (channel, (before, after)) in x.axis_iter(Axis(1)).zip(y.axis_iter(Axis(1))).enumerate() {
        println!(
            "channel {channel}: mean {:8.3}, standard deviation {:.3}  ->  mean {:+.6}, standard deviation {:.6}",
            before.mean().unwrap_or_default(),
            before.std(0.0),
            after.mean().unwrap_or_default(),
            after.std(0.0),
        );
    }

    // The gradient of sum(y^2) / 2 is y: it has no component along what normalization removes.
    let mut dx = Array4::<f32>::zeros(x.raw_dim());
    let (x_slice, dy) = (slice(&x)?, slice(&y)?);
    let gradients = layer.backward(&forward.saved, x_slice, dy, dx.as_slice_mut(), Wanted::ALL)?;
    println!("d gamma {:.3?}", gradients.gamma.unwrap_or_default());
    println!("largest |dx| {:.2e}", dx.iter().fold(0.0f32, |max, dx| max.max(dx.abs())));

    // The same images with channels last give the same numbers.
    let last = x.permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
    let mut layer = BatchNorm::<f32>::new(3, BatchNormConfig::pytorch())?;
    let (y_last, _) = train(&mut layer, &last, -1)?;
    let difference = y_last.permuted_axes([0, 3, 1, 2]) - y;
    println!(
        "channels last differs by at most {:.1e}",
        difference.iter().fold(0.0f32, |max, d| max.max(d.abs()))
    );
    Ok(())
}

/// One training pass over an array whose channels lie along `axis`.
fn train(
    layer: &mut BatchNorm<f32>,
    x: &Array4<f32>,
    axis: isize,
) -> Result<(Array4<f32>, batchnorm::Forward), Box<dyn std::error::Error>> {
    let shape = Shape::of(x.shape(), axis)?;
    let mut y = Array4::zeros(x.raw_dim());
    let out = y.as_slice_mut().ok_or("a new array is contiguous")?;
    let forward = layer.forward_train(shape, slice(x)?, out)?;
    Ok((y, forward))
}

fn slice(array: &Array4<f32>) -> Result<&[f32], &'static str> {
    array.as_slice().ok_or("expected an array in standard layout; call `as_standard_layout` first")
}
