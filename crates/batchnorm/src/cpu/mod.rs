//! The CPU's [`Kernels`]: parallel, accurate, and the same bits for any number of threads and any instruction set.
//!
//! Chosen by the shape: [`channels_first`], the vector kernels, for everything but a few rows, and [`short_runs`] for those and for
//! runs of 2 to 15 elements with a mask. All fold in f64 over a partition that depends on the shape alone, merge in a
//! fixed order, and map in the tensor's own precision, as precisely as about a mean of two floats ([`narrow`]).

mod channels_first;
mod choice;
mod dispatch;
mod lanes;
mod masked;
mod memory;
mod narrow;
pub mod roof;
mod runs;
mod short_runs;
mod threads;

use crate::{
    Coefficients, Element, Epilogue, Gate, GradientMeans, GradientSums, Kernels, Moments, Parameters, Shape,
    View, ViewMut,
};
use crate::{coefficients, scratch};
pub use channels_first::ChannelsFirst;
use channels_first::From;
pub use choice::{Candidate, ElementType, Operation, Problem};
pub use dispatch::InstructionSet;
pub use lanes::Lanes;
pub use narrow::Narrow;

/// The CPU backend.
///
/// It runs on rayon's current thread pool: the global one, or the caller's inside `ThreadPool::install`. The
/// results are the same bits for any number of threads. Small tensors stay on the calling thread.
///
/// ```
/// use batchnorm::{Cpu, Kernels, Moments, Shape, View};
///
/// let shape = Shape::channels_first(&[64, 16, 32, 32])?;
/// let x = vec![0.5f32; shape.len()];
/// let mut moments = [Moments::EMPTY; 16];
/// let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
/// pool.install(|| Cpu.moments(View::new("x", shape, &x).unwrap(), &mut moments));
/// assert_eq!((moments[3].mean, moments[3].m2), (0.5, 0.0));
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

/// The CPU backend on one instruction set, rather than the best that the machine has: for tests and benchmarks.
///
/// It computes the bits of [`Cpu`]. The plain loops (a few rows) take the best instruction set whatever is asked for.
///
/// ```
/// use batchnorm::{CpuOn, InstructionSet};
///
/// for set in InstructionSet::available() {
///     println!("{}", CpuOn::new(set).unwrap().instruction_set());
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CpuOn(InstructionSet);

impl CpuOn {
    /// The backend on `set`, if this machine has it.
    pub fn new(set: InstructionSet) -> Option<Self> {
        set.is_available().then_some(Self(set))
    }

    /// The instruction set.
    pub fn instruction_set(&self) -> InstructionSet {
        self.0
    }
}

/// Which kernels a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    ChannelsFirst,
    ShortRuns,
    Nothing,
}

impl Family {
    fn of<E: Element>(read: View<'_, E>) -> Self {
        Self::for_shape(read.shape(), masked::partial(read.mask()).is_some())
    }

    fn for_shape(shape: Shape, masked: bool) -> Self {
        // A channel that is one run needs no other channels beside it to fill the vectors.
        let least = if shape.outer() == 1 { channels_first::MIN_ALONE } else { channels_first::MIN_INNER };
        let long = shape.inner() >= least;
        let columns = channels_first::by_columns(shape) && (!masked || shape.inner() == 1);
        match shape.is_empty() {
            true => Self::Nothing,
            false if long || columns => Self::ChannelsFirst,
            false => Self::ShortRuns,
        }
    }
}

impl<E: Element> Kernels<E> for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn moments(&self, x: View<'_, E>, moments: &mut [Moments]) {
        CpuOn(InstructionSet::best()).moments(x, moments);
    }

    fn normalize(
        &self,
        coefficients: &[Coefficients],
        x: View<'_, E>,
        epilogue: Epilogue<'_, E>,
        y: ViewMut<'_, E>,
    ) {
        CpuOn(InstructionSet::best()).normalize(coefficients, x, epilogue, y);
    }

    fn gradient_sums(
        &self,
        coefficients: &[Coefficients],
        x: Option<View<'_, E>>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        sums: &mut [GradientSums],
    ) {
        CpuOn(InstructionSet::best()).gradient_sums(coefficients, x, dy, gate, sums);
    }

    fn input_gradient(
        &self,
        coefficients: &[Coefficients],
        batch: Option<(View<'_, E>, &[GradientMeans])>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        dx: ViewMut<'_, E>,
        d_addend: Option<ViewMut<'_, E>>,
    ) {
        CpuOn(InstructionSet::best()).input_gradient(coefficients, batch, dy, gate, dx, d_addend);
    }

    fn forward_train(
        &self,
        eps: f64,
        parameters: Parameters<'_, E::Parameter>,
        x: View<'_, E>,
        epilogue: Epilogue<'_, E>,
        y: ViewMut<'_, E>,
        moments: &mut [Moments],
        coefficients: &mut [Coefficients],
    ) {
        CpuOn(InstructionSet::best()).forward_train(eps, parameters, x, epilogue, y, moments, coefficients);
    }

    fn normalize_in_place(
        &self,
        coefficients: &[Coefficients],
        epilogue: Epilogue<'_, E>,
        data: ViewMut<'_, E>,
    ) {
        CpuOn(InstructionSet::best()).normalize_in_place(coefficients, epilogue, data);
    }

    fn forward_train_in_place(
        &self,
        eps: f64,
        parameters: Parameters<'_, E::Parameter>,
        epilogue: Epilogue<'_, E>,
        data: ViewMut<'_, E>,
        moments: &mut [Moments],
        coefficients: &mut [Coefficients],
    ) {
        let on = CpuOn(InstructionSet::best());
        on.forward_train_in_place(eps, parameters, epilogue, data, moments, coefficients);
    }

    fn backward(
        &self,
        coefficients: &[Coefficients],
        count: u64,
        x: View<'_, E>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        dx: ViewMut<'_, E>,
        d_addend: Option<ViewMut<'_, E>>,
        sums: &mut [GradientSums],
    ) {
        CpuOn(InstructionSet::best()).backward(coefficients, count, x, dy, gate, dx, d_addend, sums);
    }
}

impl<E: Element> Kernels<E> for CpuOn {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn moments(&self, x: View<'_, E>, moments: &mut [Moments]) {
        match Family::of(x) {
            Family::Nothing => moments.fill(Moments::EMPTY),
            Family::ChannelsFirst => <E as ChannelsFirst>::moments(self.0, x, moments),
            Family::ShortRuns => short_runs::moments(x, moments),
        }
    }

    fn normalize(
        &self,
        coefficients: &[Coefficients],
        x: View<'_, E>,
        epilogue: Epilogue<'_, E>,
        y: ViewMut<'_, E>,
    ) {
        match Family::of(x) {
            Family::Nothing => {}
            Family::ChannelsFirst => {
                <E as ChannelsFirst>::normalize(self.0, coefficients, From::View(x), epilogue, y);
            }
            Family::ShortRuns => short_runs::normalize(coefficients, x, epilogue, y),
        }
    }

    fn gradient_sums(
        &self,
        coefficients: &[Coefficients],
        x: Option<View<'_, E>>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        sums: &mut [GradientSums],
    ) {
        match Family::of(dy) {
            Family::Nothing => sums.fill(GradientSums::default()),
            Family::ChannelsFirst => {
                <E as ChannelsFirst>::gradient_sums(self.0, coefficients, x, dy, gate, sums)
            }
            Family::ShortRuns => short_runs::gradient_sums(coefficients, x, dy, gate, sums),
        }
    }

    fn input_gradient(
        &self,
        coefficients: &[Coefficients],
        batch: Option<(View<'_, E>, &[GradientMeans])>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        dx: ViewMut<'_, E>,
        d_addend: Option<ViewMut<'_, E>>,
    ) {
        match Family::of(dy) {
            Family::Nothing => {}
            Family::ChannelsFirst => {
                <E as ChannelsFirst>::input_gradient(self.0, coefficients, batch, dy, gate, dx, d_addend);
            }
            Family::ShortRuns => short_runs::input_gradient(coefficients, batch, dy, gate, dx, d_addend),
        }
    }

    fn forward_train(
        &self,
        eps: f64,
        parameters: Parameters<'_, E::Parameter>,
        x: View<'_, E>,
        epilogue: Epilogue<'_, E>,
        y: ViewMut<'_, E>,
        moments: &mut [Moments],
        coefficients: &mut [Coefficients],
    ) {
        if Family::of(x) == Family::ChannelsFirst && masked::partial(x.mask()).is_none() {
            let (set, x) = (self.0, From::View(x));
            return <E as ChannelsFirst>::forward_train(
                set,
                eps,
                parameters,
                x,
                epilogue,
                y,
                moments,
                coefficients,
            );
        }
        self.moments(x, moments);
        coefficients::fill_of_batch(moments, eps, &parameters, coefficients);
        self.normalize(coefficients, x, epilogue, y);
    }

    fn normalize_in_place(
        &self,
        coefficients: &[Coefficients],
        epilogue: Epilogue<'_, E>,
        mut data: ViewMut<'_, E>,
    ) {
        if Family::for_shape(data.shape(), false) == Family::ChannelsFirst {
            return <E as ChannelsFirst>::normalize(self.0, coefficients, From::InPlace, epilogue, data);
        }
        let (shape, x) = (data.shape(), data.data().to_vec());
        self.normalize(coefficients, View::new("x", shape, &x).expect("a copy"), epilogue, data);
    }

    fn forward_train_in_place(
        &self,
        eps: f64,
        parameters: Parameters<'_, E::Parameter>,
        epilogue: Epilogue<'_, E>,
        mut data: ViewMut<'_, E>,
        moments: &mut [Moments],
        coefficients: &mut [Coefficients],
    ) {
        if Family::for_shape(data.shape(), false) == Family::ChannelsFirst {
            let (set, x) = (self.0, From::InPlace);
            return <E as ChannelsFirst>::forward_train(
                set,
                eps,
                parameters,
                x,
                epilogue,
                data,
                moments,
                coefficients,
            );
        }
        let (shape, x) = (data.shape(), data.data().to_vec());
        let x = View::new("x", shape, &x).expect("a copy");
        self.forward_train(eps, parameters, x, epilogue, data, moments, coefficients);
    }

    fn backward(
        &self,
        coefficients: &[Coefficients],
        count: u64,
        x: View<'_, E>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        dx: ViewMut<'_, E>,
        d_addend: Option<ViewMut<'_, E>>,
        sums: &mut [GradientSums],
    ) {
        if Family::of(dy) == Family::ChannelsFirst && masked::partial(dy.mask()).is_none() {
            let set = self.0;
            return <E as ChannelsFirst>::backward(set, coefficients, count, x, dy, gate, dx, d_addend, sums);
        }
        self.gradient_sums(coefficients, Some(x), dy, gate, sums);
        scratch::with(sums.len(), GradientMeans::default(), |means| {
            for (means, sums) in means.iter_mut().zip(&*sums) {
                *means = sums.means(count);
            }
            self.input_gradient(coefficients, Some((x, means)), dy, gate, dx, d_addend);
        });
    }
}
