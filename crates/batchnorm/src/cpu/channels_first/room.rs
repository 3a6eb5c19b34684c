//! What is known of the columns of a group, an entry for each: what they are folded about, their sums, their coefficients.

use std::ops::Range;

use super::super::lanes::{Isa, Lanes};
use super::super::memory::{Own, Source, load};
use super::super::narrow::{FIELDS, Narrow};
use super::gates::Affine;
use super::sweep::Sums;
use crate::scratch::{self, Scratch};
use crate::{Element, Real};

/// The type of an element's coefficients.
pub type Computed<E> = <E as Element>::Parameter;

/// Coefficients of an affine map: mean, scale, beta.
pub const AFFINE: usize = 3;

/// Memory for columns that are folded.
pub struct FoldRoom<'m, P> {
    width: usize,
    /// Field after field of `width`: what columns are folded about, then sums, then sums of products.
    wide: &'m mut [f64],
    /// Their coefficients, field after field.
    narrow: &'m mut [P],
}

/// Calls `job` with room to fold `width` columns, in memory that this thread keeps.
pub fn to_fold<P: Real + Scratch, R>(width: usize, job: impl FnOnce(FoldRoom<'_, P>) -> R) -> R {
    let width = in_lines(width);
    scratch::with_any(3 * width + LINE, 0.0, |wide| {
        let wide = from_a_line(wide, 3 * width);
        scratch::with_any(AFFINE * width + LINE, P::ZERO, |narrow| {
            job(FoldRoom { width, wide, narrow: from_a_line(narrow, AFFINE * width) })
        })
    })
}

/// Bytes of a line, and more elements than it has of any type.
const LINE: usize = 64;

/// Fields of so many columns begin at lines, if the first does: a vector across two lines costs as much as two.
fn in_lines(width: usize) -> usize {
    width.next_multiple_of(LINE / size_of::<f32>())
}

/// `len` values of `memory`, from where a line begins.
fn from_a_line<T>(memory: &mut [T], len: usize) -> &mut [T] {
    let before = memory.as_ptr().align_offset(LINE).min(memory.len() - len);
    &mut memory[before..before + len]
}

impl<P: Real + Lanes> FoldRoom<'_, P> {
    /// Sums of nothing.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.wide[self.width..].fill(0.0);
    }

    /// What columns are folded about (`near`: in the type of coefficients, too), and their coefficients.
    #[inline(always)]
    pub fn open(&mut self, columns: Range<usize>, centre: f64, narrow: Option<&Narrow<P>>, near: bool) {
        spread(&mut self.wide[columns.clone()], centre);
        match narrow {
            Some(narrow) => fill(self.narrow, self.width, columns, narrow, AFFINE),
            // The mean is the first field.
            None if near => spread(&mut self.narrow[columns], P::from_f64(centre)),
            None => {}
        }
    }

    /// What is known of the columns, and their sums.
    #[inline(always)]
    pub fn parts(&mut self) -> (Known<'_, P>, Kept<'_>) {
        let (centres, sums) = self.wide.split_at_mut(self.width);
        let (sums, products) = sums.split_at_mut(self.width);
        let known = Known { centre: Source::new(centres), fields: fields(self.narrow, self.width) };
        (known, Kept { sums: Own::new(sums), products: Own::new(products) })
    }
}

/// Memory for columns that are mapped.
pub struct MapRoom<'m, P> {
    width: usize,
    /// Their coefficients, field after field of `width`.
    narrow: &'m mut [P],
}

/// Calls `job` with room to map `width` columns, in memory that this thread keeps.
pub fn to_map<P: Real + Scratch, R>(width: usize, job: impl FnOnce(MapRoom<'_, P>) -> R) -> R {
    let width = in_lines(width);
    scratch::with_any(FIELDS * width + LINE, P::ZERO, |narrow| {
        job(MapRoom { width, narrow: from_a_line(narrow, FIELDS * width) })
    })
}

impl<P: Real + Lanes> MapRoom<'_, P> {
    /// The coefficients of columns: the first `fields`.
    #[inline(always)]
    pub fn open(&mut self, columns: Range<usize>, narrow: &Narrow<P>, fields: usize) {
        fill(self.narrow, self.width, columns, narrow, fields);
    }

    /// The first `row` columns, over and over.
    #[inline(always)]
    pub fn repeat(&mut self, row: usize, fields: usize) {
        for of_field in self.narrow.chunks_exact_mut(self.width).take(fields) {
            let mut done = row;
            while done < of_field.len() {
                let more = done.min(of_field.len() - done);
                of_field.copy_within(..more, done);
                done += more;
            }
        }
    }

    /// What is known of the columns.
    #[inline(always)]
    pub fn known(&self) -> Known<'_, P> {
        Known { centre: Source::new(&[]), fields: fields(self.narrow, self.width) }
    }
}

#[inline(always)]
fn fill<P: Real>(values: &mut [P], width: usize, columns: Range<usize>, narrow: &Narrow<P>, fields: usize) {
    for (of_field, value) in values.chunks_exact_mut(width).zip(narrow.fields()).take(fields) {
        spread(&mut of_field[columns.clone()], value);
    }
}

/// The same value for all columns of a channel, of which there is often one.
#[inline(always)]
fn spread<T: Copy>(columns: &mut [T], value: T) {
    match columns {
        [] => {}
        [column] => *column = value,
        columns => columns.fill(value),
    }
}

#[inline(always)]
fn fields<P: Real + Lanes>(values: &[P], width: usize) -> [Source<'_, P>; FIELDS] {
    std::array::from_fn(
        #[inline(always)]
        |field| Source::new(values.get(field * width..(field + 1) * width).unwrap_or(&[])),
    )
}

/// What columns are folded about, and their coefficients.
#[derive(Clone, Copy)]
pub struct Known<'a, P> {
    centre: Source<'a, f64>,
    fields: [Source<'a, P>; FIELDS],
}

impl<P: Real + Lanes> Known<'_, P> {
    /// The same of the `len` columns from `start` on, of columns that are mapped.
    #[inline(always)]
    pub fn run(mut self, start: usize, len: usize) -> Self {
        // Not `array::map`, which is not always inlined.
        for field in &mut self.fields {
            *field = field.run(start, len);
        }
        self
    }

    /// The same of columns that are folded: it has no more than an affine map needs.
    #[inline(always)]
    pub fn run_affine(mut self, start: usize, len: usize) -> Self {
        for field in &mut self.fields[..AFFINE] {
            *field = field.run(start, len);
        }
        self
    }

    /// What column `i` is folded about.
    #[inline(always)]
    pub fn centre_of(&self, i: usize) -> f64 {
        self.centre.at(i)
    }

    #[inline(always)]
    pub fn centre<I: Isa>(&self, isa: I, i: usize, len: Option<usize>) -> I::F64 {
        load(isa, &self.centre, i, len)
    }

    /// Field `field` of [`Narrow::fields`].
    #[inline(always)]
    pub fn field<I: Isa, E: Element<Parameter = P>>(
        &self,
        isa: I,
        field: usize,
        i: usize,
        len: Option<usize>,
    ) -> E::V<I> {
        E::of_computed(load(isa, &self.fields[field], i, len))
    }

    /// What an affine map needs.
    #[inline(always)]
    pub fn affine<I: Isa, E: Element<Parameter = P>>(
        &self,
        isa: I,
        i: usize,
        len: Option<usize>,
    ) -> Affine<E::V<I>> {
        Affine::new(
            #[inline(always)]
            |field| self.field::<I, E>(isa, field, i, len),
        )
    }
}

/// The sums of columns.
pub struct Kept<'a> {
    sums: Own<'a, f64>,
    products: Own<'a, f64>,
}

impl Kept<'_> {
    /// The sums of the `len` columns from `start` on.
    #[inline(always)]
    pub fn run(&mut self, start: usize, len: usize) -> Kept<'_> {
        Kept { sums: self.sums.run(start, len), products: self.products.run(start, len) }
    }

    #[inline(always)]
    pub fn load<I: Isa>(&self, isa: I, i: usize, len: Option<usize>) -> Sums<I::F64> {
        Sums { sum: self.sums.load(isa, i, len), products: self.products.load(isa, i, len) }
    }

    /// Of one column.
    #[inline(always)]
    pub fn one(&self, i: usize) -> Sums<f64> {
        Sums { sum: self.sums.at(i), products: self.products.at(i) }
    }

    #[inline(always)]
    pub fn add<I: Isa>(&mut self, isa: I, i: usize, more: Sums<I::F64>, len: Option<usize>) {
        let of = self.load(isa, i, len);
        self.store(isa, i, Sums { sum: of.sum + more.sum, products: of.products + more.products }, len);
    }

    #[inline(always)]
    pub fn store<I: Isa>(&mut self, isa: I, i: usize, of: Sums<I::F64>, len: Option<usize>) {
        self.sums.store(isa, i, of.sum, len);
        self.products.store(isa, i, of.products, len);
    }
}
