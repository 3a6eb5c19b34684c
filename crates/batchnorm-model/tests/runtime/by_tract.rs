//! What tract does with models.

use batchnorm_model::runtime::{Array, ArrayValues, ModelSource, Runtime, RuntimeError, Tract};
use half::{bf16, f16};

use crate::models::{BF16, F16, F32, F64, I64, Model, Node, TEXT, agrees_with_loops, load, refused, says};

#[test]
fn tract_computes_what_loops_compute() {
    agrees_with_loops(&Tract);
}

#[test]
fn a_model_comes_from_a_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, Model::of("Neg", &["x"], F32).to_bytes()).unwrap();
    let mut session = Tract.load(ModelSource::Path(&path)).unwrap_or_else(|error| panic!("{error}"));
    let x = Array::new([2], vec![1.0_f32, -2.0]).unwrap();
    assert_eq!(session.run(&[("x", &x)]).unwrap()[0].1.to_f64(), [-1.0, 2.0]);
}

#[test]
fn other_elements_come_out_as_they_went_in() {
    let arrays: [(i64, ArrayValues); 3] = [
        (F64, vec![1.5_f64, -2.25, 1e300].into()),
        (F16, vec![f16::from_f32(1.5), f16::from_f32(-2.0), f16::ONE].into()),
        (I64, vec![1_i64, -2, i64::MAX].into()),
    ];
    for (element, values) in arrays {
        let x = Array::new([3], values).unwrap();
        let mut session = load(&Tract, &Model::of("Sub", &["x", "x2"], element).to_bytes());
        let zero = match &x.values {
            ArrayValues::F64(_) => Array::new([3], vec![0.0_f64; 3]),
            ArrayValues::F16(_) => Array::new([3], vec![f16::ZERO; 3]),
            _ => Array::new([3], vec![0_i64; 3]),
        };
        // In another order than the model's.
        let outputs = session.run(&[("x2", &zero.unwrap()), ("x", &x)]).unwrap();
        assert_eq!(outputs, [("y".to_owned(), x)]);
    }
}

#[test]
fn bf16_is_refused_with_its_name() {
    says(
        &refused(&Tract, &Model::of("Neg", &["x"], BF16).to_bytes()),
        &["Bfloat16", "--runtime", "--no-verify"],
    );
    let mut session = load(&Tract, &Model::of("Neg", &["x"], F32).to_bytes());
    let x = Array::new([1], vec![bf16::ONE]).unwrap();
    says(&session.run(&[("x", &x)]).unwrap_err(), &["takes f32", "found bf16"]);
}

#[test]
fn an_operator_that_tract_lacks_is_named() {
    // One that nobody has, one of ONNX's that tract lacks, and one of someone's own with the name of one it has.
    let mut own = Model::of("Relu", &["x"], F32);
    own.nodes[0].domain = "com.example";
    let cases = [
        (Model::of("Sparkle", &["x"], F32), "Sparkle"),
        (Model::of("Det", &["x"], F32), "Det"),
        (own, "com.example.Relu"),
    ];
    for (model, expected) in cases {
        let error = refused(&Tract, &model.to_bytes());
        let RuntimeError::Operator { op, node, .. } = &error else { panic!("{error:?}") };
        assert_eq!((op.as_str(), node.as_deref()), (expected, Some("made")));
        says(&error, &["tract", expected, "`made`", "--runtime PATH", "--no-verify"]);
    }
}

#[test]
fn an_operator_whose_inputs_do_not_fit_is_named() {
    let mut model = Model::of("Add", &["x", "z"], F32);
    model.inputs[1].2 = 3;
    let mut session = load(&Tract, &model.to_bytes());
    let [x, z] = [2, 3].map(|length| Array::new([length], vec![1.0_f32; length]).unwrap());
    let error = session.run(&[("x", &x), ("z", &z)]).unwrap_err();
    let RuntimeError::Operator { op, node, .. } = &error else { panic!("{error:?}") };
    assert_eq!((op.as_str(), node.as_deref()), ("Add", Some("made")));
    // Other shapes still run.
    assert_eq!(session.run(&[("x", &z), ("z", &z)]).unwrap()[0].1.to_f64(), [2.0; 3]);
}

#[test]
fn an_operator_without_a_needed_attribute_is_named() {
    // The second one has no name to go with it.
    for name in ["made", ""] {
        let mut model = Model::of("Cast", &["x"], F32);
        model.nodes[0].name = name;
        let error = refused(&Tract, &model.to_bytes());
        let RuntimeError::Operator { op, node, .. } = &error else { panic!("{error:?}") };
        assert_eq!((op.as_str(), node.as_deref().unwrap_or_default()), ("Cast", name));
        says(&error, &["Cast", "'to'"]);
    }
}

#[test]
fn an_operator_without_its_inputs_is_named() {
    let x = Array::new([2], vec![1.0_f32, 2.0]).unwrap();
    let model = Model::of("BatchNormalization", &["x"], F32);
    let error = load(&Tract, &model.to_bytes()).run(&[("x", &x)]).unwrap_err();
    let RuntimeError::Operator { op, node, .. } = &error else { panic!("{error:?}") };
    assert_eq!((op.as_str(), node.as_deref()), ("BatchNormalization", Some("made")));
}

#[test]
fn stored_tensors_listed_as_inputs_are_not_asked_for() {
    let mut model = Model::of("Add", &["x", "w"], F32);
    model.tensors.push(("w", F32, vec![10.0]));
    model.ir = 3;
    model.inputs[1].2 = 1;
    let mut session = load(&Tract, &model.to_bytes());
    assert_eq!(session.inputs().len(), 1);
    let x = Array::new([2], vec![1.0_f32, 2.0]).unwrap();
    assert_eq!(session.run(&[("x", &x)]).unwrap()[0].1.to_f64(), [11.0, 12.0]);
}

#[test]
fn what_nobody_computes_is_an_error() {
    let mut loose = Model::of("Neg", &["x"], F32);
    loose.outputs.push(("z", F32, -1));
    says(&refused(&Tract, &loose.to_bytes()), &["nothing computes its output `z`"]);
    let mut open = Model::of("Neg", &["x"], F32);
    open.nodes.push(Node { op: "Neg", domain: "", name: "n", inputs: &["gone"], outputs: &["z"] });
    says(&refused(&Tract, &open.to_bytes()), &["`gone`"]);
}

#[test]
fn a_panic_comes_out_as_an_error() {
    // tract 0.23 has no code for text in a tensor's raw bytes.
    let mut model = Model::of("Add", &["x", "w"], F32);
    model.inputs.truncate(1);
    model.tensors.push(("w", TEXT, vec![10.0]));
    let error = refused(&Tract, &model.to_bytes());
    assert!(matches!(&error, RuntimeError::Failed { .. }), "{error:?}");
    says(&error, &["it panicked: not implemented", "--runtime PATH"]);
}

#[test]
fn the_version_is_the_one_in_cargo_toml() {
    let manifest = include_str!("../../Cargo.toml");
    assert!(manifest.contains(&format!("version = \"={}\"", Tract.version())), "{}", Tract.version());
}
