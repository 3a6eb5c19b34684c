//! What all runtimes take and refuse alike.

use std::path::Path;

use batchnorm_model::runtime::{Array, ArrayValues, ElementType, ModelSource, Runtime, RuntimeError};

use crate::models::{F32, Model, images, load, network, raw, refused, says};

fn runtimes() -> Vec<Box<dyn Runtime>> {
    let mut runtimes: Vec<Box<dyn Runtime>> = Vec::new();
    #[cfg(feature = "tract")]
    runtimes.push(Box::new(batchnorm_model::runtime::Tract));
    #[cfg(feature = "onnxruntime")]
    runtimes.extend(crate::by_onnx_runtime::runtime().map(|runtime| Box::new(runtime) as Box<dyn Runtime>));
    runtimes
}

#[test]
fn inputs_that_do_not_fit_are_refused_by_name() {
    for runtime in runtimes() {
        let mut session = load(&*runtime, &network().0);
        let x = images(2);
        let error = session.run(&[]).unwrap_err();
        assert!(matches!(&error, RuntimeError::MissingInput { input, .. } if input == "x"), "{error}");
        says(&error, &["`x`"]);
        let error = session.run(&[("x", &x), ("X", &x)]).unwrap_err();
        assert!(matches!(&error, RuntimeError::UnknownInput { found, .. } if found == "X"), "{error}");
        says(&error, &["`X`", "its inputs are `x`"]);
        let error = session.run(&[("x", &x), ("x", &x)]).unwrap_err();
        assert_eq!(error, RuntimeError::InputTwice { input: "x".to_owned() });
        for dims in [vec![2, 4, 5, 6], vec![2, 120], vec![2, 4, 6, 5, 1]] {
            let wrong = Array::new(dims.clone(), x.values.clone()).unwrap();
            let error = session.run(&[("x", &wrong)]).unwrap_err();
            assert!(matches!(&error, RuntimeError::InputShape { found, .. } if *found == dims), "{error}");
            says(&error, &["[any, 4, 6, 5]"]);
        }
        let wide = Array::new(x.dims.clone(), x.to_f64()).unwrap();
        let error = session.run(&[("x", &wide)]).unwrap_err();
        let (expected, found) = (ElementType::F32, ElementType::F64);
        assert_eq!(error, RuntimeError::InputElement { input: "x".to_owned(), expected, found });
        // Nothing of it stays behind.
        assert!(session.run(&[("x", &x)]).is_ok());
    }
}

#[test]
fn dimensions_that_are_not_those_of_the_values_are_refused() {
    let error = Array::new([2, 3], vec![1.0_f32; 5]).unwrap_err();
    says(&error, &["[2, 3]", "5 values"]);
    // A product that wraps around to the number of values.
    let huge = [1 << (usize::BITS - 1), 2];
    assert!(Array::new(huge, Vec::<f32>::new()).is_err());
    for runtime in runtimes() {
        let mut session = load(&*runtime, &network().0);
        let x = Array { dims: vec![1 << 62, 4, 6, 5], values: ArrayValues::F32(Vec::new()) };
        assert!(matches!(session.run(&[("x", &x)]), Err(RuntimeError::Length { .. })));
    }
}

#[test]
fn tensors_in_a_file_of_their_own_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::of("Add", &["x", "w"], F32);
    model.inputs.truncate(1);
    model.tensors.push(("w", F32, vec![10.0, 20.0]));
    model.stored_in = Some("weights.bin");
    let bytes = model.to_bytes();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, &bytes).unwrap();
    std::fs::write(folder.path().join("weights.bin"), raw(&[10.0, 20.0])).unwrap();
    let x = Array::new([2], vec![1.0_f32, 2.0]).unwrap();
    let in_memory = ModelSource::Bytes { bytes: &bytes, folder: Some(folder.path()) };
    for runtime in runtimes() {
        for source in [ModelSource::Path(&path), in_memory] {
            let mut session = runtime.load(source).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(session.run(&[("x", &x)]).unwrap()[0].1.to_f64(), [11.0, 22.0]);
        }
        // Neither from the folder that the program runs in, nor from above.
        refused(&*runtime, &bytes);
    }
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    model.stored_in = Some("../weights.bin");
    let bytes = model.to_bytes();
    for runtime in runtimes() {
        let above = ModelSource::Bytes { bytes: &bytes, folder: Some(&inner) };
        assert!(runtime.load(above).is_err(), "{} leaves the folder", runtime.name());
    }
}

#[test]
fn bytes_that_are_no_model_are_refused() {
    let whole = Model::of("Neg", &["x"], F32).to_bytes();
    for runtime in runtimes() {
        for bytes in [&b"not a model at all"[..], b"", &whole[..whole.len() / 2], b"\x08\x08"] {
            let error = refused(&*runtime, bytes);
            assert!(matches!(error, RuntimeError::NotAModel { .. }), "{error:?}");
            says(&error, &[runtime.name(), "ONNX model"]);
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let path = Path::new("no-such-file.onnx");
    for runtime in runtimes() {
        let error = runtime.load(ModelSource::Path(path)).err().unwrap();
        assert!(matches!(error, RuntimeError::File { .. }), "{error}");
        says(&error, &["`no-such-file.onnx`"]);
    }
}

#[test]
fn any_cut_of_a_model_is_an_error_or_runs() {
    let (whole, _) = network();
    for runtime in runtimes() {
        for end in (0..whole.len()).step_by(97) {
            if let Ok(mut session) = runtime.load(whole[..end].into()) {
                let _ = session.run(&[("x", &images(1))]);
            }
        }
    }
}

#[test]
fn values_become_f64() {
    assert_eq!(ArrayValues::from(vec![true, false]).to_f64(), [1.0, 0.0]);
    assert_eq!(ArrayValues::from(vec![-3_i8, 4]).to_f64(), [-3.0, 4.0]);
    assert_eq!(ArrayValues::from(vec![half::bf16::from_f32(0.5)]).to_f64(), [0.5]);
    assert_eq!(ArrayValues::from(vec![u64::MAX]).to_f64(), [18_446_744_073_709_551_615.0]);
}
