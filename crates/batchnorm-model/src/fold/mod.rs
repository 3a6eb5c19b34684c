//! Folding batch-norm layers into the weights of the linear maps around them.
//!
//! At inference a layer is `y = s x + t` per channel, and a linear map before or after it can take s and t into its weight
//! and bias ([`batchnorm::fold`] has the arithmetic). What may be between them, and what may not, is decided here:
//!
//! - before the layer: `Conv`, `ConvTranspose`, `Gemm`, `MatMul`, another layer; additions of constants, multiplications by
//!   one constant a channel, `Concat`, poolings where they commute, changes of shape that keep channels apart;
//! - after it, where nothing before it will do: the same maps, if no padding is there that the shift would have to fill.
//!
//! A layer that cannot be folded stays as it is, with a [`Refusal`]: a code for programs, and a sentence.
//!
//! ```
//! use batchnorm::Momentum;
//! use batchnorm_model::fold::{Options, Verdict, fold};
//! use batchnorm_model::onnx::document::Document;
//! use batchnorm_model::onnx::{Dim, Graph, Normalization};
//!
//! let mut graph = Graph::new("net");
//! let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(1)]);
//! let w = graph.tensor("w", &[1, 2], &[1.0, 2.0]);
//! let h = graph.node("MatMul", "product", &[&x, &w], &[]);
//! let [gamma, beta] = ["gamma", "beta"].map(|name| graph.tensor(name, &[2], &[1.0, 3.0]));
//! let [mean, variance] = ["mean", "variance"].map(|name| graph.tensor(name, &[2], &[0.0, 4.0]));
//! let numbers = Normalization {
//!     gamma: &gamma,
//!     beta: &beta,
//!     mean: &mean,
//!     variance: &variance,
//!     eps: 1.0,
//!     momentum: Momentum::of_new(0.1),
//! };
//! let y = graph.batch_normalization("bn", &h, &numbers);
//! graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(2)]);
//!
//! let mut document = Document::from_bytes(graph.to_bytes()?)?;
//! let report = fold(&mut document, &Options::default())?;
//! assert!(matches!(&report[0].verdict, Verdict::Folded(folded) if folded.into == ["product"]));
//! assert_eq!(document.graph().nodes()[0].op(), "Gemm");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod axes;
mod between;
mod borders;
mod constants;
mod downwards;
mod linear;
mod plan;
mod refusal;
mod upwards;
mod verify;
mod weights;

use batchnorm::fold::Affine;
use batchnorm::health::Numbers;

pub use refusal::Refusal;
pub use verify::{Difference, FACTOR, Inputs, verify};

use self::plan::{Edit, Plan};
use crate::onnx::document::{Document, DocumentError};
use crate::onnx::layers::{BatchNormalization, Constant, Home, Mode, Scope, Shapes, callers, find, homes};

/// From this version of the format on, a stored tensor that is an input as well may be replaced by the caller.
const OVERRIDABLE_FROM: i64 = 4;

/// A layer is moved past so many operators one after the other.
const DEPTH: usize = 256;

/// What may be folded.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Take stored tensors that a caller may override for what is stored. They are no inputs of the folded map.
    pub overridable: bool,
    /// Fold a layer into a padded convolution after it even where its shift is not 0, by adding a constant image: for images of
    /// a fixed size.
    pub exact_borders: bool,
    /// Move each folded number by what its rounding is likely to be at most, up or down as this seed has it: see [`verify`].
    pub disturbed: Option<u64>,
}

/// What was done about a layer.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The layer's name.
    pub name: String,
    /// The value that it makes, or made.
    pub y: String,
    /// The graph that it is in.
    pub home: Home,
    /// Its channels, as far as its parameters tell.
    pub channels: Option<u64>,
    /// Folded or refused.
    pub verdict: Verdict,
}

/// Folded or refused.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The layer is part of other operators now.
    Folded(Folded),
    /// It stays.
    Refused(Refusal),
}

/// How a layer was folded.
#[derive(Clone, Debug)]
pub struct Folded {
    /// The operators that took it in, by name.
    pub into: Vec<String>,
    /// Whether they come after it.
    pub forwards: bool,
    /// How far an output of theirs may move, relative to the sum of the sizes of what it is added up from.
    pub bound: f64,
    /// Weights that are 0 now: too small for their type.
    pub flushed: u64,
    /// Channels whose variance is 0.
    pub zero_variance: Vec<usize>,
}

/// What ends an attempt: the layer cannot be folded, or the file cannot be read.
enum Stop {
    Refused(Refusal),
    Failed(DocumentError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<DocumentError> for Stop {
    fn from(error: DocumentError) -> Self {
        Self::Failed(error)
    }
}

type Attempt<T> = Result<T, Stop>;

/// Folds all layers that can be folded, and says what became of each, in the order of the nodes.
///
/// Weights are not computed yet: they are when the document is written.
///
/// # Errors
///
/// If the file is damaged, or a tensor of it must not be read. The document may then be changed in part.
pub fn fold(document: &mut Document, options: &Options) -> Result<Vec<Outcome>, DocumentError> {
    let all = find(document)?;
    let mut outcomes: Vec<Option<Outcome>> = all.iter().map(|_| None).collect();
    // Indices of nodes move as others go, and so do the homes inside nodes; the order of graphs stays.
    let mut graphs = homes(document);
    let place = |home: &Home| graphs.iter().position(|graph| graph == home).unwrap_or_default();
    let known: Vec<(usize, String)> = all.iter().map(|layer| (place(&layer.home), layer.y.clone())).collect();
    // A layer that was refused may be folded once another is: one more round for as long as that happens.
    loop {
        let mut any = false;
        for (position, (graph, y)) in known.iter().enumerate() {
            let done = matches!(&outcomes[position], Some(Outcome { verdict: Verdict::Folded(_), .. }));
            if done {
                continue;
            }
            let home = &graphs[*graph].clone();
            let scope = Scope::new(document, home);
            let Some((index, _)) = scope.producer(y) else { continue };
            if !BatchNormalization::is(&scope.nodes()[index]) {
                continue;
            }
            let layer = BatchNormalization::new(document, &scope, index)?;
            let verdict = match attempt(document, &scope, &layer, options) {
                Ok((plan, mut folded)) => {
                    (folded.into, folded.bound, folded.flushed) = (plan.into.clone(), plan.bound, plan.flushed);
                    drop(scope);
                    plan.apply(document, home);
                    graphs = homes(document);
                    any = true;
                    Verdict::Folded(folded)
                }
                Err(Stop::Refused(refusal)) => Verdict::Refused(refusal),
                Err(Stop::Failed(error)) => return Err(error),
            };
            let (name, channels) = (layer.name.clone(), layer.channels());
            outcomes[position] = Some(Outcome { name, y: y.clone(), home: home.clone(), channels, verdict });
        }
        if !any {
            break;
        }
    }
    Ok(outcomes.into_iter().flatten().collect())
}

fn attempt(
    document: &Document,
    scope: &Scope<'_>,
    layer: &BatchNormalization,
    options: &Options,
) -> Attempt<(Plan, Folded)> {
    let shapes = Shapes::new(document, scope);
    let mut folder = Folder { document, scope, shapes, options, plan: Plan::default(), depth: 0 };
    folder.called_once()?;
    let affine = folder.affine(layer)?;
    let group = folder.absorbed(layer, affine)?;
    let zero_variance = folder.zero_variance(layer)?;
    let mut folded = Folded { into: Vec::new(), forwards: false, bound: 0.0, flushed: 0, zero_variance };
    let backwards = folder.backwards(layer, &group);
    let Err(Stop::Refused(before)) = backwards else {
        backwards?;
        return Ok((folder.plan, folded));
    };
    folder.plan = Plan::default();
    let forwards = folder.forwards(layer, &group);
    let Err(Stop::Refused(after)) = forwards else {
        forwards?;
        folded.forwards = true;
        return Ok((folder.plan, folded));
    };
    // The reason that is nearer to being overcome comes first.
    let trivial = |refusal: &Refusal| matches!(refusal.code, "no-linear-map" | "other-graph");
    let (first, second) = if trivial(&before) && !trivial(&after) { (after, before) } else { (before, after) };
    let reason = format!("{}; and the other way, {}", first.reason, second.reason);
    Err(Refusal { code: first.code, reason }.into())
}

/// A layer with the multiplications and additions of constants behind it.
struct Group {
    affine: Affine,
    /// Their nodes, the layer's among them.
    nodes: Vec<usize>,
    /// The value that the last of them makes.
    y: String,
}

/// Looks for a way to fold one layer.
struct Folder<'d, 's> {
    document: &'d Document,
    scope: &'s Scope<'d>,
    shapes: Shapes<'d, 's>,
    options: &'s Options,
    plan: Plan,
    /// Operators between the layer and where it has come to.
    depth: usize,
}

impl Folder<'_, '_> {
    /// A constant that no caller may override.
    fn constant(&self, name: &str) -> Attempt<Option<Constant>> {
        let constant = self.scope.constant(self.document.storage(), name)?;
        match constant {
            Some(constant) if constant.overridable && self.overrides_count() => Err(overridable(name).into()),
            constant => Ok(constant),
        }
    }

    /// Moves a layer past one more operator.
    fn further(&mut self, step: impl FnOnce(&mut Self) -> Attempt<()>) -> Attempt<()> {
        if self.depth == DEPTH {
            let reason = format!("more than {DEPTH} operators are between the layer and a linear map");
            return Err(Refusal::new("operator-between", reason).into());
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    fn overrides_count(&self) -> bool {
        self.document.ir_version() >= OVERRIDABLE_FROM && !self.options.overridable
    }

    /// A function's nodes are those of all its calls.
    fn called_once(&self) -> Attempt<()> {
        let home = self.scope.home();
        let Some(function) = home.function.and_then(|index| self.document.functions().nth(index)) else {
            return Ok(());
        };
        match callers(self.document, function).len() {
            1 => Ok(()),
            calls => Err(Refusal::new(
                "function-not-called-once",
                format!(
                    "it is part of the function `{}`, which is called {calls} times; inline the model's functions first",
                    function.name()
                ),
            )
            .into()),
        }
    }

    /// What a layer does at inference.
    fn affine(&self, layer: &BatchNormalization) -> Attempt<Affine> {
        if layer.mode == Mode::Training {
            let (code, what) = match layer.extra_outputs_used {
                true => ("extra-outputs-used", "its batch statistics are used by others"),
                false => ("training-mode", "it normalizes with the statistics of the batch"),
            };
            return Err(Refusal::new(
                code,
                format!(
                    "`{}` is in training mode: {what}; convert it first (`batchnorm convert --to-inference`)",
                    layer.name
                ),
            )
            .into());
        }
        if !layer.spatial {
            return Err(Refusal::new(
                "not-spatial",
                format!(
                    "`{}` has spatial = 0, statistics for each position; if its parameters are one number a channel, the \
                     exporter was wrong: set spatial = 1",
                    layer.name
                ),
            )
            .into());
        }
        let mut rows = Vec::new();
        for (what, parameter) in [
            ("gamma", &layer.gamma),
            ("beta", &layer.beta),
            ("mean", &layer.mean),
            ("variance", &layer.variance),
        ] {
            if let Some(constant) = parameter.constant()
                && constant.overridable
                && self.overrides_count()
            {
                return Err(overridable(what).into());
            }
            let numbers = parameter.numbers()?;
            rows.push(numbers.ok_or_else(|| {
                Refusal::new(
                    "runtime-parameters",
                    format!(
                        "the {what} of `{}` is no stored row of numbers: it is computed or given while the model runs",
                        layer.name
                    ),
                )
            })?);
        }
        let numbers = Numbers {
            gamma: Some(&rows[0]),
            beta: Some(&rows[1]),
            ..Numbers::new(&rows[2], &rows[3], layer.eps)
        };
        Ok(Affine::new(&numbers).map_err(Refusal::from)?)
    }

    fn zero_variance(&self, layer: &BatchNormalization) -> Attempt<Vec<usize>> {
        let variance = layer.variance.numbers()?.unwrap_or_default();
        Ok((0..variance.len()).filter(|&channel| variance[channel] == 0.0).collect())
    }

    /// Takes the multiplications and additions behind a layer into it.
    fn absorbed(&self, layer: &BatchNormalization, affine: Affine) -> Attempt<Group> {
        let mut group = Group { affine, nodes: vec![layer.node], y: layer.y.clone() };
        let rank = self.shapes.of(&layer.y).or_else(|| self.shapes.of(&layer.x)).map(|lengths| lengths.len());
        let Some(rank) = rank.filter(|&rank| rank >= 2) else { return Ok(group) };
        while let [(index, input)] = *self.scope.consumers(&group.y) {
            let node = &self.scope.nodes()[index];
            if self.scope.is_output(&group.y) || input >= node.inputs().len() || !node.is(node.op()) {
                break;
            }
            let with = match self.with_constant(node, rank) {
                Ok(Some(with)) if with.input != input => with,
                Ok(_) | Err(Stop::Refused(_)) => break,
                Err(failed) => return Err(failed),
            };
            let Some(factor) = self.per_channel(node, &with, 1, group.affine.channels())? else { break };
            let Ok(both) = group.affine.then(&factor) else { break };
            group.affine = both;
            group.nodes.push(index);
            node.output(0).unwrap_or_default().clone_into(&mut group.y);
        }
        Ok(group)
    }

    fn backwards(&mut self, layer: &BatchNormalization, group: &Group) -> Attempt<()> {
        self.upwards(&layer.x, 1, group.affine.clone(), &layer.name)?;
        // A product right before the layer may have been taken away: its operand has its name then.
        let renamed =
            self.plan.edits.iter().any(|edit| matches!(edit, Edit::Output { name, .. } if *name == layer.x));
        if renamed {
            for edit in &mut self.plan.edits {
                if let Edit::Output { name, .. } = edit
                    && *name == layer.x
                {
                    group.y.clone_into(name);
                }
            }
        } else {
            self.rename_producer(&layer.x, &group.y)?;
        }
        self.plan.edits.extend(group.nodes.iter().map(|&node| Edit::Remove { node }));
        Ok(())
    }

    fn forwards(&mut self, layer: &BatchNormalization, group: &Group) -> Attempt<()> {
        self.downwards(&group.y, 1, &group.affine)?;
        for &(node, input) in self.scope.consumers(&group.y) {
            self.plan.push(Edit::Input { node, input, value: layer.x.clone() });
        }
        self.plan.edits.extend(group.nodes.iter().map(|&node| Edit::Remove { node }));
        Ok(())
    }
}

fn overridable(name: &str) -> Refusal {
    Refusal::new(
        "overridable",
        format!(
            "`{name}` is a stored tensor that a caller may override; if none does, ask for it to be folded all the same \
             (`--overridable`)"
        ),
    )
}
