//! What a run needs to go on after an interruption, in one file.

use std::collections::BTreeMap;
use std::path::Path;

use batchnorm_model::FileError;
use batchnorm_model::checkpoint::{NamedTensor, Tensors, Values};
use burn::tensor::Bytes;
use serde::{Deserialize, Serialize};

use super::trainee::{Progress, Trainee};
use super::{Settings, optimizer};
use crate::networks::{Model, StateError, load_state, state};

/// The version of the file that this code writes.
const VERSION: u32 = 2;
/// The versions that it reads: the first had two arms at most, and says which in another form.
const READ: [&str; 2] = ["1", "2"];
const HEAD: &str = "batchnorm.checkpoint";
const VERSION_KEY: &str = "batchnorm.checkpoint.version";

/// What a run needs to go on: its settings, and the state of its twins after so many steps.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub(super) head: Head,
    tensors: Vec<NamedTensor>,
}

/// Everything that is not a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) settings: Settings,
    /// Steps from one checkpoint to the next.
    pub(super) every: usize,
    /// Of the data set.
    pub(super) fingerprint: String,
    /// Steps taken.
    pub(super) step: usize,
    /// Evaluations made.
    pub(super) evaluations: usize,
    pub(super) progress: BTreeMap<String, Progress>,
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no checkpoint.
    #[error("`{path}` is not a checkpoint of `batchnorm train`: {found}")]
    NotACheckpoint {
        /// The file.
        path: String,
        /// What was found.
        found: String,
    },
    /// It was written by another version.
    #[error(
        "`{path}` is a checkpoint of version {found}, and this program reads versions 1 to {VERSION}; start the run again, \
         or go on with the program that wrote it"
    )]
    Version {
        /// The file.
        path: String,
        /// The version found.
        found: String,
    },
    /// Its tensors are not those of the network in its settings.
    #[error("the checkpoint's tensors are not those of the run that its settings describe: {source}")]
    State {
        /// What differs.
        source: StateError,
    },
    /// An optimizer's state is missing or unreadable.
    #[error(
        "the checkpoint's tensor `{tensor}` is not the state of an optimizer: {found}; start the run again"
    )]
    Optimizer {
        /// The tensor's name.
        tensor: String,
        /// What was found.
        found: String,
    },
    /// The data are not those of the run.
    #[error(
        "the data at `{data}` are not those that the run was trained on: expected the fingerprint {expected}, found \
         {found}; restore them, or start a new run"
    )]
    OtherData {
        /// The data set.
        data: String,
        /// The fingerprint of the run's data.
        expected: String,
        /// That of the data found.
        found: String,
    },
    /// The checkpoint lies in the folder of a run with other settings.
    #[error(
        "the checkpoint in `{path}` is of another run than the metrics.json beside it: `{setting}` differs; put each run \
         into a folder of its own"
    )]
    OtherRun {
        /// The folder.
        path: String,
        /// The first setting that differs.
        setting: String,
    },
    /// Fewer steps than the run has taken.
    #[error("the run has taken {taken} steps already; expected --steps of at least that, found {found}")]
    FewerSteps {
        /// The steps taken.
        taken: usize,
        /// The steps asked for.
        found: usize,
    },
    /// More steps for a schedule that would have been another from the start.
    #[error(
        "the schedule `cosine` depends on the number of steps, so a run of {expected} cannot become one of {found}; \
         leave --steps out, or start a new run"
    )]
    ScheduleEnds {
        /// The steps of the run.
        expected: usize,
        /// The steps asked for.
        found: usize,
    },
}

impl Checkpoint {
    /// Takes down the state of a run.
    pub(super) fn of(head: Head, trainees: &[Trainee]) -> Self {
        let mut tensors = Vec::new();
        for trainee in trainees {
            let arm = trainee.arm.name();
            for mut tensor in state(trainee.network()) {
                tensor.name = format!("{arm}.network.{}", tensor.name);
                tensors.push(tensor);
            }
            let bytes = trainee.optimizer.into_bytes().expect("an optimizer's state is numbers").to_vec();
            tensors.push(NamedTensor {
                name: optimizer_name(&arm),
                shape: vec![bytes.len()],
                values: Values::U8(bytes),
            });
        }
        Self { head, tensors }
    }

    /// The settings of the run.
    pub fn settings(&self) -> &Settings {
        &self.head.settings
    }

    /// Checks that a `metrics.json` is of this run: of the same settings, steps and threads aside.
    ///
    /// # Errors
    ///
    /// The first setting that differs.
    pub fn belongs_to(&self, metrics: &str) -> Result<(), String> {
        let mut document: serde_json::Value = serde_json::from_str(metrics).unwrap_or_default();
        // In the form of today, if an older program wrote it.
        if let Ok(settings) = Settings::deserialize(&document["settings"]) {
            document["settings"] = serde_json::to_value(settings).expect("settings have a JSON form");
        }
        let own = serde_json::to_value(&self.head.settings).expect("settings have a JSON form");
        // A document that cannot be read is of no other run; the run will write it again.
        let (Some(found), Some(own)) = (document["settings"].as_object(), own.as_object()) else {
            return Ok(());
        };
        let differs = |(name, value): &(&String, &serde_json::Value)| {
            !matches!(name.as_str(), "steps" | "threads") && found.get(*name) != Some(*value)
        };
        // What is at its default may be absent, on either side.
        let more = |(name, _): &(&String, &serde_json::Value)| !own.contains_key(*name);
        let first = own.iter().find(differs).or_else(|| found.iter().find(more));
        first.map_or(Ok(()), |(name, _)| Err(name.clone()))
    }

    /// Steps from one checkpoint to the next.
    pub fn every(&self) -> usize {
        self.head.every
    }

    /// The steps that the run has taken.
    pub fn step(&self) -> usize {
        self.head.step
    }

    /// With other numbers of steps and threads, where given: no other setting of a run can change on its way.
    ///
    /// # Errors
    ///
    /// If the run has taken more steps already, or its schedule depends on their number.
    pub fn going_on(mut self, steps: Option<usize>, threads: Option<usize>) -> Result<Self, CheckpointError> {
        let settings = &mut self.head.settings;
        if let Some(found) = steps.filter(|&steps| steps != settings.steps) {
            if found < self.head.step {
                return Err(CheckpointError::FewerSteps { taken: self.head.step, found });
            }
            if settings.schedule.depends_on_the_end() {
                return Err(CheckpointError::ScheduleEnds { expected: settings.steps, found });
            }
            settings.steps = found;
        }
        settings.threads = threads.unwrap_or(settings.threads);
        Ok(self)
    }

    /// Writes it: under a temporary name first, renamed when it is whole.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        // A tensor, for the format limits the length of metadata, and a long run has measured much.
        let head = serde_json::to_vec(&self.head).expect("numbers, strings and lists have a JSON form");
        let head = NamedTensor { name: HEAD.to_owned(), shape: vec![head.len()], values: Values::U8(head) };
        let tensors = self.tensors.iter().cloned().chain([head]).collect();
        let metadata = [(VERSION_KEY.to_owned(), VERSION.to_string())];
        Tensors { tensors, metadata: metadata.into() }.write(path)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is none, or of another version.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let file = Tensors::read(path)?;
        let name = path.display().to_string();
        let Some(version) = file.metadata.get(VERSION_KEY) else {
            let found = format!("expected the metadata `{VERSION_KEY}`, found none");
            return Err(CheckpointError::NotACheckpoint { path: name, found });
        };
        if !READ.contains(&&**version) {
            return Err(CheckpointError::Version { path: name, found: version.clone() });
        }
        let bad = |found: String| CheckpointError::NotACheckpoint { path: name.clone(), found };
        let mut tensors = file.tensors;
        let place = tensors.iter().position(|tensor| tensor.name == HEAD);
        let head = match place.map(|place| tensors.remove(place).values) {
            Some(Values::U8(bytes)) => bytes,
            _ => return Err(bad(format!("expected its settings in the tensor `{HEAD}`, found none"))),
        };
        let head: Head = serde_json::from_slice(&head)
            .map_err(|error| bad(format!("its settings cannot be read ({error})")))?;
        let Head { step, evaluations, .. } = head;
        if step > head.settings.steps || evaluations > step {
            let steps = head.settings.steps;
            return Err(bad(format!(
                "it says {step} steps and {evaluations} evaluations of a run of {steps} steps"
            )));
        }
        Ok(Self { head, tensors })
    }

    /// Puts a twin where it was.
    pub(super) fn restore(&self, trainee: &mut Trainee, network: Model) -> Result<(), CheckpointError> {
        let arm = trainee.arm.name();
        let prefix = format!("{arm}.network.");
        let own = |tensor: &NamedTensor| {
            let name = tensor.name.strip_prefix(&prefix)?.to_owned();
            Some(NamedTensor { name, ..tensor.clone() })
        };
        let tensors: Vec<NamedTensor> = self.tensors.iter().filter_map(own).collect();
        let network = load_state(network, &tensors).map_err(|source| CheckpointError::State { source })?;
        let name = optimizer_name(&arm);
        let fail = |found: String| CheckpointError::Optimizer { tensor: name.clone(), found };
        let bytes = match self.tensors.iter().find(|tensor| tensor.name == name) {
            Some(NamedTensor { values: Values::U8(bytes), .. }) => bytes.clone(),
            Some(_) => return Err(fail("expected bytes".to_owned())),
            None => return Err(fail("it is not there".to_owned())),
        };
        let optimizer = optimizer::of(&self.head.settings, &network)
            .from_bytes(Bytes::from_bytes_vec(bytes))
            .map_err(|error| fail(error.to_string()))?;
        let progress = self.head.progress.get(&arm).cloned();
        let progress = progress.ok_or_else(|| fail(format!("there is no progress of `{arm}`")))?;
        trainee.restore(network, optimizer, progress);
        Ok(())
    }
}

fn optimizer_name(arm: &str) -> String {
    format!("{arm}.optimizer")
}
