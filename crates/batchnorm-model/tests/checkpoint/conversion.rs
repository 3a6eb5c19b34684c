//! Layers under other names, and frozen ones.

use std::fs;

use batchnorm_model::checkpoint::{
    Archive, Convention, Conversion, ConversionOptions, ConversionReport, Layer,
};

use super::files::File;

fn convert(
    file: &File,
    names: Option<Convention>,
    frozen: Option<f64>,
) -> (Vec<ConversionReport>, Archive, bool) {
    let folder = tempfile::tempdir().unwrap();
    let archive = file.open(folder.path());
    let conversion = Conversion::new(&archive, &ConversionOptions { names, frozen });
    let out = folder.path().join("out.safetensors");
    conversion.write(&out).unwrap();
    let same = fs::read(&out).unwrap() == file.bytes();
    assert_eq!(same, conversion.is_empty());
    (conversion.reports().to_vec(), Archive::open(&out).unwrap(), same)
}

fn names(archive: &Archive) -> Vec<&str> {
    archive.names().collect()
}

fn sample() -> File {
    File::new().weight("conv.weight", &[2, 1]).batch_norm("a.bn", 2).metadata("format", "pt")
}

#[test]
fn names_go_from_pytorch_to_keras_and_back_without_the_counter() {
    let (reports, keras, _) = convert(&sample(), Some(Convention::Keras), None);
    assert_eq!(
        names(&keras),
        ["conv.weight", "a.bn.gamma", "a.bn.beta", "a.bn.moving_mean", "a.bn.moving_variance"]
    );
    assert_eq!(reports[0].dropped, ["a.bn.num_batches_tracked"]);
    assert_eq!((reports[0].from, reports[0].renamed.len()), (Convention::PyTorch, 4));
    assert_eq!(keras.metadata()["format"], "pt");

    let back = keras.names().fold(File::new(), |file, name| {
        let entry = keras.entry(name).unwrap();
        file.raw(name, entry.dtype.name(), &entry.shape, &[0; 8])
    });
    let (_, pytorch, _) = convert(&back, Some(Convention::PyTorch), None);
    assert_eq!(
        names(&pytorch),
        ["conv.weight", "a.bn.weight", "a.bn.bias", "a.bn.running_mean", "a.bn.running_var"]
    );
}

#[test]
fn the_counter_is_a_scalar_in_pytorch_and_has_one_axis_in_burn() {
    let (_, burn, _) = convert(&sample(), Some(Convention::Burn), None);
    let counter = burn.entry("a.bn.num_batches_tracked").unwrap();
    assert_eq!(counter.shape, [1]);
    assert_eq!(burn.values("a.bn.num_batches_tracked").unwrap(), [10.0]);
    assert!(burn.entry("a.bn.gamma").is_some() && burn.entry("conv.weight").is_some());

    let file = File::new()
        .f32("bn.gamma", &[1], &[1.0])
        .f32("bn.running_mean", &[1], &[0.0])
        .f32("bn.running_var", &[1], &[1.0])
        .raw("bn.num_batches_tracked", "I64", &[1], &7_i64.to_le_bytes());
    let (_, pytorch, _) = convert(&file, Some(Convention::PyTorch), None);
    assert_eq!(pytorch.entry("bn.num_batches_tracked").unwrap().shape, [0_usize; 0]);
    assert_eq!(pytorch.values("bn.weight").unwrap(), [1.0]);
}

#[test]
fn names_that_are_right_already_leave_the_file_as_it_is() {
    assert!(convert(&sample(), Some(Convention::PyTorch), None).2);
    assert!(convert(&sample(), None, None).2);
    // Nothing to freeze.
    assert!(convert(&File::new().weight("conv.weight", &[2, 1]), None, Some(1e-3)).2);
}

#[test]
fn a_frozen_layer_has_no_counter_and_its_eps_is_kept() {
    let (reports, archive, _) = convert(&sample(), None, Some(1e-3));
    assert_eq!(reports[0].dropped, ["a.bn.num_batches_tracked"]);
    assert!(archive.entry("a.bn.weight").is_some() && archive.entry("a.bn.num_batches_tracked").is_none());
    // Read back as the very number.
    assert_eq!(archive.metadata()["batchnorm.eps"].parse(), Ok(1e-3));
}

#[test]
fn a_frozen_layer_of_pytorch_has_a_scale_and_a_shift() {
    let file = File::new().raw("bn.running_mean", "F16", &[2], &[0; 4]).raw(
        "bn.running_var",
        "F16",
        &[2],
        &[0, 0x3c, 0, 0x3c],
    );
    let (reports, archive, _) = convert(&file, None, Some(0.0));
    assert_eq!(reports[0].created, ["bn.weight", "bn.bias"]);
    assert_eq!(archive.values("bn.weight").unwrap(), [1.0, 1.0]);
    assert_eq!(archive.values("bn.bias").unwrap(), [0.0, 0.0]);
    assert_eq!(archive.entry("bn.bias").unwrap().dtype.name(), "F16");
}

#[test]
fn a_name_that_is_taken_leaves_the_layer_alone() {
    let file = sample().f32("a.bn.gamma", &[3], &[1.0; 3]);
    // A scale of another length beside PyTorch's: no layer at all.
    let (reports, _, same) = convert(&file, Some(Convention::Keras), None);
    assert!(same && reports.is_empty());
    let file = sample().f32("a.bn.moving_mean", &[3], &[1.0; 3]).batch_norm("b.bn", 2);
    let (reports, archive, _) = convert(&file, Some(Convention::Keras), None);
    assert_eq!(reports[0].refusal.as_ref().unwrap().code(), "name-taken");
    assert!(archive.entry("a.bn.running_mean").is_some() && archive.entry("b.bn.moving_mean").is_some());
}

#[test]
fn trees_of_flax_are_refused_and_single_ones_converted() {
    let values = |file: File, name: &str| file.f32(name, &[1], &[1.0]);
    let apart = ["params.b.scale", "params.b.bias", "batch_stats.b.mean", "batch_stats.b.var"];
    let (reports, _, same) =
        convert(&apart.into_iter().fold(File::new(), values), Some(Convention::PyTorch), None);
    assert!(same);
    assert_eq!(reports[0].refusal.as_ref().unwrap().code(), "statistics-apart");
    let together = ["b.scale", "b.bias", "b.mean", "b.var"];
    let (_, archive, _) =
        convert(&together.into_iter().fold(File::new(), values), Some(Convention::PyTorch), None);
    assert_eq!(names(&archive), ["b.weight", "b.bias", "b.running_mean", "b.running_var"]);
    let (reports, _, same) = convert(&sample(), Some(Convention::Flax), None);
    assert!(same && reports[0].refusal.as_ref().unwrap().code() == "names-not-written");
}

#[test]
fn what_was_converted_is_the_same_layer() {
    let folder = tempfile::tempdir().unwrap();
    let before = Layer::all(&sample().open(folder.path()), Some(0.0)).unwrap();
    for convention in [Convention::Keras, Convention::Burn] {
        let (_, archive, _) = convert(&sample(), Some(convention), None);
        let after = Layer::all(&archive, Some(0.0)).unwrap();
        assert_eq!((&after[0].name, after[0].convention), (&before[0].name, convention));
        assert_eq!((after[0].mean, after[0].scale), (before[0].mean, before[0].scale));
    }
}
