//! The weight of a map with a layer folded into it, part by part.

use std::io::{self, Write};

use batchnorm::fold::{Affine, Bias, FoldError, Storable, Stored, WeightLayout, WeightOrder, store};
use batchnorm::{bf16, f16};

use super::super::maps::{LinearMap, Order};
use super::super::{Archive, ArchiveError, Dtype};
use super::Refusal;

/// As many bytes of a weight at a time: a multiple of every type's size.
const AT_ONCE: usize = 1 << 20;

/// How the elements of a map's weight belong to its outputs, of which the layer behind it has `channels`.
pub(super) fn layout(
    map: &LinearMap,
    norm: &str,
    channels: usize,
    transposed: bool,
) -> Result<WeightLayout, Refusal> {
    // A weight without elements can have any lengths beside the 0; the layout refuses it.
    let taps =
        |kernel: &[usize]| kernel.iter().fold(1_usize, |product, &length| product.saturating_mul(length));
    let shape = &map.shape;
    if transposed {
        let wrong = || Refusal::NotTransposed { map: map.name.clone(), shape: shape.clone(), channels };
        let in_group = map.outputs(Order::Transposed).ok_or_else(wrong)?;
        let groups = channels.checked_div(in_group).filter(|groups| groups * in_group == channels);
        let groups =
            groups.filter(|&groups| groups > 0 && shape[0].is_multiple_of(groups)).ok_or_else(wrong)?;
        return Ok(WeightLayout::new(WeightOrder::InputsFirst, groups, channels, shape[0], taps(&shape[2..]))?);
    }
    let outputs = map.outputs(Order::AsNamed).unwrap_or(0);
    if outputs != channels {
        let (map, norm) = (map.name.clone(), norm.to_owned());
        return Err(if shape.len() > 2 && shape[1] == channels {
            Refusal::NeedsTransposed { map, norm, outputs, channels }
        } else {
            Refusal::Channels { map, norm, outputs, channels }
        });
    }
    Ok(if map.outputs_first() {
        // Groups do not matter where the outputs come first.
        WeightLayout::new(WeightOrder::OutputsFirst, 1, outputs, shape[1], taps(&shape[2..]))?
    } else {
        let inputs = taps(&shape[..shape.len() - 1]);
        WeightLayout::new(WeightOrder::InputsFirst, 1, outputs, inputs, 1)?
    })
}

/// A weight that is scaled while it is copied.
#[derive(Clone, Debug)]
pub(super) struct Scaled {
    pub weight: String,
    pub dtype: Dtype,
    pub layout: WeightLayout,
    pub affine: Affine,
}

/// What went wrong with a part of a weight.
enum PartError {
    Numbers(FoldError),
    Write(io::Error),
}

impl Scaled {
    /// Goes through the whole weight without writing it: what rounding does to it, or why it cannot be stored.
    pub fn check(&self, archive: &Archive) -> Result<Result<Stored, Refusal>, ArchiveError> {
        Ok(match self.each(archive, &mut |_| Ok(()))? {
            Ok(stored) => Ok(stored),
            Err(PartError::Numbers(error)) => Err(error.into()),
            Err(PartError::Write(_)) => Ok(Stored::default()),
        })
    }

    /// Writes the scaled weight.
    pub fn write(&self, archive: &Archive, out: &mut dyn Write) -> Result<io::Result<()>, ArchiveError> {
        Ok(match self.each(archive, &mut |bytes| out.write_all(bytes))? {
            Ok(_) => Ok(()),
            Err(PartError::Write(error)) => Err(error),
            // It was checked: the file has changed since.
            Err(PartError::Numbers(error)) => Err(io::Error::other(error)),
        })
    }

    fn each(
        &self,
        archive: &Archive,
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Result<Stored, PartError>, ArchiveError> {
        let mut stored = Stored::default();
        let mut first = 0;
        let result = archive.parts(&self.weight, AT_ONCE, |bytes| {
            let mut values = self.dtype.widen(&bytes).unwrap_or_default();
            self.layout.scale_by_output(first, &mut values, self.affine.scale()).map_err(PartError::Numbers)?;
            let (bytes, here) =
                narrow(&self.dtype, &values).map_err(|error| PartError::Numbers(moved(error, first)))?;
            stored += here;
            first += values.len();
            out(&bytes).map_err(PartError::Write)
        })?;
        Ok(result.map(|()| stored))
    }
}

/// An error about an element of a part, about that of the whole.
fn moved(error: FoldError, first: usize) -> FoldError {
    match error {
        FoldError::Overflow { index, value, element } => {
            FoldError::Overflow { index: index + first, value, element }
        }
        FoldError::NotANumber { index, value } => FoldError::NotANumber { index: index + first, value },
        other => other,
    }
}

/// The bias of the map with the layer folded in, in the type `dtype`, little-endian.
pub(super) fn bias(
    old: Option<&[f64]>,
    affine: &Affine,
    dtype: &Dtype,
) -> Result<(Vec<u8>, Stored), FoldError> {
    narrow(dtype, &Bias::new(old, affine.channels())?.then(affine)?.values)
}

/// Numbers in the type that they are stored in.
fn narrow(dtype: &Dtype, values: &[f64]) -> Result<(Vec<u8>, Stored), FoldError> {
    fn each<E: Storable, const N: usize>(
        values: &[f64],
        zero: E,
        bytes: impl Fn(E) -> [u8; N],
    ) -> Result<(Vec<u8>, Stored), FoldError> {
        let mut rounded = vec![zero; values.len()];
        let stored = store(values, &mut rounded)?;
        let mut narrow = vec![0; values.len() * N];
        narrow.as_chunks_mut().0.iter_mut().zip(rounded).for_each(|(into, value)| *into = bytes(value));
        Ok((narrow, stored))
    }
    match dtype {
        Dtype::F64 => each(values, 0.0, f64::to_le_bytes),
        Dtype::F16 => each(values, f16::ZERO, f16::to_le_bytes),
        Dtype::BF16 => each(values, bf16::ZERO, bf16::to_le_bytes),
        // The others were refused before.
        _ => each(values, 0.0, f32::to_le_bytes),
    }
}
