//! The passes of a recalibration, one after the other.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use super::accuracy::{self, Accuracy};
use super::feed::{Fed, Feed};
use super::recalibrator::{Outcome, Recalibration, Recalibrator};
use super::report::{Finding, LayerReport, Progress, Purpose, Report};
use super::samples::Samples;
use super::selection::Layer;
use super::shift::Shift;
use super::state::{Fingerprint, State};
use super::submodel::{SubModel, Tap};
use super::tally::{self, Tally};
use super::{Method, RecalibrateError, statistics, training};
use crate::onnx::document::ElementType;
use crate::runtime::{Runtime, Session};

type Result<T, E = RecalibrateError> = std::result::Result<T, E>;

/// The state is written so often.
const EVERY: Duration = Duration::from_secs(10);

/// A pass over the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The accuracy of the model as it is.
    Before,
    /// A group of layers, those before it recalibrated.
    Group(usize),
    /// All layers, normalizing by the batch.
    AllByBatch,
    /// The accuracy of the model as it will be.
    After,
}

pub(super) fn stages(recalibrator: &Recalibrator<'_>, scored: bool) -> Vec<Stage> {
    let mut stages = match recalibrator.options.method {
        Method::Sequential => (0..recalibrator.selection.groups.len()).map(Stage::Group).collect(),
        Method::Precise | Method::Algorithm2 => vec![Stage::AllByBatch],
    };
    if scored {
        stages.insert(0, Stage::Before);
        stages.push(Stage::After);
    }
    stages
}

/// About how much work a sample is in each pass.
pub(super) fn weights(recalibrator: &Recalibrator<'_>, stages: &[Stage]) -> Result<Vec<u64>> {
    let layers = &recalibrator.selection.layers;
    let weight = |stage: &Stage| {
        let mut model = SubModel::new(recalibrator.document, layers);
        match stage {
            Stage::Group(group) => recalibrator.selection.groups[*group].iter().for_each(|&layer| {
                model.tap(&Tap::Values(&layers[layer].x, layers[layer].element));
            }),
            Stage::AllByBatch => {
                layers.iter().for_each(|layer| model.tap(&Tap::Values(&layer.x, layer.element)))
            }
            Stage::Before | Stage::After => return whole_weight(recalibrator),
        }
        model.weight()
    };
    stages.iter().map(weight).collect()
}

/// About how much work a sample is in the whole model.
pub(super) fn whole_weight(recalibrator: &Recalibrator<'_>) -> Result<u64> {
    let mut model = SubModel::new(recalibrator.document, &recalibrator.selection.layers);
    for output in recalibrator.document.graph().outputs() {
        if !model.is_gone(output.name()) {
            model.tap(&Tap::Values(output.name(), ElementType::Float));
        }
    }
    model.weight()
}

/// What a batch told about the model before anything else.
struct Probe {
    /// The shape of what comes into each layer.
    shapes: Vec<Vec<usize>>,
    /// The output whose largest element is the class.
    logits: Option<(String, ElementType)>,
}

/// Runs the model on the first batch, for shapes only.
fn probe(
    recalibrator: &Recalibrator<'_>,
    runtime: &dyn Runtime,
    feed: &mut Feed<'_>,
    scored: bool,
) -> Result<Probe> {
    let layers = &recalibrator.selection.layers;
    let mut model = SubModel::new(recalibrator.document, layers);
    layers.iter().for_each(|layer| model.tap(&Tap::Shape(&layer.x)));
    let outputs = recalibrator.document.graph().outputs().iter();
    let mut outputs: Vec<(String, ElementType)> = outputs
        .filter(|output| scored && !model.is_gone(output.name()))
        .filter_map(|output| Some((output.name().to_owned(), output.element().filter(|one| one.is_float())?)))
        .collect();
    outputs.iter().for_each(|(name, _)| model.tap(&Tap::Shape(name)));
    let mut session = model.load(runtime)?;
    let fed = feed.run(&mut *session, 0)?;
    let shape = |array: &crate::runtime::Array| -> Vec<usize> {
        array.to_f64().iter().map(|&length| length as usize).collect()
    };
    let mut shapes: Vec<Vec<usize>> = fed.outputs.iter().map(shape).collect();
    let of_outputs = shapes.split_off(layers.len());
    for (layer, shape) in layers.iter().zip(&shapes) {
        if shape.get(1) != Some(&layer.channels) {
            return Err(RecalibrateError::Channels {
                layer: layer.name.clone(),
                what: "statistics",
                channels: layer.channels,
                found: format!("an input of the shape {shape:?}"),
            });
        }
    }
    let logits = of_outputs.iter().position(|shape| shape.len() == 2 && shape[0] == fed.seen);
    Ok(Probe { shapes, logits: logits.map(|index| outputs.swap_remove(index)) })
}

/// A run under way.
struct Run<'r, 'd> {
    recalibrator: &'r Recalibrator<'d>,
    probe: Probe,
    /// The samples that statistics are of.
    used: u64,
    state: State,
    path: Option<&'r Path>,
    written: Instant,
    findings: Vec<Finding>,
}

pub(super) fn run(
    recalibrator: &Recalibrator<'_>,
    runtime: &dyn Runtime,
    samples: &mut dyn Samples,
    path: Option<&Path>,
    watch: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Outcome> {
    let total = samples.len();
    if total == 0 {
        return Err(RecalibrateError::NoSamples);
    }
    let exactly = recalibrator.fixed_batch.is_some();
    let mut batch = recalibrator.batch_size();
    if !exactly {
        batch = batch.min(usize::try_from(total).unwrap_or(usize::MAX));
    }
    let mut used = total;
    if recalibrator.whole_batches() {
        used -= total % batch as u64;
        if used == 0 {
            return Err(RecalibrateError::NoWholeBatch { batch, samples: total });
        }
    }
    let fingerprint = fingerprint(recalibrator, runtime, samples, total)?;
    let scored = samples.labelled() && recalibrator.options.accuracy;
    let mut feed = Feed { samples, total, batch, exactly };
    let probe = probe(recalibrator, runtime, &mut feed, scored)?;
    let stages = stages(recalibrator, scored && probe.logits.is_some());
    let weights = weights(recalibrator, &stages)?;
    let stored = path.map(|path| State::read(path, &fingerprint, recalibrator)).transpose()?.flatten();
    let state = stored.unwrap_or_else(|| State::new(fingerprint, recalibrator.selection.layers.len()));
    let findings = recalibrator.selection.findings.clone();
    let mut run = Run { recalibrator, probe, used, state, path, written: Instant::now(), findings };
    if used < total {
        let message = format!(
            "the last {} of {total} samples are no whole batch of {batch}, and were left out of the statistics",
            total - used
        );
        run.note("last-batch-left-out", "", message);
    }
    if scored && run.probe.logits.is_none() {
        let message = "no output has the shape samples x classes: no accuracy".to_owned();
        run.note("no-logits", "", message);
    }

    let work = |stage: usize| weights[stage] as f64 * run_length(stages[stage], used, total) as f64;
    let all: f64 = (0..stages.len()).map(work).sum();
    for (index, &stage) in stages.iter().enumerate().skip(run.state.stages) {
        let length = run_length(stage, used, total);
        let before: f64 = (0..index).map(work).sum();
        let mut progress = |seen: u64| {
            let purpose = match stage {
                Stage::Before => Purpose::Before,
                Stage::Group(group) => Purpose::Layers(recalibrator.selection.groups[group].len()),
                Stage::AllByBatch => Purpose::Layers(recalibrator.selection.layers.len()),
                Stage::After => Purpose::After,
            };
            let share = (before + weights[index] as f64 * seen as f64) / all;
            watch(&Progress { pass: index + 1, passes: stages.len(), purpose, seen, samples: length, share })
        };
        if run.pass(stage, runtime, &mut feed, length, &mut progress)?.is_break() {
            return Ok(Outcome::Interrupted);
        }
    }
    run.finish(&stages, batch).map(Outcome::Done)
}

/// The samples of a pass.
fn run_length(stage: Stage, used: u64, total: u64) -> u64 {
    if stage == Stage::AllByBatch { used } else { total }
}

/// What tells this run from others.
fn fingerprint(
    recalibrator: &Recalibrator<'_>,
    runtime: &dyn Runtime,
    samples: &mut dyn Samples,
    total: u64,
) -> Result<String> {
    let mut fingerprint = Fingerprint::new();
    recalibrator.document.write_to(&mut fingerprint)?;
    let of_samples = samples.fingerprint().map_err(|source| RecalibrateError::Samples { first: 0, source })?;
    let labelled = samples.labelled();
    let (name, version, options) = (runtime.name(), runtime.version(), &recalibrator.options);
    fingerprint.add(format!("{name} {version} {options:?} {total} {labelled} {of_samples}").as_bytes());
    Ok(fingerprint.text())
}

impl Run<'_, '_> {
    fn note(&mut self, code: &'static str, layer: &str, message: String) {
        let finding = Finding { code, layer: layer.to_owned(), message };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// The layers that a pass measures.
    fn measured(&self, stage: Stage) -> Vec<usize> {
        match stage {
            Stage::Before | Stage::After => Vec::new(),
            Stage::Group(group) => self.recalibrator.selection.groups[group].clone(),
            Stage::AllByBatch => (0..self.recalibrator.selection.layers.len()).collect(),
        }
    }

    /// The model for a pass.
    fn model(&self, stage: Stage, layers: &[usize]) -> Result<SubModel> {
        let all = &self.recalibrator.selection.layers;
        let mut model = SubModel::new(self.recalibrator.document, all);
        if matches!(stage, Stage::Group(_) | Stage::After) {
            for (index, layer) in all.iter().enumerate() {
                if let Some(kept) = self.kept(index)? {
                    statistics::put(model.document_mut(), layer, &kept)?;
                }
            }
        }
        match stage {
            Stage::Group(_) => {
                for &layer in layers {
                    model.tap(&Tap::Values(&all[layer].x, all[layer].element));
                }
            }
            Stage::AllByBatch => {
                let ranks: Vec<usize> = self.probe.shapes.iter().map(Vec::len).collect();
                training::by_the_batch(&mut model, all, &ranks)?;
            }
            Stage::Before | Stage::After => {
                if let Some((name, element)) = &self.probe.logits {
                    model.tap(&Tap::Values(name, *element));
                }
            }
        }
        Ok(model)
    }

    /// What a layer is to keep, if that is known.
    fn kept(&self, layer: usize) -> Result<Option<statistics::Estimate>> {
        let estimate = self.state.estimate(layer);
        estimate.map(|estimate| self.recalibrator.kept(layer, estimate, self.used)).transpose()
    }

    fn pass(
        &mut self,
        stage: Stage,
        runtime: &dyn Runtime,
        feed: &mut Feed<'_>,
        length: u64,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let layers = self.measured(stage);
        let mut session: Box<dyn Session> = self.model(stage, &layers)?.load(runtime)?;
        let mut tallies = self.state.tallies();
        tallies.resize(layers.len(), Tally::default());
        let whole = layers
            .iter()
            .zip(&tallies)
            .all(|(&layer, tally)| tally.is_of(self.recalibrator.selection.layers[layer].channels));
        if !whole || self.state.seen > length {
            let path = self.path.unwrap_or(Path::new("")).to_owned();
            let found = "what it collected is not of the model's layers and samples".to_owned();
            return Err(RecalibrateError::State { path, found });
        }
        while self.state.seen < length {
            if progress(self.state.seen).is_break() {
                self.write(&tallies)?;
                return Ok(ControlFlow::Break(()));
            }
            let first = self.state.seen;
            let fed = feed.run(&mut *session, first)?;
            match stage {
                Stage::Before | Stage::After => {
                    let labels = fed.labels.as_deref().unwrap_or_default();
                    self.state.correct += accuracy::correct(&fed.outputs[0], labels, first)?;
                }
                Stage::Group(_) | Stage::AllByBatch => {
                    for (place, (&layer, tally)) in layers.iter().zip(&mut tallies).enumerate() {
                        self.measure(stage, layer, place, &fed, first, tally)?;
                    }
                }
            }
            self.state.seen += fed.count as u64;
            if self.written.elapsed() >= EVERY {
                self.write(&tallies)?;
            }
        }
        for (&layer, tally) in layers.iter().zip(&tallies) {
            let estimate = tally.estimate(&self.recalibrator.selection.layers[layer])?;
            self.state.set_estimate(layer, estimate);
        }
        let score = Accuracy { correct: self.state.correct, samples: length };
        match stage {
            Stage::Before => self.state.before = Some(score),
            Stage::After => self.state.after = Some(score),
            Stage::Group(_) | Stage::AllByBatch => {}
        }
        self.state.advance();
        self.write(&[])?;
        Ok(ControlFlow::Continue(()))
    }

    /// Lets a batch into a layer's statistics.
    fn measure(
        &mut self,
        stage: Stage,
        layer: usize,
        place: usize,
        fed: &Fed,
        first: u64,
        tally: &mut Tally,
    ) -> Result<()> {
        let recalibrator = self.recalibrator;
        let layer: &Layer = &recalibrator.selection.layers[layer];
        let count = fed.count as u64;
        if stage == Stage::AllByBatch {
            let shape = &self.probe.shapes[place];
            let positions = shape.iter().product::<usize>() / layer.channels.max(1);
            if positions < 2 {
                let (layer, found) = (layer.name.clone(), positions as u64);
                return Err(RecalibrateError::OneValue { layer, found, in_batch: true });
            }
            let statistics = [&fed.outputs[2 * place], &fed.outputs[2 * place + 1]];
            let batch = tally::of_batch(layer, statistics, positions as u64, first, count)?;
            match recalibrator.options.method {
                Method::Algorithm2 => tally.average(&batch),
                Method::Sequential | Method::Precise => tally.pool(&batch),
            }
            return Ok(());
        }
        let x = &fed.outputs[place];
        let rows = x.dims.first().copied().unwrap_or(0);
        let mut real = rows;
        if fed.is_padded() {
            if rows != fed.seen {
                let message = format!(
                    "sees the samples of a batch mixed with those that fill it up: the last {count} samples were left out"
                );
                self.note("last-batch-left-out", &layer.name, message);
                return Ok(());
            }
            real = fed.count;
        }
        tally.pool(&tally::moments(layer, x, real, first, count)?);
        Ok(())
    }

    /// Writes the state, if it is wanted.
    fn write(&mut self, tallies: &[Tally]) -> Result<()> {
        self.written = Instant::now();
        let Some(path) = self.path else { return Ok(()) };
        self.state.set_tallies(tallies);
        self.state.write(path)
    }

    fn finish(self, stages: &[Stage], batch_size: usize) -> Result<Recalibration> {
        let recalibrator = self.recalibrator;
        let layers = &recalibrator.selection.layers;
        let mut document = recalibrator.document.clone();
        let mut reports = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            let pass = stages.iter().position(|&stage| self.measured(stage).contains(&index));
            let kept = self.kept(index)?.ok_or_else(|| RecalibrateError::State {
                path: self.path.unwrap_or(Path::new("")).to_owned(),
                found: format!("the statistics of layer `{}` are missing", layer.name),
            })?;
            statistics::put(&mut document, layer, &kept)?;
            reports.push(LayerReport {
                name: layer.name.clone(),
                channels: layer.channels,
                pass: pass.map_or(0, |pass| pass + 1),
                values: kept.count,
                shift: Shift::of(layer, &kept),
            });
        }
        statistics::clean(&mut document, layers);
        let report = Report {
            method: recalibrator.options.method,
            blend: recalibrator.options.blend,
            samples: self.used,
            batch_size,
            layers: reports,
            findings: self.findings,
            logits: self.probe.logits.map(|(name, _)| name),
            before: self.state.before,
            after: self.state.after,
        };
        Ok(Recalibration { document, report, state: self.path.map(Path::to_owned) })
    }
}
