//! The methods that take one pass, with all layers normalizing by the batch.

use batchnorm::{Moments, Population};
use batchnorm_model::recalibrate::{Method, Options, RecalibrateError, Recalibration};
use batchnorm_model::runtime::Tract;

use crate::loops::Images;
use crate::models::{
    Data, EPS, Expected, INPUT, ROUNDOFF, WINDOW, batches_of, by, chain, channel_moments, conv_error, filters,
    parameters, recalibrate, statistics, wide, with_versions,
};

/// The model with operators of another version; it has none whose meaning differs, but for training mode's attribute.
pub fn with_opset(bytes: &[u8], opset: i64) -> Vec<u8> {
    let mut document = batchnorm_model::onnx::document::Document::from_bytes(bytes.to_vec()).unwrap();
    if opset < 14 {
        let nodes = document.graph_mut().nodes_mut();
        nodes.iter_mut().for_each(|node| node.remove_attribute("training_mode"));
    }
    with_versions(&document.to_bytes().unwrap(), Some(opset), None)
}

/// The moments of each batch at both layers, all of them normalizing by the batch; and how far f32 may be off.
fn batches_by_loops(data: &Data, size: usize) -> [(Vec<Vec<Moments>>, f64); 2] {
    let [channels, height, width] = INPUT;
    let image = |weight: &[f32], out, inputs| Images::new([out, inputs, 3, 3], wide(weight));
    let (w1, w2) = (filters(3, 2, 1), filters(4, 3, 4));
    let mut layers = [(Vec::new(), 0.0_f64), (Vec::new(), 0.0_f64)];
    let largest = |values: &[f64]| values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    // A mean of so many values in f32 is off by as many roundoffs of the largest one; so is the root of a mean of squares.
    let summed = (size * height * width + 2) as f64 * ROUNDOFF;
    for part in data.x.chunks_exact(size * INPUT.iter().product::<usize>()) {
        let x = Images::new([size, channels, height, width], wide(part));
        let z1 = x.conv(&image(&w1, 3, 2), None, &WINDOW, 1);
        let first = channel_moments(&z1);
        let e1 = conv_error(&x, 0.0, &w1, 3) + summed * largest(&z1.values);
        let [gamma, beta, ..] = parameters(3, 2);
        let mean = first.iter().map(|moments| moments.mean).collect();
        let variance = first.iter().map(Moments::biased_variance).collect();
        let layer = [wide(&gamma), wide(&beta), mean, variance];
        let a = z1.normalize(&layer, EPS);
        let slopes = (0..3).map(|c| layer[0][c].abs() / (layer[3][c] + EPS).sqrt());
        let slope = slopes.fold(0.0, f64::max);
        let spreads = (0..3).map(|c| largest(&a.values) * e1 / (layer[3][c] + EPS).sqrt());
        let spread = spreads.fold(0.0, f64::max);
        let parts = slope * largest(&z1.values) + largest(&layer[1]);
        let before = 2.0 * slope * e1 + 1.5 * spread + 8.0 * ROUNDOFF * parts;
        let a = a.map(|value| value.max(0.0));
        let z2 = a.conv(&image(&w2, 4, 3), None, &WINDOW, 1);
        let e2 = conv_error(&a, before, &w2, 4) + summed * largest(&z2.values);
        layers[0].0.push(first);
        layers[1].0.push(channel_moments(&z2));
        layers[0].1 = layers[0].1.max(e1);
        layers[1].1 = layers[1].1.max(e2);
    }
    layers
}

#[track_caller]
pub fn check(done: &Recalibration, data: &Data, size: usize, method: Method) {
    for (name, (batches, error)) in ["bn1", "bn2"].into_iter().zip(batches_by_loops(data, size)) {
        let (mean, variance) = if method == Method::Algorithm2 {
            let mut population = Population::new();
            batches.iter().for_each(|batch| population.push(batch).unwrap());
            let statistics = population.finish::<f64>().unwrap();
            (statistics.mean, statistics.variance)
        } else {
            let channels = batches[0].len();
            let all = (0..channels).map(|c| batches.iter().map(|batch| batch[c]).collect::<Moments>());
            all.map(|all| (all.mean, all.biased_variance())).unzip()
        };
        // Bessel's m / (m - 1), with m at least 20 values a batch.
        let error = error * 20.0 / 19.0;
        Expected { mean, variance, error }.check(&statistics(&done.document, name));
    }
}

#[test]
fn batches_of_one_size_weigh_alike_in_every_operator_set() {
    let mut data = Data::new(13);
    for method in [Method::Precise, Method::Algorithm2] {
        for opset in [7, 9, 14, 17, 18] {
            let bytes = with_opset(&chain(None), opset);
            let done = recalibrate(&bytes, &mut data, Options { method, ..batches_of(4) });
            check(&done, &data, 4, method);
            assert_eq!((done.report.samples, done.report.layers[1].pass), (12, 1));
            assert_eq!(done.report.layers[0].values, 240);
            // The thirteenth is no batch, and that is said.
            let [finding] = &done.report.findings[..] else { panic!("{:?}", done.report.findings) };
            assert_eq!(finding.code, "last-batch-left-out");
            assert!(finding.message.contains("the last 1 of 13"), "{}", finding.message);
        }
    }
}

#[test]
fn the_two_methods_differ_by_the_spread_of_the_batches_means() {
    let mut data = Data::new(8);
    let of = |method, data: &mut Data| {
        statistics(&recalibrate(&chain(None), data, Options { method, ..batches_of(2) }).document, "bn1")
    };
    let (precise, algorithm2) = (of(Method::Precise, &mut data), of(Method::Algorithm2, &mut data));
    assert_ne!(precise.1, algorithm2.1);
}

#[test]
fn a_model_with_fixed_batches_gives_the_size() {
    let mut data = Data::new(9);
    let options = Options { method: Method::Precise, ..Options::default() };
    check(&recalibrate(&chain(Some(4)), &mut data, options.clone()), &data, 4, Method::Precise);
    let error = by(&Tract, &chain(Some(10)), &mut data, options).unwrap_err();
    assert!(matches!(error, RecalibrateError::NoWholeBatch { batch: 10, samples: 9 }), "{error}");
    // All samples are a batch where there are fewer than one.
    let options = Options { method: Method::Precise, ..Options::default() };
    check(&recalibrate(&chain(None), &mut data, options), &data, 9, Method::Precise);
}

#[test]
fn operators_that_do_not_broadcast_are_too_old() {
    let bytes = with_opset(&chain(None), 6);
    let options = Options { method: Method::Precise, ..Options::default() };
    let error = by(&Tract, &bytes, &mut Data::new(4), options).unwrap_err();
    assert!(matches!(error, RecalibrateError::OldOperators { found: 6 }), "{error}");
}
