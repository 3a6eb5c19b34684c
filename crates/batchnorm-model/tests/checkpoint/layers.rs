//! The batch-norm layers of a checkpoint: which tensors are one, what is said of it, what is guessed.

use batchnorm::BatchNormConfig;
use batchnorm_model::checkpoint::{Convention, Layer, Remark};

use super::files::File;

fn layers(file: &File) -> Vec<Layer> {
    let folder = tempfile::tempdir().unwrap();
    Layer::all(&file.open(folder.path()), None).unwrap()
}

/// The guesses, as `layer <- map`.
fn guesses(file: &File) -> Vec<String> {
    let pair = |layer: Layer| {
        let map = layer.guess.map_or("?".to_owned(), |guess| {
            let transposed = if guess.transposed { " transposed" } else { "" };
            guess.map + transposed
        });
        format!("{} <- {map}", layer.name)
    };
    layers(file).into_iter().map(pair).collect()
}

#[test]
fn a_layer_is_told_with_its_ranges_and_findings() {
    let file = File::new()
        .f32("bn.weight", &[3], &[1.0, 0.0, -0.5])
        .f32("bn.bias", &[3], &[0.0, 2.0, 1.0])
        .f32("bn.running_mean", &[3], &[-1.0, 0.0, 4.0])
        .f32("bn.running_var", &[3], &[1.0, 0.0, 4.0])
        .counter("bn.num_batches_tracked", 0);
    let [layer] = &layers(&file)[..] else { panic!("one layer") };
    assert_eq!((layer.name.as_str(), layer.convention, layer.channels), ("bn", Convention::PyTorch, 3));
    assert_eq!((layer.gamma, layer.beta), (Some((-0.5, 1.0)), Some((0.0, 2.0))));
    assert_eq!((layer.mean, layer.variance), (Some((-1.0, 4.0)), Some((0.0, 4.0))));
    assert_eq!((layer.eps, layer.counter), (None, Some(0)));
    assert_eq!(layer.examined_with, BatchNormConfig::pytorch().eps);
    let codes: Vec<_> = layer.findings.iter().map(|finding| finding.code()).collect();
    assert_eq!(codes, ["zero-variance", "dead-channels", "never-updated"]);
    assert!(layer.remarks.is_empty());
}

#[test]
fn a_layer_without_counter_and_with_first_statistics_is_remarked() {
    let file = File::new()
        .f32("conv.weight", &[2, 1], &[1.0, 1.0])
        .f32("conv.bias", &[2], &[1.0, 1.0])
        .f32("bn.running_mean", &[2], &[0.0, 0.0])
        .f32("bn.running_var", &[2], &[1.0, 1.0]);
    let layers = layers(&file);
    assert_eq!(layers[0].remarks, [Remark::NoCounter, Remark::InitialStatistics, Remark::RedundantBias]);
    assert_eq!(layers[0].gamma, None);
}

#[test]
fn eps_in_the_metadata_is_known() {
    let file = File::new().batch_norm("bn", 2).metadata("batchnorm.eps", "1e-3");
    assert_eq!(layers(&file)[0].eps, Some(1e-3));
    for bad in ["-1", "NaN", "small"] {
        assert_eq!(layers(&File::new().batch_norm("bn", 2).metadata("batchnorm.eps", bad))[0].eps, None);
    }
}

#[test]
fn every_convention_is_recognised() {
    let names =
        |names: [&str; 4]| names.into_iter().fold(File::new(), |file, name| file.f32(name, &[2], &[1.0, 2.0]));
    for (file, name, convention) in [
        (names(["b.weight", "b.bias", "b.running_mean", "b.running_var"]), "b", Convention::PyTorch),
        (names(["b/gamma:0", "b/beta:0", "b/moving_mean:0", "b/moving_variance:0"]), "b", Convention::Keras),
        (names(["gamma", "beta", "moving_mean", "moving_variance"]), "", Convention::Keras),
        (names(["a.b.gamma", "a.b.beta", "a.b.running_mean", "a.b.running_var"]), "a.b", Convention::Burn),
        (names(["b.scale", "b.bias", "b.mean", "b.var"]), "b", Convention::Flax),
        (
            names(["params.b.scale", "params.b.bias", "batch_stats.b.mean", "batch_stats.b.var"]),
            "params.b",
            Convention::Flax,
        ),
    ] {
        let [layer] = &layers(&file)[..] else { panic!("one layer in {name}") };
        assert_eq!((layer.name.as_str(), layer.convention), (name, convention));
        assert_eq!(layer.tensors.all().count(), 4);
    }
}

#[test]
fn what_only_looks_like_a_layer_is_none() {
    for file in [
        // Lengths that differ, another rank, integers, a scale of another length, a mean and a variance of something else.
        File::new().f32("a.running_mean", &[2], &[0.0; 2]).f32("a.running_var", &[3], &[1.0; 3]),
        File::new().f32("a.running_mean", &[1, 2], &[0.0; 2]).f32("a.running_var", &[1, 2], &[1.0; 2]),
        File::new().raw("a.running_mean", "I8", &[1], &[0]).f32("a.running_var", &[1], &[1.0]),
        File::new().f32("a.running_mean", &[1], &[0.0]).f32("a.running_var", &[1], &[1.0]).f32(
            "a.weight",
            &[2],
            &[1.0; 2],
        ),
        File::new().f32("a.mean", &[1], &[0.0]).f32("a.var", &[1], &[1.0]),
        File::new().f32("a.running_mean", &[1], &[0.0]),
        File::new().f32("a.running_mean", &[0], &[]).f32("a.running_var", &[0], &[]),
    ] {
        assert!(layers(&file).is_empty());
    }
}

#[test]
fn numbers_in_names_count_where_the_file_is_sorted() {
    let file = ["b.10", "b.2", "b.9"].into_iter().fold(File::new(), |file, name| file.batch_norm(name, 1));
    let names: Vec<_> = layers(&file).into_iter().map(|layer| layer.name).collect();
    assert_eq!(names, ["b.2", "b.9", "b.10"]);
    let file = ["stem", "blocks"].into_iter().fold(File::new(), |file, name| file.batch_norm(name, 1));
    assert_eq!(layers(&file)[0].name, "stem");
}

#[test]
fn maps_are_guessed_by_names_and_channels() {
    let file = File::new()
        .weight("conv1.weight", &[2, 1, 3, 3])
        .batch_norm("bn1", 2)
        .weight("layer1.0.conv1.weight", &[4, 2, 1, 1])
        .batch_norm("layer1.0.bn1", 4)
        .weight("layer1.0.downsample.0.weight", &[4, 2, 1, 1])
        .batch_norm("layer1.0.downsample.1", 4)
        .weight("features.3.weight", &[3, 2])
        .batch_norm("features.4", 3)
        .weight("head.conv.weight", &[2, 2, 1])
        .batch_norm("head.norm", 2)
        .weight("stem.conv_stem.weight", &[5, 2, 1, 1])
        .batch_norm("stem.bn_first", 5)
        .weight("up.deconv1.weight", &[3, 6, 2, 2])
        .batch_norm("up.bn1", 6)
        .batch_norm("alone", 7);
    assert_eq!(
        guesses(&file),
        [
            "bn1 <- conv1",
            "layer1.0.bn1 <- layer1.0.conv1",
            "layer1.0.downsample.1 <- layer1.0.downsample.0",
            "features.4 <- features.3",
            "head.norm <- head.conv",
            "stem.bn_first <- stem.conv_stem",
            "up.bn1 <- up.deconv1 transposed",
            "alone <- ?",
        ]
    );
    assert!(layers(&file).iter().flat_map(|layer| &layer.guess).all(|guess| !guess.reason.is_empty()));
}

#[test]
fn names_of_keras_and_flax_are_guessed_too() {
    let keras = File::new()
        .weight("conv2d_1/kernel", &[3, 3, 1, 4])
        .f32("batch_normalization_1/moving_mean", &[4], &[0.5; 4])
        .f32("batch_normalization_1/moving_variance", &[4], &[0.5; 4]);
    assert_eq!(guesses(&keras), ["batch_normalization_1 <- conv2d_1"]);
    let flax = File::new()
        .weight("params.Conv_0.kernel", &[3, 3, 1, 4])
        .f32("params.BatchNorm_0.scale", &[4], &[0.5; 4])
        .f32("batch_stats.BatchNorm_0.mean", &[4], &[0.5; 4])
        .f32("batch_stats.BatchNorm_0.var", &[4], &[0.5; 4]);
    assert_eq!(guesses(&flax), ["params.BatchNorm_0 <- params.Conv_0"]);
}

#[test]
fn a_normalization_before_its_map_is_not_guessed_by_its_name() {
    // A pre-activation block: bn1 normalizes what conv1 reads. Where the channels do not change, the names fit by chance.
    let file = File::new()
        .batch_norm("layer1.0.bn1", 4)
        .weight("layer1.0.conv1.weight", &[4, 4, 3, 3])
        .batch_norm("layer2.0.bn1", 4)
        .weight("layer2.0.conv1.weight", &[8, 4, 3, 3]);
    assert_eq!(guesses(&file), ["layer1.0.bn1 <- ?", "layer2.0.bn1 <- ?"]);
}

#[test]
fn one_map_for_two_layers_is_no_guess() {
    let file = File::new().weight("conv1.weight", &[4, 4, 3, 3]).batch_norm("bn1", 4).batch_norm("norm1", 4);
    assert_eq!(guesses(&file), ["bn1 <- ?", "norm1 <- ?"]);
}
