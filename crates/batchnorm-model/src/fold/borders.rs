//! Borders that are padded with zeros: there a layer's shift is missing, and what follows sees less of it.

use std::sync::Arc;

use batchnorm::fold::{Affine, Rounding};

use super::linear::Map;
use super::plan::{Edit, New};
use super::refusal::Refusal;
use super::weights::{Scaled, engine_type, fits, look};
use super::{Attempt, Folder};

/// A map of more numbers is not added.
const LIMIT: usize = 1 << 24;
/// Nor is one of more additions.
const ADDITIONS: u64 = 1 << 32;
/// So many weights are read at once.
const CHUNK: usize = 1 << 15;

/// A window's steps along one axis, and how much of it lies inside.
struct Axis {
    length: i64,
    outputs: i64,
    kernel: i64,
    stride: i64,
    dilation: i64,
    before: i64,
}

/// How a convolution's windows lie over its borders.
pub(super) struct Borders(Vec<Axis>);

impl Folder<'_, '_> {
    /// Whether a shift before a map is a bias of it. If not, and that is asked for, where its windows lie over the borders.
    pub(super) fn borders(&self, map: &Map, affine: &Affine) -> Attempt<Option<Borders>> {
        let (node, title) = (&map.node, map.node.title());
        if affine.is_pure_scale() || matches!(node.op(), "Gemm" | "MatMul") {
            return Ok(None);
        }
        let kernel = &map.weight.dims[2..];
        let one = |name: &str| node.ints(name).is_none_or(|values| values.iter().all(|&value| value == 1));
        let none = |name: &str| node.ints(name).is_none_or(|values| values.iter().all(|&value| value == 0));
        let point = kernel.iter().all(|&taps| taps == 1);
        let padded = match node.text("auto_pad").unwrap_or("NOTSET") {
            "SAME_UPPER" | "SAME_LOWER" => !point,
            "VALID" => false,
            _ => !none("pads"),
        };
        if node.op() == "ConvTranspose" {
            if point
                && one("strides")
                && !padded
                && none("output_padding")
                && node.ints("output_shape").is_none()
            {
                return Ok(None);
            }
            let reason = format!(
                "the layer comes before `{title}`, whose outputs see different numbers of taps, and its shift is not 0: no one \
                 bias stands for it"
            );
            return Err(Refusal::new("shift-at-borders", reason).into());
        }
        if !padded {
            return Ok(None);
        }
        if !self.options.exact_borders {
            let reason = format!(
                "the layer comes before `{title}`, which pads with zeros, and its shift is not 0: at the borders the shift would \
                 be added where it is not now; where the image's size is fixed, an addition of a constant image can stand for it \
                 (`--exact-borders`)"
            );
            return Err(Refusal::new("shift-at-borders", reason).into());
        }
        let axes = self.axes(map).ok_or_else(|| self.unknown_shape(title))?;
        let size =
            axes.iter().try_fold(map.layout.outputs(), |size, axis| size.checked_mul(axis.outputs as usize));
        let few = |size: &usize| {
            (*size as u64).checked_mul(map.layout.taps() as u64).is_some_and(|additions| additions <= ADDITIONS)
        };
        match size.filter(few) {
            Some(..=LIMIT) => Ok(Some(Borders(axes))),
            _ => {
                let reason = format!("the constant image that would be added after `{title}` is too large");
                Err(Refusal::new("large-constant", reason).into())
            }
        }
    }

    fn axes(&self, map: &Map) -> Option<Vec<Axis>> {
        let node = &map.node;
        let (x, y) = (self.shapes.of(node.input(0)?)?, self.shapes.of(node.output(0)?)?);
        let kernel = &map.weight.dims[2..];
        let of = |name: &str, index: usize, default: i64| match node.ints(name) {
            Some(values) => values.get(index).copied(),
            None => Some(default),
        };
        (0..kernel.len())
            .map(|index| {
                let length = i64::try_from((*x.get(2 + index)?)?).ok()?;
                let outputs = i64::try_from((*y.get(2 + index)?)?).ok()?;
                let kernel = i64::try_from(kernel[index]).ok()?;
                let (stride, dilation) = (of("strides", index, 1)?, of("dilations", index, 1)?);
                let reach = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
                let missing = outputs
                    .checked_sub(1)?
                    .checked_mul(stride)?
                    .checked_add(reach)?
                    .checked_sub(length)?
                    .max(0);
                let before = match node.text("auto_pad").unwrap_or("NOTSET") {
                    "SAME_UPPER" => missing / 2,
                    "SAME_LOWER" => missing - missing / 2,
                    _ => of("pads", index, 0)?,
                };
                // No sum of these is more than what was just counted.
                if stride < 1 || dilation < 1 || before < 0 {
                    return None;
                }
                Some(Axis { length, outputs, kernel, stride, dilation, before })
            })
            .collect()
    }

    /// Folds a layer into a padded convolution after it: the scale into its weight, and the shift, which each position sees
    /// another part of, into the addition of a constant image.
    pub(super) fn with_exact_borders(
        &mut self,
        map: Map,
        scaled: Scaled,
        borders: &Borders,
        affine: &Affine,
    ) -> Attempt<()> {
        let (layout, element) = (map.layout, map.weight.element);
        let sums = look(&scaled, element, None)?;
        // What each tap makes of the shift.
        let taps = layout.taps();
        let mut by_tap = vec![0.0; layout.outputs() * taps];
        let mut chunk = vec![0.0; CHUNK.min(layout.elements())];
        let mut first = 0;
        while first < layout.elements() {
            let chunk = &mut chunk[..(layout.elements() - first).min(CHUNK)];
            scaled.weight.read(first as u64, chunk)?;
            layout.shift_through_taps(first, chunk, affine.shift(), &mut by_tap).map_err(Refusal::from)?;
            first += chunk.len();
        }
        let positions: usize = borders.0.iter().map(|axis| axis.outputs as usize).product();
        let mut image = vec![0.0; layout.outputs() * positions];
        for position in 0..positions {
            for tap in 0..taps {
                if borders.inside(position, tap) {
                    for output in 0..layout.outputs() {
                        image[output * positions + position] += by_tap[output * taps + tap];
                    }
                }
            }
        }
        let rounding = Rounding::of(engine_type(element));
        let bound = rounding.relative(layout.terms(), affine.roundings());
        let likely = rounding.likely(layout.terms(), affine.roundings());
        self.plan.flushed += sums.flushed + fits(element, &image).map_err(Refusal::from)?;
        let dims = map.weight.dims.clone();
        let weight = self.moved(Arc::new(scaled), likely);
        self.plan.push(Edit::Constant {
            node: map.index,
            input: 1,
            new: New { dims, element, values: weight },
        });
        let mut dims = vec![layout.outputs() as u64];
        dims.extend(borders.0.iter().map(|axis| axis.outputs as u64));
        let image = self.moved(Arc::new(image), likely);
        self.plan.push(Edit::Add { node: map.index, new: New { dims, element, values: image } });
        self.plan.into.push(map.node.title().to_owned());
        self.plan.bound = self.plan.bound.max(bound);
        Ok(())
    }
}

impl Borders {
    /// Whether a tap of the window at a position lies inside.
    fn inside(&self, position: usize, tap: usize) -> bool {
        let (mut position, mut tap) = (position as i64, tap as i64);
        // The last axis runs fastest.
        for axis in self.0.iter().rev() {
            let (place, offset) = (position % axis.outputs, tap % axis.kernel);
            (position, tap) = (position / axis.outputs, tap / axis.kernel);
            let at = place * axis.stride - axis.before + offset * axis.dilation;
            if !(0..axis.length).contains(&at) {
                return false;
            }
        }
        true
    }
}
