//! Inputs and files that no runtime takes.

use batchnorm_model::runtime::{Array, ArrayValues, ElementType, Runtime, RuntimeError};

use crate::models::{F32, Model, images, load, network, refused, says};

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
