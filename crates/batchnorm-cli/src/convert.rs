//! `batchnorm convert`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use batchnorm_model::checkpoint::{
    Archive, Convention, Conversion, ConversionOptions, ConversionReport, EPS_KEY, Format,
};
use batchnorm_model::convert::{InferenceOptions, Place, Report, freeze, to_inference};
use batchnorm_model::onnx::document::Document;
use serde_json::{Value, json};

use crate::arguments::ConvertArguments;
use crate::error::Misuse;
use crate::output;
use crate::table::convert as table;

pub fn run(arguments: &ConvertArguments) -> anyhow::Result<ExitCode> {
    let out = target(arguments)?;
    match Format::of(&arguments.model)? {
        Some(_) => checkpoint(arguments, &out),
        None => model(arguments, &out),
    }
}

/// Where the converted model goes.
fn target(arguments: &ConvertArguments) -> anyhow::Result<PathBuf> {
    let out = arguments.out.as_ref().unwrap_or(&arguments.model);
    let real = |path: &Path| path.canonicalize().ok();
    if !arguments.in_place && real(out).is_some_and(|out| Some(out) == real(&arguments.model)) {
        let text = "the output is the model itself; name another file, or say `--in-place`";
        return Err(Misuse(text.to_owned()).into());
    }
    Ok(out.clone())
}

fn misuse<T>(text: &str) -> anyhow::Result<T> {
    Err(Misuse(text.to_owned()).into())
}

fn model(arguments: &ConvertArguments, out: &Path) -> anyhow::Result<ExitCode> {
    let mut document = Document::open(&arguments.model)?;
    if arguments.names.is_some() || arguments.eps.is_some() {
        return misuse("an ONNX model has its own names and says its eps: leave --names and --eps out");
    }
    if !arguments.to_inference && !arguments.frozen {
        return misuse("nothing to convert to: say `--to-inference`, `--frozen`, or both");
    }
    let mut report = Report::default();
    if arguments.to_inference {
        let options = InferenceOptions { drop_outputs: arguments.drop_outputs };
        report.extend(to_inference(&mut document, options)?);
    }
    if arguments.frozen {
        report.extend(freeze(&mut document)?);
    }
    document.save(out)?;
    match arguments.json {
        true => output::print(&format!("{:#}\n", of_report(&report, out)))?,
        false => output::print(&table::report(&report, out))?,
    }
    Ok(exit_code(report.refused.is_empty()))
}

fn exit_code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// What was done, for programs.
fn of_report(report: &Report, out: &Path) -> Value {
    let node = |place: &Place, code: &str, message: String| json!({ "graph": place.graph, "node": place.node, "op": place.op, "code": code, "message": message });
    let changes = report.changes.iter();
    let refused = report.refused.iter();
    json!({
        "schema": 1,
        "changes": changes
            .map(|change| node(&change.place, change.what.code(), change.what.to_string()))
            .collect::<Vec<_>>(),
        "refused": refused
            .map(|refused| node(&refused.place, refused.refusal.code(), refused.refusal.to_string()))
            .collect::<Vec<_>>(),
        "removed": report.removed,
        "summary": {
            "changed": report.changes.len(),
            "refused": report.refused.len(),
            "written": out.display().to_string(),
        },
    })
}

fn checkpoint(arguments: &ConvertArguments, out: &Path) -> anyhow::Result<ExitCode> {
    if arguments.to_inference {
        return misuse(
            "a checkpoint has no mode: its layers are for training and inference alike; leave --to-inference out",
        );
    }
    if arguments.names.is_none() && !arguments.frozen {
        return misuse("nothing to convert to: say `--names`, `--frozen`, or both");
    }
    let archive = Archive::open(&arguments.model)?;
    if arguments.in_place && archive.format() != Format::Safetensors {
        return misuse("only a single safetensors file is written in place: name another file with `--out`");
    }
    let frozen = if arguments.frozen { Some(eps(arguments, &archive)?) } else { None };
    let options = ConversionOptions { names: arguments.names.map(Convention::from), frozen };
    let conversion = Conversion::new(&archive, &options);
    conversion.write(out)?;
    let reports = conversion.reports();
    match arguments.json {
        true => output::print(&format!("{:#}\n", of_layers(reports, out)))?,
        false => output::print(&table::layers(reports, out))?,
    }
    Ok(exit_code(reports.iter().all(|layer| layer.refusal.is_none())))
}

/// The eps of frozen layers: the option's, or the file's.
fn eps(arguments: &ConvertArguments, archive: &Archive) -> anyhow::Result<f64> {
    let stated = archive.metadata().get(EPS_KEY).and_then(|eps| eps.parse().ok());
    match arguments.eps.or(stated) {
        Some(eps) if eps.is_finite() && eps >= 0.0 => Ok(eps),
        Some(found) => misuse(&format!("--eps must be a finite number >= 0, found {found}")),
        None => misuse(
            "a frozen layer carries its eps, and this checkpoint does not say it; pass that of the network with --eps",
        ),
    }
}

fn of_layers(reports: &[ConversionReport], out: &Path) -> Value {
    let layers: Vec<Value> = reports
        .iter()
        .map(|layer| {
            json!({
                "name": layer.name,
                "from": layer.from.name(),
                "renamed": layer.renamed,
                "dropped": layer.dropped,
                "created": layer.created,
                "code": layer.refusal.as_ref().map(|refusal| refusal.code()),
                "reason": layer.refusal.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    let refused = reports.iter().filter(|layer| layer.refusal.is_some()).count();
    json!({
        "schema": 1,
        "layers": layers,
        "summary": {
            "layers": reports.len(),
            "refused": refused,
            "written": out.display().to_string(),
        },
    })
}
