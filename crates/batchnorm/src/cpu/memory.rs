//! Tensors as kernels see them: read and written by vectors, from several threads, at checked places.

use std::marker::PhantomData;

use super::lanes::{Isa, LANES, Lanes};

/// The bytes of a line.
const LINE: usize = 64;

/// The bytes at a multiple of which streaming stores begin: a line, or a vector if that is less (half types: two fill a line).
const fn boundary<E>() -> usize {
    let vector = LANES * size_of::<E>();
    if vector < LINE { vector } else { LINE }
}

/// A tensor that is read. What is written in place is read through it, too.
#[derive(Clone, Copy)]
pub struct Source<'a, E> {
    data: *const E,
    len: usize,
    of: PhantomData<&'a [E]>,
}

// SAFETY: it only reads, and what it reads is written by nobody but its own thread: see `Source::of_target`.
unsafe impl<E: Sync> Send for Source<'_, E> {}
// SAFETY: likewise.
unsafe impl<E: Sync> Sync for Source<'_, E> {}

impl<'a, E: Lanes> Source<'a, E> {
    pub fn new(data: &'a [E]) -> Self {
        Self { data: data.as_ptr(), len: data.len(), of: PhantomData }
    }

    /// What a target holds before it is overwritten.
    ///
    /// # Safety
    ///
    /// No thread reads what another one may write at the time.
    pub unsafe fn of_target(target: Target<'a, E>) -> Self {
        Self { data: target.data, len: target.len, of: PhantomData }
    }

    /// Whether `other` is the same memory.
    pub fn is(&self, other: &Self) -> bool {
        self.data == other.data && self.len == other.len
    }

    /// The `len` elements from `start` on, as a tensor of their own: a loop over them needs no further checks.
    #[inline(always)]
    pub fn run(self, start: usize, len: usize) -> Self {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: they are there.
        Self { data: unsafe { self.data.add(start) }, len, of: PhantomData }
    }

    /// The [`LANES`] elements from `i` on.
    #[inline(always)]
    pub fn load<I: Isa>(&self, isa: I, i: usize) -> E::V<I> {
        assert!(i + LANES <= self.len);
        // SAFETY: they are there.
        unsafe { E::load(isa, self.data.add(i)) }
    }

    /// The [`LANES`] elements from `i` on, or `Some(len)` and then zeros, in f64.
    #[inline(always)]
    pub fn load_wide<I: Isa>(&self, isa: I, i: usize, len: Option<usize>) -> I::F64 {
        if let Some(len) = len {
            return E::widen_lanes(isa, self.load_part(isa, i, len));
        }
        assert!(i + LANES <= self.len);
        // SAFETY: they are there.
        unsafe { E::load_wide(isa, self.data.add(i)) }
    }

    /// The `len < LANES` elements from `i` on, then zeros.
    #[inline(always)]
    pub fn load_part<I: Isa>(&self, isa: I, i: usize, len: usize) -> E::V<I> {
        assert!(i + len <= self.len && len < LANES);
        // SAFETY: they are there.
        unsafe { E::load_part(isa, self.data.add(i), len) }
    }

    /// Element `i`.
    #[inline(always)]
    pub fn at(&self, i: usize) -> E {
        assert!(i < self.len);
        // SAFETY: it is there.
        unsafe { *self.data.add(i) }
    }

    /// Asks for the lines of the [`LANES`] elements from `i` on, which need not exist.
    #[inline(always)]
    pub fn prefetch<I: Isa>(&self, isa: I, i: usize) {
        let per_line = LINE / size_of::<E>();
        isa.prefetch(self.data.wrapping_add(i));
        if per_line < LANES {
            isa.prefetch(self.data.wrapping_add(i.wrapping_add(per_line)));
        }
    }
}

/// The elements from `i` on: [`LANES`], or `Some(len)` and then zeros.
#[inline(always)]
pub fn load<I: Isa, E: Lanes>(isa: I, from: &Source<'_, E>, i: usize, len: Option<usize>) -> E::V<I> {
    match len {
        None => from.load(isa, i),
        Some(len) => from.load_part(isa, i, len),
    }
}

/// Which elements of each of its tensors a loop goes over.
pub trait Part: Copy {
    /// Those of a tensor that is read.
    fn of<E: Lanes>(self, tensor: Source<'_, E>) -> Source<'_, E>;
    /// Those of a tensor that is written.
    fn of_target<E: Lanes>(self, tensor: Target<'_, E>) -> Target<'_, E>;
    /// If it is a run, which one.
    #[inline(always)]
    fn as_run(self) -> Option<Run> {
        None
    }
}

/// The `len` elements from `start` on.
#[derive(Clone, Copy)]
pub struct Run {
    pub start: usize,
    pub len: usize,
}

impl Part for Run {
    #[inline(always)]
    fn of<E: Lanes>(self, tensor: Source<'_, E>) -> Source<'_, E> {
        tensor.run(self.start, self.len)
    }

    #[inline(always)]
    fn of_target<E: Lanes>(self, tensor: Target<'_, E>) -> Target<'_, E> {
        tensor.run(self.start, self.len)
    }

    #[inline(always)]
    fn as_run(self) -> Option<Run> {
        Some(self)
    }
}

/// The first of `rows` rows of `width` elements, `stride` apart: checked once for all of them.
#[derive(Clone, Copy)]
pub struct FirstRow {
    pub start: usize,
    pub rows: usize,
    pub stride: usize,
    pub width: usize,
}

impl FirstRow {
    /// Stops unless all rows are among `len` elements.
    #[inline(always)]
    fn check(self, len: usize) {
        let Self { start, rows, stride, width } = self;
        let all = rows
            .checked_sub(1)
            .and_then(|more| more.checked_mul(stride))
            .and_then(|more| more.checked_add(width));
        assert!(start <= len && all.is_some_and(|all| all <= len - start));
    }
}

impl Part for FirstRow {
    #[inline(always)]
    fn of<E: Lanes>(self, tensor: Source<'_, E>) -> Source<'_, E> {
        self.check(tensor.len);
        // SAFETY: they are there.
        Source { data: unsafe { tensor.data.add(self.start) }, len: self.width, of: PhantomData }
    }

    #[inline(always)]
    fn of_target<E: Lanes>(self, tensor: Target<'_, E>) -> Target<'_, E> {
        self.check(tensor.len);
        // SAFETY: they are there.
        Target { data: unsafe { tensor.data.add(self.start) }, len: self.width, of: PhantomData }
    }
}

/// The row after the one that is gone over.
#[derive(Clone, Copy)]
pub struct NextRow {
    stride: usize,
}

impl NextRow {
    /// # Safety
    ///
    /// It is for parts of [`FirstRow`] with this stride, and so often that there are such rows.
    #[inline(always)]
    pub unsafe fn new(stride: usize) -> Self {
        Self { stride }
    }
}

impl Part for NextRow {
    #[inline(always)]
    fn of<E: Lanes>(self, tensor: Source<'_, E>) -> Source<'_, E> {
        // SAFETY: who made it promises that it is there.
        Source { data: unsafe { tensor.data.add(self.stride) }, ..tensor }
    }

    #[inline(always)]
    fn of_target<E: Lanes>(self, tensor: Target<'_, E>) -> Target<'_, E> {
        // SAFETY: likewise.
        Target { data: unsafe { tensor.data.add(self.stride) }, ..tensor }
    }
}

/// A tensor that several threads write, each its own elements.
#[derive(Clone, Copy)]
pub struct Target<'a, E> {
    data: *mut E,
    len: usize,
    of: PhantomData<&'a mut [E]>,
}

// SAFETY: who makes one promises that no two threads write the same element.
unsafe impl<E: Send> Send for Target<'_, E> {}
// SAFETY: likewise.
unsafe impl<E: Send> Sync for Target<'_, E> {}

impl<'a, E: Lanes> Target<'a, E> {
    /// # Safety
    ///
    /// Of all copies of it, no two write the same element from two threads.
    pub unsafe fn new(data: &'a mut [E]) -> Self {
        Self { data: data.as_mut_ptr(), len: data.len(), of: PhantomData }
    }

    /// The `len` elements from `start` on, as a tensor of their own: a loop over them needs no further checks.
    #[inline(always)]
    pub fn run(self, start: usize, len: usize) -> Self {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: they are there.
        Self { data: unsafe { self.data.add(start) }, len, of: PhantomData }
    }

    /// Writes the [`LANES`] elements from `i` on.
    #[inline(always)]
    pub fn store<I: Isa>(&self, isa: I, i: usize, v: E::V<I>) {
        assert!(i + LANES <= self.len);
        // SAFETY: they are there, and nobody else's.
        unsafe { E::store(isa, self.data.add(i), v) }
    }

    /// Writes the `len < LANES` elements from `i` on.
    #[inline(always)]
    pub fn store_part<I: Isa>(&self, isa: I, i: usize, v: E::V<I>, len: usize) {
        assert!(i + len <= self.len && len < LANES);
        // SAFETY: they are there, and nobody else's.
        unsafe { E::store_part(isa, self.data.add(i), v, len) }
    }

    /// Writes the [`LANES`] elements from `i` on past the cache. `i` is at the beginning of a line:
    /// [`until_line`](Self::until_line) says where one begins.
    #[inline(always)]
    pub fn stream<I: Isa>(&self, isa: I, i: usize, v: E::V<I>) {
        assert!(i + LANES <= self.len);
        debug_assert_eq!(self.until_line(i), 0);
        // SAFETY: they are there, and nobody else's; the sweep begins its streams where a line does.
        unsafe { E::stream(isa, self.data.add(i), v) }
    }

    /// Writes twice [`LANES`] elements from `i` on.
    #[inline(always)]
    pub fn store_pair<I: Isa>(&self, isa: I, i: usize, first: E::V<I>, second: E::V<I>) {
        assert!(i + 2 * LANES <= self.len);
        // SAFETY: they are there, and nobody else's.
        unsafe { E::store_pair(isa, self.data.add(i), first, second) }
    }

    /// The same past the cache, where that is the beginning of a whole line.
    #[inline(always)]
    pub fn stream_pair<I: Isa>(&self, isa: I, i: usize, first: E::V<I>, second: E::V<I>) {
        assert!(i + 2 * LANES <= self.len);
        // SAFETY: they are there, and nobody else's.
        unsafe {
            if self.data.add(i).addr().is_multiple_of(LINE) {
                E::stream_pair(isa, self.data.add(i), first, second);
            } else {
                E::stream(isa, self.data.add(i), first);
                E::stream(isa, self.data.add(i + LANES), second);
            }
        }
    }

    /// How many elements there are from `i` to the next beginning of a line; less than [`LANES`].
    #[inline(always)]
    pub fn until_line(&self, i: usize) -> usize {
        let address = self.data.wrapping_add(i).addr();
        (address.wrapping_neg() % boundary::<E>()) / size_of::<E>()
    }
}

/// Numbers of one thread's own: read and written, by vectors.
pub struct Own<'a, E>(Target<'a, E>);

impl<'a, E: Lanes> Own<'a, E> {
    #[inline(always)]
    pub fn new(data: &'a mut [E]) -> Self {
        // SAFETY: there are no copies of it.
        Self(unsafe { Target::new(data) })
    }

    /// The `len` numbers from `start` on.
    #[inline(always)]
    pub fn run(&mut self, start: usize, len: usize) -> Own<'_, E> {
        Own(self.0.run(start, len))
    }

    /// The [`LANES`] numbers from `i` on, or `Some(len)` and then zeros.
    #[inline(always)]
    pub fn load<I: Isa>(&self, isa: I, i: usize, len: Option<usize>) -> E::V<I> {
        // SAFETY: nobody writes them while this is borrowed.
        load(isa, &unsafe { Source::of_target(self.0) }, i, len)
    }

    /// Number `i`.
    #[inline(always)]
    pub fn at(&self, i: usize) -> E {
        // SAFETY: nobody writes them while this is borrowed.
        unsafe { Source::of_target(self.0) }.at(i)
    }

    /// Writes as many.
    #[inline(always)]
    pub fn store<I: Isa>(&mut self, isa: I, i: usize, v: E::V<I>, len: Option<usize>) {
        match len {
            None => self.0.store(isa, i, v),
            Some(len) => self.0.store_part(isa, i, v, len),
        }
    }
}

/// One value per channel, that several threads write, each for its own channels.
#[derive(Clone, Copy)]
pub struct PerChannel<'a, T> {
    values: *mut T,
    len: usize,
    of: PhantomData<&'a mut [T]>,
}

// SAFETY: who makes one promises that no two threads write the same value.
unsafe impl<T: Send> Send for PerChannel<'_, T> {}
// SAFETY: likewise.
unsafe impl<T: Send> Sync for PerChannel<'_, T> {}

impl<'a, T: Copy> PerChannel<'a, T> {
    /// # Safety
    ///
    /// Of all copies of it, no two write the same value from two threads.
    pub unsafe fn new(values: &'a mut [T]) -> Self {
        Self { values: values.as_mut_ptr(), len: values.len(), of: PhantomData }
    }

    /// Sets value `i`.
    #[inline(always)]
    pub fn set(&self, i: usize, value: T) {
        assert!(i < self.len);
        // SAFETY: it is there, and nobody else's.
        unsafe { self.values.add(i).write(value) }
    }
}
