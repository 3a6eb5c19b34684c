//! Pooling: the largest or the mean value of a square window.

use batchnorm_model::onnx::{Value, Window};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};

use super::Export;

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Max,
    /// The sum over the window divided by its area, outside the image 0: PyTorch's default.
    Average,
}

/// Pooling over square windows.
#[derive(Module, Debug)]
pub(super) struct Pool {
    #[module(skip)]
    kind: Kind,
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Pool {
    /// Halves height and width.
    pub(super) const fn halving(kind: Kind) -> Self {
        Self { kind, kernel: 2, stride: 2, padding: 0 }
    }

    /// Windows of 3x3, each centred on a pixel: every pixel, or every second one each way.
    pub(super) const fn around(kind: Kind, stride: usize) -> Self {
        Self { kind, kernel: 3, stride, padding: 1 }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [kernel, stride, padding] = [self.kernel, self.stride, self.padding].map(|size| [size; 2]);
        match self.kind {
            Kind::Max => max_pool2d(x, MaxPoolOptions::new(kernel).with_stride(stride).with_padding(padding)),
            Kind::Average => avg_pool2d(
                x,
                AvgPoolOptions::new(kernel)
                    .with_stride(stride)
                    .with_padding(padding)
                    .with_count_include_pad(true),
            ),
        }
    }

    pub(super) fn export(&self, export: &mut Export, name: &str, x: &Value) -> Value {
        let window = Window::square(self.kernel, self.stride, self.padding);
        match self.kind {
            Kind::Max => export.graph().max_pool(name, x, &window),
            Kind::Average => export.graph().average_pool(name, x, &window, true),
        }
    }
}

/// The mean of every map: `[batch, channels, height, width]` to `[batch, channels]`.
pub(super) fn global_average(x: Tensor<4>) -> Tensor<2> {
    x.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2)
}

pub(super) fn export_global_average(export: &mut Export, x: &Value) -> Value {
    let mean = export.graph().global_average_pool("pool", x);
    export.graph().flatten("flatten", &mean)
}
