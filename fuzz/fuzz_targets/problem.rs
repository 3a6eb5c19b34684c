//! A problem from bytes, its tensors, and what a backend makes of them.

use arbitrary::{Arbitrary, Result, Unstructured};
use batchnorm::{
    Coefficients, Element, Epilogue, Gate, GradientSums, Kernels, Mask, Moments, Parameters, Shape, View,
    ViewMut,
};

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Kind {
    F32,
    F64,
    Bf16,
    F16,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    None,
    Relu,
    LeakyRelu,
    AddRelu,
    /// The gradient from the output.
    Output,
}

/// Where a tensor's values come from.
#[derive(Clone, Debug)]
pub enum Values {
    /// Normal, of this mean (in standard deviations) and standard deviation.
    Normal { mean: f64, scale: f64 },
    /// Small integers: many are equal.
    Integers,
    /// The bytes of the input as bits of the type, over and over.
    Bits(Vec<u8>),
    /// Normal, but for a few that are so many times as large.
    Outliers(f64),
}

#[derive(Clone, Debug)]
pub struct Problem {
    pub kind: Kind,
    pub activation: Activation,
    pub extents: (usize, usize, usize),
    /// Elements behind a line at which x, dy, the addend and outputs begin.
    pub offsets: [usize; 4],
    pub threads: usize,
    pub masked: bool,
    pub in_place: bool,
    pub seed: u64,
    pub values: Values,
}

pub const SLOPE: f64 = 0.125;
pub const EPS: f64 = 1e-5;
/// Elements, at most; of one problem in sixteen, more.
const MOST: usize = 1 << 12;
const MOST_OF_FEW: usize = 1 << 17;
const MARGIN: usize = 64;
const LINE: usize = 64;
const UNTOUCHED: f64 = -77.0;

/// Mostly small, and sometimes up to `most`.
fn extent(u: &mut Unstructured<'_>, most: usize) -> Result<usize> {
    let bits = u.int_in_range(0..=usize::BITS - most.leading_zeros())?;
    Ok(u.int_in_range(0..=1usize << bits)?.clamp(0, most))
}

impl Problem {
    pub fn draw(u: &mut Unstructured<'_>) -> Result<Self> {
        let (kind, activation, seed) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
        let most = if u.ratio(1, 16)? { MOST_OF_FEW } else { MOST };
        let inner = if u.ratio(1, 3)? { 1 } else { extent(u, most)? };
        let channels = extent(u, most / inner.max(1))?.max(1);
        // Without elements, too, the reference goes through all rows.
        let outer = extent(u, most / (inner.max(1) * channels).max(1))?;
        let offsets = [
            u.int_in_range(0..=16)?,
            u.int_in_range(0..=16)?,
            u.int_in_range(0..=16)?,
            u.int_in_range(0..=16)?,
        ];
        let (threads, masked, in_place) = (u.int_in_range(1..=4)?, u.ratio(1, 5)?, u.arbitrary()?);
        let power = |u: &mut Unstructured<'_>, most: i32| -> Result<f64> {
            Ok(10f64.powi(u.int_in_range(-most..=most)?))
        };
        let values = match u.int_in_range(0..=4)? {
            0 => Values::Integers,
            1 => Values::Outliers(power(u, 6)?),
            2 => Values::Normal { mean: u.int_in_range(-10..=10)?.into(), scale: 1.0 },
            3 => Values::Normal { mean: power(u, 6)?, scale: power(u, 30)? },
            _ => Values::Bits(u.bytes(u.len())?.to_vec()),
        };
        Ok(Self {
            kind,
            activation,
            extents: (outer, channels, inner),
            offsets,
            threads,
            masked,
            in_place,
            seed,
            values,
        })
    }

    pub fn tensors<E: Element>(&self) -> Tensors<E> {
        let (outer, channels, inner) = self.extents;
        let shape = Shape::new(outer, channels, inner).expect("small");
        let mut random = Random(self.seed);
        let mut values = |number: usize| -> Vec<E> {
            let mut bytes = Bytes::of(&self.values, number);
            (0..shape.len()).map(|_| self.value(&mut random, &mut bytes)).collect()
        };
        let (x, mut dy, addend) = (values(0), values(1), values(2));
        let mut parameters = |middle: f64| -> Vec<E::Parameter> {
            (0..channels).map(|_| E::Parameter::from_f64(middle + 0.5 * random.normal())).collect()
        };
        let (mut gamma, beta) = (parameters(1.0), parameters(0.0));
        for (gamma, beta) in gamma.iter_mut().zip(&beta) {
            // An output that tells xhat.
            if gamma.to_f64().abs() < 0.05 + beta.to_f64().abs() / 16.0 {
                *gamma = E::Parameter::from_f64(0.5);
            }
        }
        let mask: Option<Vec<bool>> =
            self.masked.then(|| (0..shape.positions()).map(|_| random.uniform() < 0.75).collect());
        let mut given = vec![Moments::EMPTY; channels];
        let counted = |data| {
            let mask = mask.as_deref().map(|counts| Mask::new(shape, counts).expect("its length"));
            View::<E>::new("x", shape, data).expect("its length").with_mask(mask).expect("its shape")
        };
        batchnorm::Reference.moments(counted(&x), &mut given);
        let coefficients = given.iter().enumerate().map(|(channel, moments)| {
            let parameters = (gamma[channel].to_f64(), beta[channel].to_f64());
            let of_batch = Coefficients::of_batch(moments, EPS, parameters);
            match self.activation {
                Activation::Output => of_batch.of_output::<E>(channel).expect("a gamma to divide by"),
                _ => of_batch,
            }
        });
        let coefficients: Vec<_> = coefficients.collect();
        // Where rounding decides on which side of 0 z is, dy is 0: dz is 0 on both.
        if !matches!(self.activation, Activation::None | Activation::Output) {
            for i in 0..shape.len() {
                let c = &coefficients[i / inner % channels];
                let xhat = (x[i].to_f64() - c.mean) * c.rstd;
                let added = if self.activation == Activation::AddRelu { addend[i].to_f64() } else { 0.0 };
                let (z, size) =
                    (c.gamma * xhat + c.beta + added, (c.gamma * xhat).abs() + c.beta.abs() + added.abs());
                if !(z.abs() > 1e-4 * size) || z.abs() < 1e-6 {
                    dy[i] = E::default();
                }
            }
        }
        let at = |offset: usize, values: Vec<E>| Placed::of(&values, offset);
        let [first, second, third, _] = self.offsets;
        Tensors {
            shape,
            activation: self.activation,
            in_place: self.in_place && mask.is_none(),
            output_offset: self.offsets[3],
            x: at(first, x),
            dy: at(second, dy),
            addend: at(third, addend),
            gamma,
            beta,
            mask,
            given: coefficients,
        }
    }

    fn value<E: Element>(&self, random: &mut Random, bytes: &mut Bytes<'_>) -> E {
        match &self.values {
            Values::Normal { mean, scale } => E::from_f64((mean + random.normal()) * scale),
            Values::Integers => E::from_f64((random.uniform() * 5.0).floor() - 2.0),
            Values::Outliers(size) => {
                let rare = random.uniform() < 0.01;
                E::from_f64(random.normal() * if rare { *size } else { 1.0 })
            }
            Values::Bits(_) => match self.kind {
                Kind::F32 => E::from_f64(f32::from_bits(bytes.next(4) as u32).into()),
                Kind::F64 => E::from_f64(f64::from_bits(bytes.next(8))),
                Kind::Bf16 => E::from_f64(batchnorm::bf16::from_bits(bytes.next(2) as u16).into()),
                Kind::F16 => E::from_f64(batchnorm::f16::from_bits(bytes.next(2) as u16).into()),
            },
        }
    }
}

/// The input's bytes, over and over.
struct Bytes<'a> {
    of: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn of(values: &'a Values, number: usize) -> Self {
        let of: &[u8] = match values {
            Values::Bits(bytes) if !bytes.is_empty() => bytes,
            _ => &[0],
        };
        Self { of, at: number * 5 }
    }

    fn next(&mut self, bytes: usize) -> u64 {
        let value =
            (0..bytes).fold(0, |value, i| value << 8 | u64::from(self.of[(self.at + i) % self.of.len()]));
        self.at += bytes;
        value
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + 1e-17
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// A tensor some elements behind the beginning of a line, between elements that nobody may touch.
pub struct Placed<E> {
    memory: Vec<E>,
    start: usize,
    len: usize,
}

impl<E: Element> Placed<E> {
    fn of(values: &[E], offset: usize) -> Self {
        let (untouched, per_line) = (E::from_f64(UNTOUCHED), LINE / size_of::<E>());
        let mut memory = vec![untouched; values.len() + 2 * MARGIN + offset + per_line];
        let into_line = memory.as_ptr().addr() % LINE / size_of::<E>();
        let start = MARGIN + (per_line - into_line) % per_line + offset;
        memory[start..start + values.len()].copy_from_slice(values);
        Self { memory, start, len: values.len() }
    }

    pub fn get(&self) -> &[E] {
        &self.memory[self.start..self.start + self.len]
    }

    fn get_mut(&mut self) -> &mut [E] {
        &mut self.memory[self.start..self.start + self.len]
    }

    fn take(self) -> Vec<E> {
        let around = self.memory[..self.start].iter().chain(&self.memory[self.start + self.len..]);
        assert!(around.copied().all(|value| value == E::from_f64(UNTOUCHED)), "written beside a tensor");
        self.get().to_vec()
    }
}

pub struct Tensors<E: Element> {
    pub shape: Shape,
    pub activation: Activation,
    in_place: bool,
    output_offset: usize,
    pub x: Placed<E>,
    pub dy: Placed<E>,
    pub addend: Placed<E>,
    pub gamma: Vec<E::Parameter>,
    pub beta: Vec<E::Parameter>,
    pub mask: Option<Vec<bool>>,
    /// What evaluation and the backward pass are given.
    pub given: Vec<Coefficients>,
}

pub struct Found<E> {
    pub moments: Vec<Moments>,
    pub y: Vec<E>,
    pub evaluated: Vec<E>,
    pub sums: Vec<GradientSums>,
    pub dx: Vec<E>,
    pub dx_fixed: Vec<E>,
    pub d_addend: Vec<E>,
}

impl<E: Element> Tensors<E> {
    fn view<'a>(&'a self, name: &'static str, placed: &'a Placed<E>) -> View<'a, E> {
        let mask = self.mask.as_deref().map(|counts| Mask::new(self.shape, counts).expect("its length"));
        View::new(name, self.shape, placed.get()).expect("its length").with_mask(mask).expect("its shape")
    }

    fn written(&self, write: impl FnOnce(ViewMut<'_, E>)) -> Vec<E> {
        let mut placed = Placed::of(&vec![E::from_f64(f64::NAN); self.shape.len()], self.output_offset);
        write(ViewMut::new("output", self.shape, placed.get_mut()).expect("its length"));
        placed.take()
    }

    pub fn through(&self, kernels: &impl Kernels<E>) -> Found<E> {
        let (x, dy, addend) =
            (self.view("x", &self.x), self.view("dy", &self.dy), self.view("addend", &self.addend));
        let (epilogue, gate) = match self.activation {
            Activation::None => (Epilogue::None, Gate::None),
            Activation::Relu => (Epilogue::Relu, Gate::Relu { x }),
            Activation::LeakyRelu => {
                (Epilogue::LeakyRelu { slope: SLOPE }, Gate::LeakyRelu { x, slope: SLOPE })
            }
            Activation::AddRelu => (Epilogue::AddRelu { addend }, Gate::AddRelu { x, addend }),
            Activation::Output => (Epilogue::None, Gate::Output { y: x, slope: SLOPE }),
        };
        let parameters = Parameters { gamma: Some(&self.gamma), beta: Some(&self.beta) };
        let channels = self.shape.channels();
        let mut moments = vec![Moments::EMPTY; channels];
        let mut coefficients = vec![Coefficients::new(0.0, 1.0, 0.0, (1.0, 0.0)); channels];
        let in_place = |write: &mut dyn FnMut(ViewMut<'_, E>)| {
            let mut placed = Placed::of(self.x.get(), self.output_offset);
            write(ViewMut::new("data", self.shape, placed.get_mut()).expect("its length"));
            placed.take()
        };
        let (y, evaluated) = if self.in_place {
            let y = in_place(&mut |data| {
                kernels.forward_train_in_place(
                    EPS,
                    parameters,
                    epilogue,
                    data,
                    &mut moments,
                    &mut coefficients,
                );
            });
            (y, in_place(&mut |data| kernels.normalize_in_place(&self.given, epilogue, data)))
        } else {
            let y = self.written(|y| {
                kernels.forward_train(EPS, parameters, x, epilogue, y, &mut moments, &mut coefficients);
            });
            (y, self.written(|y| kernels.normalize(&self.given, x, epilogue, y)))
        };
        let mut sums = vec![GradientSums::default(); channels];
        let count =
            self.mask.as_ref().map_or(self.shape.positions(), |mask| mask.iter().filter(|&&c| c).count());
        let mut d_addend = Vec::new();
        let dx = self.written(|dx| {
            d_addend = self.written(|d_addend| {
                kernels.backward(&self.given, count as u64, x, dy, gate, dx, Some(d_addend), &mut sums);
            });
        });
        let dx_fixed = self.written(|dx| kernels.input_gradient(&self.given, None, dy, gate, dx, None));
        Found { moments, y, evaluated, sums, dx, dx_fixed, d_addend }
    }
}

impl<E: Element> Found<E> {
    pub fn assert_same(&self, other: &Self, problem: &Problem, what: &str) {
        let bits = |value: f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        let all = |found: &Self| -> Vec<Vec<u64>> {
            let moments = found.moments.iter().flat_map(|m| [m.count as f64, m.mean, m.m2]).map(bits).collect();
            let sums = found.sums.iter().flat_map(|s| [s.dy, s.dy_xhat]).map(bits).collect();
            let tensors = [&found.y, &found.evaluated, &found.dx, &found.dx_fixed, &found.d_addend];
            let tensors = tensors.map(|tensor| tensor.iter().map(|value| bits(value.to_f64())).collect());
            [vec![moments, sums], tensors.to_vec()].concat()
        };
        let names = ["moments", "sums", "y", "evaluated y", "dx", "fixed dx", "d addend"];
        for (name, (a, b)) in names.into_iter().zip(all(self).iter().zip(&all(other))) {
            if let Some(i) = a.iter().zip(b).position(|(a, b)| a != b) {
                let (a, b) = (f64::from_bits(a[i]), f64::from_bits(b[i]));
                panic!("{what}: {name}[{i}] is {b:e} and was {a:e}: {problem:?}");
            }
        }
    }
}
