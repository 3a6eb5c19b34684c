//! The models that are recalibrated, their data, and the loops that judge.

use std::error::Error;
use std::ops::ControlFlow;

use batchnorm::{Moments, Momentum};
use batchnorm_model::onnx::document::Document;
use batchnorm_model::onnx::wire::{Reader, Writer};
use batchnorm_model::onnx::{Dim, Graph, Normalization, Value, Window};
use batchnorm_model::recalibrate::{
    Batch, Options, Outcome, RecalibrateError, Recalibration, Recalibrator, Samples,
};
use batchnorm_model::runtime::{Array, Runtime, Tract};

use crate::loops::Images;

pub const EPS: f64 = 1e-3;
/// The unit roundoff of f32: half the distance from 1 to the next number.
pub const ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;
/// Channels, height and width of what comes in.
pub const INPUT: [usize; 3] = [2, 5, 4];
pub const WINDOW: Window = Window { kernel: [3, 3], strides: [1, 1], pads: [1, 1, 1, 1] };

/// Numbers between -1 and 1 that look random and are the same each time.
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Images in memory.
pub struct Data {
    pub x: Vec<f32>,
    pub labels: Option<Vec<u32>>,
}

impl Data {
    pub fn new(count: usize) -> Self {
        Self { x: numbers(count * INPUT.iter().product::<usize>(), 77), labels: None }
    }

    pub fn labelled(count: usize) -> Self {
        Self { labels: Some((0..count).map(|index| index as u32 % 3).collect()), ..Self::new(count) }
    }

    pub fn images(&self) -> Images {
        let [channels, height, width] = INPUT;
        Images::new([self.len() as usize, channels, height, width], wide(&self.x))
    }

    /// The same images, the last one first.
    pub fn reversed(&self) -> Self {
        let size = INPUT.iter().product();
        Self { x: self.x.chunks(size).rev().flatten().copied().collect(), labels: None }
    }
}

impl Samples for Data {
    fn len(&self) -> u64 {
        (self.x.len() / INPUT.iter().product::<usize>()) as u64
    }

    fn labelled(&self) -> bool {
        self.labels.is_some()
    }

    fn batch(&mut self, first: u64, count: usize) -> Result<Batch, Box<dyn Error + Send + Sync>> {
        let size = INPUT.iter().product::<usize>();
        let first = first as usize;
        let values = self.x[first * size..(first + count) * size].to_vec();
        let dims = [&[count], &INPUT[..]].concat();
        let labels = self.labels.as_ref().map(|labels| labels[first..first + count].to_vec());
        Ok(Batch { inputs: vec![("x".to_owned(), Array::new(dims, values)?)], labels })
    }

    fn fingerprint(&mut self) -> Result<String, Box<dyn Error + Send + Sync>> {
        Ok(format!("{} {:?}", self.x.len(), self.x[0]))
    }
}

/// Weights of a convolution, `[out, in, 3, 3]`.
pub fn filters(out: usize, inputs: usize, seed: u64) -> Vec<f32> {
    numbers(out * inputs * 9, seed)
}

/// Scale, shift, and old statistics of a layer.
pub fn parameters(channels: usize, seed: u64) -> [Vec<f32>; 4] {
    let gamma = numbers(channels, seed).iter().map(|value| 1.0 + 0.5 * value).collect();
    [gamma, numbers(channels, seed + 1), vec![0.0; channels], vec![1.0; channels]]
}

pub fn conv(graph: &mut Graph, name: &str, x: &Value, [out, inputs]: [usize; 2], seed: u64) -> Value {
    let weight = graph.tensor(&format!("{name}.weight"), &[out, inputs, 3, 3], &filters(out, inputs, seed));
    graph.conv(name, x, &weight, None, &WINDOW, 1)
}

pub fn norm(graph: &mut Graph, name: &str, x: &Value, channels: usize, seed: u64) -> Value {
    let values = parameters(channels, seed);
    let [gamma, beta, mean, variance] = [0, 1, 2, 3].map(|index| {
        let part = ["weight", "bias", "running_mean", "running_var"][index];
        graph.tensor(&format!("{name}.{part}"), &[channels], &values[index])
    });
    let (gamma, beta, mean, variance) = (&gamma, &beta, &mean, &variance);
    let momentum = Momentum::of_new(0.1);
    graph.batch_normalization(name, x, &Normalization { gamma, beta, mean, variance, eps: EPS, momentum })
}

pub fn input(graph: &mut Graph, batch: Option<usize>) -> Value {
    let [channels, height, width] = INPUT.map(Dim::Fixed);
    graph.input("x", &[batch.map_or(Dim::Symbol("batch"), Dim::Fixed), channels, height, width])
}

/// Convolution, batch norm, ReLU, the same again, pooling and a linear map to three classes.
pub fn chain(batch: Option<usize>) -> Vec<u8> {
    let mut graph = Graph::new("chain");
    let x = input(&mut graph, batch);
    let z = conv(&mut graph, "conv1", &x, [3, 2], 1);
    let y = norm(&mut graph, "bn1", &z, 3, 2);
    let a = graph.relu("relu1", &y);
    let z = conv(&mut graph, "conv2", &a, [4, 3], 4);
    let y = norm(&mut graph, "bn2", &z, 4, 5);
    let a = graph.relu("relu2", &y);
    let pooled = graph.global_average_pool("pool", &a);
    let flat = graph.flatten("flat", &pooled);
    let weight = graph.tensor("fc.weight", &[3, 4], &numbers(12, 8));
    // Operator set 9 wants one, if only of zeros.
    let bias = graph.tensor("fc.bias", &[3], &numbers(3, 9));
    let logits = graph.gemm("fc", &flat, &weight, Some(&bias));
    graph.output("logits", &logits, &[batch.map_or(Dim::Symbol("batch"), Dim::Fixed), Dim::Fixed(3)]);
    graph.to_bytes().unwrap()
}

/// The statistics of a layer, and how far a runtime that computes in f32 may be from them.
#[derive(Clone, Debug)]
pub struct Expected {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
    pub error: f64,
}

/// The moments of each channel.
pub fn channel_moments(images: &Images) -> Vec<Moments> {
    let [batch, channels, height, width] = images.dims;
    let positions = height * width;
    let of = |channel: usize| {
        let runs = (0..batch).map(|n| &images.values[(n * channels + channel) * positions..][..positions]);
        Moments::of(&runs.flatten().copied().collect::<Vec<_>>())
    };
    (0..channels).map(of).collect()
}

/// The largest sum of weights' sizes that an output has.
pub fn reach(weight: &[f32], out: usize) -> f64 {
    weight
        .chunks(weight.len() / out)
        .map(|row| row.iter().map(|w| f64::from(w.abs())).sum())
        .fold(0.0, f64::max)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()))
}

/// How far a convolution in f32 is off: a sum of k products of numbers that are themselves off by `before` is off by
/// k + 1 roundoffs of the sum of sizes, and by what its terms are off.
pub fn conv_error(x: &Images, before: f64, weight: &[f32], out: usize) -> f64 {
    let terms = (weight.len() / out + 1) as f64;
    reach(weight, out) * (before + terms * ROUNDOFF * (largest(&x.values) + before))
}

/// As f32, in which the model keeps them.
pub fn stored(values: &[f64]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value as f32)).collect()
}

/// What `chain` has at its layers if it is recalibrated in order: the definition, by loops.
pub fn chain_by_loops(data: &Data) -> [Expected; 2] {
    let x = data.images();
    let (w1, w2) = (filters(3, 2, 1), filters(4, 3, 4));
    let image = |weight: &[f32], out, inputs| Images::new([out, inputs, 3, 3], wide(weight));
    let z1 = x.conv(&image(&w1, 3, 2), None, &WINDOW, 1);
    let e1 = conv_error(&x, 0.0, &w1, 3);
    let first = expected(&z1, e1);
    let [gamma, beta, ..] = parameters(3, 2);
    let layer = [wide(&gamma), wide(&beta), stored(&first.mean), stored(&first.variance)];
    let a = z1.normalize(&layer, EPS);
    // Off by what comes in times the slope, by as much again for the statistics, which are off by no more than the values
    // are (half of it more for the variance), and by few roundings of its parts.
    let slope = (0..3).map(|c| layer[0][c].abs() / (layer[3][c] + EPS).sqrt()).fold(0.0, f64::max);
    let parts = slope * largest(&z1.values) + largest(&layer[1]);
    let spread = (0..3).map(|c| largest(&a.values) * e1 / (layer[3][c] + EPS).sqrt()).fold(0.0, f64::max);
    let before = 2.0 * slope * e1 + 1.5 * spread + 8.0 * ROUNDOFF * parts;
    let a = a.map(|value| value.max(0.0));
    let z2 = a.conv(&image(&w2, 4, 3), None, &WINDOW, 1);
    [first, expected(&z2, conv_error(&a, before, &w2, 4))]
}

pub fn expected(images: &Images, error: f64) -> Expected {
    let moments = channel_moments(images);
    Expected {
        mean: moments.iter().map(|moments| moments.mean).collect(),
        variance: moments.iter().map(Moments::biased_variance).collect(),
        error,
    }
}

impl Expected {
    /// Whether statistics are these: if each value is off by at most e, the mean is, and the standard deviation is, so the
    /// variance is off by at most 2 sd e + e^2. The model rounds both to f32.
    #[track_caller]
    pub fn check(&self, found: &(Vec<f64>, Vec<f64>)) {
        assert_eq!((found.0.len(), found.1.len()), (self.mean.len(), self.variance.len()));
        for channel in 0..self.mean.len() {
            let (mean, variance, e) = (self.mean[channel], self.variance[channel], self.error);
            let off = (found.0[channel] - mean).abs();
            assert!(
                off <= e + ROUNDOFF * mean.abs(),
                "channel {channel}: mean {} {mean} {e}",
                found.0[channel]
            );
            let off = (found.1[channel] - variance).abs();
            let limit = 2.0 * variance.sqrt() * e + e * e + ROUNDOFF * variance;
            assert!(off <= limit, "channel {channel}: variance {} {variance} {limit}", found.1[channel]);
        }
    }
}

/// Recalibrates a model to its end.
pub fn recalibrate(bytes: &[u8], data: &mut Data, options: Options) -> Recalibration {
    by(&Tract, bytes, data, options).unwrap_or_else(|error| panic!("{error}"))
}

pub fn by(
    runtime: &dyn Runtime,
    bytes: &[u8],
    data: &mut dyn Samples,
    options: Options,
) -> Result<Recalibration, RecalibrateError> {
    let document = Document::from_bytes(bytes.to_vec())?;
    let recalibrator = Recalibrator::new(&document, options)?;
    match recalibrator.run(runtime, data, None, &mut |_| ControlFlow::Continue(()))? {
        Outcome::Done(done) => Ok(done),
        Outcome::Interrupted => panic!("nobody stopped it"),
    }
}

pub fn batches_of(batch_size: usize) -> Options {
    Options { batch_size, ..Options::default() }
}

/// The statistics that a layer of a model keeps.
pub fn statistics(document: &Document, layer: &str) -> (Vec<f64>, Vec<f64>) {
    let graph = document.graph();
    let node = graph.nodes().iter().find(|node| node.title() == layer).expect("the layer is there");
    let row = |input| {
        let tensor = graph.initializer(node.input(input).unwrap()).expect("it is stored");
        document.storage().values(tensor).unwrap()
    };
    (row(3), row(4))
}

/// The model with another version of operators, or of the format.
pub fn with_versions(bytes: &[u8], opset: Option<i64>, ir: Option<i64>) -> Vec<u8> {
    let mut model = Writer::new();
    for field in Reader::new(bytes) {
        let field = field.unwrap();
        match (field.number, opset, ir) {
            (8, Some(opset), _) => model.message(8, |writer| {
                writer.text(1, "");
                writer.int64(2, opset);
            }),
            (1, _, Some(ir)) => model.int64(1, ir),
            _ => model.raw(field.raw),
        }
    }
    model.into_bytes()
}
