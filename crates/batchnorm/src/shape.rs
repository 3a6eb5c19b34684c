//! Tensors of any rank and channel axis, seen as (outer, channels, inner), and slices checked against them.

use std::fmt;
use std::ops::Range;

use crate::Error;

/// A tensor as batch normalization sees it: `outer` x `channels` x `inner`, row-major and contiguous.
///
/// The axes before the channel axis multiply to `outer`, those after it to `inner`. Element
/// `(o, c, i)` lies at `(o * channels + c) * inner + i`, and each channel has `outer * inner` values.
///
/// ```
/// use batchnorm::Shape;
///
/// // Images, channels first: N x C x H x W.
/// let shape = Shape::channels_first(&[32, 64, 56, 56])?;
/// assert_eq!((shape.outer(), shape.channels(), shape.inner()), (32, 64, 56 * 56));
/// // The same images, channels last: N x H x W x C.
/// let shape = Shape::channels_last(&[32, 56, 56, 64])?;
/// assert_eq!((shape.outer(), shape.channels(), shape.inner()), (32 * 56 * 56, 64, 1));
/// // Any axis; a negative one counts from the end.
/// assert_eq!(Shape::of(&[4, 5, 6], -2)?, Shape::new(4, 5, 6)?);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    outer: usize,
    channels: usize,
    inner: usize,
}

impl Shape {
    /// The shape of nothing.
    pub(crate) const EMPTY: Self = Self { outer: 0, channels: 0, inner: 0 };

    /// The most elements a shape may have: what a slice of 8-byte elements can address, so that neither an
    /// index nor a length in bytes overflows.
    pub const MAX_LEN: usize = isize::MAX as usize / 8;

    /// A shape from its three extents. Extents of zero are allowed: an empty batch is a policy's matter.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if there are more than [`Shape::MAX_LEN`] elements.
    pub fn new(outer: usize, channels: usize, inner: usize) -> Result<Self, Error> {
        let too_large = Error::TooLarge { outer, channels, inner };
        // Zero extents are left out, so that no partial product overflows unseen behind a zero.
        [outer, channels, inner]
            .into_iter()
            .filter(|&extent| extent > 0)
            .try_fold(1usize, usize::checked_mul)
            .filter(|&len| len <= Self::MAX_LEN)
            .ok_or(too_large)?;
        Ok(Self { outer, channels, inner })
    }

    /// The shape of a tensor of extents `dims` whose channels lie along `axis`; a negative axis counts from
    /// the end.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAxis`] if there is no such axis, [`Error::TooLarge`] as for [`Shape::new`].
    pub fn of(dims: &[usize], axis: isize) -> Result<Self, Error> {
        let rank = dims.len();
        let index = if axis < 0 { rank.checked_add_signed(axis) } else { Some(axis.unsigned_abs()) };
        let index = index.filter(|&index| index < rank).ok_or_else(|| Error::InvalidAxis {
            axis,
            rank,
            dims: dims.to_vec(),
        })?;
        let product = |dims: &[usize]| {
            if dims.contains(&0) {
                return 0;
            }
            // A saturated product is refused by `new`.
            dims.iter().fold(1usize, |product, &extent| product.saturating_mul(extent))
        };
        Self::new(product(&dims[..index]), dims[index], product(&dims[index + 1..]))
    }

    /// The shape of channels-first data, N x C x ...: the channel axis is 1.
    ///
    /// # Errors
    ///
    /// As for [`Shape::of`].
    pub fn channels_first(dims: &[usize]) -> Result<Self, Error> {
        Self::of(dims, 1)
    }

    /// The shape of channels-last data, N x ... x C: the channel axis is the last.
    ///
    /// # Errors
    ///
    /// As for [`Shape::of`].
    pub fn channels_last(dims: &[usize]) -> Result<Self, Error> {
        Self::of(dims, -1)
    }

    /// The product of the axes before the channel axis.
    pub const fn outer(&self) -> usize {
        self.outer
    }

    /// The length of the channel axis.
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// The product of the axes after the channel axis.
    pub const fn inner(&self) -> usize {
        self.inner
    }

    /// The number of elements.
    pub const fn len(&self) -> usize {
        self.outer * self.channels * self.inner
    }

    /// Whether there are no elements.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of values of each channel, `outer * inner`: the n of its statistics.
    pub const fn positions(&self) -> usize {
        self.outer * self.inner
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} x {} (outer x channels x inner)", self.outer, self.channels, self.inner)
    }
}

/// Which positions of a tensor count: false for padding, true for data.
///
/// A mask has one entry for each of the `outer * inner` positions of a [`Shape`], for all channels alike; position
/// `(o, i)` is entry `o * inner + i`. Elements that do not count enter no statistic, come out of a map as 0, and
/// change nothing by what they hold: it may be NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask<'a> {
    counts: &'a [bool],
}

impl<'a> Mask<'a> {
    /// A mask for tensors of `shape`.
    ///
    /// # Errors
    ///
    /// [`Error::MaskMismatch`] if there is not one entry per position.
    ///
    /// ```
    /// use batchnorm::{Mask, Shape};
    ///
    /// // Two sequences of 3 steps and 4 features; the second has only one step.
    /// let shape = Shape::channels_last(&[2, 3, 4])?;
    /// let mask = Mask::new(shape, &[true, true, true, true, false, false])?;
    /// assert_eq!(mask.count(), 4);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn new(shape: Shape, counts: &'a [bool]) -> Result<Self, Error> {
        if counts.len() == shape.positions() {
            Ok(Self { counts })
        } else {
            Err(Error::MaskMismatch { expected: shape.positions(), found: counts.len(), shape })
        }
    }

    /// One entry per position: whether it counts.
    pub const fn counts(&self) -> &'a [bool] {
        self.counts
    }

    /// A number by which two masks of as many positions are told apart (FNV-1a over 8 positions at a time).
    pub(crate) fn fingerprint(&self) -> u64 {
        let (basis, prime) = (0xcbf2_9ce4_8422_2325u64, 0x100_0000_01b3);
        self.counts.chunks(8).fold(basis, |hash, counts| {
            let packed = counts.iter().fold(0u64, |packed, &counts| packed << 8 | u64::from(counts));
            (hash ^ packed).wrapping_mul(prime)
        })
    }

    /// How many positions count.
    pub fn count(&self) -> usize {
        self.counts.iter().filter(|&&counts| counts).count()
    }
}

/// A slice whose length was checked against its shape once, so that kernels need no errors of their own.
///
/// A view may hold a [`Mask`]. The tensor that a primitive reads first decides: x in `moments` and `normalize`, dy in
/// `gradient_sums` and `input_gradient`.
#[derive(Debug)]
pub struct View<'a, E> {
    shape: Shape,
    data: &'a [E],
    mask: Option<Mask<'a>>,
}

impl<E> Clone for View<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for View<'_, E> {}

impl<'a, E> View<'a, E> {
    /// `data` as a tensor of `shape`; `what` names it in the error.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] if the slice's length is not the shape's.
    pub fn new(what: &'static str, shape: Shape, data: &'a [E]) -> Result<Self, Error> {
        check_len(what, shape, data.len())?;
        Ok(Self { shape, data, mask: None })
    }

    /// The same tensor, of which only the positions that the mask counts count; `None` counts all.
    ///
    /// # Errors
    ///
    /// [`Error::MaskMismatch`] if the mask is for another shape.
    pub fn with_mask(self, mask: Option<Mask<'a>>) -> Result<Self, Error> {
        if let Some(mask) = mask {
            Mask::new(self.shape, mask.counts)?;
        }
        Ok(Self { mask, ..self })
    }

    /// The tensor's shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The elements.
    pub const fn data(&self) -> &'a [E] {
        self.data
    }

    /// Which positions count; `None` for all.
    pub const fn mask(&self) -> Option<Mask<'a>> {
        self.mask
    }

    /// The rows (indices along `outer`) of a range: consecutive memory.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Self {
        let (row, inner) = (self.shape.channels * self.shape.inner, self.shape.inner);
        Self {
            shape: Shape { outer: rows.len(), ..self.shape },
            data: &self.data[rows.start * row..rows.end * row],
            mask: self.mask.map(|mask| Mask { counts: &mask.counts[rows.start * inner..rows.end * inner] }),
        }
    }

    /// The same elements under another shape of as many, without a mask.
    pub(crate) fn regrouped(&self, shape: Shape) -> Self {
        debug_assert_eq!(shape.len(), self.shape.len());
        Self { shape, data: self.data, mask: None }
    }
}

/// A mutable slice whose length was checked against its shape: where a map writes.
#[derive(Debug)]
pub struct ViewMut<'a, E> {
    shape: Shape,
    data: &'a mut [E],
}

impl<'a, E> ViewMut<'a, E> {
    /// `data` as a tensor of `shape`; `what` names it in the error.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] if the slice's length is not the shape's.
    pub fn new(what: &'static str, shape: Shape, data: &'a mut [E]) -> Result<Self, Error> {
        check_len(what, shape, data.len())?;
        Ok(Self { shape, data })
    }

    /// The tensor's shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The elements.
    pub fn data(&mut self) -> &mut [E] {
        self.data
    }

    /// The same view, borrowed for a shorter time.
    pub fn reborrow(&mut self) -> ViewMut<'_, E> {
        ViewMut { shape: self.shape, data: self.data }
    }

    /// The first `rows` rows, and the others.
    pub(crate) fn split_at_row(self, rows: usize) -> (Self, Self) {
        let (head, tail) = self.data.split_at_mut(rows * self.shape.channels * self.shape.inner);
        let of = |outer| Shape { outer, ..self.shape };
        (Self { shape: of(rows), data: head }, Self { shape: of(self.shape.outer - rows), data: tail })
    }

    /// The same elements under another shape of as many.
    pub(crate) fn regrouped(self, shape: Shape) -> Self {
        debug_assert_eq!(shape.len(), self.shape.len());
        Self { shape, data: self.data }
    }
}

fn check_len(what: &'static str, shape: Shape, found: usize) -> Result<(), Error> {
    let expected = shape.len();
    if found == expected { Ok(()) } else { Err(Error::LengthMismatch { what, expected, found, shape }) }
}
