//! Where y overwrites x.

use batchnorm::{BatchNorm, BatchNormConfig, CpuOn, Element, Epilogue, Kernels, Moments, Saved, View, ViewMut};

use crate::data::unset;
use crate::tensors::{ALL, Tensors, Then, assert_same_values, best, pool, sets};

/// One thread, one group and several; blocks; positions cut over threads; runs below, at and above what is streamed directly.
const SHAPES: [(usize, usize, usize); 12] = [
    (3, 5, 17),
    (9, 100, 49),
    (1, 9000, 4),
    (2, 3, 16_385),
    (335, 3, 49),
    (40, 2, 900),
    // Channels last: rows that are joined, and wide ones.
    (4500, 3, 1),
    (1100, 528, 1),
    // Streamed.
    (70_000, 33, 1),
    (5, 7, 65_537),
    (90, 1024, 49),
    (300, 60, 257),
];

fn check<E: Element>(tensors: &Tensors<E>, then: Then, kernels: &CpuOn, threads: usize)
where
    CpuOn: Kernels<E>,
{
    let (shape, eps) = (tensors.shape, tensors.eps);
    let addend = View::new("addend", shape, &tensors.addend).unwrap();
    let epilogue = match then {
        Then::Nothing => Epilogue::None,
        Then::Relu => Epilogue::Relu,
        Then::LeakyRelu => Epilogue::LeakyRelu { slope: 0.1 },
        Then::AddRelu => Epilogue::AddRelu { addend },
    };
    let what = |name: &str| format!("{name}, {shape}, {then:?}, {} on {threads}", kernels.instruction_set());
    pool(threads).install(|| {
        let (mut moments, mut coefficients) = (vec![Moments::EMPTY; shape.channels()], unset(shape));
        let mut y = vec![E::default(); shape.len()];
        let out = ViewMut::new("y", shape, &mut y).unwrap();
        let x = View::new("x", shape, &tensors.x).unwrap();
        let parameters = tensors.parameters();
        kernels.forward_train(eps, parameters, x, epilogue, out, &mut moments, &mut coefficients);

        let (mut moments_here, mut coefficients_here) = (vec![Moments::EMPTY; shape.channels()], unset(shape));
        let mut data = tensors.x.clone();
        let here = ViewMut::new("data", shape, &mut data).unwrap();
        let coefficients_out = &mut coefficients_here;
        kernels.forward_train_in_place(eps, parameters, epilogue, here, &mut moments_here, coefficients_out);
        assert_eq!(moments_here, moments, "{}", what("moments"));
        assert_eq!(coefficients_here, coefficients, "{}", what("coefficients"));
        assert_same_values(&data, &y, &|| what("trained"));

        let out = ViewMut::new("y", shape, &mut y).unwrap();
        kernels.normalize(&coefficients, x, epilogue, out);
        data.copy_from_slice(&tensors.x);
        let here = ViewMut::new("data", shape, &mut data).unwrap();
        kernels.normalize_in_place(&coefficients, epilogue, here);
        assert_same_values(&data, &y, &|| what("evaluated"));
    });
}

#[test]
fn in_place_is_out_of_place_for_every_instruction_set() {
    for extents in SHAPES {
        let large = extents.0 * extents.1 * extents.2 > 1 << 20;
        // Large tensors are about streaming, which an epilogue does not change.
        let then = if large { &ALL[3..] } else { &ALL[..] };
        let (narrow, wide) = (Tensors::<f32>::normal(extents, 7), Tensors::<f64>::normal(extents, 7));
        for kernels in sets() {
            for &then in then {
                check(&narrow, then, &kernels, 1);
                check(&wide, then, &kernels, if large { 2 } else { 5 });
            }
        }
    }
}

/// Through the layer: training, and inference against evaluation.
#[test]
fn a_layer_in_place_is_the_layer_out_of_place() {
    for extents in SHAPES {
        let tensors = Tensors::<f32>::normal(extents, 8);
        let shape = tensors.shape;
        let mut layer = BatchNorm::<f32>::new(shape.channels(), BatchNormConfig::pytorch()).unwrap();
        layer.gamma_mut().unwrap().copy_from_slice(&tensors.gamma);
        layer.beta_mut().unwrap().copy_from_slice(&tensors.beta);
        let mut other = layer.clone();

        let (mut y, mut data) = (vec![0.0; shape.len()], tensors.x.clone());
        let (mut saved, mut saved_here) = (Saved::default(), Saved::default());
        let update = layer.forward_train_into(shape, &tensors.x, &mut y, &mut saved).unwrap();
        let update_here = other.forward_train_in_place(shape, &mut data, &mut saved_here).unwrap();
        assert_eq!(update, update_here, "{shape}");
        assert_eq!(saved.batch_moments(), saved_here.batch_moments(), "{shape}");
        assert_eq!(layer.running(), other.running(), "{shape}");
        assert_same_values(&data, &y, &|| format!("trained, {shape}"));

        layer.forward_eval(shape, &tensors.x, &mut y).unwrap();
        let inference = layer.inference().unwrap();
        data.copy_from_slice(&tensors.x);
        inference.forward_in_place(shape, &mut data).unwrap();
        assert_same_values(&data, &y, &|| format!("inferred in place, {shape}"));
        data.fill(0.0);
        inference.forward(shape, &tensors.x, &mut data).unwrap();
        assert_same_values(&data, &y, &|| format!("inferred, {shape}"));
    }
}

/// The first value of a channel is what deviations are taken from, and a fold may have to read its block again: it must be
/// x still, not y.
#[test]
fn in_place_is_out_of_place_where_a_block_is_folded_twice() {
    for extents in [(9, 100, 49), (2, 3, 16_385), (335, 3, 49), (90, 1024, 49), (500, 701, 7), (9, 100, 196)] {
        let mut tensors = Tensors::<f32>::normal(extents, 9);
        let shape = tensors.shape;
        for channel in 0..shape.channels() {
            tensors.x[channel * shape.inner()] = 1e6;
        }
        let (mut moments, mut coefficients) = (vec![Moments::EMPTY; shape.channels()], unset(shape));
        let mut y = vec![0.0; shape.len()];
        let (kernels, parameters) = (best(), tensors.parameters());
        let x = View::new("x", shape, &tensors.x).unwrap();
        let out = ViewMut::new("y", shape, &mut y).unwrap();
        kernels.forward_train(1e-5, parameters, x, Epilogue::None, out, &mut moments, &mut coefficients);
        let first = moments.clone();
        let mut data = tensors.x.clone();
        let here = ViewMut::new("data", shape, &mut data).unwrap();
        let none = Epilogue::None;
        kernels.forward_train_in_place(1e-5, parameters, none, here, &mut moments, &mut coefficients);
        assert_eq!(moments, first, "{shape}");
        assert_same_values(&data, &y, &|| shape.to_string());
    }
}
