//! Tensors on their way in or out of a runtime.

use std::fmt;

use super::RuntimeError;

/// Element types, each with its name and Rust's type: the variants of [`ElementType`] and [`ArrayValues`].
macro_rules! elements {
    ($($variant:ident, $name:literal, $rust:ty, $wide:expr;)*) => {
        /// What a tensor is made of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ElementType {
            $(#[doc = concat!("`", $name, "`.")] $variant,)*
        }

        impl fmt::Display for ElementType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name,)* })
            }
        }

        /// The values of a tensor, row by row: the last axis runs fastest.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum ArrayValues {
            $(#[doc = concat!("Of type `", $name, "`.")] $variant(Vec<$rust>),)*
        }

        impl ArrayValues {
            /// Their type.
            pub fn element(&self) -> ElementType {
                match self { $(Self::$variant(_) => ElementType::$variant,)* }
            }

            /// How many there are.
            pub fn len(&self) -> usize {
                match self { $(Self::$variant(values) => values.len(),)* }
            }

            /// The values as f64. Integers beyond 2^53 are rounded; `true` is one.
            pub fn to_f64(&self) -> Vec<f64> {
                match self { $(Self::$variant(values) => values.iter().map($wide).collect(),)* }
            }
        }

        $(impl From<Vec<$rust>> for ArrayValues {
            fn from(values: Vec<$rust>) -> Self {
                Self::$variant(values)
            }
        })*
    };
}

elements! {
    F32, "f32", f32, |&value| f64::from(value);
    F64, "f64", f64, |&value| value;
    F16, "f16", half::f16, |&value| f64::from(value);
    Bf16, "bf16", half::bf16, |&value| f64::from(value);
    I64, "i64", i64, |&value| value as f64;
    I32, "i32", i32, |&value| f64::from(value);
    I16, "i16", i16, |&value| f64::from(value);
    I8, "i8", i8, |&value| f64::from(value);
    U64, "u64", u64, |&value| value as f64;
    U32, "u32", u32, |&value| f64::from(value);
    U16, "u16", u16, |&value| f64::from(value);
    U8, "u8", u8, |&value| f64::from(value);
    Bool, "bool", bool, |&value| f64::from(u8::from(value));
}

impl ArrayValues {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A tensor on its way in or out of a runtime.
///
/// ```
/// use batchnorm_model::runtime::{Array, ElementType};
///
/// let x = Array::new([2, 3], vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!(x.values.element(), ElementType::F32);
/// assert_eq!(x.to_f64()[5], 6.0);
/// assert!(Array::new([2, 2], vec![1_i64]).is_err());
/// # Ok::<(), batchnorm_model::runtime::RuntimeError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The length of each axis; none make a scalar.
    pub dims: Vec<usize>,
    /// As many as the product of the lengths.
    pub values: ArrayValues,
}

impl Array {
    /// A tensor of these dimensions.
    ///
    /// # Errors
    ///
    /// If their product is not the number of values.
    pub fn new(dims: impl Into<Vec<usize>>, values: impl Into<ArrayValues>) -> Result<Self, RuntimeError> {
        let array = Self { dims: dims.into(), values: values.into() };
        array.check()?;
        Ok(array)
    }

    /// The values as f64: see [`ArrayValues::to_f64`].
    pub fn to_f64(&self) -> Vec<f64> {
        self.values.to_f64()
    }

    /// Whether the dimensions go with the values, which anyone may set.
    pub(super) fn check(&self) -> Result<(), RuntimeError> {
        let expected = self.dims.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
        if expected == Some(self.values.len()) {
            return Ok(());
        }
        Err(RuntimeError::Length { dims: self.dims.clone(), found: self.values.len() })
    }
}
