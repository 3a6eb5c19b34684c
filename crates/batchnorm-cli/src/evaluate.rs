//! `batchnorm evaluate`.

use std::process::ExitCode;

use batchnorm_lab::data::read_images;
use batchnorm_lab::evaluate::{AnyModel, Evaluation, evaluate, predict};
use serde::Serialize;

use crate::arguments::EvaluateArguments;
use crate::error::Misuse;
use crate::progress::EvaluationProgress;
use crate::{data, output, table};

pub fn run(arguments: &EvaluateArguments) -> anyhow::Result<ExitCode> {
    let threads = arguments.threads.unwrap_or(0);
    if arguments.threads == Some(0) {
        return Err(Misuse(
            "expected at least 1 thread, found 0; leave --threads out for one a core".to_owned(),
        )
        .into());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| match &arguments.data {
        Some(_) => score(arguments),
        None => probabilities(arguments),
    })
}

fn score(arguments: &EvaluateArguments) -> anyhow::Result<ExitCode> {
    let source = arguments.data.as_ref().expect("clap asks for data or images");
    let model = AnyModel::read(&arguments.model)?;
    let data = data::load(source, &arguments.access, !arguments.no_progress)?;
    let mut progress = EvaluationProgress::new(!arguments.no_progress);
    let evaluation = evaluate(model, &data, arguments.statistics, arguments.batch_size, &mut progress)?;
    drop(progress);
    if arguments.json {
        output::print(&json(&evaluation))?;
    } else {
        output::print(&in_words(&evaluation))?;
    }
    let finite = evaluation.score.accuracy.is_some();
    Ok(if finite { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn in_words(evaluation: &Evaluation) -> String {
    let percent = |accuracy: f64| format!("{:.2} %", accuracy * 100.0);
    let mut rows = vec![
        ("accuracy", evaluation.score.accuracy.map_or("none: an output is not finite".to_owned(), percent)),
        ("loss", evaluation.score.loss.map_or("none".to_owned(), |loss| format!("{loss:.4}"))),
        ("images", format!("{} to test on, of {}", evaluation.images, evaluation.data)),
    ];
    rows.push(match evaluation.statistics {
        Some(statistics) => ("statistics", format!("{statistics}, batches of {}", evaluation.batch_size)),
        None => ("statistics", "none: no batch normalization".to_owned()),
    });
    if let Some(accuracy) = evaluation.accuracy_in_training {
        rows.push(("in training", percent(accuracy)));
    }
    rows.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
}

#[derive(Serialize)]
struct Predictions<'a> {
    schema: u32,
    model: String,
    classes: &'a [String],
    predictions: Vec<batchnorm_lab::evaluate::Prediction>,
}

fn probabilities(arguments: &EvaluateArguments) -> anyhow::Result<ExitCode> {
    let mut model = AnyModel::read(&arguments.model)?;
    let description = model.description().clone();
    let mut images = Vec::new();
    for path in &arguments.predict {
        images.extend(read_images(path, description.architecture.dims)?);
    }
    let predictions = predict(&mut model, &images)?;
    let finite = predictions.iter().all(|p| p.logits.iter().all(|logit| logit.is_finite()));
    if arguments.json {
        let model = arguments.model.display().to_string();
        let classes = &description.class_names;
        output::print(&json(&Predictions { schema: 1, model, classes, predictions }))?;
    } else {
        output::print(&table::predictions(&description.class_names, &predictions))?;
    }
    Ok(if finite { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn json<T: Serialize>(document: &T) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("numbers, strings and lists have a JSON form");
    text.push('\n');
    text
}
