//! `batchnorm fold`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use batchnorm_lab::inputs::{self, Images};
use batchnorm_lab::models::{CheckError, check_folding};
use batchnorm_model::checkpoint::{Archive, FoldOptions, FoldPlan, Format};
use batchnorm_model::fold::{Difference, Options, Outcome, Verdict, fold};
use batchnorm_model::onnx::document::Document;
use batchnorm_model::runtime::{OnnxRuntime, Runtime, Tract};
use serde_json::{Value, json};

use crate::arguments::FoldArguments;
use crate::error::Misuse;
use crate::table::fold as table;
use crate::{data, error, output};

pub fn run(arguments: &FoldArguments) -> anyhow::Result<ExitCode> {
    let out = target(arguments)?;
    match Format::of(&arguments.model)? {
        Some(_) => checkpoint(arguments, out.as_deref()),
        None => model(arguments, out.as_deref()),
    }
}

/// Where the folded model goes; nowhere for a dry run.
fn target(arguments: &FoldArguments) -> anyhow::Result<Option<PathBuf>> {
    if arguments.in_place {
        return Ok(Some(arguments.model.clone()));
    }
    let Some(out) = &arguments.out else { return Ok(None) };
    let same = |left: &Path, right: &Path| {
        left.canonicalize().ok().is_some_and(|left| right.canonicalize().ok() == Some(left))
    };
    if same(out, &arguments.model) {
        let text = "the output is the model itself; name another file, or say `--in-place`";
        return Err(Misuse(text.to_owned()).into());
    }
    Ok(Some(out.clone()))
}

fn model(arguments: &FoldArguments, out: Option<&Path>) -> anyhow::Result<ExitCode> {
    if !arguments.pair.is_empty() || arguments.eps.is_some() || !arguments.transposed.is_empty() {
        let text = "an ONNX model says itself what is connected and which eps it has: leave --pair, --eps and --transposed out";
        return Err(Misuse(text.to_owned()).into());
    }
    let options =
        Options { overridable: arguments.overridable, exact_borders: arguments.exact_borders, disturbed: None };
    let named = || format!("`{}` as an ONNX model", arguments.model.display());
    let mut document = Document::open(&arguments.model).with_context(named)?;
    let outcomes = fold(&mut document, &options).with_context(named)?;
    let folded = outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Folded(_))).count();
    let checked = match (folded, arguments.no_verify || out.is_none()) {
        (0, _) | (_, true) => None,
        _ => Some(differences(arguments, &document, &options, out)),
    };
    let checked = match checked {
        None => None,
        Some(Ok(differences)) => Some(differences),
        Some(Err(CheckError::Runtime(problem))) => {
            error::report(&anyhow::Error::from(problem));
            output::tell("nothing was written: the folded model could not be compared with the original");
            return Ok(ExitCode::from(1));
        }
        Some(Err(problem)) => return Err(problem.into()),
    };
    let good = checked.as_ref().is_none_or(|differences| differences.iter().all(Difference::is_good));
    if let Some(out) = out.filter(|_| good) {
        document.save(out)?;
    }
    match arguments.json {
        true => output::print(&format!("{:#}\n", document_of(&outcomes, checked.as_deref(), good, out)))?,
        false => output::print(&table::outcomes(&outcomes, checked.as_deref(), out))?,
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn differences(
    arguments: &FoldArguments,
    folded: &Document,
    options: &Options,
    out: Option<&Path>,
) -> Result<Vec<Difference>, CheckError> {
    let onnxruntime;
    let runtime: &dyn Runtime = match &arguments.runtime {
        Some(path) => {
            onnxruntime = OnnxRuntime::load(path)?;
            &onnxruntime
        }
        None => &Tract,
    };
    let given = inputs::Options {
        images: arguments.preset.map(Images::preset).unwrap_or_default(),
        limit: Some(arguments.samples),
        seed: arguments.seed,
        ..inputs::Options::default()
    };
    let folder =
        out.and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (model, shapes) = (&arguments.model, &arguments.shape);
    data::access(&arguments.access, true, |access| {
        check_folding(runtime, model, folded, options, &arguments.data, &given, shapes, folder, access)
    })
}

/// What was done, for programs.
fn document_of(outcomes: &[Outcome], checked: Option<&[Difference]>, good: bool, out: Option<&Path>) -> Value {
    let layers: Vec<Value> = outcomes
        .iter()
        .map(|outcome| match &outcome.verdict {
            Verdict::Folded(folded) => json!({
                "name": outcome.name,
                "channels": outcome.channels,
                "verdict": "fold",
                "into": folded.into,
                "direction": if folded.forwards { "after" } else { "before" },
                "bound": folded.bound,
                "flushed": folded.flushed,
                "zero_variance": folded.zero_variance,
            }),
            Verdict::Refused(refusal) => json!({
                "name": outcome.name,
                "channels": outcome.channels,
                "verdict": "refuse",
                "code": refusal.code,
                "reason": refusal.reason,
            }),
        })
        .collect();
    let outputs: Option<Vec<Value>> = checked.map(|differences| {
        differences
            .iter()
            .map(|difference| {
                json!({
                    "output": difference.output,
                    "largest": difference.largest,
                    "difference": difference.difference,
                    "bound": difference.bound,
                    "ok": difference.is_good(),
                })
            })
            .collect()
    });
    let folded = outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Folded(_))).count();
    json!({
        "schema": 1,
        "layers": layers,
        "outputs": outputs,
        "summary": {
            "folded": folded,
            "refused": outcomes.len() - folded,
            "verified": checked.is_some(),
            "ok": good,
            "written": out.filter(|_| good).map(|out| out.display().to_string()),
        },
    })
}

fn checkpoint(arguments: &FoldArguments, out: Option<&Path>) -> anyhow::Result<ExitCode> {
    let archive = Archive::open(&arguments.model)?;
    if arguments.in_place && archive.format() != Format::Safetensors {
        let text = "only safetensors files are written: `--in-place` would make one of a file of another kind; name one with `-o`";
        return Err(Misuse(text.to_owned()).into());
    }
    if arguments.pair.is_empty() {
        let text = "a checkpoint does not say which map comes before which layer: name them with `--pair conv1=bn1`; \
                    `batchnorm inspect` proposes pairs by their names";
        return Err(Misuse(text.to_owned()).into());
    }
    let options = FoldOptions {
        pairs: arguments.pair.clone(),
        eps: arguments.eps,
        transposed: arguments.transposed.clone(),
    };
    let plan = FoldPlan::new(&archive, &options)?;
    if let Some(out) = out {
        plan.write(out)?;
    }
    match arguments.json {
        true => {
            let pairs: Vec<Value> = plan
                .reports()
                .iter()
                .map(|pair| match &pair.outcome {
                    Ok(folded) => json!({
                        "map": pair.map, "layer": pair.norm, "verdict": "fold", "weight": folded.weight,
                        "bias": folded.bias, "bias_is_new": folded.bias_is_new, "channels": folded.channels,
                        "eps": folded.eps, "flushed": folded.flushed, "bound": folded.relative_bound,
                    }),
                    Err(refusal) => json!({
                        "map": pair.map, "layer": pair.norm, "verdict": "refuse", "code": refusal.code(),
                        "reason": refusal.to_string(),
                    }),
                })
                .collect();
            output::print(&format!("{:#}\n", json!({ "schema": 1, "pairs": pairs })))?;
        }
        false => output::print(&table::pairs(plan.reports(), out))?,
    }
    let good = plan.reports().iter().all(|pair| pair.outcome.is_ok());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
