//! Models run by tract.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tract_onnx::model::ParseResult;
use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

use super::error::{TRACT, caught, reason};
use super::{Array, ArrayValues, ElementType, ModelSource, Port, Runtime, RuntimeError, Session, in_order};

/// As in Cargo.toml, where it is pinned; a test compares the two.
const VERSION: &str = "0.23.9";

/// Plans are made for shapes of inputs, and so many are kept.
const PLANS: usize = 4;

/// Domains whose operators tract has; it looks operators up by type alone, so that others would be mistaken.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// tract: a runtime in pure Rust that is part of the program.
///
/// It has most operators of ONNX in f32, many in f16 and f64, and none in bf16. Batch normalization runs in
/// evaluation: `training_mode = 1` is silently run as 0, and more than one output of it is refused. A model is
/// optimized for the shapes of its inputs on the first run with them, which fuses and reorders operations: results
/// differ from the plain ones by roundings.
///
/// Where tract panics, an error comes out; the panic's message goes where the process's panic hook sends it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tract;

impl Runtime for Tract {
    fn name(&self) -> &'static str {
        TRACT
    }

    fn version(&self) -> String {
        VERSION.to_owned()
    }

    fn load(&self, model: ModelSource<'_>) -> Result<Box<dyn Session>, RuntimeError> {
        model.check()?;
        let onnx = tract_onnx::onnx()
            // Symbols there do not go with the lengths that inputs have.
            .with_ignore_value_info(true);
        let not_a_model = |reason: String| RuntimeError::NotAModel { runtime: TRACT, reason };
        let (proto, folder) = caught(|| read(&onnx, model))
            .map_err(not_a_model)?
            .map_err(|error| not_a_model(reason(format!("{error:#}"))))?;
        let graph = proto.graph.as_ref().ok_or_else(|| not_a_model("it has no graph".to_owned()))?;
        let mut nodes = Nodes::default();
        nodes.collect(graph);
        refuse_unknown(&onnx, &proto, &nodes)?;
        refuse_loose_ends(graph)?;
        let parsed = caught(|| onnx.parse(&proto, folder.as_deref()))
            .map_err(|panic| nodes.blame("read", &panic))?
            .map_err(|error| nodes.blame("read", &format!("{error:#}")))?;
        let ParseResult { model, unresolved_inputs, .. } = parsed;
        if let Some(input) = unresolved_inputs.first() {
            return Err(not_a_model(format!("a node takes `{input}`, which nothing computes or stores")));
        }
        let inputs = ports(&model).map_err(|error| nodes.blame("read", &format!("{error:#}")))?;
        let outputs = graph.output.iter().map(|output| output.name.clone()).collect();
        Ok(Box::new(TractSession { model, nodes, inputs, outputs, plans: Vec::new() }))
    }
}

/// The model as tract decodes it, and the folder of its files.
fn read(onnx: &tract_onnx::Onnx, model: ModelSource<'_>) -> TractResult<(ModelProto, Option<String>)> {
    let (proto, folder) = match model {
        ModelSource::Bytes { mut bytes, folder } => (onnx.proto_model_for_read(&mut bytes)?, folder),
        ModelSource::Path(path) => (onnx.proto_model_for_path(path)?, path.parent()),
    };
    let text = |folder: &Path| {
        folder
            .to_str()
            .map(str::to_owned)
            .ok_or_else(|| TractError::msg("its folder has a name that is not text"))
    };
    Ok((proto, folder.map(text).transpose()?))
}

fn refuse_unknown(onnx: &tract_onnx::Onnx, proto: &ModelProto, nodes: &Nodes) -> Result<(), RuntimeError> {
    for (name, node) in &nodes.by_name {
        let function = proto
            .functions
            .iter()
            .any(|function| function.name() == node.op && function.domain() == node.domain);
        let reason = if function {
            "it is a function of the model, which tract does not expand"
        } else if !onnx.op_register.0.contains_key(&node.op) || !DOMAINS.contains(&node.domain.as_str()) {
            "tract has no such operator"
        } else {
            continue;
        };
        let (node, op) = (Some(name.clone()), node.qualified());
        return Err(RuntimeError::Operator { runtime: TRACT, op, node, reason: reason.to_owned() });
    }
    Ok(())
}

/// tract 0.23 panics on an output that nothing computes.
fn refuse_loose_ends(graph: &GraphProto) -> Result<(), RuntimeError> {
    let computed = |name: &str| {
        graph.node.iter().any(|node| node.output.iter().any(|output| output == name))
            || graph.input.iter().any(|input| input.name == name)
            || graph.initializer.iter().any(|tensor| tensor.name == name)
    };
    match graph.output.iter().find(|output| !computed(&output.name)) {
        Some(output) => Err(RuntimeError::NotAModel {
            runtime: TRACT,
            reason: format!("nothing computes its output `{}`", output.name),
        }),
        None => Ok(()),
    }
}

fn ports(model: &InferenceModel) -> TractResult<Vec<Port>> {
    let port = |&outlet: &OutletId| {
        let fact = model.outlet_fact(outlet)?;
        let lengths = fact.shape.dims().map(|dim| dim.concretize().and_then(|dim| dim.to_usize().ok()));
        let dims = if fact.shape.is_open() { None } else { Some(lengths.collect()) };
        let element = fact.datum_type.concretize().and_then(element);
        Ok(Port { name: model.node(outlet.node).name.clone(), element, dims })
    };
    model.input_outlets()?.iter().map(port).collect()
}

/// A node as the model has it.
#[derive(Debug)]
struct NodeKind {
    op: String,
    domain: String,
}

impl NodeKind {
    fn qualified(&self) -> String {
        match self.domain.as_str() {
            "" | "ai.onnx" => self.op.clone(),
            domain => format!("{domain}.{}", self.op),
        }
    }
}

/// The nodes of a model and of the graphs inside it, by the names that tract gives them.
#[derive(Debug, Default)]
struct Nodes {
    by_name: BTreeMap<String, NodeKind>,
}

impl Nodes {
    /// Graphs inside graphs are as deep as the decoder allowed: a hundred messages.
    fn collect(&mut self, graph: &GraphProto) {
        for node in &graph.node {
            let first_output = node.output.first().cloned().unwrap_or_default();
            let name = if node.name.is_empty() { first_output } else { node.name.clone() };
            let kind = NodeKind { op: node.op_type.clone(), domain: node.domain.clone() };
            self.by_name.insert(name, kind);
            for attribute in &node.attribute {
                attribute.g.iter().chain(&attribute.graphs).for_each(|graph| self.collect(graph));
            }
        }
    }

    /// The error for something tract said, with the operator if it names a node of the model.
    fn blame(&self, doing: &'static str, said: &str) -> RuntimeError {
        let runtime = TRACT;
        let found =
            named(said).find_map(|name| self.by_name.get_key_value(name).or_else(|| self.part_of(name)));
        match found {
            Some((name, node)) => RuntimeError::Operator {
                runtime,
                op: node.qualified(),
                node: Some(name.clone()),
                reason: reason(said),
            },
            None => match unnamed(said) {
                Some(op) => RuntimeError::Operator { runtime, op, node: None, reason: reason(said) },
                None => RuntimeError::Failed { runtime, doing, reason: reason(said) },
            },
        }
    }

    /// The node that tract made this one of: it appends to names what the new node does.
    fn part_of(&self, name: &str) -> Option<(&String, &NodeKind)> {
        let ends = name.char_indices().rev().filter(|(_, char)| ".-_".contains(*char));
        ends.map(|(end, _)| &name[..end]).find_map(|name| self.by_name.get_key_value(name))
    }
}

/// The nodes that an error of tract's names: `Building node NAME (OP)`, `#12 "NAME" OP`, `Wiring node "NAME", OP` and
/// `invocation for NAME: OP`.
fn named(said: &str) -> impl Iterator<Item = &str> {
    [("Building node ", " ("), ("#", "\""), ("Wiring node \"", "\""), ("invocation for ", ": ")]
        .into_iter()
        .flat_map(|(before, after)| said.split(before).skip(1).map(move |rest| (before, after, rest)))
        .filter_map(|(before, after, rest)| {
            let rest = if before == "#" {
                rest.trim_start_matches(|char: char| char.is_ascii_digit()).strip_prefix(" \"")?
            } else {
                rest
            };
            rest.split_once(after).map(|(name, _)| name)
        })
}

/// The operator of a node without a name: `Building node  (OP)`.
fn unnamed(said: &str) -> Option<String> {
    let (op, _) = said.split_once("Building node  (")?.1.split_once(')')?;
    Some(op.to_owned())
}

/// A model in tract, with plans for the shapes it was run on last.
struct TractSession {
    model: InferenceModel,
    nodes: Nodes,
    inputs: Vec<Port>,
    outputs: Vec<String>,
    /// The last one used comes last.
    plans: Vec<(Vec<Vec<usize>>, Arc<TypedRunnableModel>)>,
}

impl Session for TractSession {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[(&str, &Array)]) -> Result<Vec<(String, Array)>, RuntimeError> {
        let arrays = in_order(&self.inputs, inputs)?;
        let tensors = self.inputs.iter().zip(&arrays).map(|(port, array)| tensor(&port.name, array));
        let tensors: TVec<TValue> =
            tensors.map(|tensor| Ok(tensor?.into())).collect::<Result<_, RuntimeError>>()?;
        let plan = self.plan(&tensors)?;
        let outputs = caught(|| plan.run(tensors))
            .map_err(|panic| self.nodes.blame("run", &panic))?
            .map_err(|error| self.nodes.blame("run", &format!("{error:#}")))?;
        self.outputs
            .iter()
            .zip(&outputs)
            .map(|(name, value)| Ok((name.clone(), self.array(name, value)?)))
            .collect()
    }
}

impl TractSession {
    /// The model optimized for tensors of these shapes.
    fn plan(&mut self, tensors: &[TValue]) -> Result<Arc<TypedRunnableModel>, RuntimeError> {
        let shapes: Vec<Vec<usize>> = tensors.iter().map(|tensor| tensor.shape().to_vec()).collect();
        if let Some(index) = self.plans.iter().position(|(known, _)| *known == shapes) {
            let found = self.plans.remove(index);
            self.plans.push(found);
        } else {
            let facts =
                tensors.iter().map(|tensor| InferenceFact::dt_shape(tensor.datum_type(), tensor.shape()));
            let planned = caught(|| {
                let mut model = self.model.clone();
                for (index, fact) in facts.enumerate() {
                    model.set_input_fact(index, fact)?;
                }
                model.into_optimized()?.into_runnable()
            });
            let plan = planned
                .map_err(|panic| self.nodes.blame("prepare", &panic))?
                .map_err(|error: TractError| self.nodes.blame("prepare", &format!("{error:#}")))?;
            if self.plans.len() == PLANS {
                self.plans.remove(0);
            }
            self.plans.push((shapes, plan));
        }
        let last = self.plans.last().map(|(_, plan)| plan.clone());
        last.ok_or_else(|| self.nodes.blame("prepare", "no plan was kept"))
    }

    fn array(&self, name: &str, value: &TValue) -> Result<Array, RuntimeError> {
        let found = value.datum_type();
        // Sizes that tract computes with: i64 to everyone else.
        let target = if found == DatumType::TDim { DatumType::I64 } else { found };
        let lost = |error: TractError| self.nodes.blame("run", &format!("output `{name}`: {error:#}"));
        let value = value.cast_to_dt(target).map_err(lost)?;
        let values = values(&value).map_err(lost)?.ok_or_else(|| RuntimeError::Element {
            runtime: TRACT,
            tensor: name.to_owned(),
            found: format!("{found:?}"),
        })?;
        Array::new(value.shape(), values)
    }
}

/// Types that tract shares with [`ArrayValues`].
macro_rules! shared {
    ($($variant:ident: $rust:ty),*) => {
        fn element(datum: DatumType) -> Option<ElementType> {
            match datum {
                $(DatumType::$variant => Some(ElementType::$variant),)*
                _ => None,
            }
        }

        fn tensor(name: &str, array: &Array) -> Result<Tensor, RuntimeError> {
            let made = match &array.values {
                $(ArrayValues::$variant(values) => Tensor::from_shape(&array.dims, values),)*
                ArrayValues::Bf16(_) => {
                    let (tensor, found) = (name.to_owned(), ElementType::Bf16.to_string());
                    return Err(RuntimeError::Element { runtime: TRACT, tensor, found });
                }
            };
            made.map_err(|error| {
                RuntimeError::Failed { runtime: TRACT, doing: "run", reason: reason(format!("{error:#}")) }
            })
        }

        fn values(tensor: &Tensor) -> TractResult<Option<ArrayValues>> {
            Ok(match tensor.datum_type() {
                $(DatumType::$variant => {
                    let view = tensor.to_plain_array_view::<$rust>()?;
                    Some(view.iter().copied().collect::<Vec<$rust>>().into())
                })*
                _ => None,
            })
        }
    };
}

shared!(
    F32: f32, F64: f64, F16: half::f16, I64: i64, I32: i32, I16: i16, I8: i8, U64: u64, U32: u32, U16: u16, U8: u8,
    Bool: bool
);
