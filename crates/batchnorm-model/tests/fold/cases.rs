//! Layers left, and outputs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use batchnorm_model::fold::{Inputs, Options, Outcome, Verdict, fold, verify};
use batchnorm_model::onnx::document::Document;
use batchnorm_model::onnx::layers;
use batchnorm_model::runtime::{Array, ArrayValues, ElementType, Port, Runtime, RuntimeError, Tract};
use half::{bf16, f16};
use serde::Deserialize;

/// What tract 0.23 cannot run, or not as ONNX says: batch norm with spatial = 0, extra outputs or mixed types, control flow,
/// operator sets before 7, some half types. Each is a case by name, so that one more or less is noticed.
const NOT_IN_TRACT: &str = include_str!("not_in_tract.txt");

#[derive(Deserialize)]
struct Case {
    file: String,
    expect: String,
    batch_norms_before: usize,
    batch_norms_after: usize,
    why: String,
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fold/cases")
}

fn cases() -> Vec<Case> {
    serde_json::from_slice(&std::fs::read(folder().join("cases.json")).unwrap()).unwrap()
}

fn folded(path: &Path, options: &Options) -> (Document, Vec<Outcome>) {
    let mut document = Document::open(path).unwrap();
    let outcomes = fold(&mut document, options).unwrap();
    (document, outcomes)
}

fn left(document: &Document) -> usize {
    layers::find(document).unwrap().len()
}

#[test]
fn every_case_is_folded_or_refused_as_it_should_be() {
    let mut wrong = Vec::new();
    for case in cases() {
        let path = folder().join(&case.file);
        let before = left(&Document::open(&path).unwrap());
        let (document, outcomes) = folded(&path, &Options::default());
        // As it will be read.
        let after = left(&Document::from_bytes(document.to_bytes().unwrap()).unwrap());
        let told = outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Refused(_))).count();
        if (before, after) != (case.batch_norms_before, case.batch_norms_after) || told != after {
            let Case { file, expect, batch_norms_after, why, .. } = case;
            wrong.push(format!(
                "{file}: expected to {expect}, {batch_norms_after} left, found {after}, {told} told; {why}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_refused_entirely_is_the_same_file() {
    for case in cases() {
        let path = folder().join(&case.file);
        let (document, outcomes) = folded(&path, &Options::default());
        if outcomes.iter().all(|outcome| matches!(outcome.verdict, Verdict::Refused(_))) {
            assert!(document.to_bytes().unwrap() == std::fs::read(&path).unwrap(), "{} differs", case.file);
        }
    }
}

#[test]
fn every_refusal_has_a_code_and_a_reason() {
    let mut codes = BTreeSet::new();
    for case in cases() {
        for outcome in folded(&folder().join(&case.file), &Options::default()).1 {
            if let Verdict::Refused(refusal) = outcome.verdict {
                assert!(refusal.reason.len() > 20, "{}: {}", case.file, refusal.reason);
                assert!(refusal.code.chars().all(|letter| letter == '-' || letter.is_ascii_lowercase()));
                codes.insert(refusal.code);
            }
        }
    }
    assert!(codes.len() > 15, "{codes:?}");
}

#[test]
fn folded_models_compute_the_same_in_tract() {
    let known: BTreeSet<&str> = NOT_IN_TRACT.lines().filter(|line| !line.is_empty()).collect();
    let mut skipped = BTreeSet::new();
    for case in cases() {
        let path = folder().join(&case.file);
        let (document, outcomes) = folded(&path, &Options::default());
        if outcomes.iter().all(|outcome| matches!(outcome.verdict, Verdict::Refused(_))) {
            continue;
        }
        match compared(&path, &document) {
            Ok(problems) => assert!(problems.is_empty(), "{}: {problems:?}", case.file),
            Err(_) => drop(skipped.insert(case.file)),
        }
    }
    let skipped: BTreeSet<&str> = skipped.iter().map(String::as_str).collect();
    assert_eq!(skipped, known, "tract runs others than before");
}

/// What differs between a model and its folded form, or why they do not run.
fn compared(path: &Path, document: &Document) -> Result<Vec<String>, RuntimeError> {
    compared_with(path, document, &Options::default())
}

fn compared_with(path: &Path, document: &Document, options: &Options) -> Result<Vec<String>, RuntimeError> {
    let original = std::fs::read(path).unwrap();
    let bytes = document.to_bytes().unwrap();
    let disturbed: Vec<Vec<u8>> = (0..2)
        .map(|seed| folded(path, &Options { disturbed: Some(seed), ..options.clone() }).0.to_bytes().unwrap())
        .collect();
    let inputs: Vec<Inputs> = {
        let session = Tract.load(original.as_slice().into())?;
        (0..3)
            .map(|seed| session.inputs().iter().map(|port| (port.name.clone(), random(port, seed))).collect())
            .collect()
    };
    let others: Vec<_> = disturbed.iter().map(|bytes| bytes.as_slice().into()).collect();
    let differences = verify(&Tract, original.as_slice().into(), bytes.as_slice().into(), &others, &inputs)?;
    let bad = differences.iter().filter(|found| {
        // Of half types 3 digits, of f32 and f64 four: far from what a wrong fold does, and from what rounding may do.
        let coarse = matches!(inputs[0][0].1.values.element(), ElementType::F16 | ElementType::Bf16);
        !found.is_good() || found.difference > found.largest * if coarse { 2e-2 } else { 1e-4 }
    });
    Ok(bad.map(|found| format!("{found:?}")).collect())
}

/// Numbers from -2 to 2 for an input; where the model leaves a length open, 2 samples and 6 of all else.
fn random(port: &Port, seed: u64) -> Array {
    let open = |axis: usize| if axis == 0 { 2 } else { 6 };
    let dims = port.dims.clone().unwrap_or_default();
    let dims: Vec<usize> = dims.iter().enumerate().map(|(axis, dim)| dim.unwrap_or(open(axis))).collect();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let values = (0..dims.iter().product::<usize>()).map(|_| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 40) as f32 / f32::from(1_u16 << 12) / 1024.0 - 2.0
    });
    let values: ArrayValues = match port.element {
        Some(ElementType::F16) => values.map(f16::from_f32).collect::<Vec<_>>().into(),
        Some(ElementType::Bf16) => values.map(bf16::from_f32).collect::<Vec<_>>().into(),
        Some(ElementType::F64) => values.map(f64::from).collect::<Vec<_>>().into(),
        Some(ElementType::Bool) => values.map(|value| value > 0.0).collect::<Vec<_>>().into(),
        Some(ElementType::I64) => values.map(|value| value as i64).collect::<Vec<_>>().into(),
        _ => values.collect::<Vec<_>>().into(),
    };
    Array::new(dims, values).unwrap()
}

#[test]
fn what_a_caller_may_override_is_folded_when_asked_for() {
    for file in ["22a_overridable_gamma_ir_8.onnx", "22b_overridable_weight_ir_4.onnx"] {
        let options = Options { overridable: true, ..Options::default() };
        assert_eq!(left(&folded(&folder().join(file), &options).0), 0, "{file}");
    }
}

#[test]
fn a_shift_before_padding_is_folded_exactly_when_asked_for() {
    for file in ["17a_batch_norm_then_padded_conv.onnx", "17b_batch_norm_then_conv_same_upper.onnx"] {
        let options = Options { exact_borders: true, ..Options::default() };
        let path = folder().join(file);
        let (document, _) = folded(&path, &options);
        assert_eq!(left(&document), 0, "{file}");
        assert_eq!(compared_with(&path, &document, &options).unwrap(), Vec::<String>::new(), "{file}");
    }
    // Of a size that nobody knows, there is no such image.
    let options = Options { exact_borders: true, ..Options::default() };
    let path = folder().join("17c_batch_norm_then_padded_conv_of_any_size.onnx");
    assert_eq!(left(&folded(&path, &options).0), 1);
}

#[test]
fn a_wrong_fold_is_told_by_the_outputs() {
    // The same network with another eps (1e-3 is its own) is what a fold with a wrong eps would be.
    let path = folder().join("01a_conv_no_bias.onnx");
    let mut changed = Document::open(&path).unwrap();
    let index = changed.graph().nodes().iter().position(|node| node.is("BatchNormalization")).unwrap();
    let eps = batchnorm_model::onnx::document::AttributeValue::Float(1e-5);
    changed.graph_mut().node_mut(index).set_attribute("epsilon", eps);
    fold(&mut changed, &Options::default()).unwrap();
    assert!(!compared(&path, &changed).unwrap().is_empty());
}
