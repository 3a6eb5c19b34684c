//! Files that PyTorch wrote: see `../goldens/make_pytorch.py`.

use std::fs;

use batchnorm::BatchNormConfig;
use batchnorm_model::checkpoint::{
    Archive, ArchiveError, Dtype, FoldOptions, FoldPlan, Format, Layer, Pattern,
};

use super::files::golden;

fn open(name: &str) -> Archive {
    Archive::open(&golden(name)).unwrap()
}

const LAYERS: [&str; 4] = ["bn1", "bn2", "features.1", "up_bn"];

#[test]
fn a_state_dict_is_read_from_zip_and_from_before_zip() {
    let (new, old) = (open("state.pth"), open("legacy.pth"));
    assert_eq!((new.format(), old.format()), (Format::PyTorch, Format::PyTorch));
    assert_eq!(new.names().collect::<Vec<_>>(), old.names().collect::<Vec<_>>());
    for name in new.names() {
        assert_eq!(new.read(name).unwrap(), old.read(name).unwrap(), "{name}");
    }
    let weight = new.entry("conv1.weight").unwrap();
    assert_eq!((&weight.dtype, &weight.shape[..], weight.bytes), (&Dtype::F32, &[4, 2, 3, 3][..], 288));
    assert_eq!(new.values("bn1.num_batches_tracked").unwrap(), [100.0]);
}

#[test]
fn the_state_dict_of_a_training_file_is_taken_and_the_rest_named() {
    let archive = open("training.pth");
    assert_eq!((archive.key(), archive.left_out()), (Some("state_dict"), &["optimizer".to_owned()][..]));
    assert_eq!(archive.entry("conv1.weight").unwrap().dtype, Dtype::F16);
    // The same numbers, rounded.
    let (half, single) = (archive.values("up.weight").unwrap(), open("state.pth").values("up.weight").unwrap());
    assert!(half.iter().zip(&single).all(|(half, single)| (half - single).abs() <= single.abs() / 2048.0));

    let all = Archive::open_part(&golden("training.pth"), Some("")).unwrap();
    assert!(all.key().is_none() && all.entry("optimizer.state.0.momentum_buffer").is_some());
    let optimizer = Archive::open_part(&golden("training.pth"), Some("optimizer")).unwrap();
    assert_eq!(optimizer.names().collect::<Vec<_>>(), ["state.0.momentum_buffer"]);
    let error = Archive::open_part(&golden("training.pth"), Some("epoch")).unwrap_err();
    assert!(error.to_string().contains("tensors are under `optimizer`, `state_dict`"), "{error}");
}

#[test]
fn a_whole_module_is_read_and_runs_no_code() {
    let names: Vec<String> = open("whole.pth").names().map(str::to_owned).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    assert!(names.contains(&"1.running_var".to_owned()));
}

#[test]
fn state_dicts_are_shards_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(golden("state.pth"), folder.path().join("pytorch_model-00001-of-00001.bin")).unwrap();
    let index = folder.path().join("pytorch_model.bin.index.json");
    let open = |tensor: &str| {
        let map = serde_json::json!({"weight_map": {tensor: "pytorch_model-00001-of-00001.bin"}});
        fs::write(&index, map.to_string()).unwrap();
        Archive::open(&index)
    };
    let archive = open("fc.weight").unwrap();
    assert_eq!(archive.format(), Format::Sharded);
    assert_eq!(archive.entries().len(), 25);
    assert_eq!(archive.values("bn1.num_batches_tracked").unwrap(), [100.0]);
    assert!(matches!(open("missing"), Err(ArchiveError::NotInShard { .. })));
}

#[test]
fn layers_and_guesses_are_those_of_the_network() {
    let layers = Layer::all(&open("state.pth"), None).unwrap();
    assert_eq!(layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>(), LAYERS);
    assert!(layers.iter().all(|layer| layer.counter == Some(100) && layer.findings.is_empty()));
    let guess = |layer: &Layer| layer.guess.as_ref().map(|guess| guess.map.clone());
    let guesses: Vec<_> = layers.iter().map(guess).collect();
    assert_eq!(guesses[0].as_deref(), Some("conv1"));
    assert_eq!(guesses[2].as_deref(), Some("features.0"));
    assert_eq!(layers[2].gamma, None);
}

#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.pth");
    for name in ["state.pth", "legacy.pth"] {
        let whole = fs::read(golden(name)).unwrap();
        for length in (1..whole.len()).step_by(97) {
            fs::write(&path, &whole[..length]).unwrap();
            if let Ok(archive) = Archive::open(&path) {
                assert!(archive.names().any(|name| archive.read(name).is_err()), "{name} cut at {length}");
            }
        }
    }
    fs::write(&path, b"PK\x03\x04 and nothing").unwrap();
    let error = Archive::open(&path).unwrap_err();
    assert!(
        matches!(&error, ArchiveError::PyTorch { .. }) && error.to_string().contains("save_file"),
        "{error}"
    );
}

/// The network of `make_pytorch.py` in evaluation mode, in f64, with its batch-norm layers or without.
struct Network<'a> {
    archive: &'a Archive,
    eps: f64,
}

/// A tensor of one sample: channels, height, width.
type Image = (Vec<f64>, [usize; 3]);

impl Network<'_> {
    fn values(&self, name: &str) -> Option<Vec<f64>> {
        self.archive.entry(name).map(|_| self.archive.values(name).unwrap())
    }

    fn run(&self, x: &[f64]) -> Vec<f64> {
        let x = (x.to_vec(), [2, 5, 5]);
        let x = self.norm("bn1", self.convolution("conv1", &x, [4, 2, 3], 1, 1));
        let x = self.norm("features.1", self.convolution("features.0", &x, [4, 1, 3], 0, 4));
        let (values, [channels, height, width]) = self.norm("up_bn", self.transposed("up", &x));
        let area = height * width;
        let mean: Vec<f64> =
            values.chunks(area).map(|channel| channel.iter().sum::<f64>() / area as f64).collect();
        let (weight, bias) = (self.values("fc.weight").unwrap(), self.values("fc.bias").unwrap());
        let rows = weight.chunks(channels).zip(bias);
        let y = rows.map(|(row, bias)| row.iter().zip(&mean).map(|(w, x)| w * x).sum::<f64>() + bias).collect();
        self.norm("bn2", (y, [3, 1, 1])).0
    }

    fn norm(&self, name: &str, (mut values, shape): Image) -> Image {
        let Some(mean) = self.values(&format!("{name}.running_mean")) else { return (values, shape) };
        let variance = self.values(&format!("{name}.running_var")).unwrap();
        let (gamma, beta) = (self.values(&format!("{name}.weight")), self.values(&format!("{name}.bias")));
        for (channel, part) in values.chunks_mut(shape[1] * shape[2]).enumerate() {
            let gamma = gamma.as_ref().map_or(1.0, |gamma| gamma[channel]);
            let beta = beta.as_ref().map_or(0.0, |beta| beta[channel]);
            let sigma = (variance[channel] + self.eps).sqrt();
            part.iter_mut().for_each(|x| *x = gamma * (*x - mean[channel]) / sigma + beta);
        }
        (values, shape)
    }

    fn bias(&self, name: &str, outputs: usize) -> Vec<f64> {
        self.values(&format!("{name}.bias")).unwrap_or_else(|| vec![0.0; outputs])
    }

    fn convolution(
        &self,
        name: &str,
        (x, [channels, height, width]): &Image,
        [outputs, inputs, side]: [usize; 3],
        padding: usize,
        groups: usize,
    ) -> Image {
        let weight = self.values(&format!("{name}.weight")).unwrap();
        let bias = self.bias(name, outputs);
        let [rows, columns] = [height, width].map(|length| length + 2 * padding + 1 - side);
        let mut y = Vec::new();
        for o in 0..outputs {
            let first = o / (outputs / groups) * (channels / groups);
            for (r, c) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                let mut sum = bias[o];
                for (i, (a, b)) in
                    (0..inputs).flat_map(|i| (0..side * side).map(move |k| (i, (k / side, k % side))))
                {
                    let (row, column) = ((r + a).wrapping_sub(padding), (c + b).wrapping_sub(padding));
                    if row < *height && column < *width {
                        let weight = weight[((o * inputs + i) * side + a) * side + b];
                        sum += weight * x[((first + i) * height + row) * width + column];
                    }
                }
                y.push(sum);
            }
        }
        (y, [outputs, rows, columns])
    }

    /// From 4 channels to 6 in 2 groups, with a kernel of 2.
    fn transposed(&self, name: &str, (x, [channels, height, width]): &Image) -> Image {
        let (weight, bias) = (self.values(&format!("{name}.weight")).unwrap(), self.bias(name, 6));
        let (rows, columns) = (height + 1, width + 1);
        let mut y: Vec<f64> = bias.iter().flat_map(|&bias| vec![bias; rows * columns]).collect();
        for i in 0..*channels {
            for (o, k) in (0..3).flat_map(|o| (0..4).map(move |k| (o, k))) {
                let output = i / (channels / 2) * 3 + o;
                for (r, c) in (0..*height).flat_map(|r| (0..*width).map(move |c| (r, c))) {
                    let place = (output * rows + r + k / 2) * columns + c + k % 2;
                    y[place] += weight[(i * 3 + o) * 4 + k] * x[(i * height + r) * width + c];
                }
            }
        }
        (y, [6, rows, columns])
    }
}

#[test]
fn the_folded_network_computes_what_pytorch_does() {
    #[derive(serde::Deserialize)]
    struct Expected {
        x: Vec<f64>,
        y: Vec<f64>,
    }
    let expected: Expected = serde_json::from_slice(&fs::read(golden("expected.json")).unwrap()).unwrap();
    let eps = BatchNormConfig::pytorch().eps;
    let largest =
        |y: &[f64]| y.iter().zip(&expected.y).map(|(y, expected)| (y - expected).abs()).fold(0.0, f64::max);

    let archive = open("state.pth");
    // Sums of at most 36 terms of size 10, in f64.
    assert!(largest(&Network { archive: &archive, eps }.run(&expected.x)) < 1e-12);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folded.safetensors");
    let pairs = ["conv1=bn1", "features.0=features.1", "up=up_bn", "fc=bn2"];
    let pairs = pairs.map(|pair| pair.parse().unwrap()).to_vec();
    let transposed: Vec<Pattern> = vec!["up".parse().unwrap()];
    let plan = FoldPlan::new(&archive, &FoldOptions { pairs, eps: Some(eps), transposed }).unwrap();
    assert!(plan.reports().iter().all(|pair| pair.outcome.is_ok()), "{:?}", plan.reports());
    plan.write(&path).unwrap();
    let folded = Archive::open(&path).unwrap();
    assert_eq!(
        folded.names().collect::<Vec<_>>(),
        [
            "conv1.weight",
            "conv1.bias",
            "fc.bias",
            "fc.weight",
            "features.0.bias",
            "features.0.weight",
            "up.bias",
            "up.weight"
        ]
    );
    assert_eq!(folded.metadata()["format"], "pt");
    // Four layers, each off by 2^-24 of its terms, of which there are at most 18 of size 10; the layers behind scale that by
    // up to 8 each (gamma of size 3, variances from 0.2): 18 * 10 * 2^-24 * 8 = 9e-5.
    let difference = largest(&Network { archive: &folded, eps }.run(&expected.x));
    assert!(difference < 1e-4 && difference > 0.0, "{difference:e}");
}
