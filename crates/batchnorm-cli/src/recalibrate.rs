//! `batchnorm recalibrate`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use batchnorm_lab::inputs::{Images, ModelSamples, Samples, input_specs};
use batchnorm_model::onnx::document::Document;
use batchnorm_model::recalibrate::{
    Accuracy, Finding, Outcome, Plan, RecalibrateError, Recalibration, Recalibrator, Report, Samples as _,
};
use batchnorm_model::runtime::{OnnxRuntime, Runtime, Tract};
use serde::Serialize;

use crate::arguments::RecalibrateArguments;
use crate::error::Misuse;
use crate::progress::RecalibrationProgress;
use crate::{data, error, interrupt, output, table};

pub fn run(arguments: &RecalibrateArguments) -> anyhow::Result<ExitCode> {
    let target = arguments.target();
    if let Some(out) = arguments.out.as_deref().filter(|out| same_file(out, &arguments.model)) {
        let text = format!(
            "`{}` is the model itself; say --in-place to replace it, or name another file",
            out.display()
        );
        return Err(Misuse(text).into());
    }
    let runtime: Box<dyn Runtime> = match &arguments.runtime {
        Some(path) => Box::new(OnnxRuntime::load(path)?),
        None => Box::new(Tract),
    };
    let document = Document::open(&arguments.model)?;
    let recalibrator = Recalibrator::new(&document, arguments.options())?;
    let metadata: BTreeMap<String, String> = document.metadata().iter().cloned().collect();
    let model_images = Images::of_metadata(&arguments.model, &metadata)?;
    let specs = input_specs(&document)?;
    let options = arguments.samples.options(model_images);
    let samples = data::access(&arguments.access, !arguments.no_progress, |access| {
        Samples::open(&arguments.samples.data, &specs, &options, access).map_err(anyhow::Error::from)
    })?;
    let mut samples = ModelSamples::new(samples, recalibrator.batch_size())?;
    if !arguments.json {
        output::print(&format!(
            "The first batch:\n\n{}\n\n",
            table::recalibrate::first_batch(samples.summary())
        ))?;
    }
    for warning in samples.warnings() {
        error::warn(&warning);
    }
    let plan = recalibrator.plan(samples.len(), samples.labelled())?;
    output::tell(&in_words(&plan));

    let state = target.map(|out| partial(out));
    if let Some(state) = state.as_deref().filter(|state| state.exists()) {
        output::tell(&format!("going on from `{}`", state.display()));
    }
    let progress = RecalibrationProgress::new(!arguments.no_progress, interrupt::flag());
    let outcome = recalibrator.run(&*runtime, &mut samples, state.as_deref(), &mut |at| progress.at(at));
    drop(progress);
    let done = match outcome? {
        Outcome::Done(done) => done,
        Outcome::Interrupted => {
            output::tell(&match &state {
                Some(state) => format!("interrupted; the same command goes on from `{}`", state.display()),
                None => "interrupted; nothing is kept of a dry run".to_owned(),
            });
            return Ok(ExitCode::from(interrupt::INTERRUPTED));
        }
    };
    if let Some(out) = target {
        done.save(out).map_err(RecalibrateError::from)?;
    }
    report(arguments, &done, plan, target)?;
    Ok(ExitCode::SUCCESS)
}

/// Where the state of an interrupted run is kept.
fn partial(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn in_words(plan: &Plan) -> String {
    let count =
        |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    format!(
        "{} in {} over {} samples, in batches of {}: about as long as {:.1} passes through the whole model",
        count(plan.layers, "layer", "layers"),
        count(plan.passes, "pass", "passes"),
        plan.samples,
        plan.batch_size,
        plan.whole_passes
    )
}

#[derive(Serialize)]
struct Json<'a> {
    schema: u32,
    model: String,
    out: Option<String>,
    plan: Plan,
    #[serde(flatten)]
    report: &'a Report,
}

fn report(
    arguments: &RecalibrateArguments,
    done: &Recalibration,
    plan: Plan,
    out: Option<&PathBuf>,
) -> anyhow::Result<()> {
    let report = &done.report;
    for Finding { layer, message, .. } in report.findings.iter().filter(|_| !arguments.json) {
        error::warn(&if layer.is_empty() { message.clone() } else { format!("layer `{layer}` {message}") });
    }
    if arguments.json {
        let model = arguments.model.display().to_string();
        let out = out.map(|out| out.display().to_string());
        let json = Json { schema: 1, model, out, plan, report };
        output::print(&format!("{}\n", serde_json::to_string_pretty(&json)?))?;
        return Ok(());
    }
    let mut text = table::recalibrate::layers(&report.layers);
    text +=
        "\n\nShifts of the mean are in old standard deviations, KL is KL(new || old) in nats, per channel.\n";
    if let (Some(before), Some(after)) = (report.before, report.after) {
        let percent = |accuracy: Accuracy| format!("{:.2} %", 100.0 * accuracy.share());
        text += &format!(
            "\naccuracy     {} before, {} after, of {} samples\n",
            percent(before),
            percent(after),
            after.samples
        );
    }
    if let Some(out) = out {
        text += &format!("model        {}\n", out.display());
    }
    Ok(output::print(&text)?)
}
