//! The batch-norm layers of a model, in all forms that the operator has had; and what its constants are.

mod batch_normalization;
mod constant;
mod edit;
mod scope;
mod shapes;
mod unused;

pub use batch_normalization::{BatchNormalization, Mode, Parameter, find};
pub use constant::Constant;
pub(crate) use constant::axis;
pub use edit::{FreshNames, homes};
pub use scope::{Home, Scope};
pub(crate) use scope::{Meaning, callers};
pub(crate) use shapes::{Length, Shapes, product};
pub use unused::remove_unused;
