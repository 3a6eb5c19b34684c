//! The final evaluation of a network.

use super::metrics::Gap;
use super::{Observer, Settings, Statistics};
use crate::evaluate::{
    CHUNK, Score, Unscored, Watcher, score, with_batch_statistics, with_population_statistics,
};
use crate::feed::Feed;
use crate::networks::{Architecture, Model};

/// What a network scores on all test images.
pub(super) struct Last {
    pub(super) score: Score,
    /// Only where the batch normalizes, and not where it was not asked for.
    pub(super) gap: Option<Gap>,
    /// The network with population statistics, where they were asked for.
    pub(super) estimated: Option<Model>,
}

/// Passes the wish to stop on to an evaluation.
struct Stopping<'a>(&'a mut dyn Observer);

impl Watcher for Stopping<'_> {
    fn wants_to_stop(&mut self) -> bool {
        self.0.wants_to_stop()
    }
}

/// Scores a network on all test images under every kind of statistics, or under the kind asked for alone.
pub(super) fn last_evaluation(
    settings: &Settings,
    architecture: &Architecture,
    network: &Model,
    train: Feed<'_>,
    test: Feed<'_>,
    observer: &mut dyn Observer,
) -> Result<Last, Unscored> {
    let mut stopping = Stopping(observer);
    let (batch_size, seed) = (settings.batch_size, settings.seed);
    let all = |network: &Model, batch_size, stopping: &mut Stopping<'_>| {
        score(network, test, test.len(), batch_size, None, stopping)
    };
    let by_batch = architecture.norm.is_some_and(|norm| norm.variant.normalizes_by_batch());
    if !by_batch || (!settings.gap && settings.statistics == Statistics::Running) {
        let score = all(network, CHUNK, &mut stopping)?;
        return Ok(Last { score, gap: None, estimated: None });
    }
    let others = if settings.gap {
        let running = all(network, CHUNK, &mut stopping)?;
        let own = with_batch_statistics(network, architecture)?;
        Some((running, all(&own, batch_size, &mut stopping)?))
    } else {
        None
    };
    let estimated = with_population_statistics(network, architecture, train, batch_size, seed, &mut stopping)?;
    let population = all(&estimated, CHUNK, &mut stopping)?;
    let gap = others.map(|(running, batch)| Gap { running, batch, population });
    Ok(match (settings.statistics, gap) {
        (Statistics::Running, Some(gap)) => Last { score: gap.running, gap: Some(gap), estimated: None },
        (_, gap) => Last { score: population, gap, estimated: Some(estimated) },
    })
}
