//! The operators as plain loops in f64: the judge of what a runtime makes of a model.

use batchnorm_model::onnx::Window;

/// Images: `[batch, channels, height, width]`.
#[derive(Clone)]
pub struct Images {
    pub dims: [usize; 4],
    pub values: Vec<f64>,
}

impl Images {
    pub fn new(dims: [usize; 4], values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        assert_eq!(values.len(), dims.iter().product::<usize>());
        Self { dims, values }
    }

    fn at(&self, n: usize, c: usize, h: usize, w: usize) -> f64 {
        let [_, channels, height, width] = self.dims;
        self.values[((n * channels + c) * height + h) * width + w]
    }

    /// Each element from its place.
    fn from_fn(dims: [usize; 4], f: impl Fn(usize, usize, usize, usize) -> f64) -> Self {
        let [batch, channels, height, width] = dims;
        let mut values = Vec::new();
        for n in 0..batch {
            for c in 0..channels {
                for h in 0..height {
                    values.extend((0..width).map(|w| f(n, c, h, w)));
                }
            }
        }
        Self::new(dims, values)
    }

    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self::new(self.dims, self.values.iter().map(|&x| f(x)))
    }

    pub fn add(&self, other: &Self) -> Self {
        assert_eq!(self.dims, other.dims);
        Self::new(self.dims, self.values.iter().zip(&other.values).map(|(a, b)| a + b))
    }

    /// All values under the window at one place, `None` where it lies outside the image.
    fn under(&self, window: &Window, [n, c, h, w]: [usize; 4]) -> Vec<Option<f64>> {
        let [_, _, height, width] = self.dims;
        let mut values = Vec::new();
        for i in 0..window.kernel[0] {
            for j in 0..window.kernel[1] {
                let row = (h * window.strides[0] + i).checked_sub(window.pads[0]).filter(|&row| row < height);
                let column = (w * window.strides[1] + j).checked_sub(window.pads[1]).filter(|&at| at < width);
                values.push(row.zip(column).map(|(row, column)| self.at(n, c, row, column)));
            }
        }
        values
    }

    fn windows(&self, window: &Window) -> [usize; 2] {
        let count = |axis: usize| {
            (self.dims[2 + axis] + window.pads[axis] + window.pads[2 + axis] - window.kernel[axis])
                / window.strides[axis]
                + 1
        };
        [count(0), count(1)]
    }

    /// `weight` is `[out, in / group, height, width]`.
    pub fn conv(&self, weight: &Images, bias: Option<&[f64]>, window: &Window, group: usize) -> Self {
        let [out, inputs, ..] = weight.dims;
        let [height, width] = self.windows(window);
        Self::from_fn([self.dims[0], out, height, width], |n, o, h, w| {
            let first = o / (out / group) * inputs;
            let mut sum = bias.map_or(0.0, |bias| bias[o]);
            for c in 0..inputs {
                let values = self.under(window, [n, first + c, h, w]);
                for (index, value) in values.iter().enumerate() {
                    let [i, j] = [index / window.kernel[1], index % window.kernel[1]];
                    sum += value.unwrap_or(0.0) * weight.at(o, c, i, j);
                }
            }
            sum
        })
    }

    pub fn max_pool(&self, window: &Window) -> Self {
        let [height, width] = self.windows(window);
        Self::from_fn([self.dims[0], self.dims[1], height, width], |n, c, h, w| {
            self.under(window, [n, c, h, w]).into_iter().flatten().fold(f64::NEG_INFINITY, f64::max)
        })
    }

    pub fn average_pool(&self, window: &Window, count_include_pad: bool) -> Self {
        let [height, width] = self.windows(window);
        Self::from_fn([self.dims[0], self.dims[1], height, width], |n, c, h, w| {
            let values = self.under(window, [n, c, h, w]);
            let inside: Vec<f64> = values.iter().copied().flatten().collect();
            let count = if count_include_pad { values.len() } else { inside.len() };
            inside.iter().sum::<f64>() / count as f64
        })
    }

    pub fn global_average_pool(&self) -> Self {
        let [_, _, height, width] = self.dims;
        self.average_pool(&Window { kernel: [height, width], strides: [1, 1], pads: [0; 4] }, true)
    }

    pub fn normalize(&self, layer: &[Vec<f64>; 4], eps: f64) -> Self {
        let [gamma, beta, mean, variance] = layer;
        Self::from_fn(self.dims, |n, c, h, w| {
            gamma[c] * (self.at(n, c, h, w) - mean[c]) / (variance[c] + eps).sqrt() + beta[c]
        })
    }

    /// Along the channels.
    pub fn concat(parts: &[&Self]) -> Self {
        let [batch, _, height, width] = parts[0].dims;
        let channels = parts.iter().map(|part| part.dims[1]).sum();
        Self::from_fn([batch, channels, height, width], |n, mut c, h, w| {
            for part in parts {
                if c < part.dims[1] {
                    return part.at(n, c, h, w);
                }
                c -= part.dims[1];
            }
            unreachable!("a channel is in one of the parts")
        })
    }

    /// Each image as a row of a matrix with this many columns, times the transpose of `weight`.
    pub fn gemm(&self, weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let columns = self.values.len() / self.dims[0];
        self.values
            .chunks(columns)
            .flat_map(|row| {
                weight
                    .chunks(columns)
                    .zip(bias)
                    .map(move |(weights, bias)| bias + row.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>())
            })
            .collect()
    }
}
