//! Gradients from the output alone, against those from the input: for every plan that has them, and the errors of those that
//! have not.

use batchnorm::passes::{self, Backward, Given, Plan, Statistics};
use batchnorm::{
    Banks, BatchNorm, BatchNormConfig, Cpu, Epilogue, Error, Gate, Gradients, Mask, Parameters, Partition,
    RenormLimits, Saved, Shape, View, ViewMut, Wanted,
};

#[path = "suite/data.rs"]
#[allow(dead_code, reason = "each test binary uses a part")]
mod data;
use data::{Random, relative_rms};

const SLOPE: f64 = 0.2;

/// A batch of six examples, with parameters for two banks.
struct Batch {
    shape: Shape,
    x: Vec<f64>,
    dy: Vec<f64>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    mask: Option<Vec<bool>>,
}

impl Batch {
    fn new(shape: Shape) -> Self {
        let mut random = Random::new(11);
        let sign = |i: usize| if i.is_multiple_of(2) { -1.0 } else { 1.0 };
        Self {
            shape,
            x: random.normals(shape.len(), 2.0, 3.0),
            dy: random.normals(shape.len(), 0.2, 1.0),
            gamma: (0..2 * shape.channels()).map(|i| sign(i) * (0.3 + random.uniform())).collect(),
            beta: random.normals(2 * shape.channels(), 0.0, 0.5),
            mask: None,
        }
    }

    fn view<'a>(&'a self, name: &'static str, data: &'a [f64]) -> View<'a, f64> {
        let mask = self.mask.as_deref().map(|counts| Mask::new(self.shape, counts).unwrap());
        View::new(name, self.shape, data).unwrap().with_mask(mask).unwrap()
    }

    fn plan<'a>(&'a self, config: &'a BatchNormConfig, partition: Partition) -> Plan<'a, f64> {
        let values = partition.banks() * self.shape.channels();
        let parameters = Parameters { gamma: Some(&self.gamma[..values]), beta: Some(&self.beta[..values]) };
        Plan { parameters, partition, ..Plan::of(config, self.shape) }
    }

    fn forward(&self, plan: &Plan<'_, f64>, epilogue: Epilogue<'_, f64>) -> (Saved, Vec<f64>) {
        let mut y = vec![0.0; self.shape.len()];
        let out = ViewMut::new("y", self.shape, &mut y).unwrap();
        let saved = passes::forward(&Cpu, plan, self.view("x", &self.x), epilogue, out).unwrap();
        (saved, y)
    }

    fn backward(
        &self,
        saved: &Saved,
        x: Option<View<'_, f64>>,
        gate: Gate<'_, f64>,
    ) -> Result<(Vec<f64>, Gradients), Error> {
        let mut dx = vec![0.0; self.shape.len()];
        let tensors = Backward {
            x,
            dy: self.view("dy", &self.dy),
            gate,
            dx: Some(ViewMut::new("dx", self.shape, &mut dx).unwrap()),
            d_addend: None,
        };
        let gradients = passes::backward(&Cpu, saved, Wanted::ALL, tensors)?;
        Ok((dx, gradients))
    }

    /// y is rounded to 2^-53 of itself, and xhat is (z - beta) / gamma: of |gamma| >= 0.3 and |beta| < 3 that is some 1e-15,
    /// which sums of a hundred terms may take to 1e-13.
    fn agrees(&self, plan: &Plan<'_, f64>) {
        for slope in [1.0, SLOPE] {
            let epilogue = if slope == 1.0 { Epilogue::None } else { Epilogue::LeakyRelu { slope } };
            let (saved, y) = self.forward(plan, epilogue);
            let x = self.view("x", &self.x);
            let gate = if slope == 1.0 { Gate::None } else { Gate::LeakyRelu { x, slope } };
            let (dx, gradients) = self.backward(&saved, Some(x), gate).unwrap();
            let y = self.view("y", &y);
            let (found, of_output) = self.backward(&saved, None, Gate::Output { y, slope }).unwrap();
            assert!(relative_rms(&found, &dx) < 1e-12, "dx: {}", relative_rms(&found, &dx));
            for (found, expected) in [(of_output.gamma, gradients.gamma), (of_output.beta, gradients.beta)] {
                let error = relative_rms(&found.unwrap(), &expected.unwrap());
                assert!(error < 1e-12, "gamma or beta: {error}");
            }
        }
    }
}

fn shapes() -> [Shape; 3] {
    [(6, 4, 25), (6, 5, 1), (30, 4, 1)]
        .map(|(outer, channels, inner)| Shape::new(outer, channels, inner).unwrap())
}

#[test]
fn of_a_batch_and_of_given_statistics() {
    let config = BatchNormConfig::pytorch();
    for shape in shapes() {
        let batch = Batch::new(shape);
        let plan = batch.plan(&config, Partition::whole(shape));
        batch.agrees(&plan);
        let (mean, variance) = (vec![1.5; shape.channels()], vec![7.0; shape.channels()]);
        let given = [Given { mean: &mean, variance: &variance }];
        batch.agrees(&Plan { statistics: Statistics::Fixed(&given), ..plan.clone() });
        let limits = RenormLimits { r_max: 1.5, d_max: 0.5 };
        batch.agrees(&Plan { statistics: Statistics::Renormalized { limits, towards: &given }, ..plan });
    }
}

#[test]
fn of_ghost_batches_and_of_domains_one_after_the_other_or_mixed() {
    let config = BatchNormConfig::pytorch();
    for shape in shapes() {
        let batch = Batch::new(shape);
        batch.agrees(&batch.plan(&config, Partition::ghost(shape, 6, 2).unwrap()));
        for of in [[0, 0, 0, 1, 1, 1], [0, 1, 0, 0, 1, 1]] {
            let banks = Some(Banks { of: &of, count: 2 });
            batch.agrees(&batch.plan(&config, Partition::banked(shape, banks, banks).unwrap()));
            batch.agrees(&batch.plan(&config, Partition::banked(shape, banks, None).unwrap()));
        }
    }
}

#[test]
fn of_what_a_mask_counts() {
    let config = BatchNormConfig::pytorch();
    for shape in shapes() {
        let mut batch = Batch::new(shape);
        batch.mask = Some((0..shape.positions()).map(|i| i % 6 != 1).collect());
        batch.agrees(&batch.plan(&config, Partition::whole(shape)));
        batch.agrees(&batch.plan(&config, Partition::ghost(shape, 6, 3).unwrap()));
    }
}

#[test]
fn of_a_layer_whose_output_overwrites_its_input() {
    let shape = Shape::channels_first(&[8, 3, 6, 6]).unwrap();
    let mut random = Random::new(3);
    let (x, dy): (Vec<f32>, Vec<f32>) =
        (random.normals(shape.len(), 5.0, 2.0), random.normals(shape.len(), 0.0, 1.0));
    let mut layer = BatchNorm::<f32>::new(3, BatchNormConfig::pytorch()).unwrap();
    layer.gamma_mut().unwrap().copy_from_slice(&[0.7, -1.3, 2.0]);
    layer.beta_mut().unwrap().copy_from_slice(&[0.1, -0.4, 1.0]);

    let (mut y, mut dx) = (vec![0.0; shape.len()], vec![0.0; shape.len()]);
    let forward = layer.clone().forward_train(shape, &x, &mut y).unwrap();
    let gradients = layer.backward(&forward.saved, &x, &dy, Some(&mut dx), Wanted::ALL).unwrap();

    let (mut data, mut saved, mut found) = (x, Saved::default(), vec![0.0; shape.len()]);
    let _ = layer.forward_train_in_place(shape, &mut data, &mut saved).unwrap();
    let of_output = layer.backward_from_output(&saved, &data, &dy, Some(&mut found), Wanted::ALL).unwrap();
    // As above, of 2^-24: xhat is off by 2e-7 at most, which is a part of some of the terms.
    assert!(relative_rms(&found, &dx) < 1e-6, "{}", relative_rms(&found, &dx));
    assert!(relative_rms(&of_output.gamma.unwrap(), &gradients.gamma.unwrap()) < 1e-6);
    assert_eq!(of_output.beta, gradients.beta);
}

#[test]
fn a_gamma_that_cannot_be_divided_by_is_named() {
    let (config, shape) = (BatchNormConfig::pytorch(), Shape::new(6, 3, 4).unwrap());
    for (gamma, beta) in [(0.0, 0.0), (0.0, 1.0), (-0.0, 1.0), (1e-17, 1.0), (1e-310, 0.0)] {
        let mut batch = Batch::new(shape);
        (batch.gamma[1], batch.beta[1]) = (gamma, beta);
        for partition in [Partition::whole(shape), Partition::ghost(shape, 6, 2).unwrap()] {
            let plan = batch.plan(&config, partition);
            let (saved, y) = batch.forward(&plan, Epilogue::None);
            let gate = Gate::Output { y: batch.view("y", &y), slope: 1.0 };
            let error = batch.backward(&saved, None, gate).unwrap_err();
            assert!(matches!(error, Error::NotInvertible { channel: 1, .. }), "{gamma} {beta}: {error}");
        }
    }
    // Where xhat is not needed, gamma may be 0: its own gradient is not asked for, and the statistics are given.
    let mut batch = Batch::new(shape);
    batch.gamma.fill(0.0);
    let statistics = [Given { mean: &[0.0; 3], variance: &[1.0; 3] }];
    let plan =
        Plan { statistics: Statistics::Fixed(&statistics), ..batch.plan(&config, Partition::whole(shape)) };
    let (saved, y) = batch.forward(&plan, Epilogue::None);
    let mut dx = vec![1.0; shape.len()];
    let tensors = Backward {
        x: None,
        dy: batch.view("dy", &batch.dy),
        gate: Gate::Output { y: batch.view("y", &y), slope: 1.0 },
        dx: Some(ViewMut::new("dx", shape, &mut dx).unwrap()),
        d_addend: None,
    };
    passes::backward(&Cpu, &saved, Wanted::NONE, tensors).unwrap();
    assert!(dx.iter().all(|dx| *dx == 0.0));
}

#[test]
fn a_slope_without_an_inverse_and_plans_without_gradients_from_the_output_are_refused() {
    let (config, shape) = (BatchNormConfig::pytorch(), Shape::new(6, 4, 4).unwrap());
    let batch = Batch::new(shape);
    let (saved, y) = batch.forward(&batch.plan(&config, Partition::whole(shape)), Epilogue::Relu);
    for slope in [0.0, -0.1, f64::NAN, f64::INFINITY, 1e-320] {
        let error = batch.backward(&saved, None, Gate::Output { y: batch.view("y", &y), slope }).unwrap_err();
        assert!(matches!(error, Error::SlopeNotInvertible { .. }), "{slope}: {error}");
    }
    let classes = Some(Banks { of: &[0, 1, 0, 1, 1, 0], count: 2 });
    for partition in [Partition::grouped(shape, 6, 2), Partition::banked(shape, None, classes)] {
        let (saved, y) = batch.forward(&batch.plan(&config, partition.unwrap()), Epilogue::None);
        let gate = Gate::Output { y: batch.view("y", &y), slope: 1.0 };
        let error = batch.backward(&saved, None, gate).unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }), "{error}");
    }
    let other = vec![0.0; 12];
    let y = View::new("y", Shape::new(1, 4, 3).unwrap(), &other).unwrap();
    let error = batch.backward(&saved, None, Gate::Output { y, slope: 1.0 }).unwrap_err();
    assert!(matches!(error, Error::ShapeMismatch { what: "gate's y", .. }), "{error}");
    let x = Some(batch.view("x", &batch.x));
    let gate = Gate::Output { y: batch.view("y", &batch.x), slope: 1.0 };
    let error = batch.backward(&saved, x, gate).unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error}");
}
