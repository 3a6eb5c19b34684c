//! What must hold without any tolerance.

use batchnorm::{
    Coefficients, Element, Epilogue, Gate, GradientSums, Kernels, Moments, Parameters, Shape, View, ViewMut,
};

use super::data::{Random, elements, shapes, unset};

/// Data as oneDNN's benchdnn fills it: consecutive values of a channel are `mean + d` and `mean - d` with few
/// mantissa bits (a last one alone is the mean), so that mean and variance are exact in any order of summation.
/// The folds' results have to be exactly these, in f64.
pub fn statistics_of_exactly_representable_data_are_exact(kernels: &(impl Kernels<f32> + Kernels<f64>)) {
    statistics_are_exact::<f32>(kernels);
    statistics_are_exact::<f64>(kernels);
}

fn statistics_are_exact<E: Element>(kernels: &impl Kernels<E>) {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let mut random = Random::new(seed as u64);
        let mut x = vec![E::default(); shape.len()];
        let mut expected = Vec::new();
        for channel in 0..shape.channels() {
            let mean = random.below(64) as f64 / 16.0 - 2.0;
            let mut sum_of_squares = 0.0;
            let mut deviation = 0.0;
            for (position, i) in elements(shape, channel).enumerate() {
                if position + 1 == shape.positions() && position % 2 == 0 {
                    deviation = 0.0;
                } else if position % 2 == 0 {
                    deviation = random.below(32) as f64 / 8.0;
                } else {
                    deviation = -deviation;
                }
                x[i] = E::from_f64(mean + deviation);
                sum_of_squares += deviation * deviation;
            }
            expected.push((mean, sum_of_squares / shape.positions() as f64));
        }
        let mut moments = vec![Moments::EMPTY; shape.channels()];
        kernels.moments(View::new("x", shape, &x).unwrap(), &mut moments);
        for (moments, (mean, variance)) in moments.iter().zip(expected) {
            // As they are: f64, for f32 data too.
            assert_eq!(moments.mean, mean, "mean, {shape}");
            assert_eq!(moments.biased_variance(), variance, "variance, {shape}");
        }
    }
}

/// In no type, of no value, in no shape may a constant have a variance: with eps = 0 any would be garbage.
pub fn constant_channels_have_no_variance(kernels: &(impl Kernels<f32> + Kernels<f64>)) {
    for shape in shapes() {
        for value in [0.1, -1e6 / 3.0, 1e-30, 16_777_217.3] {
            let x = vec![value as f32; shape.len()];
            let mut moments = vec![Moments::EMPTY; shape.channels()];
            kernels.moments(View::new("x", shape, &x).unwrap(), &mut moments);
            assert!(moments.iter().all(|m| (m.mean, m.m2) == (f64::from(x[0]), 0.0)), "{value}, {shape}");
            let x = vec![value; shape.len()];
            kernels.moments(View::new("x", shape, &x).unwrap(), &mut moments);
            assert!(moments.iter().all(|m| (m.mean, m.m2) == (value, 0.0)), "{value}, {shape}");
        }
    }
}

pub fn a_nan_stays_in_its_channel(kernels: &impl Kernels<f32>) {
    for shape in shapes() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x: Vec<f32> = Random::new(5).normals(shape.len(), 0.0, 1.0);
            let channel = shape.channels() / 2;
            let position = shape.positions() / 2;
            let at = elements(shape, channel).nth(position).unwrap();
            x[at] = bad;
            let mut moments = vec![Moments::EMPTY; shape.channels()];
            let mut y = vec![0.0; shape.len()];
            kernels.forward_train(
                1e-5,
                Parameters::default(),
                View::new("x", shape, &x).unwrap(),
                Epilogue::None,
                ViewMut::new("y", shape, &mut y).unwrap(),
                &mut moments,
                &mut unset(shape),
            );
            for (i, moments) in moments.iter().enumerate() {
                assert_eq!(moments.is_finite(), i != channel, "{shape}");
                assert!(elements(shape, i).all(|j| y[j].is_nan() == (i == channel)), "{shape}");
            }
        }
    }
}

pub fn empty_tensors_have_empty_statistics(kernels: &impl Kernels<f32>) {
    for (outer, inner) in [(0, 9), (9, 0), (0, 1), (0, 0)] {
        let shape = Shape::new(outer, 5, inner).unwrap();
        let view = || View::<f32>::new("x", shape, &[]).unwrap();
        let mut moments = [Moments { count: 7, mean: 7.0, m2: 7.0 }; 5];
        kernels.moments(view(), &mut moments);
        assert_eq!(moments, [Moments::EMPTY; 5]);
        let coefficients = [Coefficients::new(0.0, 1.0, 0.0, (1.0, 0.0)); 5];
        let mut sums = [GradientSums { dy: 7.0, dy_xhat: 7.0 }; 5];
        kernels.gradient_sums(&coefficients, Some(view()), view(), Gate::None, &mut sums);
        assert_eq!(sums, [GradientSums::default(); 5]);
        let empty: &mut [f32] = &mut [];
        kernels.normalize(&coefficients, view(), Epilogue::None, ViewMut::new("y", shape, empty).unwrap());
        let dx = ViewMut::new("dx", shape, empty).unwrap();
        kernels.input_gradient(&coefficients, None, view(), Gate::None, dx, None);
    }
}

/// A slice may begin anywhere: vectors that straddle cache lines compute the same bits.
pub fn any_alignment_computes_the_same_bits(kernels: &impl Kernels<f32>) {
    for (outer, channels, inner) in [(3, 5, 67), (37, 66, 1), (50, 3, 2)] {
        let shape = Shape::new(outer, channels, inner).unwrap();
        let values: Vec<f32> = Random::new(31).normals(shape.len(), 1.0, 1.0);
        let at = |offset: usize| {
            let (mut x, mut y) = (vec![0.0; offset], vec![0.0; 16 - offset + shape.len()]);
            x.extend(&values);
            let mut moments = vec![Moments::EMPTY; channels];
            kernels.forward_train(
                1e-5,
                Parameters::default(),
                View::new("x", shape, &x[offset..]).unwrap(),
                Epilogue::None,
                ViewMut::new("y", shape, &mut y[16 - offset..]).unwrap(),
                &mut moments,
                &mut unset(shape),
            );
            (moments, y.split_off(16 - offset))
        };
        let aligned = at(0);
        for offset in 1..=16 {
            assert_eq!(at(offset), aligned, "{shape} at offset {offset}");
        }
    }
}
