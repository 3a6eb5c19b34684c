//! A layer's tensors, and all that the kernels make of them.

use batchnorm::{
    Coefficients, CpuOn, Element, Epilogue, Gate, GradientSums, InstructionSet, Kernels, Moments, Parameters,
    Shape, View, ViewMut,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::data::{Random, elements, unset};

pub const EPS: f64 = 1e-5;
const SLOPE: f64 = 0.1;
/// Bytes of a cache line, at a multiple of which streaming stores begin.
const LINE: usize = 64;
/// Elements on either side of a placed tensor that nobody may touch.
const MARGIN: usize = 64;

/// The epilogues, each with its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Nothing,
    Relu,
    LeakyRelu,
    AddRelu,
}

pub const ALL: [Then; 4] = [Then::Nothing, Then::Relu, Then::LeakyRelu, Then::AddRelu];

/// The CPU on every instruction set of this machine.
pub fn sets() -> Vec<CpuOn> {
    InstructionSet::available().filter_map(CpuOn::new).collect()
}

pub fn best() -> CpuOn {
    CpuOn::new(InstructionSet::best()).unwrap()
}

pub fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

pub fn shape((outer, channels, inner): (usize, usize, usize)) -> Shape {
    Shape::new(outer, channels, inner).unwrap()
}

/// A tensor in memory: as the allocator gives it, or so many elements behind the beginning of a line.
pub struct Placed<E> {
    memory: Vec<E>,
    start: usize,
    len: usize,
    margin: usize,
}

impl<E: Element> Placed<E> {
    fn untouched() -> E {
        E::from_f64(-77.0)
    }

    pub fn empty(len: usize, offset: Option<usize>) -> Self {
        let Some(offset) = offset else {
            // Nothing around it, so that a sanitizer sees the first element beyond.
            return Self { memory: vec![Self::untouched(); len], start: 0, len, margin: 0 };
        };
        let per_line = LINE / size_of::<E>();
        let memory = vec![Self::untouched(); len + 2 * MARGIN + offset + per_line];
        let into_line = memory.as_ptr().addr() % LINE / size_of::<E>();
        let start = MARGIN + (per_line - into_line) % per_line + offset;
        Self { memory, start, len, margin: MARGIN }
    }

    pub fn of(values: &[E], offset: Option<usize>) -> Self {
        let mut placed = Self::empty(values.len(), offset);
        placed.get_mut().copy_from_slice(values);
        placed
    }

    pub fn get(&self) -> &[E] {
        &self.memory[self.start..self.start + self.len]
    }

    pub fn get_mut(&mut self) -> &mut [E] {
        &mut self.memory[self.start..self.start + self.len]
    }

    /// Its elements, after a look at those around it.
    pub fn take(mut self, what: &str) -> Vec<E> {
        let end = self.start + self.len;
        let around = self.memory[..self.start].iter().chain(&self.memory[end..]);
        assert!(around.copied().all(|value| value == Self::untouched()), "written beside {what}");
        if self.margin == 0 { self.memory } else { self.memory.drain(self.start..end).collect() }
    }
}

/// Where tensors begin, in elements behind a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offsets {
    pub x: usize,
    pub dy: usize,
    pub addend: usize,
    pub y: usize,
    pub dx: usize,
    pub d_addend: usize,
}

/// What goes into a layer's passes.
#[derive(Clone)]
pub struct Tensors<E: Element> {
    pub shape: Shape,
    pub eps: f64,
    pub x: Vec<E>,
    pub dy: Vec<E>,
    pub addend: Vec<E>,
    pub gamma: Vec<E::Parameter>,
    pub beta: Vec<E::Parameter>,
}

/// What comes out of them.
pub struct Found<E> {
    pub moments: Vec<Moments>,
    pub coefficients: Vec<Coefficients>,
    pub y: Vec<E>,
    /// By the coefficients of the pass before.
    pub evaluated: Vec<E>,
    pub sums: Vec<GradientSums>,
    pub dx: Vec<E>,
    pub d_addend: Vec<E>,
    /// With fixed statistics.
    pub dx_fixed: Vec<E>,
}

impl<E: Element> Tensors<E> {
    /// x of mean 3 and standard deviation 2, and everything else about 0 or 1.
    pub fn normal(extents: (usize, usize, usize), seed: u64) -> Self {
        let (shape, mut random) = (shape(extents), Random::new(seed));
        Self {
            shape,
            eps: EPS,
            x: random.normals(shape.len(), 3.0, 2.0),
            dy: random.normals(shape.len(), 0.0, 1.0),
            addend: random.normals(shape.len(), 0.0, 1.0),
            gamma: random.normals(shape.channels(), 1.0, 0.5),
            beta: random.normals(shape.channels(), 0.0, 0.5),
        }
    }

    /// Some of its channels, as a tensor of their own.
    pub fn channels(&self, range: std::ops::Range<usize>) -> Self {
        let [x, dy, addend] = [&self.x, &self.dy, &self.addend].map(|t| channels_of(self.shape, t, &range));
        Self {
            shape: shape((self.shape.outer(), range.len(), self.shape.inner())),
            eps: self.eps,
            x,
            dy,
            addend,
            gamma: self.gamma[range.clone()].to_vec(),
            beta: self.beta[range].to_vec(),
        }
    }

    pub fn parameters(&self) -> Parameters<'_, E::Parameter> {
        Parameters { gamma: Some(&self.gamma), beta: Some(&self.beta) }
    }

    pub fn through(&self, kernels: &impl Kernels<E>, then: Then) -> Found<E> {
        self.placed(kernels, then, None)
    }

    /// Every operation, on tensors that begin where `offsets` says.
    pub fn placed(&self, kernels: &impl Kernels<E>, then: Then, offsets: Option<Offsets>) -> Found<E> {
        let (shape, channels) = (self.shape, self.shape.channels());
        let at = |offset: fn(&Offsets) -> usize| offsets.as_ref().map(offset);
        let (x, dy) = (Placed::of(&self.x, at(|o| o.x)), Placed::of(&self.dy, at(|o| o.dy)));
        let addend = Placed::of(&self.addend, at(|o| o.addend));
        let view = |name, data| View::<E>::new(name, shape, data).unwrap();
        let (x, dy, addend) = (view("x", x.get()), view("dy", dy.get()), view("addend", addend.get()));
        let (epilogue, gate) = match then {
            Then::Nothing => (Epilogue::None, Gate::None),
            Then::Relu => (Epilogue::Relu, Gate::Relu { x }),
            Then::LeakyRelu => (Epilogue::LeakyRelu { slope: SLOPE }, Gate::LeakyRelu { x, slope: SLOPE }),
            Then::AddRelu => (Epilogue::AddRelu { addend }, Gate::AddRelu { x, addend }),
        };
        let written = |offset: Option<usize>, write: &mut dyn FnMut(ViewMut<'_, E>)| {
            let mut placed = Placed::empty(shape.len(), offset);
            write(ViewMut::new("output", shape, placed.get_mut()).unwrap());
            placed.take("an output")
        };
        let (mut moments, mut coefficients) = (vec![Moments::EMPTY; channels], unset(shape));
        let y = written(at(|o| o.y), &mut |y| {
            let (moments, coefficients) = (&mut moments, &mut coefficients);
            kernels.forward_train(self.eps, self.parameters(), x, epilogue, y, moments, coefficients);
        });
        let evaluated = written(at(|o| o.y), &mut |y| kernels.normalize(&coefficients, x, epilogue, y));
        let mut sums = vec![GradientSums::default(); channels];
        let mut d_addend = Placed::empty(shape.len(), at(|o| o.d_addend));
        let dx = written(at(|o| o.dx), &mut |dx| {
            let d_addend = Some(ViewMut::new("d_addend", shape, d_addend.get_mut()).unwrap());
            let count = shape.positions() as u64;
            kernels.backward(&coefficients, count, x, dy, gate, dx, d_addend, &mut sums);
        });
        let dx_fixed = written(at(|o| o.dx), &mut |dx| {
            kernels.input_gradient(&coefficients, None, dy, gate, dx, None);
        });
        let d_addend = d_addend.take("d_addend");
        Found { moments, coefficients, y, evaluated, sums, dx, d_addend, dx_fixed }
    }
}

fn channels_of<T: Copy>(shape: Shape, values: &[T], range: &std::ops::Range<usize>) -> Vec<T> {
    let (row, inner) = (shape.channels() * shape.inner(), shape.inner());
    values.chunks(row).flat_map(|row| &row[range.start * inner..range.end * inner]).copied().collect()
}

/// The bits; of NaNs there are many, and which one an operation returns is the processor's affair.
fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

impl<E: Element> Found<E> {
    /// Some of its channels.
    pub fn channels(&self, shape: Shape, range: std::ops::Range<usize>) -> Self {
        let of = |values: &[E]| channels_of(shape, values, &range);
        Self {
            moments: self.moments[range.clone()].to_vec(),
            coefficients: self.coefficients[range.clone()].to_vec(),
            y: of(&self.y),
            evaluated: of(&self.evaluated),
            sums: self.sums[range.clone()].to_vec(),
            dx: of(&self.dx),
            d_addend: of(&self.d_addend),
            dx_fixed: of(&self.dx_fixed),
        }
    }

    /// Every number has the same bits.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, what: &dyn Fn() -> String) {
        let fields = |found: &Self| {
            let moments: Vec<_> = found.moments.iter().map(|m| [m.count as f64, m.mean, m.m2]).collect();
            let sums: Vec<_> = found.sums.iter().map(|sums| [sums.dy, sums.dy_xhat]).collect();
            let coefficients: Vec<_> =
                found.coefficients.iter().map(|c| [c.mean, c.rstd, c.gamma, c.beta]).collect();
            [moments.concat(), coefficients.concat(), sums.concat()]
        };
        let names = ["moments", "coefficients", "sums"];
        for (name, (a, b)) in names.into_iter().zip(fields(self).iter().zip(&fields(other))) {
            assert_same_values(a, b, &|| format!("{name}, {}", what()));
        }
        for (name, a, b) in [
            ("y", &self.y, &other.y),
            ("evaluated y", &self.evaluated, &other.evaluated),
            ("dx", &self.dx, &other.dx),
            ("d addend", &self.d_addend, &other.d_addend),
            ("fixed dx", &self.dx_fixed, &other.dx_fixed),
        ] {
            assert_same_values(a, b, &|| format!("{name}, {}", what()));
        }
    }

    /// Every number of one channel.
    pub fn of_channel(&self, shape: Shape, channel: usize) -> Self {
        let of = |values: &[E]| elements(shape, channel).map(|i| values[i]).collect();
        Self {
            moments: vec![self.moments[channel]],
            coefficients: vec![self.coefficients[channel]],
            y: of(&self.y),
            evaluated: of(&self.evaluated),
            sums: vec![self.sums[channel]],
            dx: of(&self.dx),
            d_addend: of(&self.d_addend),
            dx_fixed: of(&self.dx_fixed),
        }
    }
}

#[track_caller]
pub fn assert_same_values<E: Element>(a: &[E], b: &[E], what: &dyn Fn() -> String) {
    assert_eq!(a.len(), b.len());
    let differ = |(a, b): (&E, &E)| bits(a.to_f64()) != bits(b.to_f64());
    if let Some(i) = a.iter().zip(b).position(differ) {
        panic!("{}: element {i} is {:e} and {:e}", what(), a[i].to_f64(), b[i].to_f64());
    }
}
