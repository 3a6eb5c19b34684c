//! The models that the runtimes get.

use std::fmt::Display;

use batchnorm::Momentum;
use batchnorm_model::onnx::wire::Writer;
use batchnorm_model::onnx::{Dim, Graph, Normalization, Window};
use batchnorm_model::runtime::{Array, Runtime, RuntimeError, Session};

use crate::loops::Images;

pub const EPS: f64 = 1e-3;
pub const CLASSES: usize = 3;
/// Channels, height and width.
pub const INPUT: [usize; 3] = [4, 6, 5];

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

pub fn images(batch: usize) -> Array {
    let [channels, height, width] = INPUT;
    let dims = [batch, channels, height, width];
    Array::new(dims, numbers(dims.iter().product(), 40 + batch as u64)).unwrap()
}

pub fn load(runtime: &dyn Runtime, bytes: &[u8]) -> Box<dyn Session> {
    runtime.load(bytes.into()).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
pub fn refused(runtime: &dyn Runtime, bytes: &[u8]) -> RuntimeError {
    match runtime.load(bytes.into()) {
        Ok(_) => panic!("{} takes the model", runtime.name()),
        Err(error) => error,
    }
}

#[track_caller]
pub fn says(error: &impl Display, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

/// Conv, batch norm, ReLU and a linear map, whose ReLU is an output, too; with the logits as loops compute them.
pub fn network() -> (Vec<u8>, impl Fn(&Array) -> Vec<f64>) {
    let window = Window { kernel: [3, 2], strides: [2, 1], pads: [1, 0, 1, 1] };
    let mut graph = Graph::new("net");
    let [channels, height, width] = INPUT.map(Dim::Fixed);
    let x = graph.input("x", &[Dim::Symbol("batch"), channels, height, width]);
    let filters = numbers(6 * 4 * 3 * 2, 1);
    let weight = graph.tensor("conv.weight", &[6, 4, 3, 2], &filters);
    let z = graph.conv("conv", &x, &weight, None, &window, 1);
    let variance: Vec<f32> = numbers(6, 5).iter().map(|v| 0.2 + v * v).collect();
    let layer = [numbers(6, 2), numbers(6, 3), numbers(6, 4), variance];
    let [gamma, beta, mean, variance] =
        [0, 1, 2, 3].map(|index| graph.tensor(&format!("bn.{index}"), &[6], &layer[index]));
    let normalization = Normalization {
        gamma: &gamma,
        beta: &beta,
        mean: &mean,
        variance: &variance,
        eps: EPS,
        momentum: Momentum::of_new(0.1),
    };
    let y = graph.batch_normalization("bn", &z, &normalization);
    let positive = graph.relu("relu", &y);
    let rows = graph.flatten("flatten", &positive);
    let fc = numbers(CLASSES * 90, 10);
    let weight = graph.tensor("fc.weight", &[CLASSES, 90], &fc);
    let bias = graph.tensor("fc.bias", &[CLASSES], &numbers(CLASSES, 11));
    let y = graph.gemm("fc", &rows, &weight, Some(&bias));
    graph.output("logits", &y, &[Dim::Symbol("batch"), Dim::Fixed(CLASSES)]);
    graph.output("features", &positive, &[Dim::Symbol("batch"), Dim::Fixed(6), Dim::Fixed(3), Dim::Fixed(5)]);
    let filters = Images::new([6, 4, 3, 2], wide(&filters));
    let layer = layer.map(|values| wide(&values));
    (graph.to_bytes().unwrap(), move |x: &Array| {
        let dims: [usize; 4] = x.dims.as_slice().try_into().unwrap();
        Images::new(dims, x.to_f64())
            .conv(&filters, None, &window, 1)
            .normalize(&layer, EPS)
            .map(|z| z.max(0.0))
            .gemm(&wide(&fc), &wide(&numbers(CLASSES, 11)))
    })
}

#[track_caller]
pub fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    // f32 rounds each of at most 100 additions by up to 6e-8 of the sum; roundings go either way, and ten times one of
    // them, 6e-7, is what is left of the largest value's digits.
    let tolerance = 1e-6 * expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < tolerance, "{found} is not {expected}");
    }
}

/// The network at several batch sizes, more of them than plans are kept, against loops.
pub fn agrees_with_loops(runtime: &dyn Runtime) {
    let (bytes, expected) = network();
    let mut session = load(runtime, &bytes);
    assert_eq!(session.outputs(), ["logits", "features"]);
    let [port] = session.inputs() else { panic!("one input") };
    assert_eq!(port.name, "x");
    assert_eq!(port.dims.as_deref(), Some(&[None, Some(4), Some(6), Some(5)][..]));
    for batch in [1, 2, 3, 4, 5, 6, 1, 6] {
        let x = images(batch);
        let outputs = session.run(&[("x", &x)]).unwrap();
        assert_eq!(outputs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["logits", "features"]);
        assert_eq!(outputs[0].1.dims, [batch, CLASSES]);
        assert_eq!(outputs[1].1.dims, [batch, 6, 3, 5]);
        close(&outputs[0].1.to_f64(), &expected(&x));
    }
}

/// Element types, by `TensorProto.DataType`.
pub const F32: i64 = 1;
pub const I64: i64 = 7;
pub const TEXT: i64 = 8;
pub const F16: i64 = 10;
pub const F64: i64 = 11;
pub const BF16: i64 = 16;

/// A node of a [`Model`].
pub struct Node {
    pub op: &'static str,
    pub domain: &'static str,
    pub name: &'static str,
    pub inputs: &'static [&'static str],
    pub outputs: &'static [&'static str],
}

/// What [`Graph`] does not write: other element types, old versions, other operators and mistakes.
pub struct Model {
    pub ir: i64,
    pub nodes: Vec<Node>,
    /// Name, type and length; a length below zero is a symbol.
    pub inputs: Vec<(&'static str, i64, i64)>,
    pub outputs: Vec<(&'static str, i64, i64)>,
    /// Name, type and the bytes of these values.
    pub tensors: Vec<(&'static str, i64, Vec<f32>)>,
    /// The file that holds the first tensor's bytes instead.
    pub stored_in: Option<&'static str>,
}

impl Model {
    /// One node that makes `y` of what it takes.
    pub fn of(op: &'static str, inputs: &'static [&'static str], element: i64) -> Self {
        let inputs_of = inputs.iter().map(|name| (*name, element, -1)).collect();
        let node = Node { op, domain: "", name: "made", inputs, outputs: &["y"] };
        Self {
            ir: 8,
            nodes: vec![node],
            inputs: inputs_of,
            outputs: vec![("y", element, -1)],
            tensors: Vec::new(),
            stored_in: None,
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.int64(1, self.ir);
        writer.message(7, |graph| {
            for node in &self.nodes {
                graph.message(1, |writer| {
                    node.inputs.iter().for_each(|name| writer.text(1, name));
                    node.outputs.iter().for_each(|name| writer.text(2, name));
                    writer.text(3, node.name);
                    writer.text(4, node.op);
                    writer.text(7, node.domain);
                });
            }
            graph.text(2, "g");
            for (name, element, values) in &self.tensors {
                graph.message(5, |writer| {
                    writer.int64(1, values.len() as i64);
                    writer.int64(2, *element);
                    writer.text(8, name);
                    let Some(file) = self.stored_in else {
                        writer.bytes(9, &raw(values));
                        return;
                    };
                    for (key, value) in [("location", file), ("offset", "0")] {
                        writer.message(13, |writer| {
                            writer.text(1, key);
                            writer.text(2, value);
                        });
                    }
                    writer.int64(14, 1);
                });
            }
            for (field, ports) in [(11, &self.inputs), (12, &self.outputs)] {
                for (name, element, length) in ports {
                    graph.message(field, |writer| {
                        writer.text(1, name);
                        writer.message(2, |writer| {
                            writer.message(1, |writer| {
                                writer.int64(1, *element);
                                writer.message(2, |writer| {
                                    writer.message(1, |writer| match length {
                                        0.. => writer.int64(1, *length),
                                        _ => writer.text(2, "n"),
                                    });
                                });
                            });
                        });
                    });
                }
            }
        });
        for (domain, version) in [("", 17), ("com.example", 1)] {
            writer.message(8, |writer| {
                writer.text(1, domain);
                writer.int64(2, version);
            });
        }
        writer.into_bytes()
    }
}

/// The bytes of values, as files have them.
pub fn raw(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
