//! Folding a batch-norm layer into the weights of a linear map, before it or after it: the arithmetic, in f64.
//!
//! At inference the layer is `y = s x + t` per channel, an [`Affine`], and so is part of any linear map beside it:
//!
//! ```text
//! s = gamma / sqrt(variance + eps),    t = beta - mean s
//!
//! after:   s (W x + b) + t = (s W) x + (s b + t)          one s for each output of W
//! before:  W (s x + t) + b = (W s) x + (b + W t)          one s for each input of W
//! ```
//!
//! This is the uncentred form, and the only place that uses it: everywhere else x - mean is computed first, since `s x + t`
//! loses `|mean| / sigma` in precision where t is rounded to the tensor's type. Here nothing can be subtracted from an x that
//! the map has not computed yet. So s and t stay in f64, each number of the result is rounded once, to the type that it is
//! stored in, and [`Rounding::output_bound`] says how far the outputs may move by it: in terms of what t and the bias are
//! added up from ([`Affine::magnitude`], [`Bias::magnitude`]), which is where that loss shows.
//!
//! Weights come in chunks of any size, in the order in which they are stored, so that a file of gigabytes needs no memory of
//! its own: [`WeightLayout`] knows which output and which input each element belongs to, and has the operations. What they
//! compute does not depend on how the weight is cut.
//!
//! ```
//! use batchnorm::fold::{Affine, Bias, WeightLayout, WeightOrder, store};
//! use batchnorm::health::Numbers;
//!
//! // A convolution of 2 outputs, 1 input and a kernel of 2, then batch normalization with s = (2, 0.5), t = (-6, 1).
//! let numbers = Numbers {
//!     gamma: Some(&[4.0f32, 0.5]),
//!     beta: Some(&[0.0, 1.0]),
//!     ..Numbers::new(&[3.0, 0.0], &[4.0, 1.0], 0.0)
//! };
//! let affine = Affine::new(&numbers)?;
//! let layout = WeightLayout::new(WeightOrder::OutputsFirst, 1, 2, 1, 2)?;
//!
//! // In chunks, as it comes from a file.
//! let mut weights = [1.0, 2.0, 3.0, 4.0];
//! let (first, second) = weights.split_at_mut(3);
//! layout.scale_by_output(0, first, affine.scale())?;
//! layout.scale_by_output(3, second, affine.scale())?;
//! assert_eq!(weights, [2.0, 4.0, 1.5, 2.0]);
//! let bias = Bias::new(Some(&[10.0, 20.0]), 2)?.then(&affine)?;
//! assert_eq!(bias.values, [14.0, 11.0]);
//!
//! let mut stored = [0.0f32; 4];
//! store(&weights, &mut stored)?;
//! # Ok::<(), batchnorm::fold::FoldError>(())
//! ```

mod affine;
mod bound;
mod error;
mod layout;
mod store;
mod weights;

pub use affine::{Affine, Bias};
pub use bound::{LayerBound, Rounding};
pub use error::FoldError;
pub use layout::{WeightLayout, WeightOrder};
pub use store::{Storable, Stored, round, store};
pub use weights::{Folded, fold_after, fold_before};
