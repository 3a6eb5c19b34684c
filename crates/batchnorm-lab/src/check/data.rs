//! The tensors of a problem, and the same in f64.

use batchnorm::{
    BatchNormConfig, Coefficients, Element, Epilogue, Gate, Kernels, Mask, Moments, Parameters, Reference,
    Shape, View,
};

use super::problem::{Activation, Problem, Work};
use crate::streams::{Purpose, Stream};

/// Of leaky ReLU.
pub(super) const SLOPE: f64 = 0.25;

/// z of less than this share of the terms it is the sum of may have the wrong sign after rounding: an f32 map is off by
/// some 1e-7 of them, and an f64 map by 1e-9 where the mean is a million deviations.
const NEARLY_ZERO: f64 = 1e-5;

/// A tensor that begins somewhere in its memory.
#[derive(Clone, Debug)]
pub(super) struct Unaligned<E> {
    memory: Vec<E>,
    offset: usize,
}

impl<E: Copy> Unaligned<E> {
    pub(super) fn filled(offset: usize, len: usize, mut value: impl FnMut() -> E) -> Self {
        Self { memory: (0..offset + len).map(|_| value()).collect(), offset }
    }

    pub(super) fn get(&self) -> &[E] {
        &self.memory[self.offset..]
    }

    pub(super) fn get_mut(&mut self) -> &mut [E] {
        &mut self.memory[self.offset..]
    }
}

/// The tensors of a problem.
#[derive(Clone, Debug)]
pub(super) struct Data<E: Element> {
    pub(super) shape: Shape,
    pub(super) work: Work,
    pub(super) activation: Activation,
    pub(super) offset: usize,
    /// Added to variances: of the data's size, so that data of every size are normalized.
    pub(super) eps: f64,
    pub(super) x: Unaligned<E>,
    pub(super) dy: Unaligned<E>,
    pub(super) addend: Unaligned<E>,
    pub(super) gamma: Vec<E::Parameter>,
    pub(super) beta: Vec<E::Parameter>,
    pub(super) mask: Option<Vec<bool>>,
    /// What evaluation and the backward pass are given: their errors are their own.
    pub(super) given: Vec<Coefficients>,
}

impl<E: Element> Data<E> {
    /// Draws the tensors of `problem`, by a stream of their own.
    pub(super) fn of(problem: &Problem) -> Self {
        let mut stream = Stream::new(problem.seed, Purpose::ProblemData { number: problem.number });
        let shape = problem.extents.shape(problem.layout);
        let (len, channels, offset) = (shape.len(), shape.channels(), problem.offset);
        let Located { mean, scale } = Located::of(problem);
        let mut normals = |size: f64| Unaligned::filled(offset, len, || E::from_f64(size * stream.normal()));
        let (noise, dy, addend): (Unaligned<E>, _, _) = (normals(1.0), normals(1.0), normals(1.0));
        let x = Unaligned {
            memory: noise.memory.iter().map(|n| E::from_f64(mean + scale * n.to_f64())).collect(),
            offset,
        };
        let mut parameters = |middle: f64| -> Vec<E::Parameter> {
            (0..channels).map(|_| E::Parameter::from_f64(middle + 0.5 * stream.normal())).collect()
        };
        let (gamma, beta) = (parameters(1.0), parameters(0.0));
        let mask = problem.masked.then(|| (0..shape.positions()).map(|_| stream.happens(0.75)).collect());
        let eps = BatchNormConfig::pytorch().eps * scale * scale;
        let mut data = Self {
            shape,
            work: problem.work,
            activation: problem.activation,
            offset,
            eps,
            x,
            dy,
            addend,
            gamma,
            beta,
            mask,
            given: Vec::new(),
        };
        data.poison();
        data.give(scale);
        data.keep_gates_from_zero();
        data
    }

    /// Positions that do not count hold NaN: nobody may look there.
    fn poison(&mut self) {
        let Some(mask) = &self.mask else { return };
        for (i, counts) in counted(self.shape, mask).enumerate() {
            if !counts {
                let nan = E::from_f64(f64::NAN);
                (self.x.get_mut()[i], self.dy.get_mut()[i], self.addend.get_mut()[i]) = (nan, nan, nan);
            }
        }
    }

    /// The statistics for what does not take its own: the batch's for a backward pass, about the batch's for evaluation.
    fn give(&mut self, scale: f64) {
        let mut moments = vec![Moments::EMPTY; self.shape.channels()];
        Reference.moments(self.view("x", &self.x), &mut moments);
        let parameters = self.parameters();
        let other = matches!(self.work, Work::Eval | Work::EvalInPlace);
        let given = moments.iter().enumerate().map(|(channel, moments)| match other {
            false => Coefficients::of_batch(moments, self.eps, parameters.of(channel)),
            true => {
                let (mean, variance) =
                    (moments.mean + scale / 3.0, moments.biased_variance() + scale * scale / 2.0);
                Coefficients::new(mean, variance, self.eps, parameters.of(channel))
            }
        });
        self.given = given.collect();
    }

    /// A gate compares z with 0, where rounding may fall on either side: there dy is 0, so that dz is 0 on both.
    fn keep_gates_from_zero(&mut self) {
        let backward = matches!(self.work, Work::Backward | Work::BackwardFixed);
        if !backward || self.activation == Activation::None {
            return;
        }
        let (inner, channels) = (self.shape.inner(), self.shape.channels());
        for i in 0..self.shape.len() {
            let given = &self.given[i / inner % channels];
            let slope = given.gamma * (self.x.get()[i].to_f64() - given.mean) * given.rstd;
            let addend = match self.activation {
                Activation::AddRelu => self.addend.get()[i].to_f64(),
                _ => 0.0,
            };
            let size = slope.abs() + given.beta.abs() + addend.abs();
            if (slope + given.beta + addend).abs() <= NEARLY_ZERO * size {
                self.dy.get_mut()[i] = E::default();
            }
        }
    }

    pub(super) fn parameters(&self) -> Parameters<'_, E::Parameter> {
        Parameters { gamma: Some(&self.gamma), beta: Some(&self.beta) }
    }

    /// A tensor of the problem's shape, with its mask.
    pub(super) fn view<'a>(&'a self, what: &'static str, tensor: &'a Unaligned<E>) -> View<'a, E> {
        let view = View::new(what, self.shape, tensor.get()).expect("of the problem's shape");
        let mask = self.mask.as_ref().map(|mask| Mask::new(self.shape, mask).expect("of the problem's shape"));
        view.with_mask(mask).expect("of the problem's shape")
    }

    /// How many values of each channel count.
    pub(super) fn count(&self) -> usize {
        self.mask.as_ref().map_or(self.shape.positions(), |mask| mask.iter().filter(|&&counts| counts).count())
    }

    /// The largest element of x: what means are rounded by.
    pub(super) fn largest(&self) -> f64 {
        let finite = self.x.get().iter().map(|x| x.to_f64().abs()).filter(|x| x.is_finite());
        finite.fold(0.0, f64::max)
    }

    pub(super) fn epilogue(&self) -> Epilogue<'_, E> {
        match self.activation {
            Activation::None => Epilogue::None,
            Activation::Relu => Epilogue::Relu,
            Activation::LeakyRelu => Epilogue::LeakyRelu { slope: SLOPE },
            Activation::AddRelu => Epilogue::AddRelu { addend: self.view("addend", &self.addend) },
        }
    }

    pub(super) fn gate(&self) -> Gate<'_, E> {
        let x = self.view("x", &self.x);
        match self.activation {
            Activation::None => Gate::None,
            Activation::Relu => Gate::Relu { x },
            Activation::LeakyRelu => Gate::LeakyRelu { x, slope: SLOPE },
            Activation::AddRelu => Gate::AddRelu { x, addend: self.view("addend", &self.addend) },
        }
    }

    /// The same numbers in f64.
    pub(super) fn widened(&self) -> Data<f64> {
        let tensor = |tensor: &Unaligned<E>| Unaligned {
            memory: tensor.memory.iter().map(|value| value.to_f64()).collect(),
            offset: tensor.offset,
        };
        let parameters = |values: &[E::Parameter]| values.iter().map(|value| value.to_f64()).collect();
        Data {
            shape: self.shape,
            work: self.work,
            activation: self.activation,
            offset: self.offset,
            eps: self.eps,
            x: tensor(&self.x),
            dy: tensor(&self.dy),
            addend: tensor(&self.addend),
            gamma: parameters(&self.gamma),
            beta: parameters(&self.beta),
            mask: self.mask.clone(),
            given: self.given.clone(),
        }
    }
}

/// Mean and standard deviation of a problem's data.
struct Located {
    mean: f64,
    scale: f64,
}

impl Located {
    fn of(problem: &Problem) -> Self {
        let scale = problem.location.scale;
        Self { mean: problem.location.mean * scale, scale }
    }
}

/// Whether each element counts.
pub(super) fn counted(shape: Shape, mask: &[bool]) -> impl Iterator<Item = bool> {
    let (channels, inner) = (shape.channels(), shape.inner());
    (0..shape.len()).map(move |i| mask[i / (channels * inner) * inner + i % inner])
}
