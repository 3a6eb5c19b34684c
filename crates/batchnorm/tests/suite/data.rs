//! Shapes, data and measures of error that the suite shares.

use batchnorm::{Coefficients, Element, Shape};

/// A small seeded generator (SplitMix64), so that tests need no dependency for their data.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Uniform in `0..bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.uniform() * bound as f64) as usize
    }

    /// Standard normal (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// `len` values of N(mean, std^2), rounded to `E`.
    pub fn normals<E: Element>(&mut self, len: usize, mean: f64, std: f64) -> Vec<E> {
        (0..len).map(|_| E::from_f64(mean + std * self.normal())).collect()
    }
}

/// Shapes around everything that a kernel may cut at: lanes, blocks, strips, tiny and odd extents, both
/// layouts, one channel and many, and those of the peers' own tests.
pub fn shapes() -> Vec<Shape> {
    let mut extents = vec![
        (60, 100, 1),
        (2, 1, 1),
        (3, 2, 1),
        (5, 5, 5),
        (3, 2, 4),
        (8, 64, 32),
        (4, 32, 64),
        (2, 3, 4096),
        (1, 2, 4097),
        (3, 1, 9000),
        (1, 1, 20_000),
        (9000, 1, 1),
        (700, 3, 1),
        (513, 65, 1),
        (257, 130, 1),
        (300, 2, 2),
        (40, 7, 15),
        (40, 7, 16),
        (10, 27, 7),
        (5, 27, 49),
        (2, 251, 28),
        (12, 4, 16),
        (1, 24, 196),
        (9, 128, 1),
        (33, 17, 3),
        // Columns: rows by fours and what is left, and the least and the most of them.
        (4, 64, 1),
        (7, 70, 13),
        (6, 40, 63),
        (1024, 70, 1),
        (1025, 70, 1),
    ];
    for n in [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129] {
        extents.push((3, 2, n));
        extents.push((n + 1, n, 1));
        extents.push((2, n, 5));
    }
    extents.into_iter().map(|(outer, channels, inner)| Shape::new(outer, channels, inner).unwrap()).collect()
}

/// Coefficients to be filled in, for every channel.
pub fn unset(shape: Shape) -> Vec<Coefficients> {
    vec![Coefficients::new(f64::NAN, f64::NAN, f64::NAN, (f64::NAN, f64::NAN)); shape.channels()]
}

/// Indices of the elements of a channel.
pub fn elements(shape: Shape, channel: usize) -> impl Iterator<Item = usize> {
    (0..shape.positions()).map(move |position| {
        let (outer, inner) = (position / shape.inner(), position % shape.inner());
        (outer * shape.channels() + channel) * shape.inner() + inner
    })
}

/// `sqrt(sum((found - expected)^2) / sum(expected^2))`.
pub fn relative_rms<E: Element, F: Element>(found: &[E], expected: &[F]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let (mut error, mut size) = (0.0, 0.0);
    for (found, expected) in found.iter().zip(expected) {
        error += (found.to_f64() - expected.to_f64()).powi(2);
        size += expected.to_f64().powi(2);
    }
    if error == 0.0 { 0.0 } else { (error / size).sqrt() }
}

/// `2^-24` for f32, `2^-53` for f64, `2^-8` for bf16, `2^-11` for f16: the largest relative error of one rounding.
pub fn unit_roundoff<E: Element>() -> f64 {
    // What is left of 1 + 2^-d is 1 in a type of d digits, by ties to even.
    let lost = |digits: &i32| E::from_f64(1.0 + 2f64.powi(-digits)).to_f64() == 1.0;
    2f64.powi(-(1..=53).find(lost).unwrap())
}

/// What folds of f32 and of half types are off by, relative to the size of their terms, where columns are added up in f32 over
/// sixteen rows, eight at a time: eleven roundings of 2^-24. f32 runs of 64 elements and more are added up in f64, as are all of f64.
pub fn near<E: Element>(shape: Shape) -> f64 {
    let columns = shape.inner() < 64 && size_of::<E>() < 8;
    if columns || size_of::<E>() == 2 { 11.0 / (1 << 24) as f64 } else { 0.0 }
}
