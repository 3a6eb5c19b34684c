//! Values that are known without running the model: stored tensors, and what simple operators make of them.

use std::cell::Cell;
use std::sync::Arc;

use super::scope::{Home, Meaning, Scope};
use crate::onnx::document::{AttributeValue, DocumentError, ElementType, Made, Node, Storage, Tensor};

/// Operators one after the other are followed so far.
const DEPTH: usize = 64;
/// Constants that must be held in memory as a whole have at most so many elements; nor has one that a model makes of a number
/// more: a few bytes would stand for any number of them.
const LIMIT: u64 = 1 << 24;
/// What may be spent on one value, an element moved being one: an operator may take a value as its shape, too, and each one
/// before it as well.
const EFFORT: u64 = 1 << 26;
/// What an operator costs.
const OPERATOR: u64 = 1 << 12;

/// A value that is the same whenever the model runs. Its elements are read when they are asked for.
#[derive(Clone, Debug)]
pub struct Constant {
    /// The lengths of its axes.
    pub dims: Vec<u64>,
    /// The type of its elements.
    pub element: ElementType,
    /// Its elements.
    pub values: Arc<dyn Made>,
    /// The stored tensor it is, where it is one as it stands: its graph and name.
    pub stored: Option<(Home, String)>,
    /// Whether a caller may give another value instead: the stored tensor is an input as well.
    pub overridable: bool,
}

impl Constant {
    /// How many elements it has.
    pub fn len(&self) -> u64 {
        self.dims.iter().fold(1, |product, &dim| product.saturating_mul(dim))
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of its elements.
    ///
    /// # Errors
    ///
    /// If they cannot be read, or are too many to be held in memory.
    pub fn all(&self) -> Result<Vec<f64>, DocumentError> {
        if self.len() > LIMIT {
            let found = format!("{} elements where at most {LIMIT} are expected", self.len());
            let tensor = self.stored.as_ref().map_or(String::new(), |(_, name)| name.clone());
            return Err(DocumentError::Tensor { tensor, found });
        }
        let mut all = vec![0.0; self.len() as usize];
        self.values.read(0, &mut all)?;
        Ok(all)
    }

    fn of(storage: &Storage, tensor: &Tensor) -> Result<Self, DocumentError> {
        let elements = storage.elements(tensor)?;
        let (dims, element) = (tensor.dims().to_vec(), tensor.element());
        Ok(Self { dims, element, values: Arc::new(elements), stored: None, overridable: false })
    }

    fn reshaped(mut self, dims: Vec<u64>) -> Option<Self> {
        self.stored = None;
        (size(&dims)? == self.len()).then_some(Self { dims, ..self })
    }
}

/// One number, over and over.
#[derive(Debug)]
struct Filled(f64);

impl Made for Filled {
    fn read(&self, _: u64, out: &mut [f64]) -> Result<(), DocumentError> {
        out.fill(self.0);
        Ok(())
    }
}

/// Numbers of another type.
#[derive(Debug)]
struct Rounded(Arc<dyn Made>, ElementType);

impl Made for Rounded {
    fn read(&self, first: u64, out: &mut [f64]) -> Result<(), DocumentError> {
        self.0.read(first, out)?;
        for value in out {
            *value = self.1.round(*value);
        }
        Ok(())
    }
}

impl Scope<'_> {
    /// A value, if it is a constant: a stored tensor, or `Constant`, `ConstantOfShape`, `Identity`, `Cast`, `Unsqueeze`,
    /// `Squeeze`, `Reshape`, `Flatten` or `Transpose` of constants.
    ///
    /// # Errors
    ///
    /// If a stored tensor is damaged, or must not be read.
    pub fn constant(&self, storage: &Storage, name: &str) -> Result<Option<Constant>, DocumentError> {
        self.constant_within(storage, name, DEPTH, &Cell::new(EFFORT))
    }

    /// A few integers that are constant: a shape, or axes.
    ///
    /// # Errors
    ///
    /// As [`constant`](Self::constant).
    pub fn constant_ints(&self, storage: &Storage, name: &str) -> Result<Option<Vec<i64>>, DocumentError> {
        let constant = self.constant(storage, name)?;
        let few = constant.filter(|constant| constant.len() <= 1 << 10 && !constant.element.is_float());
        few.map(|few| Ok(few.all()?.iter().map(|&value| value as i64).collect())).transpose()
    }

    fn constant_within(
        &self,
        storage: &Storage,
        name: &str,
        depth: usize,
        left: &Cell<u64>,
    ) -> Result<Option<Constant>, DocumentError> {
        if let Some((scope, given)) = self.given(name) {
            return scope.constant_within(storage, given, depth, left);
        }
        match self.meaning(name) {
            Meaning::Initializer { tensor, home, input } => {
                if tensor.element().bytes().is_none() {
                    return Ok(None);
                }
                let mut constant = Constant::of(storage, tensor)?;
                constant.stored = Some((home, name.to_owned()));
                constant.overridable = input;
                Ok(Some(constant))
            }
            Meaning::Node { node, output: 0 } if depth > 0 && spend(left, OPERATOR) => {
                self.computed(storage, node, depth - 1, left)
            }
            _ => Ok(None),
        }
    }

    fn computed(
        &self,
        storage: &Storage,
        node: &Node,
        depth: usize,
        left: &Cell<u64>,
    ) -> Result<Option<Constant>, DocumentError> {
        if !node.domain().is_empty() && node.domain() != "ai.onnx" {
            return Ok(None);
        }
        let input = |index: usize| match node.input(index) {
            Some(name) => self.constant_within(storage, name, depth, left),
            None => Ok(None),
        };
        // From an input or, in older operator sets, an attribute.
        let ints = |index: usize, attribute: &str| match node.input(index) {
            Some(name) => {
                let few = self.constant_within(storage, name, depth, left)?.filter(|few| few.len() <= 1 << 10);
                few.map(|few| few.all().map(|all| all.iter().map(|&value| value as i64).collect::<Vec<_>>()))
                    .transpose()
            }
            None => Ok(node.ints(attribute).map(<[i64]>::to_vec)),
        };
        match node.op() {
            "Constant" => constant_node(storage, node),
            "ConstantOfShape" => {
                let dims = ints(0, "")?.and_then(|dims| lengths(&dims));
                let small = |dims: &Vec<u64>| size(dims).is_some_and(|size| size <= LIMIT);
                let Some(dims) = dims.filter(small) else { return Ok(None) };
                let (element, value) = match node.attribute("value") {
                    Some(AttributeValue::Tensor(tensor))
                        if tensor.elements()? == 1 && tensor.element().bytes().is_some() =>
                    {
                        (tensor.element(), storage.values(tensor)?[0])
                    }
                    None => (ElementType::Float, 0.0),
                    _ => return Ok(None),
                };
                let values = Arc::new(Filled(value));
                Ok(Some(Constant { dims, element, values, stored: None, overridable: false }))
            }
            "Identity" => Ok(input(0)?.map(|constant| Constant { stored: None, ..constant })),
            "Cast" => {
                let Some(constant) = input(0)? else { return Ok(None) };
                let to = ElementType::from_number(node.int("to").unwrap_or(0));
                if !to.is_float() {
                    return Ok(None);
                }
                let values = Arc::new(Rounded(constant.values.clone(), to));
                Ok(Some(Constant { element: to, values, stored: None, ..constant }))
            }
            "Unsqueeze" => {
                let (Some(constant), Some(axes)) = (input(0)?, ints(1, "axes")?) else { return Ok(None) };
                Ok(unsqueezed(&constant.dims, &axes).and_then(|dims| constant.reshaped(dims)))
            }
            "Squeeze" => {
                let Some(constant) = input(0)? else { return Ok(None) };
                let axes = ints(1, "axes")?;
                Ok(squeezed(&constant.dims, axes.as_deref()).and_then(|dims| constant.reshaped(dims)))
            }
            "Reshape" => {
                let (Some(constant), Some(shape)) = (input(0)?, ints(1, "shape")?) else { return Ok(None) };
                Ok(reshaped(&constant.dims, &shape).and_then(|dims| constant.reshaped(dims)))
            }
            "Flatten" => {
                let Some(constant) = input(0)? else { return Ok(None) };
                let axis = axis(node.int("axis").unwrap_or(1), constant.dims.len() + 1);
                let Some(axis) = axis else { return Ok(None) };
                let (front, back) = constant.dims.split_at(axis.min(constant.dims.len()));
                let (Some(rows), Some(columns)) = (size(front), size(back)) else { return Ok(None) };
                Ok(constant.reshaped(vec![rows, columns]))
            }
            "Transpose" => {
                let Some(constant) = input(0)?.filter(|constant| spend(left, constant.len())) else {
                    return Ok(None);
                };
                transposed(&constant, node.ints("perm"))
            }
            _ => Ok(None),
        }
    }
}

fn constant_node(storage: &Storage, node: &Node) -> Result<Option<Constant>, DocumentError> {
    let of = |element, dims: Vec<u64>, values: Vec<f64>| Constant {
        dims,
        element,
        values: Arc::new(values),
        stored: None,
        overridable: false,
    };
    let all = |values: &[i64]| values.iter().map(|&value| value as f64).collect::<Vec<_>>();
    let Some(attribute) = node.attributes().first() else { return Ok(None) };
    Ok(match (attribute.name(), attribute.value()) {
        ("value", AttributeValue::Tensor(tensor)) if tensor.element().bytes().is_some() => {
            Some(Constant::of(storage, tensor)?)
        }
        ("value_float", AttributeValue::Float(value)) => {
            Some(of(ElementType::Float, vec![], vec![f64::from(*value)]))
        }
        ("value_floats", AttributeValue::Floats(values)) => {
            let values: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
            Some(of(ElementType::Float, vec![values.len() as u64], values))
        }
        ("value_int", AttributeValue::Int(value)) => Some(of(ElementType::Int64, vec![], all(&[*value]))),
        ("value_ints", AttributeValue::Ints(values)) => {
            Some(of(ElementType::Int64, vec![values.len() as u64], all(values)))
        }
        _ => None,
    })
}

/// Takes so much of what is left, if it is there.
fn spend(left: &Cell<u64>, effort: u64) -> bool {
    let after = left.get().checked_sub(effort);
    after.inspect(|&after| left.set(after)).is_some()
}

/// The product of lengths, if it can be counted.
fn size(dims: &[u64]) -> Option<u64> {
    dims.iter().try_fold(1_u64, |size, &dim| size.checked_mul(dim))
}

fn lengths(dims: &[i64]) -> Option<Vec<u64>> {
    dims.iter().map(|&dim| u64::try_from(dim).ok()).collect()
}

/// An axis counted from the front.
pub(crate) fn axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis + rank } else { axis };
    (0..rank).contains(&axis).then_some(axis as usize)
}

pub(crate) fn unsqueezed(dims: &[u64], axes: &[i64]) -> Option<Vec<u64>> {
    let rank = dims.len() + axes.len();
    let axes: Vec<usize> = axes.iter().map(|&one| axis(one, rank)).collect::<Option<_>>()?;
    let mut rest = dims.iter();
    (0..rank).map(|index| if axes.contains(&index) { Some(1) } else { rest.next().copied() }).collect()
}

pub(crate) fn squeezed(dims: &[u64], axes: Option<&[i64]>) -> Option<Vec<u64>> {
    let gone: Vec<usize> = match axes {
        Some(axes) => axes.iter().map(|&one| axis(one, dims.len())).collect::<Option<_>>()?,
        None => (0..dims.len()).filter(|&index| dims[index] == 1).collect(),
    };
    gone.iter().all(|&index| dims[index] == 1).then(|| {
        dims.iter().enumerate().filter(|(index, _)| !gone.contains(index)).map(|(_, &dim)| dim).collect()
    })
}

pub(crate) fn reshaped(dims: &[u64], shape: &[i64]) -> Option<Vec<u64>> {
    let total = size(dims)?;
    let mut known: Vec<Option<u64>> = Vec::new();
    for (index, &length) in shape.iter().enumerate() {
        known.push(match length {
            0 => Some(*dims.get(index)?),
            -1 => None,
            length => Some(u64::try_from(length).ok()?),
        });
    }
    let rest: u64 = known.iter().flatten().try_fold(1_u64, |product, &dim| product.checked_mul(dim))?;
    let open = known.iter().filter(|dim| dim.is_none()).count();
    match open {
        0 => known.into_iter().collect(),
        1 if rest > 0 && total.is_multiple_of(rest) => {
            Some(known.into_iter().map(|dim| dim.unwrap_or(total / rest)).collect())
        }
        _ => None,
    }
}

/// A constant with its axes in another order, in memory.
fn transposed(constant: &Constant, order: Option<&[i64]>) -> Result<Option<Constant>, DocumentError> {
    let rank = constant.dims.len();
    let order: Option<Vec<usize>> = match order {
        Some(order) => order.iter().map(|&one| axis(one, rank)).collect(),
        None => Some((0..rank).rev().collect()),
    };
    let Some(order) = order.filter(|order| {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted.into_iter().eq(0..rank)
    }) else {
        return Ok(None);
    };
    if constant.len() > LIMIT {
        return Ok(None);
    }
    let old = constant.all()?;
    let mut strides = vec![1_usize; rank];
    for index in (1..rank).rev() {
        // Of a constant without elements they can be anything.
        strides[index - 1] = strides[index].saturating_mul(constant.dims[index] as usize);
    }
    let dims: Vec<u64> = order.iter().map(|&index| constant.dims[index]).collect();
    let mut position = vec![0_u64; rank];
    let mut new = Vec::with_capacity(old.len());
    for _ in 0..old.len() {
        let at: usize =
            order.iter().zip(&position).map(|(&index, &place)| strides[index] * place as usize).sum();
        new.push(old[at]);
        for index in (0..rank).rev() {
            position[index] += 1;
            if position[index] < dims[index] {
                break;
            }
            position[index] = 0;
        }
    }
    let (element, overridable) = (constant.element, constant.overridable);
    Ok(Some(Constant { dims, element, values: Arc::new(new), stored: None, overridable }))
}
