//! The extents of a problem as they are written: `32x64x56x56`.

use std::fmt;
use std::str::FromStr;

use batchnorm::Shape;

use super::Layout;

/// Batch, channels, then spatial extents, in this order whatever the layout.
///
/// ```
/// use batchnorm_lab::bench::{Extents, Layout};
///
/// let extents: Extents = "32x64x56x56".parse()?;
/// assert_eq!(extents.shape(Layout::ChannelsFirst).inner(), 56 * 56);
/// // The same numbers, lying otherwise in memory.
/// assert_eq!(extents.shape(Layout::ChannelsLast).outer(), 32 * 56 * 56);
/// # Ok::<(), batchnorm_lab::bench::ExtentsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Extents(Vec<usize>);

/// Why a text is no shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtentsError {
    /// Something else than a whole number.
    #[error("expected whole numbers with an x between them, as in 32x64x56x56, found `{found}` in `{text}`")]
    NotANumber {
        /// The part.
        found: String,
        /// All of it.
        text: String,
    },
    /// No channels.
    #[error("expected at least a batch and channels, as in 32x64, found `{text}`")]
    TooFew {
        /// The text.
        text: String,
    },
    /// An empty tensor.
    #[error("expected extents of at least 1, found a 0 in `{text}`")]
    Zero {
        /// The text.
        text: String,
    },
    /// More than can be addressed.
    #[error("`{text}` has more elements than memory has addresses; expected at most {}", Shape::MAX_LEN)]
    TooLarge {
        /// The text.
        text: String,
    },
}

impl Extents {
    /// From numbers.
    ///
    /// # Errors
    ///
    /// [`ExtentsError`] for fewer than two, a zero, or too many elements.
    pub fn new(extents: Vec<usize>) -> Result<Self, ExtentsError> {
        let extents = Self(extents);
        let text = extents.to_string();
        if extents.0.len() < 2 {
            return Err(ExtentsError::TooFew { text });
        }
        if extents.0.contains(&0) {
            return Err(ExtentsError::Zero { text });
        }
        match extents.0.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent)) {
            Some(..=Shape::MAX_LEN) => Ok(extents),
            _ => Err(ExtentsError::TooLarge { text }),
        }
    }

    /// The tensor's shape, as batch normalization sees it.
    pub fn shape(&self, layout: Layout) -> Shape {
        let (batch, channels) = (self.0[0], self.0[1]);
        let spatial: usize = self.0[2..].iter().product();
        let shape = match layout {
            Layout::ChannelsFirst => Shape::new(batch, channels, spatial),
            Layout::ChannelsLast => Shape::new(batch * spatial, channels, 1),
        };
        shape.expect("the number of elements was checked")
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// Values of each channel.
    pub fn positions(&self) -> usize {
        self.elements() / self.0[1]
    }
}

impl FromStr for Extents {
    type Err = ExtentsError;

    fn from_str(text: &str) -> Result<Self, ExtentsError> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            match part.parse() {
                Ok(number) if digits => Ok(number),
                // More digits than any address has.
                Err(_) if digits => Err(ExtentsError::TooLarge { text: text.to_owned() }),
                _ => Err(ExtentsError::NotANumber { found: part.to_owned(), text: text.to_owned() }),
            }
        };
        Self::new(text.trim().split(['x', 'X']).map(number).collect::<Result<_, _>>()?)
    }
}

impl fmt::Display for Extents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.pad(&numbers.join("x"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_and_written_alike() {
        for text in ["60x100", "32x64x56x56", "2x32x16x64x64", "1x1"] {
            assert_eq!(text.parse::<Extents>().unwrap().to_string(), text);
        }
        assert_eq!("2X3".parse::<Extents>().unwrap().to_string(), "2x3");
    }

    #[test]
    fn what_is_no_shape_is_told_apart() {
        let error = |text: &str| text.parse::<Extents>().unwrap_err();
        for text in ["", "32", "abc", "32x", "32xx4", "-1x4", "+1x4", "1.5x4", "32*64"] {
            let kind = error(text);
            let expected =
                matches!(kind, ExtentsError::NotANumber { .. }) || matches!(kind, ExtentsError::TooFew { .. });
            assert!(expected, "{text}: {kind:?}");
        }
        assert!(matches!(error("0x4"), ExtentsError::Zero { .. }));
        for text in ["4294967296x4294967296x64", "99999999999999999999999x2"] {
            assert!(matches!(error(text), ExtentsError::TooLarge { .. }), "{text}");
        }
    }
}
