//! Writes one network twice: as an ONNX model that runtimes run, and as a checkpoint under PyTorch's names.
//!
//! `cargo run -p batchnorm-model --example write_files -- FOLDER`

use std::path::PathBuf;

use batchnorm::BatchNormConfig;
use batchnorm_model::checkpoint::{NamedTensor, Tensors, Values};
use batchnorm_model::onnx::{Dim, Graph, Normalization, Value, Window};

const CHANNELS: usize = 8;
const CLASSES: usize = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("expected a folder to write to")?);
    let config = BatchNormConfig::pytorch();
    let checkpoint = checkpoint();
    checkpoint.write(&folder.join("example.safetensors"))?;
    model(&checkpoint, config).write(&folder.join("example.onnx"))?;
    println!("wrote example.safetensors and example.onnx to {}", folder.display());
    Ok(())
}

/// Convolution, batch normalization, ReLU, pooling and a linear map, with weights that nobody trained.
fn checkpoint() -> Tensors {
    let tensor = |name: &str, shape: &[usize], value: fn(usize) -> f32| {
        NamedTensor::new(name, shape, (0..shape.iter().product()).map(value).collect::<Vec<f32>>())
    };
    Tensors {
        tensors: vec![
            tensor("conv.weight", &[CHANNELS, 1, 3, 3], |i| (i as f32 * 0.7).sin() / 3.0),
            tensor("bn.weight", &[CHANNELS], |i| 1.0 + 0.1 * i as f32),
            tensor("bn.bias", &[CHANNELS], |i| 0.05 * i as f32 - 0.2),
            tensor("bn.running_mean", &[CHANNELS], |i| (i as f32).cos() / 4.0),
            tensor("bn.running_var", &[CHANNELS], |i| 0.1 + 0.05 * i as f32),
            NamedTensor::new("bn.num_batches_tracked", [], vec![1000_i64]),
            tensor("fc.weight", &[CLASSES, CHANNELS], |i| (i as f32 * 1.3).cos() / 2.0),
            tensor("fc.bias", &[CLASSES], |i| 0.01 * i as f32),
        ],
        metadata: [("format".to_owned(), "pt".to_owned())].into(),
    }
}

fn model(checkpoint: &Tensors, config: BatchNormConfig) -> Graph {
    let mut graph = Graph::new("example");
    let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(1), Dim::Fixed(28), Dim::Fixed(28)]);
    let [conv, gamma, beta, mean, variance, fc, fc_bias] =
        ["conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "fc.weight", "fc.bias"]
            .map(|name| stored(&mut graph, checkpoint, name));
    let y = graph.conv("conv", &x, &conv, None, &Window::square(3, 2, 1), 1);
    let layer = Normalization {
        gamma: &gamma,
        beta: &beta,
        mean: &mean,
        variance: &variance,
        eps: config.eps,
        momentum: config.momentum,
    };
    let y = graph.batch_normalization("bn", &y, &layer);
    let y = graph.relu("relu", &y);
    let y = graph.global_average_pool("pool", &y);
    let y = graph.flatten("flatten", &y);
    let y = graph.gemm("fc", &y, &fc, Some(&fc_bias));
    graph.output("logits", &y, &[Dim::Symbol("batch"), Dim::Fixed(CLASSES)]);
    graph.metadata("written_by", "an example");
    graph
}

fn stored(graph: &mut Graph, checkpoint: &Tensors, name: &str) -> Value {
    match checkpoint.get(name) {
        Some(NamedTensor { shape, values: Values::F32(values), .. }) => graph.tensor(name, shape, values),
        _ => unreachable!("the checkpoint above has `{name}` in f32"),
    }
}
