//! The exact method.

use batchnorm_model::onnx::Dim;
use batchnorm_model::onnx::Graph;
use batchnorm_model::onnx::document::Document;
use batchnorm_model::recalibrate::{Options, Recalibrator};

use crate::models::{
    Data, Expected, batches_of, by, chain, chain_by_loops, conv, input, norm, recalibrate, statistics,
};

#[test]
fn each_layer_gets_the_statistics_of_what_it_will_see() {
    let mut data = Data::new(23);
    let done = recalibrate(&chain(None), &mut data, batches_of(7));
    let [first, second] = chain_by_loops(&data);
    first.check(&statistics(&done.document, "bn1"));
    second.check(&statistics(&done.document, "bn2"));
    let report = &done.report;
    assert_eq!((report.samples, report.layers.len()), (23, 2));
    assert_eq!((report.layers[0].pass, report.layers[1].pass), (1, 2));
    assert_eq!(report.layers[1].values, 23 * 20);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    // From mean 0 and variance 1, with the eps that the layer adds.
    let shift = report.layers[0].shift;
    let variance = first.variance[shift.max_channel.unwrap()];
    assert!(variance > 0.0 && shift.incomparable == 0);
    let largest = first.mean.iter().fold(0.0, |largest: f64, mean| largest.max(mean.abs()));
    let off = (shift.max_sigmas.unwrap() - largest / (1.0 + 1e-3_f64).sqrt()).abs();
    // eps is an f32 in the model, off by less than one in ten million of itself.
    assert!(off <= first.error + 1e-7, "{off}");
    assert!(shift.mean_kl.unwrap() > 0.0);
}

#[test]
fn neither_batches_nor_order_change_the_statistics() {
    let mut data = Data::new(16);
    let [first, second] = chain_by_loops(&data);
    for size in [1, 3, 16, 64] {
        for mut data in [Data::new(16), data.reversed()] {
            let done = recalibrate(&chain(None), &mut data, batches_of(size));
            first.check(&statistics(&done.document, "bn1"));
            second.check(&statistics(&done.document, "bn2"));
        }
    }
    // Not so where a layer is left out: what the next one sees is another thing.
    let options = Options { layers: vec!["bn2".to_owned()], ..batches_of(16) };
    let done = recalibrate(&chain(None), &mut data, options);
    let (mean, _) = statistics(&done.document, "bn2");
    assert!(mean.iter().zip(&second.mean).any(|(found, mean)| (found - mean).abs() > 10.0 * second.error));
    assert_eq!(statistics(&done.document, "bn1"), (vec![0.0; 3], vec![1.0; 3]));
}

#[test]
fn layers_without_a_path_between_them_share_a_pass() {
    let mut graph = Graph::new("branches");
    let x = input(&mut graph, None);
    let z = conv(&mut graph, "conv_a", &x, [3, 2], 1);
    let a = norm(&mut graph, "bn_a", &z, 3, 2);
    let z = conv(&mut graph, "conv_b", &x, [3, 2], 9);
    let b = norm(&mut graph, "bn_b", &z, 3, 10);
    let sum = graph.add("sum", &a, &b);
    let y = norm(&mut graph, "bn_c", &sum, 3, 20);
    // A second layer on the same value.
    let d = norm(&mut graph, "bn_d", &sum, 3, 30);
    let y = graph.add("end", &y, &d);
    graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(3), Dim::Fixed(5), Dim::Fixed(4)]);
    let bytes = graph.to_bytes().unwrap();
    let document = Document::from_bytes(bytes.clone()).unwrap();
    let recalibrator = Recalibrator::new(&document, Options::default()).unwrap();
    let plan = recalibrator.plan(100, false).unwrap();
    assert_eq!((plan.layers, plan.passes, plan.samples, plan.batch_size), (4, 2, 100, 64));
    let done = recalibrate(&bytes, &mut Data::new(9), batches_of(4));
    let passes: Vec<usize> = done.report.layers.iter().map(|layer| layer.pass).collect();
    assert_eq!(passes, [1, 1, 2, 2]);
    assert_eq!(statistics(&done.document, "bn_c"), statistics(&done.document, "bn_d"));
    // After both branches the sum has the means that their shifts add up to.
    let [a, b] = [2, 10].map(|seed| crate::models::parameters(3, seed));
    let (mean, _) = statistics(&done.document, "bn_c");
    for channel in 0..3 {
        let expected = f64::from(a[1][channel]) + f64::from(b[1][channel]);
        // Outputs of the layers are below 8 in size, and ten roundings of them are a generous count.
        assert!((mean[channel] - expected).abs() < 10.0 * 8.0 * crate::models::ROUNDOFF * 8.0, "{mean:?}");
    }
}

#[test]
fn fixed_batches_are_filled_up_and_what_fills_them_does_not_count() {
    for (count, batch) in [(10, 4), (3, 4), (8, 4), (5, 1)] {
        let mut data = Data::new(count);
        let [first, second]: [Expected; 2] = chain_by_loops(&data);
        let done = recalibrate(&chain(Some(batch)), &mut data, Options::default());
        assert_eq!(done.report.batch_size, batch);
        assert_eq!(done.report.layers[0].values, 20 * count as u64);
        first.check(&statistics(&done.document, "bn1"));
        second.check(&statistics(&done.document, "bn2"));
    }
}

#[test]
fn statistics_that_are_right_already_stay_bit_for_bit() {
    let mut data = Data::new(11);
    let once = recalibrate(&chain(None), &mut data, batches_of(4));
    let bytes = once.document.to_bytes().unwrap();
    let twice = recalibrate(&bytes, &mut data, batches_of(4));
    assert_eq!(twice.document.to_bytes().unwrap(), bytes);
    for layer in &twice.report.layers {
        // What is kept is rounded to f32: half a unit in the last place of the mean, of the variance.
        let (mean, variance) = statistics(&once.document, &layer.name);
        let sigmas = mean.iter().zip(&variance).map(|(mean, variance)| mean.abs() / variance.sqrt());
        let limit = crate::models::ROUNDOFF * sigmas.fold(1.0, f64::max);
        assert!(layer.shift.max_sigmas.unwrap() <= limit, "{layer:?}");
        assert!((layer.shift.max_ratio.unwrap() - 1.0).abs() <= 2.0 * crate::models::ROUNDOFF, "{layer:?}");
    }
}

#[test]
fn accuracy_is_measured_before_and_after() {
    let mut data = Data::labelled(40);
    let done = recalibrate(&chain(None), &mut data, batches_of(16));
    let (before, after) = (done.report.before.unwrap(), done.report.after.unwrap());
    assert_eq!((before.samples, after.samples), (40, 40));
    assert_eq!(done.report.logits.as_deref(), Some("logits"));
    // What the new model gets right, the new model's first accuracy says.
    let bytes = done.document.to_bytes().unwrap();
    let again = recalibrate(&bytes, &mut data, batches_of(16));
    assert_eq!(again.report.before, Some(after));
    // The same with batches that the model insists on.
    let fixed = recalibrate(&chain(Some(7)), &mut data, Options::default());
    assert_eq!((fixed.report.before, fixed.report.after), (Some(before), Some(after)));
    let options = Options { accuracy: false, ..Options::default() };
    assert_eq!(recalibrate(&chain(None), &mut data, options).report.before, None);
}

#[test]
fn old_statistics_can_be_blended_in() {
    let mut data = Data::new(12);
    let options = Options { blend: Some(36.0), layers: vec!["bn1".to_owned()], ..batches_of(5) };
    let done = recalibrate(&chain(None), &mut data, options);
    let [first, _] = chain_by_loops(&data);
    let blend = |old: f64, new: &[f64]| new.iter().map(|new| 0.75 * old + 0.25 * new).collect::<Vec<f64>>();
    let (mean, variance) = (blend(0.0, &first.mean), blend(1.0, &first.variance));
    // A quarter of the error of the new ones; of the variance it is bounded by the new one's spread, at most 8 here.
    assert!(first.variance.iter().all(|&variance| variance < 64.0));
    let error = 0.25 * first.error * 8.0;
    Expected { mean, variance, error }.check(&statistics(&done.document, "bn1"));
    let zero = Options { blend: Some(0.0), ..batches_of(5) };
    let (none, zero) =
        (recalibrate(&chain(None), &mut data, batches_of(5)), recalibrate(&chain(None), &mut data, zero));
    assert_eq!(none.document.to_bytes().unwrap(), zero.document.to_bytes().unwrap());
}

#[cfg(feature = "onnxruntime")]
#[test]
fn onnx_runtime_comes_to_the_same() {
    use batchnorm_model::recalibrate::Method;
    use batchnorm_model::runtime::OnnxRuntime;

    let Some(folder) = std::env::var_os("BATCHNORM_TEST_ONNXRUNTIME") else {
        println!(
            "skipped: BATCHNORM_TEST_ONNXRUNTIME is not set to a folder that has a library of ONNX Runtime"
        );
        return;
    };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let runtime = OnnxRuntime::load(&folder).unwrap();
    let mut data = Data::labelled(10);
    let [first, second] = chain_by_loops(&data);
    for batch in [None, Some(4)] {
        let done = by(&runtime, &chain(batch), &mut data, batches_of(4)).unwrap();
        first.check(&statistics(&done.document, "bn1"));
        second.check(&statistics(&done.document, "bn2"));
    }
    for (opset, method) in [(9, Method::Precise), (17, Method::Algorithm2), (18, Method::Precise)] {
        let bytes = crate::by_batch::with_opset(&chain(None), opset);
        let done = by(&runtime, &bytes, &mut data, Options { method, ..batches_of(5) }).unwrap();
        crate::by_batch::check(&done, &data, 5, method);
    }
}
