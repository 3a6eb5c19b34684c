//! Folding layers of a checkpoint: what changes, what stays byte for byte, what is refused and with which code.

use std::fs;

use batchnorm_model::checkpoint::{Archive, FoldOptions, FoldPlan, FoldedPair, PairReport};

use super::files::File;

const EPS: f64 = 0.75;

fn options(pairs: &[&str], transposed: &[&str]) -> FoldOptions {
    FoldOptions {
        pairs: pairs.iter().map(|pair| pair.parse().unwrap()).collect(),
        eps: Some(EPS),
        transposed: transposed.iter().map(|pattern| pattern.parse().unwrap()).collect(),
    }
}

/// Folds and gives the reports and what was written.
fn fold(file: &File, pairs: &[&str], transposed: &[&str]) -> (Vec<PairReport>, tempfile::TempDir, Archive) {
    let folder = tempfile::tempdir().unwrap();
    let archive = file.open(folder.path());
    let plan = FoldPlan::new(&archive, &options(pairs, transposed)).unwrap();
    let out = folder.path().join("out.safetensors");
    plan.write(&out).unwrap();
    (plan.reports().to_vec(), folder, Archive::open(&out).unwrap())
}

fn folded(file: &File, pair: &str, transposed: &[&str]) -> (FoldedPair, Archive) {
    let (reports, _folder, archive) = fold(file, &[pair], transposed);
    (reports[0].outcome.clone().unwrap(), archive)
}

/// The code of the only pair's refusal; the file stays as it is.
fn refusal(file: &File, pairs: &[&str], transposed: &[&str]) -> (&'static str, String) {
    let (reports, folder, _) = fold(file, pairs, transposed);
    assert_eq!(fs::read(folder.path().join("out.safetensors")).unwrap(), file.bytes());
    let refusal = reports[0].outcome.clone().unwrap_err();
    (refusal.code(), refusal.to_string())
}

/// s and t of `File::batch_norm`.
fn affine(channel: usize) -> (f64, f64) {
    let channel = channel as f64;
    let scale = (0.5 + 0.25 * channel) / (0.25 + 0.5 * channel + EPS).sqrt();
    (scale, -1.0 + 0.5 * channel - (2.0 - 0.75 * channel) * scale)
}

/// Each weight by its output's scale, rounded to f32 once.
fn expect_scaled(file: &File, folded: &Archive, weight: &str, output: impl Fn(usize) -> usize) {
    let folder = tempfile::tempdir().unwrap();
    let before = file.open(folder.path()).values(weight).unwrap();
    let after = folded.values(weight).unwrap();
    for (index, (before, after)) in before.iter().zip(after).enumerate() {
        let expected = (before * affine(output(index)).0) as f32;
        // The scale itself may be off by a few roundings of f64.
        assert!(
            (after - f64::from(expected)).abs() <= f64::from(expected.abs()) * 2.0_f64.powi(-23),
            "{index}"
        );
    }
}

#[test]
fn every_kind_of_map_is_folded_along_its_outputs() {
    for (shape, transposed, channels) in [
        (&[4, 3][..], false, 4),
        (&[4, 3, 2], false, 4),
        (&[4, 1, 3, 3], false, 4),
        (&[4, 2, 2, 1, 2], false, 4),
        (&[3, 4, 2], true, 4),
        // Two groups of three outputs.
        (&[4, 3, 2, 2], true, 6),
        // Depthwise.
        (&[4, 1, 3, 3], true, 4),
    ] {
        let file = File::new().weight("a.conv.weight", shape).batch_norm("a.bn", channels);
        let (report, archive) = folded(&file, "a.conv=a.bn", if transposed { &["a.*"] } else { &[] });
        assert!(report.bias_is_new && report.channels == channels && report.eps == EPS);
        assert_eq!(archive.names().collect::<Vec<_>>(), ["a.conv.weight", "a.conv.bias"]);
        let row: usize = shape[1..].iter().product();
        let taps: usize = shape.iter().skip(2).product();
        expect_scaled(&file, &archive, "a.conv.weight", |index| {
            if transposed {
                let groups = channels / shape[1];
                index / row / (shape[0] / groups) * shape[1] + index % row / taps
            } else {
                index / row
            }
        });
        for (channel, bias) in archive.values("a.conv.bias").unwrap().into_iter().enumerate() {
            assert_eq!(bias, f64::from(affine(channel).1 as f32));
        }
    }
}

#[test]
fn kernels_of_keras_and_matrices_of_burn_end_with_their_outputs() {
    let norm = |file: File, gamma: &str, mean: &str, variance: &str| {
        file.f32(gamma, &[2], &[2.0, 4.0]).f32(mean, &[2], &[0.0, 0.0]).f32(variance, &[2], &[0.25, 0.25])
    };
    let keras = norm(
        File::new().f32("conv/kernel", &[1, 2, 1, 2], &[1.0, 1.0, 2.0, 2.0]),
        "bn/gamma",
        "bn/moving_mean",
        "bn/moving_variance",
    );
    let (report, archive) = folded(&keras, "conv=bn", &[]);
    assert_eq!(report.bias, "conv/bias");
    assert_eq!(archive.values("conv/kernel").unwrap(), [2.0, 4.0, 4.0, 8.0]);
    let burn = norm(
        File::new().f32("fc.weight", &[2, 2], &[1.0, 1.0, 2.0, 2.0]),
        "bn.gamma",
        "bn.running_mean",
        "bn.running_var",
    );
    let (_, archive) = folded(&burn, "fc=bn", &[]);
    assert_eq!(archive.values("fc.weight").unwrap(), [2.0, 4.0, 4.0, 8.0]);
}

#[test]
fn a_bias_that_is_there_is_folded_in_its_own_type() {
    let half = |value: f32| half::f16::from_f32(value).to_le_bytes();
    let file = File::new()
        .raw("conv.weight", "F16", &[1, 2], &[half(1.0), half(-2.0)].concat())
        .f32("conv.bias", &[1], &[3.0])
        .f32("bn.weight", &[1], &[2.0])
        .f32("bn.running_mean", &[1], &[1.0])
        .f32("bn.running_var", &[1], &[0.25]);
    let (report, archive) = folded(&file, "conv=bn", &[]);
    assert!(!report.bias_is_new && report.flushed == 0);
    assert_eq!(archive.entry("conv.weight").unwrap().dtype.name(), "F16");
    assert_eq!(archive.values("conv.weight").unwrap(), [2.0, -4.0]);
    assert_eq!(archive.entry("conv.bias").unwrap().dtype.name(), "F32");
    assert_eq!(archive.values("conv.bias").unwrap(), [4.0]);
}

#[test]
fn everything_else_is_copied_byte_for_byte_and_metadata_kept() {
    let file = File::new()
        .raw("of the future", "F128", &[3], &[1, 2, 3, 4, 5])
        .weight("conv.weight", &[2, 1])
        .batch_norm("bn", 2)
        .batch_norm("stays", 2)
        .raw("flags", "BOOL", &[1], &[1])
        .metadata("format", "pt")
        .metadata("notes", "\"é\"\n");
    let (reports, folder, archive) = fold(&file, &["conv=bn"], &[]);
    assert!(reports[0].outcome.is_ok());
    let before = Archive::open(&folder.path().join("net.safetensors")).unwrap();
    assert_eq!(archive.metadata(), before.metadata());
    let expected: Vec<&str> = before
        .names()
        .filter(|name| !name.starts_with("bn."))
        .flat_map(|name| if name == "conv.weight" { vec![name, "conv.bias"] } else { vec![name] })
        .collect();
    assert_eq!(archive.names().collect::<Vec<_>>(), expected);
    for name in expected.into_iter().filter(|name| !name.starts_with("conv.")) {
        assert_eq!(archive.read(name).unwrap(), before.read(name).unwrap(), "{name}");
    }
}

#[test]
fn the_official_crate_reads_what_is_written_and_values_are_aligned() {
    let file = File::new()
        .raw("flag", "BOOL", &[1], &[1])
        .weight("conv.weight", &[2, 1])
        .batch_norm("bn", 2)
        .counter("n", 1);
    let (_, folder, _) = fold(&file, &["conv=bn"], &[]);
    let bytes = fs::read(folder.path().join("out.safetensors")).unwrap();
    let official = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(official.len(), 4);
    for (name, view) in official.tensors() {
        let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(start % view.dtype().bitsize().div_ceil(8), 0, "{name}");
    }
}

#[test]
fn with_nothing_to_fold_the_file_is_the_same() {
    // Padded in another way than this crate would.
    let file = File::new().raw("b", "U8", &[1], &[1]).f32("a", &[1], &[1.0]);
    let (reports, folder, _) = fold(&file, &[], &[]);
    assert!(reports.is_empty());
    assert_eq!(fs::read(folder.path().join("out.safetensors")).unwrap(), file.bytes());
}

#[test]
fn stars_fold_every_block() {
    let mut file = File::new();
    for block in ["layer1.0", "layer1.1", "layer2.0"] {
        file =
            file.weight(&format!("{block}.conv1.weight"), &[2, 1, 1, 1]).batch_norm(&format!("{block}.bn1"), 2);
    }
    let file = file.weight("layer3.0.conv1.weight", &[2, 1]);
    let (reports, _folder, archive) =
        fold(&file, &["layer*.*.conv1=layer*.*.bn1", "layer1.0.conv1=layer1.0.bn1"], &[]);
    let maps: Vec<_> = reports.iter().map(|report| (report.map.as_str(), report.outcome.is_ok())).collect();
    assert_eq!(maps, [("layer1.0.conv1", true), ("layer1.1.conv1", true), ("layer2.0.conv1", true)]);
    assert!(archive.names().all(|name| !name.contains("bn1")));
}

#[test]
fn shards_become_one_file() {
    let folder = tempfile::tempdir().unwrap();
    File::new().weight("conv.weight", &[2, 1]).write(&folder.path().join("1.safetensors"));
    File::new().batch_norm("bn", 2).f32("other", &[1], &[1.0]).write(&folder.path().join("2.safetensors"));
    let index = folder.path().join("index.json");
    let map =
        r#"{"weight_map":{"conv.weight":"1.safetensors","bn.weight":"2.safetensors","other":"2.safetensors"}}"#;
    fs::write(&index, map).unwrap();
    let archive = Archive::open(&index).unwrap();
    let out = folder.path().join("out.safetensors");
    FoldPlan::new(&archive, &options(&["conv=bn"], &[])).unwrap().write(&out).unwrap();
    let folded = Archive::open(&out).unwrap();
    assert_eq!(folded.names().collect::<Vec<_>>(), ["conv.weight", "conv.bias", "other"]);
}

#[test]
fn eps_is_what_was_passed_or_else_that_of_the_metadata_or_missed() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::new().weight("conv.weight", &[2, 1]).batch_norm("bn", 2);
    let eps = |file: &File, eps| {
        let archive = file.open(folder.path());
        let plan = FoldPlan::new(&archive, &FoldOptions { eps, ..options(&["conv=bn"], &[]) }).unwrap();
        plan.reports()[0].outcome.clone().map(|folded| folded.eps)
    };
    let stated = file.clone().metadata("batchnorm.eps", "0.125");
    assert_eq!(eps(&stated, None).unwrap(), 0.125);
    assert_eq!(eps(&stated, Some(0.5)).unwrap(), 0.5);
    let refusal = eps(&file, None).unwrap_err();
    assert_eq!(refusal.code(), "no-eps");
    assert!(refusal.to_string().ends_with("(PyTorch's default is 1e-5)"), "{refusal}");
    assert_eq!(eps(&file, Some(-1.0)).unwrap_err().code(), "invalid-eps");
}

#[test]
fn a_weight_without_elements_is_refused_whatever_its_shape() {
    let huge = 1 << 40;
    let file = File::new().f32("conv.weight", &[2, 0, huge, huge, huge], &[]).batch_norm("bn", 2);
    assert_eq!(refusal(&file, &["conv=bn"], &[]).0, "weight-layout");
}

#[test]
fn what_flushes_to_zero_is_counted() {
    let file = File::new()
        .raw("conv.weight", "F16", &[2, 1], &[0x00, 0x04, 0x00, 0x3c])
        .f32("bn.weight", &[2], &[0.25, 1.0])
        .f32("bn.running_mean", &[2], &[0.0, 0.0])
        .f32("bn.running_var", &[2], &[0.25, 0.25]);
    let (report, archive) = folded(&file, "conv=bn", &[]);
    assert_eq!(report.flushed, 1);
    assert_eq!(archive.values("conv.weight").unwrap(), [0.0, 1.0]);
    assert!(report.relative_bound > 0.0 && report.relative_bound < 0.01);
}

#[test]
fn refusals_have_codes_and_say_the_way_out() {
    let norm = |channels| File::new().batch_norm("bn", channels);
    let layer = |gamma: f32, variance: f32| {
        File::new()
            .f32("bn.weight", &[1], &[gamma])
            .f32("bn.running_mean", &[1], &[1.0])
            .f32("bn.running_var", &[1], &[variance])
            .f32("conv.weight", &[1, 1], &[2.0])
    };
    for (file, code, part) in [
        (norm(2), "no-such-map", "no weight of two to five axes under `conv`"),
        (norm(2).f32("conv.weight", &[2], &[1.0; 2]), "no-such-map", "inspect"),
        (norm(2).weight("conv.weight_v", &[2, 1]), "reparametrized-weight", "`conv.weight_v`"),
        (File::new().weight("conv.weight", &[2, 1]), "no-such-layer", "`bn`"),
        (norm(2).raw("conv.weight", "I8", &[2, 1], &[1, 2]), "weight-type", "holds I8"),
        (norm(2).raw("conv.weight", "F8_E4M3", &[2, 1], &[1, 2]), "weight-type", "holds F8_E4M3"),
        (norm(2).weight("conv.weight", &[3, 1]), "channel-mismatch", "3 outputs"),
        (norm(2).weight("conv.weight", &[3, 2]), "channel-mismatch", "2 channels"),
        (norm(2).weight("conv.weight", &[3, 2, 1, 1]), "needs-transposed", "--transposed conv"),
        (norm(2).weight("conv.weight", &[2, 1]).f32("conv.bias", &[1], &[0.0]), "bias-shape", "expected [2]"),
        (layer(1.0, -0.5), "negative-variance", "channel (0)"),
        (layer(f32::NAN, 0.5), "non-finite", "gamma"),
        (layer(f32::MAX, 0.0), "overflow", "wider type"),
    ] {
        let (found, message) = refusal(&file, &["conv=bn"], &[]);
        assert_eq!(found, code, "{message}");
        assert!(message.contains(part), "{code}: {message}");
    }
    let (code, message) = refusal(&norm(2).weight("conv.weight", &[3, 4, 1]), &["conv=bn"], &["conv"]);
    assert_eq!(code, "not-transposed", "{message}");
    let (code, _) = refusal(&norm(2).weight("conv.weight", &[2, 1]), &["*.conv=*.bn"], &[]);
    assert_eq!(code, "no-match");
    let infinite = layer(1.0, 0.5).f32("b.weight", &[1, 2], &[0.0, f32::INFINITY]);
    assert_eq!(refusal(&infinite, &["b=bn"], &[]).0, "non-finite-weights");
}

#[test]
fn a_map_or_a_layer_of_two_pairs_stays() {
    let file = File::new()
        .weight("a.weight", &[2, 1])
        .weight("b.weight", &[2, 1])
        .batch_norm("x", 2)
        .batch_norm("y", 2);
    for (pairs, code) in [(["a=x", "a=y"], "map-with-two-layers"), (["a=x", "b=x"], "layer-with-two-maps")] {
        let (reports, ..) = fold(&file, &pairs, &[]);
        assert!(reports.iter().all(|report| report.outcome.as_ref().unwrap_err().code() == code));
    }
}

#[test]
fn a_layer_that_is_refused_stays_and_the_others_fold() {
    let file = File::new()
        .weight("a.weight", &[2, 1])
        .batch_norm("x", 2)
        .weight("b.weight", &[3, 1])
        .batch_norm("y", 2);
    let (reports, _folder, archive) = fold(&file, &["a=x", "b=y"], &[]);
    assert!(reports[0].outcome.is_ok() && reports[1].outcome.is_err());
    assert!(archive.entry("y.running_mean").is_some() && archive.entry("x.running_mean").is_none());
}

#[test]
fn a_checkpoint_is_folded_onto_itself_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let archive = File::new().weight("conv.weight", &[2, 1]).batch_norm("bn", 2).open(folder.path());
    let path = folder.path().join("net.safetensors");
    FoldPlan::new(&archive, &options(&["conv=bn"], &[])).unwrap().write(&path).unwrap();
    assert_eq!(Archive::open(&path).unwrap().entries().len(), 2);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_weight_of_many_parts_is_folded_as_one_of_few() {
    // 3 x 400001 f32: more than a mebibyte, with rows that end within a part.
    let values: Vec<f32> = (0..3 * 400_001).map(|index| (index % 1013) as f32 - 500.0).collect();
    let file = File::new().f32("fc.weight", &[3, 400_001], &values).batch_norm("bn", 3);
    let (_, archive) = folded(&file, "fc=bn", &[]);
    expect_scaled(&file, &archive, "fc.weight", |index| index / 400_001);
}

#[test]
fn a_folder_that_is_missing_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let archive = File::new().weight("conv.weight", &[2, 1]).batch_norm("bn", 2).open(folder.path());
    let plan = FoldPlan::new(&archive, &options(&["conv=bn"], &[])).unwrap();
    let missing = folder.path().join("missing/out.safetensors");
    let error = plan.write(&missing).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}
