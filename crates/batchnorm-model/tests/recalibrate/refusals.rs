//! What is not recalibrated, and what is said then.

use std::error::Error;
use std::sync::Arc;

use batchnorm_model::onnx::document::{AttributeValue, Document, ElementType, Node, Tensor};
use batchnorm_model::onnx::{Dim, Graph};
use batchnorm_model::recalibrate::{Batch, Options, RecalibrateError, Samples};
use batchnorm_model::runtime::{Array, Tract};

use crate::models::{Data, batches_of, by, chain, conv, input, norm};

#[track_caller]
fn refused(bytes: &[u8], data: &mut dyn Samples, options: Options) -> RecalibrateError {
    match by(&Tract, bytes, data, options) {
        Ok(done) => panic!("{:?}", done.report),
        Err(error) => error,
    }
}

fn changed(change: impl FnOnce(&mut Document)) -> Vec<u8> {
    let mut document = Document::from_bytes(chain(None)).unwrap();
    change(&mut document);
    document.to_bytes().unwrap()
}

#[test]
fn values_that_are_not_finite_name_the_layer_and_the_channel() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut data = Data::new(10);
        data.x[7 * 40 + 3] = bad;
        let error = refused(&chain(None), &mut data, batches_of(4));
        let RecalibrateError::NotFinite { layer, channel: 0, first: 4, count: 4 } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(layer, "bn1");
        assert!(error.to_string().contains("samples 4 to 7"), "{error}");
    }
}

#[test]
fn no_samples_and_one_value_are_too_few() {
    let error = refused(&chain(None), &mut Data::new(0), Options::default());
    assert!(matches!(error, RecalibrateError::NoSamples));

    let mut graph = Graph::new("row");
    let x = input(&mut graph, None);
    let pooled = graph.global_average_pool("pool", &x);
    let flat = graph.flatten("flat", &pooled);
    let y = norm(&mut graph, "bn", &flat, 2, 2);
    graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(2)]);
    let bytes = graph.to_bytes().unwrap();
    let error = refused(&bytes, &mut Data::new(1), Options::default());
    let RecalibrateError::OneValue { layer, found: 1, in_batch: false } = &error else { panic!("{error:?}") };
    assert_eq!(layer, "bn");
    by(&Tract, &bytes, &mut Data::new(2), batches_of(1)).unwrap();
    let method = batchnorm_model::recalibrate::Method::Precise;
    let error = refused(&bytes, &mut Data::new(2), Options { method, ..batches_of(1) });
    assert!(matches!(error, RecalibrateError::OneValue { found: 1, in_batch: true, .. }), "{error:?}");
}

#[test]
fn statistics_that_are_computed_cannot_be_replaced() {
    let bytes = changed(|document| {
        let graph = document.graph_mut();
        let node = Node::new("Neg", "neg", &["bn2.running_mean"], &["negative"]);
        graph.insert_after(None, node);
        let index = graph.nodes().iter().position(|node| node.title() == "bn2").unwrap();
        graph.node_mut(index).set_input(3, "negative");
    });
    let error = refused(&bytes, &mut Data::new(4), Options::default());
    let RecalibrateError::RuntimeStatistics { layer, statistic: "mean", value } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((layer.as_str(), value.as_str()), ("bn2", "negative"));
    let options = Options { layers: vec!["bn1".to_owned()], ..Options::default() };
    by(&Tract, &bytes, &mut Data::new(4), options).unwrap();
}

#[test]
fn names_that_nothing_has_are_an_error_that_lists_what_there_is() {
    let options = Options { layers: vec!["bn1".to_owned(), "norm*".to_owned()], ..Options::default() };
    let error = refused(&chain(None), &mut Data::new(4), options);
    assert!(error.to_string().contains("`norm*`") && error.to_string().contains("`bn2`"), "{error}");
}

#[test]
fn a_model_without_layers_has_none() {
    let mut graph = Graph::new("plain");
    let x = input(&mut graph, None);
    let y = conv(&mut graph, "conv", &x, [3, 2], 1);
    graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(3), Dim::Fixed(5), Dim::Fixed(4)]);
    let error = refused(&graph.to_bytes().unwrap(), &mut Data::new(4), Options::default());
    assert!(error.to_string().contains("exporters fold them"), "{error}");
}

#[test]
fn statistics_that_do_not_fit_their_type_name_the_channel() {
    // What f16 holds ends at 65504.
    let bytes = changed(|document| {
        let graph = document.graph_mut();
        let old = graph.initializer("conv1.weight").unwrap().dims().to_vec();
        graph.replace_initializer(Tensor::made(
            "conv1.weight",
            &old,
            ElementType::Float,
            Arc::new(vec![300.0; 54]),
        ));
        let tensor = Tensor::made("bn1.running_var", &[3], ElementType::Float16, Arc::new(vec![1.0; 3]));
        graph.replace_initializer(tensor);
    });
    let options = Options { layers: vec!["bn1".to_owned()], ..Options::default() };
    let error = refused(&bytes, &mut Data::new(4), options);
    let RecalibrateError::Overflow { layer, channel: 0, statistic: "variance", .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(layer, "bn1");
    assert!(error.to_string().contains("float16"), "{error}");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for options in [
        batches_of(0),
        Options { blend: Some(-1.0), ..Options::default() },
        Options { blend: Some(f64::NAN), ..Options::default() },
    ] {
        let error = refused(&chain(None), &mut Data::new(4), options);
        assert!(error.to_string().starts_with("expected"), "{error}");
    }
}

#[test]
fn old_statistics_that_are_no_numbers_cannot_be_blended_but_replaced() {
    let bytes = changed(|document| {
        let tensor =
            Tensor::made("bn1.running_var", &[3], ElementType::Float, Arc::new(vec![1.0, f64::NAN, 1.0]));
        document.graph_mut().replace_initializer(tensor);
    });
    let options = Options { blend: Some(3.0), ..Options::default() };
    let error = refused(&bytes, &mut Data::new(4), options);
    assert!(matches!(error, RecalibrateError::OldStatistics { channel: 1, .. }), "{error:?}");
    let report = by(&Tract, &bytes, &mut Data::new(4), Options::default()).unwrap().report;
    assert_eq!(report.layers[0].shift.incomparable, 1);
}

#[test]
fn labels_beyond_the_classes_are_an_error() {
    let mut data = Data::labelled(6);
    data.labels.as_mut().unwrap()[4] = 3;
    let error = refused(&chain(None), &mut data, batches_of(4));
    assert!(matches!(error, RecalibrateError::Label { sample: 4, label: 3, classes: 3 }), "{error:?}");
}

#[test]
fn extra_outputs_that_others_use_cannot_be_had_in_inference() {
    let bytes = changed(|document| {
        let graph = document.graph_mut();
        let index = graph.nodes().iter().position(|node| node.title() == "bn1").unwrap();
        let y = graph.nodes()[index].outputs()[0].clone();
        graph.node_mut(index).set_attribute("training_mode", AttributeValue::Int(1));
        graph.node_mut(index).set_outputs(vec![y, "m".to_owned(), "v".to_owned()]);
        let after = graph.nodes().iter().position(|node| node.title() == "conv2").unwrap();
        let z = graph.nodes()[after].outputs()[0].clone();
        graph.node_mut(after).set_outputs(vec!["z.before".to_owned()]);
        graph.add_initializer(Tensor::ints("axes", &[1], &[0]));
        graph.insert_after(Some(after), Node::new("ReduceSum", "sum", &["m", "axes"], &["m.sum"]));
        graph.insert_after(Some(after + 1), Node::new("Add", "add", &["z.before", "m.sum"], &[&z]));
    });
    let error = refused(&bytes, &mut Data::new(4), Options::default());
    let RecalibrateError::ExtraOutputs { layer, output } = &error else { panic!("{error:?}") };
    assert_eq!((layer.as_str(), output.as_str()), ("bn1", "m"));
}

/// Samples that end before they should.
struct Short(Data);

impl Samples for Short {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn batch(&mut self, first: u64, count: usize) -> Result<Batch, Box<dyn Error + Send + Sync>> {
        if first > 0 {
            return Err("the disk is gone".into());
        }
        let x = Array::new([count - 1, 2, 5, 4], self.0.x[..(count - 1) * 40].to_vec())?;
        Ok(Batch { inputs: vec![("x".to_owned(), x)], labels: None })
    }
}

#[test]
fn samples_that_are_missing_are_an_error() {
    let error = refused(&chain(None), &mut Short(Data::new(6)), batches_of(4));
    assert!(matches!(error, RecalibrateError::SampleCount { expected: 4, found: 3, .. }), "{error:?}");
}
