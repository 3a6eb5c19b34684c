//! The running state: one cell that clones of a layer share, always up to date.
//!
//! Burn's `RunningState` keeps updates per thread and merges them at the next one, so that a record is one update
//! late; here an update is in the cell before the forward pass returns.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use batchnorm::{BatchNormConfig, Moments, Population, RunningStatistics, RunningUpdate};
use burn::module::{ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// The counter's name in the module tree: PyTorch's.
pub(crate) const COUNTER: &str = "num_batches_tracked";

/// Running mean, running variance and the batch counter, in the type they are kept in: f32, or f64 for a layer
/// of f64.
#[derive(Clone, Debug, PartialEq)]
pub enum Statistics {
    /// Kept in f32.
    F32(RunningStatistics<f32>),
    /// Kept in f64.
    F64(RunningStatistics<f64>),
}

/// Evaluates `$body` with the statistics of either type bound to `$statistics`.
macro_rules! either {
    ($any:expr, $statistics:ident => $body:expr) => {
        match $any {
            Statistics::F32($statistics) => $body,
            Statistics::F64($statistics) => $body,
        }
    };
}

impl Statistics {
    /// Zero means, unit variances, no batches; in f64 where `dtype` is, else in f32.
    pub(crate) fn new(channels: usize, dtype: DType) -> Self {
        match dtype {
            DType::F64 => Self::F64(RunningStatistics::new(channels)),
            _ => Self::F32(RunningStatistics::new(channels)),
        }
    }

    /// The number of batches that have entered.
    pub fn batches(&self) -> u64 {
        either!(self, statistics => statistics.batches)
    }

    /// The running mean and the running variance, as they are stored.
    pub(crate) fn data(&self) -> [TensorData; 2] {
        either!(self, statistics => [&statistics.mean, &statistics.variance]
            .map(|values| TensorData::new(values.clone(), [values.len()])))
    }

    /// From a mean and a variance; kept in f64 if one of them is in f64, else in f32.
    pub(crate) fn from_data(batches: u64, [mean, variance]: [TensorData; 2]) -> Self {
        match [mean.dtype(), variance.dtype()].contains(&DType::F64) {
            true => Self::F64(RunningStatistics {
                mean: f64::from_data(mean),
                variance: f64::from_data(variance),
                batches,
            }),
            false => Self::F32(RunningStatistics {
                mean: f32::from_data(mean),
                variance: f32::from_data(variance),
                batches,
            }),
        }
    }

    fn set_batches(&mut self, batches: u64) {
        either!(self, statistics => statistics.batches = batches);
    }

    fn update(
        &mut self,
        config: &BatchNormConfig,
        moments: &[Moments],
    ) -> Result<RunningUpdate, batchnorm::Error> {
        either!(self, statistics => statistics.update(config, moments))
    }
}

/// The types that tensors and their statistics come in.
pub trait Real: batchnorm::Real + burn::tensor::Element + bytemuck::Pod {
    /// `(mean, variance)` in this type; borrowed where they are kept in it.
    fn fixed(statistics: &Statistics) -> (Cow<'_, [Self]>, Cow<'_, [Self]>);

    /// The values of a tensor of any float type, in this type.
    fn from_data(data: TensorData) -> Vec<Self> {
        data.try_into_vec_as().expect("a float tensor converts to f32 and f64")
    }
}

impl Real for f32 {
    fn fixed(statistics: &Statistics) -> (Cow<'_, [f32]>, Cow<'_, [f32]>) {
        match statistics {
            Statistics::F32(own) => (Cow::from(&own.mean), Cow::from(&own.variance)),
            Statistics::F64(_) => {
                let [mean, variance] = statistics.data().map(Self::from_data);
                (Cow::Owned(mean), Cow::Owned(variance))
            }
        }
    }
}

impl Real for f64 {
    fn fixed(statistics: &Statistics) -> (Cow<'_, [f64]>, Cow<'_, [f64]>) {
        match statistics {
            Statistics::F64(own) => (Cow::from(&own.mean), Cow::from(&own.variance)),
            Statistics::F32(_) => {
                let [mean, variance] = statistics.data().map(Self::from_data);
                (Cow::Owned(mean), Cow::Owned(variance))
            }
        }
    }
}

/// What the cell holds.
#[derive(Clone, Debug)]
struct Content {
    statistics: Arc<Statistics>,
    last_update: Option<RunningUpdate>,
    population: Option<Population>,
}

/// The cell, and the ids under which its tensors appear in the module tree.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    cell: Arc<Mutex<Content>>,
    mean_id: ParamId,
    variance_id: ParamId,
    batches_id: ParamId,
}

impl Running {
    pub(crate) fn new(statistics: Statistics) -> Self {
        Self {
            cell: Arc::new(Mutex::new(Content {
                statistics: Arc::new(statistics),
                last_update: None,
                population: None,
            })),
            mean_id: ParamId::new(),
            variance_id: ParamId::new(),
            batches_id: ParamId::new(),
        }
    }

    /// The same state and ids in a cell of its own, which collects no population.
    pub(crate) fn separate(&self) -> Self {
        let content = Content { population: None, ..self.lock().clone() };
        Self { cell: Arc::new(Mutex::new(content)), ..self.clone() }
    }

    pub(crate) fn statistics(&self) -> Arc<Statistics> {
        Arc::clone(&self.lock().statistics)
    }

    pub(crate) fn set_statistics(&self, statistics: Statistics) {
        self.lock().statistics = Arc::new(statistics);
    }

    pub(crate) fn reset(&self) {
        let mut content = self.lock();
        let fresh = match &*content.statistics {
            Statistics::F32(own) => Statistics::F32(RunningStatistics::new(own.mean.len())),
            Statistics::F64(own) => Statistics::F64(RunningStatistics::new(own.mean.len())),
        };
        content.statistics = Arc::new(fresh);
        content.last_update = None;
    }

    pub(crate) fn last_update(&self) -> Option<RunningUpdate> {
        self.lock().last_update.clone()
    }

    pub(crate) fn is_collecting(&self) -> bool {
        self.lock().population.is_some()
    }

    /// Begins (or ends) a collection; what was collected before is returned.
    pub(crate) fn set_population(&self, population: Option<Population>) -> Option<Population> {
        std::mem::replace(&mut self.lock().population, population)
    }

    /// Ends a collection and puts its estimate in the place of mean and variance.
    pub(crate) fn install_population(&self) -> Result<Population, batchnorm::Error> {
        let population = self.set_population(None).unwrap_or_default();
        let mut content = self.lock();
        let statistics = Arc::make_mut(&mut content.statistics);
        let batches = statistics.batches();
        *statistics = match statistics {
            Statistics::F32(_) => Statistics::F32(population.finish()?),
            Statistics::F64(_) => Statistics::F64(population.finish()?),
        };
        statistics.set_batches(batches);
        Ok(population)
    }

    /// Takes a batch in: into the population while one is collected, else into the running statistics.
    pub(crate) fn take_in(
        &self,
        config: &BatchNormConfig,
        moments: &[Moments],
    ) -> Result<(), batchnorm::Error> {
        let mut content = self.lock();
        match &mut content.population {
            Some(population) => population.push(moments)?,
            None => {
                let update = Arc::make_mut(&mut content.statistics).update(config, moments)?;
                content.last_update = Some(update);
            }
        }
        Ok(())
    }

    /// A panic elsewhere cannot leave the cell half-written: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the state as buffers: `running_mean`, `running_var` and `num_batches_tracked`.
    pub(crate) fn visit<V: ModuleVisitor>(&self, visitor: &mut V, container: &str, device: &Device) {
        let statistics = self.statistics();
        let [mean, variance] = statistics.data().map(|data| tensor(data, device));
        visitor.enter_module("running_mean", container);
        visitor.visit_float(&Param::initialized(self.mean_id, mean));
        visitor.exit_module("running_mean", container);
        visitor.enter_module("running_var", container);
        visitor.visit_float(&Param::initialized(self.variance_id, variance));
        visitor.exit_module("running_var", container);
        visitor.enter_module(COUNTER, container);
        visitor.visit_int(&self.counter(&statistics, device));
        visitor.exit_module(COUNTER, container);
    }

    /// Lets a mapper change the state. Only what it changed is written back, into the shared cell: a mapper that
    /// passes buffers by, as an optimizer's step does, cannot undo an update made meanwhile.
    pub(crate) fn map<M: ModuleMapper>(&self, mapper: &mut M, container: &str, device: &Device) {
        let before = self.statistics();
        let [mean, variance] = before.data().map(|data| tensor(data, device));
        mapper.enter_module("running_mean", container);
        let mean = mapper.map_float(Param::initialized(self.mean_id, mean));
        mapper.exit_module("running_mean", container);
        mapper.enter_module("running_var", container);
        let variance = mapper.map_float(Param::initialized(self.variance_id, variance));
        mapper.exit_module("running_var", container);
        mapper.enter_module(COUNTER, container);
        let batches = mapper.map_int(self.counter(&before, device));
        mapper.exit_module(COUNTER, container);

        let batches: Vec<i64> =
            batches.val().into_data().try_into_vec_as().expect("an integer tensor converts to i64");
        // A negative count is no count.
        let batches = batches.first().map_or(0, |&batches| batches.max(0).unsigned_abs());
        let values = [mean, variance].map(|param| plain(param.val()));
        let after = Statistics::from_data(batches, values);
        if after != *before {
            self.set_statistics(after);
        }
    }

    fn counter(&self, statistics: &Statistics, device: &Device) -> Param<Tensor<1, Int>> {
        let batches = i64::try_from(statistics.batches()).unwrap_or(i64::MAX);
        let data = TensorData::new(vec![batches], [1]);
        Param::initialized(self.batches_id, Tensor::from_data(data, (device, DType::I64)))
    }
}

/// A buffer: it never requires gradients.
pub(crate) fn tensor(data: TensorData, device: &Device) -> Tensor<1> {
    let dtype = data.dtype();
    Tensor::from_data(data, (device, dtype))
}

/// The values of what a mapper returned, which may be quantized.
fn plain(tensor: Tensor<1>) -> TensorData {
    match tensor.dtype() {
        DType::QFloat(_) => tensor.dequantize().into_data(),
        _ => tensor.into_data(),
    }
}
