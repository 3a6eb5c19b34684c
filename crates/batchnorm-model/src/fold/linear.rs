//! Linear maps and how a layer enters their weights: `Conv`, `ConvTranspose`, `Gemm`, `MatMul`.

use std::sync::Arc;

use batchnorm::fold::{Affine, Bias, Rounding, WeightLayout, WeightOrder};

use super::plan::{Edit, New};
use super::refusal::Refusal;
use super::weights::{Scaled, Side, Sums, engine_type, fits, look, moved, sign};
use super::{Attempt, Folder};
use crate::onnx::document::{AttributeValue, Made, Node};
use crate::onnx::layers::Constant;

/// A bias with rows of its own is not made of more elements.
const LIMIT: u64 = 1 << 24;

/// A map with its weight and bias.
pub(super) struct Map {
    pub(super) index: usize,
    pub(super) node: Node,
    pub(super) weight: Constant,
    pub(super) layout: WeightLayout,
    /// The weight's input; the bias's comes after it.
    input: usize,
    bias: Option<Constant>,
    /// What the operator multiplies the product by.
    alpha: f64,
    /// What the operator multiplies the bias by.
    beta: f64,
}

impl Folder<'_, '_> {
    /// Puts a layer into the map that comes before it.
    pub(super) fn fold_into_map_before(&mut self, index: usize, axis: usize, affine: &Affine) -> Attempt<()> {
        let map = self.map(index, axis, Side::Outputs)?;
        self.same_channels(&map, affine, map.layout.outputs())?;
        let scaled = map.scaled(Side::Outputs, affine);
        let sums = look(&scaled, map.weight.element, None)?;
        let outputs = map.layout.outputs();
        if map.node.is("Gemm") && map.bias.as_ref().is_some_and(|bias| !along_columns(bias, outputs)) {
            return self.gemm_with_rows_of_bias(map, scaled, &sums, affine);
        }
        let bias = map.bias_values(outputs)?.then(affine).map_err(Refusal::from)?;
        self.put(map, scaled, &sums, bias, affine)
    }

    /// Puts a layer into a map that comes after it.
    pub(super) fn fold_into_map_after(&mut self, index: usize, axis: usize, affine: &Affine) -> Attempt<()> {
        let map = self.map(index, axis, Side::Inputs)?;
        self.same_channels(&map, affine, map.layout.inputs())?;
        let borders = self.borders(&map, affine)?;
        let scaled = map.scaled(Side::Inputs, affine);
        if let Some(borders) = borders {
            return self.with_exact_borders(map, scaled, &borders, affine);
        }
        let sums = look(&scaled, map.weight.element, Some((affine.shift(), affine.magnitude())))?;
        let outputs = map.layout.outputs();
        if map.node.is("Gemm") && map.bias.as_ref().is_some_and(|bias| !along_columns(bias, outputs)) {
            let shift: Vec<f64> = sums.shifted.iter().map(|shift| map.alpha * shift).collect();
            let shift = Affine::of(vec![1.0; outputs], shift).map_err(Refusal::from)?;
            return self.gemm_with_rows_of_bias(map, scaled, &sums, &shift);
        }
        let mut bias = map.bias_values(outputs)?;
        for output in 0..outputs {
            bias.values[output] += map.alpha * sums.shifted[output];
            bias.magnitude[output] += map.alpha.abs() * sums.magnitudes[output];
        }
        self.put(map, scaled, &sums, bias, affine)
    }

    /// New numbers, moved if that is asked for.
    pub(super) fn moved(&self, numbers: Arc<dyn Made>, by: f64) -> Arc<dyn Made> {
        moved(numbers, by, self.options.disturbed)
    }

    fn same_channels(&self, map: &Map, affine: &Affine, channels: usize) -> Attempt<()> {
        if affine.channels() != channels {
            return Err(Refusal::new(
                "shapes-differ",
                format!(
                    "`{}` has {channels} channels where the layer has {}; the model contradicts itself: export it anew",
                    map.node.title(),
                    affine.channels()
                ),
            )
            .into());
        }
        Ok(())
    }

    /// The map that a node is, if its channels lie along an axis and its weight is known.
    fn map(&self, index: usize, axis: usize, side: Side) -> Attempt<Map> {
        let node = &self.scope.nodes()[index];
        let title = node.title();
        let product = matches!(node.op(), "Gemm" | "MatMul");
        let weight = match node.input(1).map(|name| self.constant(name)).transpose()?.flatten() {
            Some(weight) => weight,
            None => return Err(self.runtime_weight(node).into()),
        };
        let rank = weight.dims.len();
        let mismatch = |found: String| {
            Refusal::new(
                "axis-mismatch",
                format!(
                    "`{title}` has its channels along another axis than the layer: {found}; they cannot be joined"
                ),
            )
        };
        let size = |index: usize| usize::try_from(weight.dims[index]).unwrap_or(usize::MAX);
        let layout = if product {
            if rank != 2 {
                let found = format!("`{title}` multiplies by a weight of {rank} axes, expected 2");
                return Err(Refusal::new("unsupported-weight", found).into());
            }
            if side == Side::Inputs && node.int("transA").unwrap_or(0) != 0 {
                return Err(mismatch("its input is transposed".to_owned()).into());
            }
            let transposed = node.int("transB").unwrap_or(0) != 0;
            let (order, outputs, inputs) = match transposed {
                true => (WeightOrder::OutputsFirst, size(0), size(1)),
                false => (WeightOrder::InputsFirst, size(1), size(0)),
            };
            let value = if side == Side::Outputs { node.output(0) } else { node.input(0) };
            let value_rank = match node.op() {
                "Gemm" => Some(2),
                _ => self.shapes.of(value.unwrap_or_default()).map(|lengths| lengths.len()),
            };
            match value_rank {
                Some(rank) if axis + 1 == rank => {}
                Some(rank) => {
                    return Err(mismatch(format!(
                        "columns along the last of {rank}, channels along axis {axis}"
                    ))
                    .into());
                }
                None => return Err(self.unknown_shape(value.unwrap_or_default()).into()),
            }
            WeightLayout::new(order, 1, outputs, inputs, 1)
        } else {
            if rank < 3 {
                let found = format!("the weight of `{title}` has {rank} axes, expected at least 3");
                return Err(Refusal::new("unsupported-weight", found).into());
            }
            if axis != 1 {
                return Err(mismatch(format!("channels along axis {axis}, expected 1")).into());
            }
            let groups = usize::try_from(node.int("group").unwrap_or(1)).unwrap_or(0);
            let taps = weight.dims[2..].iter().try_fold(1_u64, |taps, &dim| taps.checked_mul(dim));
            let taps = taps.and_then(|taps| usize::try_from(taps).ok()).unwrap_or(usize::MAX);
            let second = size(1).saturating_mul(groups);
            match node.op() {
                "Conv" => WeightLayout::new(WeightOrder::OutputsFirst, groups, size(0), second, taps),
                _ => WeightLayout::new(WeightOrder::InputsFirst, groups, second, size(0), taps),
            }
        }
        .map_err(Refusal::from)?;
        if !weight.element.is_float() {
            let found =
                format!("the weight of `{title}` holds {}, expected floating-point numbers", weight.element);
            return Err(Refusal::new("quantized-weight", found).into());
        }
        let bias = match node.input(2) {
            None => None,
            Some(name) => match self.constant(name)? {
                Some(bias) => Some(bias),
                None => {
                    return Err(Refusal::new(
                        "runtime-bias",
                        format!(
                            "the bias `{name}` of `{title}` is computed or given while the model runs; make it a stored tensor"
                        ),
                    )
                    .into());
                }
            },
        };
        let float = |name: &str| node.float(name).filter(|_| node.is("Gemm")).map_or(1.0, f64::from);
        Ok(Map {
            index,
            node: node.clone(),
            weight,
            layout,
            input: 1,
            bias,
            alpha: float("alpha"),
            beta: float("beta"),
        })
    }

    fn runtime_weight(&self, node: &Node) -> Refusal {
        let title = node.title();
        let weight = node.input(1).unwrap_or_default();
        let left = node.input(0).and_then(|name| self.constant(name).ok().flatten());
        if matches!(node.op(), "Gemm" | "MatMul") && left.is_some() {
            return Refusal::new(
                "constant-left-operand",
                format!("`{title}` multiplies by a constant from the left, which mixes rows and not channels"),
            );
        }
        let quantized = self.scope.producer(weight).is_some_and(|(index, _)| {
            matches!(self.scope.nodes()[index].op(), "DequantizeLinear" | "DynamicQuantizeLinear")
        });
        if quantized {
            return Refusal::new(
                "quantized-weight",
                format!("the weight `{weight}` of `{title}` is quantized; fold before quantizing"),
            );
        }
        Refusal::new(
            "runtime-weight",
            format!(
                "the weight `{weight}` of `{title}` is computed or given while the model runs; make it a stored tensor"
            ),
        )
    }

    /// Notes the changes of a map: its weight, and a bias for each of its outputs.
    pub(super) fn put(
        &mut self,
        map: Map,
        scaled: Scaled,
        sums: &Sums,
        bias: Bias,
        affine: &Affine,
    ) -> Attempt<()> {
        let element = map.weight.element;
        let flushed = sums.flushed + fits(element, &bias.values).map_err(Refusal::from)?;
        let (index, input, had) = (map.index, map.input, map.bias.is_some());
        let (op, title, layout) = (map.node.op().to_owned(), map.node.title().to_owned(), map.layout);
        let dims = map.weight.dims.clone();
        let plain = map.beta == 1.0;
        let matrix =
            map.node.output(0).and_then(|y| self.shapes.of(y)).is_some_and(|lengths| lengths.len() == 2);
        let old_style = self.document.opset() < 7;
        let rounding = Rounding::of(engine_type(element));
        let bound = rounding.relative(layout.terms(), affine.roundings());
        let likely = rounding.likely(layout.terms(), affine.roundings());
        let weight = self.moved(Arc::new(scaled), likely);
        self.plan.push(Edit::Constant { node: index, input, new: New { dims, element, values: weight } });
        let needed = had || bias.values.iter().any(|&value| value != 0.0);
        if needed {
            let mut values = bias.values;
            if let Some(seed) = self.options.disturbed {
                // Sums of terms that cancel: it is the terms that are rounded.
                for (output, (value, size)) in (0..).zip(values.iter_mut().zip(&bias.magnitude)) {
                    *value += sign(!seed, output) * likely * size;
                }
            }
            let new = New { dims: vec![layout.outputs() as u64], element, values: Arc::new(values) };
            let attribute =
                |name, value| Edit::Attribute { node: index, name, value: AttributeValue::Int(value) };
            match op.as_str() {
                "MatMul" if matrix => {
                    self.plan.push(Edit::Operator { node: index, op: "Gemm" });
                    if old_style {
                        self.plan.push(attribute("broadcast", 1));
                    }
                    self.plan.push(Edit::Constant { node: index, input: input + 1, new });
                }
                "MatMul" => self.plan.push(Edit::Add { node: index, new }),
                _ => {
                    if op == "Gemm" && old_style {
                        self.plan.push(attribute("broadcast", 1));
                    }
                    if op == "Gemm" && !plain {
                        let value = AttributeValue::Float(1.0);
                        self.plan.push(Edit::Attribute { node: index, name: "beta", value });
                    }
                    self.plan.push(Edit::Constant { node: index, input: input + 1, new });
                }
            }
        }
        self.plan.into.push(title);
        self.plan.flushed += flushed;
        self.plan.bound = self.plan.bound.max(bound);
        Ok(())
    }

    /// A product whose bias has rows of its own: the layer is applied to all of it.
    fn gemm_with_rows_of_bias(
        &mut self,
        map: Map,
        scaled: Scaled,
        sums: &Sums,
        affine: &Affine,
    ) -> Attempt<()> {
        let Some(bias) = &map.bias else { return Ok(()) };
        let outputs = map.layout.outputs();
        let rows = match bias.dims[..] {
            [rows, columns] if columns == 1 || columns == outputs as u64 => rows,
            _ => {
                let found = format!("the bias of `{}` has the shape {:?}", map.node.title(), bias.dims);
                return Err(Refusal::new("shapes-differ", found).into());
            }
        };
        if rows.checked_mul(outputs as u64).is_none_or(|size| size > LIMIT) {
            let reason = format!("the bias that `{}` would have is too large", map.node.title());
            return Err(Refusal::new("large-constant", reason).into());
        }
        let columns = bias.dims[1] as usize;
        let old = bias.all()?;
        let value =
            |row: usize, output: usize| map.beta * old[row * columns + if columns == 1 { 0 } else { output }];
        let new: Vec<f64> = (0..rows as usize)
            .flat_map(|row| (0..outputs).map(move |output| (row, output)))
            .map(|(row, output)| affine.scale()[output] * value(row, output) + affine.shift()[output])
            .collect();
        let element = map.weight.element;
        self.plan.flushed += sums.flushed + fits(element, &new).map_err(Refusal::from)?;
        let (index, input, title) = (map.index, map.input, map.node.title().to_owned());
        let rounding = Rounding::of(engine_type(element));
        let bound = rounding.relative(map.layout.terms(), affine.roundings());
        let likely = rounding.likely(map.layout.terms(), affine.roundings());
        let dims = map.weight.dims.clone();
        let (weight, new) = (self.moved(Arc::new(scaled), likely), self.moved(Arc::new(new), likely));
        self.plan.push(Edit::Constant { node: index, input, new: New { dims, element, values: weight } });
        let dims = vec![rows, outputs as u64];
        self.plan.push(Edit::Constant {
            node: index,
            input: input + 1,
            new: New { dims, element, values: new },
        });
        let one = AttributeValue::Float(1.0);
        self.plan.push(Edit::Attribute { node: index, name: "beta", value: one });
        self.plan.into.push(title);
        self.plan.bound = self.plan.bound.max(bound);
        Ok(())
    }
}

impl Map {
    fn scaled(&self, side: Side, affine: &Affine) -> Scaled {
        let (weight, layout) = (self.weight.values.clone(), self.layout);
        Scaled { weight, layout, side, scale: affine.scale().to_vec() }
    }

    /// The bias of each output, as the operator adds it.
    fn bias_values(&self, outputs: usize) -> Attempt<Bias> {
        let Some(bias) = &self.bias else { return Ok(Bias::new(None, outputs).map_err(Refusal::from)?) };
        let mut values = bias.all()?;
        if values.len() == 1 {
            values.resize(outputs, values[0]);
        }
        values.iter_mut().for_each(|value| *value *= self.beta);
        Ok(Bias::new(Some(&values), outputs).map_err(Refusal::from)?)
    }
}

/// Whether a bias is one number, or one for each column.
fn along_columns(bias: &Constant, outputs: usize) -> bool {
    let rows = bias.dims.split_last().map_or(&[][..], |(_, rows)| rows);
    rows.iter().all(|&length| length == 1) && (bias.len() == 1 || bias.len() == outputs as u64)
}
