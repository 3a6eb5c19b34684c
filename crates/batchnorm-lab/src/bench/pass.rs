//! The pass of a layer that a row times, on any backend.

use std::hint::black_box;

use batchnorm::{
    BatchNorm, BatchNormConfig, Element, Error, Gradients, Inference, Kernels, RunningStatistics, Saved, Wanted,
};
use bytemuck::Pod;

use super::memory::Tensor;
use super::{BenchError, Case, Op};
use crate::streams::{Purpose, Stream};

/// Of the inputs; not 0 and 1, which some code might treat by itself.
const MEAN: f64 = 3.0;
const STD: f64 = 2.0;
/// Which random tensor is which.
const X: u8 = 0;
const DY: u8 = 1;

/// The memory of a row: the same for the kernel, the roof and the reference.
pub(super) struct Tensors<E> {
    /// The input; in place, the output too.
    pub(super) x: Tensor<E>,
    /// The output's gradient, of a backward pass.
    pub(super) dy: Tensor<E>,
    /// The output: y, or dx.
    pub(super) out: Tensor<E>,
}

impl<E: Element + Pod> Tensors<E> {
    pub(super) fn new(case: &Case) -> Result<Self, BenchError> {
        let len = case.extents.elements();
        Ok(Self {
            x: Tensor::random(len, X, MEAN, STD)?,
            dy: Tensor::random(if case.op == Op::Backward { len } else { 0 }, DY, 0.0, 1.0)?,
            // Written to once, so that no sample pays for the pages.
            out: Tensor::random(if case.in_place { 0 } else { len }, X, MEAN, STD)?,
        })
    }
}

/// A layer, and what its passes leave.
pub(super) struct Pass<E: Element, K> {
    case: Case,
    layer: BatchNorm<E::Parameter, K>,
    inference: Inference<K>,
    saved: Saved,
    gradients: Gradients,
}

impl<E: Element + Pod, K: Kernels<E> + Clone> Pass<E, K> {
    /// A layer with random parameters, and statistics of the inputs' kind.
    pub(super) fn new(case: &Case, kernels: K) -> Result<Self, Error> {
        let channels = case.shape().channels();
        let mut layer = BatchNorm::with_kernels(channels, BatchNormConfig::pytorch(), kernels)?;
        let mut stream = Stream::new(1, Purpose::Weights);
        // Scales below the standard deviation: evaluation in place, over and over, settles rather than overflows.
        layer
            .gamma_mut()
            .into_iter()
            .flatten()
            .for_each(|gamma| *gamma = E::Parameter::from_f64(0.5 + stream.unit()));
        layer.beta_mut().into_iter().flatten().for_each(|beta| *beta = E::Parameter::from_f64(stream.normal()));
        layer.set_running(RunningStatistics {
            mean: vec![E::Parameter::from_f64(MEAN); channels],
            variance: vec![E::Parameter::from_f64(STD * STD); channels],
            batches: 1,
        })?;
        let inference = layer.inference()?;
        Ok(Self {
            case: case.clone(),
            layer,
            inference,
            saved: Saved::default(),
            gradients: Gradients::default(),
        })
    }

    /// What the timed pass needs: a backward pass has a forward pass before it.
    pub(super) fn prepare(&mut self, tensors: &mut Tensors<E>) -> Result<(), Error> {
        if self.case.op == Op::Backward {
            let _ = self.layer.forward_train_into(
                self.case.shape(),
                &tensors.x,
                &mut tensors.out,
                &mut self.saved,
            )?;
        }
        Ok(())
    }

    /// The same pass on another backend, prepared by this one.
    pub(super) fn on<L: Kernels<E> + Clone>(&self, kernels: L) -> Result<Pass<E, L>, Error> {
        Ok(Pass { saved: self.saved.clone(), ..Pass::new(&self.case, kernels)? })
    }

    /// The pass that is timed.
    pub(super) fn run(&mut self, tensors: &mut Tensors<E>) -> Result<(), Error> {
        let Tensors { x, dy, out } = tensors;
        let shape = self.case.shape();
        match (self.case.op, self.case.in_place) {
            (Op::Forward, false) => drop(self.layer.forward_train_into(shape, x, out, &mut self.saved)?),
            (Op::Forward, true) => drop(self.layer.forward_train_in_place(shape, x, &mut self.saved)?),
            (Op::Backward, _) => {
                let (saved, gradients) = (&self.saved, &mut self.gradients);
                self.layer.backward_into(saved, x, dy, Some(out), Wanted::ALL, gradients)?;
            }
            (Op::Eval, false) => self.inference.forward(shape, x, out)?,
            (Op::Eval, true) => self.inference.forward_in_place(shape, x)?,
        }
        black_box(tensors);
        Ok(())
    }
}
