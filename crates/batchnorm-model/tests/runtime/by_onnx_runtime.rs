//! What ONNX Runtime does with models.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use batchnorm_model::runtime::{
    Array, ArrayValues, ModelSource, OnnxRuntime, OnnxRuntimeOptions, Runtime, RuntimeError,
};
use half::bf16;

use crate::models::{BF16, F16, F32, F64, I64, Model, agrees_with_loops, images, load, network, refused, says};

/// A library of ONNX Runtime or a folder that has it; relative paths count from the workspace.
const LIBRARY: &str = "BATCHNORM_TEST_ONNXRUNTIME";

fn library() -> Option<PathBuf> {
    let library = std::env::var_os(LIBRARY);
    if library.is_none() {
        println!("skipped: {LIBRARY} is not set to a library of ONNX Runtime, nor to a folder that has it");
    }
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(library?))
}

pub fn runtime() -> Option<OnnxRuntime> {
    Some(OnnxRuntime::load(&library()?).unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn onnx_runtime_computes_what_loops_compute() {
    let Some(runtime) = runtime() else { return };
    println!("ONNX Runtime {}", runtime.version());
    agrees_with_loops(&runtime);
    let threads = NonZeroUsize::new(2);
    agrees_with_loops(&runtime.with_options(OnnxRuntimeOptions { threads, optimize: true }));
}

#[test]
fn runtimes_agree() {
    let Some(runtime) = runtime() else { return };
    let (bytes, _) = network();
    let x = images(3);
    let theirs = load(&runtime, &bytes).run(&[("x", &x)]).unwrap();
    assert_eq!(theirs.len(), 2);
    #[cfg(feature = "tract")]
    for (ours, theirs) in
        load(&batchnorm_model::runtime::Tract, &bytes).run(&[("x", &x)]).unwrap().iter().zip(&theirs)
    {
        assert_eq!((&ours.0, &ours.1.dims), (&theirs.0, &theirs.1.dims));
        crate::models::close(&ours.1.to_f64(), &theirs.1.to_f64());
    }
}

#[test]
fn a_model_comes_from_a_file_too() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, Model::of("Neg", &["x"], F32).to_bytes()).unwrap();
    let mut session = runtime.load(ModelSource::Path(&path)).unwrap_or_else(|error| panic!("{error}"));
    let x = Array::new([2], vec![1.0_f32, -2.0]).unwrap();
    assert_eq!(session.run(&[("x", &x)]).unwrap()[0].1.to_f64(), [-1.0, 2.0]);
    let empty = Array::new([0], Vec::<f32>::new()).unwrap();
    assert_eq!(session.run(&[("x", &empty)]).unwrap()[0].1, empty);
}

#[test]
fn other_elements_come_out_as_they_went_in() {
    let Some(runtime) = runtime() else { return };
    let arrays: [(i64, ArrayValues); 4] = [
        (F64, vec![1.5_f64, -2.25, 1e300].into()),
        (F16, vec![half::f16::from_f32(1.5); 3].into()),
        (I64, vec![1_i64, -2, i64::MAX].into()),
        (BF16, vec![bf16::from_f32(1.5); 3].into()),
    ];
    for (element, values) in arrays {
        let x = Array::new([3], values).unwrap();
        let mut session = load(&runtime, &Model::of("Identity", &["x"], element).to_bytes());
        assert_eq!(session.run(&[("x", &x)]).unwrap(), [("y".to_owned(), x)]);
    }
}

#[test]
fn an_operator_that_it_lacks_is_named() {
    let Some(runtime) = runtime() else { return };
    let mut own = Model::of("Relu", &["x"], F32);
    own.nodes[0].domain = "com.example";
    let cases = [
        (Model::of("Sparkle", &["x"], F32), "Sparkle", Some("made")),
        // It does not say which node.
        (own, "com.example.Relu", None),
        // It has the operators, but not for these elements and not for vectors.
        (Model::of("Neg", &["x"], BF16), "Neg", Some("made")),
        (Model::of("Det", &["x"], F64), "Det", Some("made")),
    ];
    for (model, expected, expected_node) in cases {
        let error = refused(&runtime, &model.to_bytes());
        let RuntimeError::Operator { op, node, .. } = &error else { panic!("{error:?}") };
        assert_eq!((op.as_str(), node.as_deref()), (expected, expected_node), "{error}");
        says(&error, &["ONNX Runtime", expected, "--no-verify"]);
    }
}

#[test]
fn an_operator_whose_inputs_do_not_fit_is_named() {
    let Some(runtime) = runtime() else { return };
    let mut model = Model::of("Add", &["x", "z"], F32);
    model.inputs[1].2 = 3;
    let mut session = load(&runtime, &model.to_bytes());
    let [x, z] = [2, 3].map(|length| Array::new([length], vec![1.0_f32; length]).unwrap());
    let error = session.run(&[("x", &x), ("z", &z)]).unwrap_err();
    let RuntimeError::Operator { op, node, .. } = &error else { panic!("{error:?}") };
    assert_eq!((op.as_str(), node.as_deref()), ("Add", Some("made")));
}

#[test]
fn stored_tensors_listed_as_inputs_are_not_asked_for() {
    let Some(runtime) = runtime() else { return };
    for ir in [3, 8] {
        let mut model = Model::of("Add", &["x", "w"], F32);
        model.tensors.push(("w", F32, vec![10.0]));
        model.ir = ir;
        model.inputs[1].2 = 1;
        let mut session = load(&runtime, &model.to_bytes());
        assert_eq!(session.inputs().len(), 1);
        let x = Array::new([2], vec![1.0_f32, 2.0]).unwrap();
        assert_eq!(session.run(&[("x", &x)]).unwrap()[0].1.to_f64(), [11.0, 12.0]);
    }
}

#[test]
fn a_library_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("libonnxruntime.so");
    for path in [folder.path(), &missing] {
        let error = OnnxRuntime::load(path).unwrap_err();
        assert_eq!(error, RuntimeError::NoLibrary { path: path.to_owned() });
        says(&error, &["libonnxruntime.so", "a folder with it"]);
    }
}

#[test]
fn a_process_has_one_library() {
    let Some(first) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("libonnxruntime.so");
    std::fs::write(&other, "no library").unwrap();
    let error = OnnxRuntime::load(folder.path()).unwrap_err();
    assert!(
        matches!(&error, RuntimeError::OtherLibrary { loaded, .. } if loaded == first.library()),
        "{error}"
    );
    // The same again is fine, by its file too.
    assert!(OnnxRuntime::load(first.library()).is_ok());
}
