//! Gradients against central differences of the forward pass, in f64.

use batchnorm::passes::{self, Backward};
use batchnorm::{BatchNormConfig, Epilogue, Gate, Kernels, Parameters, Policy, Shape, View, ViewMut, Wanted};

use super::data::Random;

struct Problem {
    shape: Shape,
    x: Vec<f64>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    /// The loss is the sum of `weights * y`, so dy = weights.
    weights: Vec<f64>,
    /// Mean and variance, where they are fixed.
    fixed: Option<(Vec<f64>, Vec<f64>)>,
}

impl Problem {
    fn new((outer, channels, inner): (usize, usize, usize), fixed: bool) -> Self {
        let shape = Shape::new(outer, channels, inner).unwrap();
        let mut random = Random::new(shape.len() as u64);
        let mut normals = |len, mean| random.normals(len, mean, 1.0);
        let fixed = fixed.then(|| {
            let variance: Vec<f64> = normals(channels, 3.0).iter().map(|v: &f64| v.abs()).collect();
            (normals(channels, 0.0), variance)
        });
        Self {
            shape,
            x: normals(shape.len(), 2.0),
            gamma: normals(channels, 1.0),
            beta: normals(channels, 0.0),
            weights: normals(shape.len(), 0.0),
            fixed,
        }
    }

    fn config() -> BatchNormConfig {
        BatchNormConfig::pytorch().with_one_value(Policy::Allow)
    }

    fn forward(&self, kernels: &impl Kernels<f64>, y: &mut [f64]) -> passes::Saved {
        let parameters = Parameters { gamma: Some(&self.gamma), beta: Some(&self.beta) };
        let x = View::new("x", self.shape, &self.x).unwrap();
        let y = ViewMut::new("y", self.shape, y).unwrap();
        let config = Self::config();
        match &self.fixed {
            None => passes::forward_train(kernels, &config, parameters, x, Epilogue::None, y),
            Some((mean, variance)) => {
                passes::forward_fixed(kernels, &config, parameters, mean, variance, x, Epilogue::None, y)
            }
        }
        .unwrap()
    }

    fn loss(&self, kernels: &impl Kernels<f64>) -> f64 {
        let mut y = vec![0.0; self.shape.len()];
        self.forward(kernels, &mut y);
        y.iter().zip(&self.weights).map(|(y, weight)| y * weight).sum()
    }

    /// Differences with a step of 1e-6 are off by h^2 times a third derivative (1e-12) and by roundings of the
    /// loss over h (1e-15 * 100 / 1e-6 = 1e-7).
    fn check(mut self, kernels: &impl Kernels<f64>) {
        let mut y = vec![0.0; self.shape.len()];
        let saved = self.forward(kernels, &mut y);
        let mut dx = vec![0.0; self.shape.len()];
        let tensors = Backward {
            x: Some(View::new("x", self.shape, &self.x).unwrap()),
            dy: View::new("dy", self.shape, &self.weights).unwrap(),
            gate: Gate::None,
            dx: Some(ViewMut::new("dx", self.shape, &mut dx).unwrap()),
            d_addend: None,
        };
        let gradients = passes::backward(kernels, &saved, Wanted::ALL, tensors).unwrap();
        let shape = self.shape;
        type Field = fn(&mut Problem) -> &mut Vec<f64>;
        let fields: [(&str, Field, Vec<f64>); 3] = [
            ("x", |p| &mut p.x, dx),
            ("gamma", |p| &mut p.gamma, gradients.gamma.unwrap()),
            ("beta", |p| &mut p.beta, gradients.beta.unwrap()),
        ];
        for (name, field, gradient) in fields {
            for (i, gradient) in gradient.into_iter().enumerate() {
                let h = 1e-6;
                let value = field(&mut self)[i];
                field(&mut self)[i] = value + h;
                let above = self.loss(kernels);
                field(&mut self)[i] = value - h;
                let below = self.loss(kernels);
                field(&mut self)[i] = value;
                let difference = (above - below) / (2.0 * h);
                assert!(
                    (gradient - difference).abs() <= 1e-6 * (1.0 + difference.abs()),
                    "d{name}[{i}], {shape}: gradient {gradient}, central difference {difference}"
                );
            }
        }
    }
}

const SHAPES: [(usize, usize, usize); 6] =
    [(4, 3, 1), (2, 2, 5), (3, 2, 16), (2, 3, 17), (20, 1, 1), (1, 2, 33)];

pub fn gradients_are_the_central_differences(kernels: &impl Kernels<f64>) {
    for shape in SHAPES {
        Problem::new(shape, false).check(kernels);
    }
}

pub fn gradients_with_fixed_statistics_are_the_central_differences(kernels: &impl Kernels<f64>) {
    for shape in SHAPES {
        Problem::new(shape, true).check(kernels);
    }
}
