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

/// Memory for the columns of a group.
pub struct Room<'m, P> {
    width: usize,
    /// What columns are folded about, field after field of `width`: the shift or the mean, then sums, then sums of products.
    wide: &'m mut [f64],
    /// The coefficients of what is folded, then of what is mapped, field after field.
    narrow: &'m mut [P],
}

/// Calls `job` with room for `width` columns, in memory that this thread keeps.
pub fn with<P: Real + Scratch, R>(width: usize, job: impl FnOnce(Room<'_, P>) -> R) -> R {
    scratch::with_any(3 * width, 0.0, |wide| {
        scratch::with_any(2 * FIELDS * width, P::ZERO, |narrow| job(Room { width, wide, narrow }))
    })
}

impl<P: Real + Lanes> Room<'_, P> {
    /// Begins to fold columns about `centre`.
    #[inline(always)]
    pub fn open(&mut self, columns: Range<usize>, centre: f64, narrow: Option<&Narrow<P>>) {
        let (centres, sums) = self.wide.split_at_mut(self.width);
        centres[columns.clone()].fill(centre);
        let (sums, products) = sums.split_at_mut(self.width);
        sums[columns.clone()].fill(0.0);
        products[columns.clone()].fill(0.0);
        if let Some(narrow) = narrow {
            fill(&mut self.narrow[..FIELDS * self.width], self.width, columns, narrow, AFFINE);
        }
    }

    /// The coefficients of columns that are to be mapped: the first `fields`.
    #[inline(always)]
    pub fn map_with(&mut self, columns: Range<usize>, narrow: &Narrow<P>, fields: usize) {
        fill(&mut self.narrow[FIELDS * self.width..], self.width, columns, narrow, fields);
    }

    /// What is folded: the first `len` columns.
    #[inline(always)]
    pub fn folded(&mut self, len: usize) -> (Known<'_, P>, Kept<'_>) {
        self.both(0, len).1
    }

    /// Of what is mapped, the `len` columns from `head` on; of what is folded, the first `len`.
    #[inline(always)]
    pub fn both(&mut self, head: usize, len: usize) -> (Known<'_, P>, (Known<'_, P>, Kept<'_>)) {
        let (of_fold, of_map) = self.narrow.split_at(FIELDS * self.width);
        let (centres, sums) = self.wide.split_at_mut(self.width);
        let (sums, products) = sums.split_at_mut(self.width);
        let known = Known { centre: Source::new(&centres[..len]), fields: fields(of_fold, self.width, len) };
        let mapped = Known { centre: Source::new(&[]), fields: fields(of_map, self.width, head + len) };
        let kept = Kept { sums: Own::new(&mut sums[..len]), products: Own::new(&mut products[..len]) };
        (mapped.run(head, len), (known, kept))
    }

    /// What is mapped: the first `len` columns.
    #[inline(always)]
    pub fn mapped(&self, len: usize) -> Known<'_, P> {
        Known { centre: Source::new(&[]), fields: fields(&self.narrow[FIELDS * self.width..], self.width, len) }
    }
}

#[inline(always)]
fn fill<P: Real>(values: &mut [P], width: usize, columns: Range<usize>, narrow: &Narrow<P>, fields: usize) {
    for (field, value) in narrow.fields().into_iter().enumerate().take(fields) {
        values[field * width + columns.start..field * width + columns.end].fill(value);
    }
}

#[inline(always)]
fn fields<P: Real + Lanes>(values: &[P], width: usize, len: usize) -> [Source<'_, P>; FIELDS] {
    std::array::from_fn(
        #[inline(always)]
        |field| Source::new(&values[field * width..field * width + len]),
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
    pub fn run(self, start: usize, len: usize) -> Self {
        Self {
            fields: self.fields.map(
                #[inline(always)]
                |field| field.run(start, len),
            ),
            ..self
        }
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
    #[inline(always)]
    pub fn load<I: Isa>(&self, isa: I, i: usize, len: Option<usize>) -> Sums<I::F64> {
        Sums { sum: self.sums.load(isa, i, len), products: self.products.load(isa, i, len) }
    }

    #[inline(always)]
    pub fn store<I: Isa>(&mut self, isa: I, i: usize, of: Sums<I::F64>, len: Option<usize>) {
        self.sums.store(isa, i, of.sum, len);
        self.products.store(isa, i, of.products, len);
    }
}
