//! What the kernels are measured against: the plainest loops that move as many bytes as a pass has to.
//!
//! ```text
//! copy:    y = x            1 read, 1 write: forward passes and evaluation
//! triad:   dx = x + dy      2 reads, 1 write: backward passes
//! ```
//!
//! The roof is the faster of the two kinds of store; see `batchnorm bench`.

use rayon::prelude::*;

use super::dispatch::{InstructionSet, Job, on};
use super::lanes::{Isa, LANES, Lanes};
use super::memory::{Source, Target, load};
use crate::Element;

/// How results are written to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Store {
    /// Through the cache.
    Ordinary,
    /// Past the cache (non-temporal), where the processor can.
    Streaming,
}

/// Elements of a job.
const PIECE: usize = 32 * 1024;

/// `y = x`, on the current thread pool.
///
/// # Panics
///
/// If the slices are not of the same length.
///
/// ```
/// use batchnorm::roof::{Store, copy};
///
/// let (x, mut y) = ([1.0f32, 2.0, 3.0], [0.0; 3]);
/// copy(&x, &mut y, Store::Streaming);
/// assert_eq!(y, x);
/// ```
pub fn copy<E: Element>(x: &[E], y: &mut [E], store: Store) {
    assert_eq!(x.len(), y.len(), "a copy is of two slices of one length");
    for_each_piece(y, |start, y| {
        let x = &x[start..start + y.len()];
        match store {
            Store::Ordinary => y.copy_from_slice(x),
            Store::Streaming => on(InstructionSet::best(), Piece { x, dy: None, to: y, store }),
        }
    });
}

/// `dx = x + dy`, on the current thread pool.
///
/// # Panics
///
/// If the slices are not of the same length.
///
/// ```
/// use batchnorm::roof::{Store, triad};
///
/// let mut dx = [0.0f32; 3];
/// triad(&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0], &mut dx, Store::Ordinary);
/// assert_eq!(dx, [2.0, 3.0, 4.0]);
/// ```
pub fn triad<E: Element>(x: &[E], dy: &[E], dx: &mut [E], store: Store) {
    assert!(x.len() == dx.len() && dy.len() == dx.len(), "a triad is of three slices of one length");
    for_each_piece(dx, |start, to| {
        let of = start..start + to.len();
        on(InstructionSet::best(), Piece { x: &x[of.clone()], dy: Some(&dy[of]), to, store });
    });
}

fn for_each_piece<E: Element>(y: &mut [E], job: impl Fn(usize, &mut [E]) + Sync + Send) {
    if y.len() <= PIECE || rayon::current_num_threads() == 1 {
        return job(0, y);
    }
    y.par_chunks_mut(PIECE).enumerate().for_each(|(i, y)| job(i * PIECE, y));
}

struct Piece<'a, E> {
    x: &'a [E],
    dy: Option<&'a [E]>,
    to: &'a mut [E],
    store: Store,
}

impl<E: Element> Job for Piece<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let len = self.to.len();
        let (x, dy) = (Source::new(self.x), self.dy.map(Source::new));
        // SAFETY: this thread alone has it.
        let to = unsafe { Target::new(self.to) };
        let streams = self.store == Store::Streaming;
        let head = if streams { to.until_line(0).min(len) } else { 0 };
        if head > 0 {
            to.store_part(isa, 0, sum(isa, &x, dy.as_ref(), 0, Some(head)), head);
        }
        let rest = len - head;
        let (x, dy, to) = (x.run(head, rest), dy.map(|dy| dy.run(head, rest)), to.run(head, rest));
        let mut i = 0;
        while i + LANES <= rest {
            let v = sum(isa, &x, dy.as_ref(), i, None);
            if streams {
                to.stream(isa, i, v)
            } else {
                to.store(isa, i, v)
            }
            i += LANES;
        }
        if i < rest {
            to.store_part(isa, i, sum(isa, &x, dy.as_ref(), i, Some(rest - i)), rest - i);
        }
        isa.fence();
    }
}

#[inline(always)]
fn sum<I: Isa, E: Element>(
    isa: I,
    x: &Source<'_, E>,
    dy: Option<&Source<'_, E>>,
    i: usize,
    len: Option<usize>,
) -> <E as Lanes>::V<I> {
    let x = load(isa, x, i, len);
    match dy {
        None => x,
        Some(dy) => x + load(isa, dy, i, len),
    }
}
