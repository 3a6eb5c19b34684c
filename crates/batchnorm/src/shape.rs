//! Tensors of any rank and channel axis, seen as (outer, channels, inner), and slices checked against them.

use std::fmt;

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

/// A slice whose length was checked against its shape once, so that kernels need no errors of their own.
#[derive(Debug)]
pub struct View<'a, E> {
    shape: Shape,
    data: &'a [E],
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
        Ok(Self { shape, data })
    }

    /// The tensor's shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The elements.
    pub const fn data(&self) -> &'a [E] {
        self.data
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
}

fn check_len(what: &'static str, shape: Shape, found: usize) -> Result<(), Error> {
    let expected = shape.len();
    if found == expected { Ok(()) } else { Err(Error::LengthMismatch { what, expected, found, shape }) }
}
