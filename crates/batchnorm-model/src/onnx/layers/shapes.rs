//! The lengths of a value's axes, as far as they are known without running the model.

use std::cell::RefCell;
use std::collections::HashMap;

use super::constant::{axis, squeezed, unsqueezed};
use super::scope::{Home, Meaning, Scope};
use crate::onnx::document::{Document, Extent, Node};

/// A length, or none where it depends on what the model is given.
pub(crate) type Length = Option<u64>;

/// Values are followed so far.
const DEPTH: usize = 256;

/// Which lengths of which values of a scope are known.
pub(crate) struct Shapes<'d, 's> {
    document: &'d Document,
    scope: &'s Scope<'d>,
    /// Values are asked for again and again, along every way through the graph.
    known: RefCell<HashMap<String, Option<Vec<Length>>>>,
}

impl<'d, 's> Shapes<'d, 's> {
    pub(crate) fn new(document: &'d Document, scope: &'s Scope<'d>) -> Self {
        Self { document, scope, known: RefCell::default() }
    }

    /// The lengths of a value's axes; `None` where not even their number is known.
    pub(crate) fn of(&self, name: &str) -> Option<Vec<Length>> {
        self.within(name, DEPTH)
    }

    fn within(&self, name: &str, depth: usize) -> Option<Vec<Length>> {
        if let Some(known) = self.known.borrow().get(name) {
            return known.clone();
        }
        let found = self.found(name, depth);
        self.known.borrow_mut().insert(name.to_owned(), found.clone());
        found
    }

    fn found(&self, name: &str, depth: usize) -> Option<Vec<Length>> {
        if let Some((caller, given)) = self.scope.given(name).filter(|_| depth > 0) {
            return Shapes::new(self.document, caller).within(given, depth - 1);
        }
        let said = self.said(name);
        // What the model says completely need not be worked out.
        if depth == 0 || said.as_ref().is_some_and(|said| said.iter().skip(1).all(Option::is_some)) {
            return said;
        }
        let found = match self.scope.meaning(name) {
            Meaning::Initializer { tensor, .. } => Some(tensor.dims().iter().map(|&dim| Some(dim)).collect()),
            Meaning::Node { node, output: 0 } => self.made_by(node, depth - 1),
            _ => None,
        };
        match (said, found) {
            (Some(said), Some(found)) if said.len() == found.len() => {
                Some(said.into_iter().zip(found).map(|(said, found)| said.or(found)).collect())
            }
            (said, found) => said.or(found),
        }
    }

    /// What the model says of a value.
    fn said(&self, name: &str) -> Option<Vec<Length>> {
        let home = self.scope.home();
        // A function says nothing of its values, and the model's graph may have others of these names.
        let value = (0..=home.steps.len()).rev().find_map(|depth| {
            let around = Home { function: home.function, steps: home.steps[..depth].to_vec() };
            around.graph(self.document)?.value(name)
        })?;
        Some(value.extents()?.iter().map(Extent::fixed).collect())
    }

    fn made_by(&self, node: &Node, depth: usize) -> Option<Vec<Length>> {
        let input = |index: usize| self.within(node.input(index)?, depth);
        let ints = |index: usize, attribute: &str| match node.input(index) {
            Some(name) => self.scope.constant_ints(self.document.storage(), name).ok().flatten(),
            None => node.ints(attribute).map(<[i64]>::to_vec),
        };
        match node.op() {
            "Conv" => self.convolved(node, &input(0)?, &input(1)?),
            "ConvTranspose" => {
                let (x, w) = (input(0)?, input(1)?);
                let groups = u64::try_from(node.int("group").unwrap_or(1)).ok()?;
                let mut lengths = vec![None; x.len()];
                *lengths.first_mut()? = *x.first()?;
                *lengths.get_mut(1)? = w.get(1).copied().flatten().and_then(|each| each.checked_mul(groups));
                Some(lengths)
            }
            "Gemm" => {
                let side = |index: usize, attribute: &str, axis: usize| {
                    let transposed = node.int(attribute).unwrap_or(0) != 0;
                    let lengths = input(index)?;
                    lengths.get(if transposed { 1 - axis } else { axis }).copied().flatten()
                };
                Some(vec![side(0, "transA", 0), side(1, "transB", 1)])
            }
            "MatMul" => {
                let (mut left, right) = (input(0)?, input(1)?);
                (left.len() >= 2 && right.len() == 2).then(|| {
                    if let Some(last) = left.last_mut() {
                        *last = right[1];
                    }
                    left
                })
            }
            "Add" | "Sub" | "Mul" | "Div" => broadcast(&input(0)?, &input(1)?),
            "Flatten" => {
                let lengths = input(0)?;
                let cut = axis(node.int("axis").unwrap_or(1), lengths.len() + 1)?;
                Some(vec![product(&lengths[..cut]), product(&lengths[cut..])])
            }
            "Reshape" => {
                let shape = ints(1, "shape")?;
                Some(resolved(input(0).as_deref(), &shape))
            }
            "Transpose" => {
                let lengths = input(0)?;
                match node.ints("perm") {
                    Some(order) => order.iter().map(|&one| Some(lengths[axis(one, lengths.len())?])).collect(),
                    None => Some(lengths.into_iter().rev().collect()),
                }
            }
            "Squeeze" | "Unsqueeze" => {
                // Unknown lengths are as good as 0 here: they are neither added nor taken away.
                let lengths = input(0)?;
                let stand_in: Vec<u64> = lengths.iter().map(|length| length.unwrap_or(0)).collect();
                let axes = ints(1, "axes");
                let changed = match node.op() {
                    "Squeeze" => squeezed(&stand_in, Some(&axes?))?,
                    _ => unsqueezed(&stand_in, &axes?)?,
                };
                Some(changed.into_iter().map(|length| (length > 0).then_some(length)).collect())
            }
            "AveragePool" | "MaxPool" => self.pooled(node, &input(0)?),
            "GlobalAveragePool" | "GlobalMaxPool" => {
                let lengths = input(0)?;
                Some(
                    lengths
                        .iter()
                        .enumerate()
                        .map(|(index, &length)| if index < 2 { length } else { Some(1) })
                        .collect(),
                )
            }
            "Concat" => {
                let parts: Vec<Vec<Length>> = (0..node.inputs().len()).map(input).collect::<Option<_>>()?;
                let mut lengths = parts.first()?.clone();
                let along = axis(node.int("axis")?, lengths.len())?;
                lengths[along] =
                    parts.iter().try_fold(0_u64, |sum, part| sum.checked_add((*part.get(along)?)?));
                Some(lengths)
            }
            "BatchNormalization" | "Relu" | "LeakyRelu" | "Sigmoid" | "Tanh" | "Elu" | "Clip" | "PRelu"
            | "Identity" | "Dropout" | "Cast" | "Softmax" | "LRN" | "Selu" | "Softplus" | "HardSigmoid"
            | "HardSwish" | "Gelu" => input(0),
            "Constant" | "ConstantOfShape" => {
                let constant = self.scope.constant(self.document.storage(), node.output(0)?).ok()??;
                Some(constant.dims.iter().map(|&dim| Some(dim)).collect())
            }
            _ => None,
        }
    }

    fn convolved(&self, node: &Node, x: &[Length], w: &[Length]) -> Option<Vec<Length>> {
        let kernel: Option<Vec<u64>> = w.get(2..)?.iter().copied().collect();
        self.slid(node, x, *w.first()?, &kernel?)
    }

    fn pooled(&self, node: &Node, x: &[Length]) -> Option<Vec<Length>> {
        let kernel: Vec<u64> =
            node.ints("kernel_shape")?.iter().map(|&k| u64::try_from(k).ok()).collect::<Option<_>>()?;
        self.slid(node, x, *x.get(1)?, &kernel)
    }

    /// What a window that slides over the positions makes of their lengths.
    fn slid(&self, node: &Node, x: &[Length], channels: Length, kernel: &[u64]) -> Option<Vec<Length>> {
        let positions = x.len().checked_sub(2).filter(|&positions| positions == kernel.len())?;
        let each = |name: &str, default: i64| match node.ints(name) {
            Some(values) => values.to_vec(),
            None => vec![default; positions],
        };
        let (strides, dilations) = (each("strides", 1), each("dilations", 1));
        let pads = node.ints("pads").map_or(vec![0; 2 * positions], <[i64]>::to_vec);
        let auto = node.text("auto_pad").unwrap_or("NOTSET");
        let up = node.int("ceil_mode").unwrap_or(0) != 0;
        let mut lengths = vec![x[0], channels];
        for index in 0..positions {
            let length = (|| {
                let (length, kernel) = (i64::try_from(x[2 + index]?).ok()?, i64::try_from(kernel[index]).ok()?);
                let (stride, dilation) = (*strides.get(index)?, *dilations.get(index)?);
                if stride < 1 {
                    return None;
                }
                let reach = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
                let room = match auto {
                    "SAME_UPPER" | "SAME_LOWER" => {
                        return u64::try_from(length.checked_add(stride - 1)? / stride).ok();
                    }
                    "VALID" => length.checked_sub(reach)?,
                    _ => {
                        let padded = length
                            .checked_add(*pads.get(index)?)?
                            .checked_add(*pads.get(index + positions)?)?;
                        padded.checked_sub(reach)?
                    }
                };
                // Rounded up, a last window may begin in the padding, and is then dropped: which rule holds depends on the
                // version.
                if up && room % stride != 0 {
                    None
                } else {
                    u64::try_from((room / stride).checked_add(1)?).ok()
                }
            })();
            lengths.push(length);
        }
        Some(lengths)
    }
}

/// Lengths multiplied; unknown if one is.
pub(crate) fn product(lengths: &[Length]) -> Length {
    lengths.iter().try_fold(1_u64, |product, &length| product.checked_mul(length?))
}

fn broadcast(left: &[Length], right: &[Length]) -> Option<Vec<Length>> {
    let rank = left.len().max(right.len());
    let padded = |lengths: &[Length]| {
        let mut padded = vec![Some(1); rank - lengths.len()];
        padded.extend(lengths);
        padded
    };
    let both = padded(left).into_iter().zip(padded(right));
    Some(
        both.map(|pair| match pair {
            (Some(1), other) | (other, Some(1)) => other,
            (Some(length), _) | (_, Some(length)) => Some(length),
            (None, None) => None,
        })
        .collect(),
    )
}

/// The lengths that a shape with 0 (as before) and -1 (the rest) asks for.
fn resolved(before: Option<&[Length]>, shape: &[i64]) -> Vec<Length> {
    let mut lengths: Vec<Length> = shape
        .iter()
        .enumerate()
        .map(|(index, &length)| match length {
            0 => before.and_then(|before| before.get(index).copied().flatten()),
            length => u64::try_from(length).ok(),
        })
        .collect();
    if let (Some(open), Some(before)) = (shape.iter().position(|&length| length == -1), before) {
        // Axes copied from the front cancel, whether their length is known or not.
        let copied = shape.iter().zip(0..before.len()).take_while(|&(&length, _)| length == 0).count();
        let whole = product(&before[copied..]);
        let others: Vec<Length> = lengths
            .iter()
            .enumerate()
            .skip(copied)
            .filter(|&(index, _)| index != open)
            .map(|(_, &length)| length)
            .collect();
        if let (Some(whole), Some(others)) = (whole, product(&others))
            && others > 0
            && whole.is_multiple_of(others)
        {
            lengths[open] = Some(whole / others);
        }
    }
    lengths
}
