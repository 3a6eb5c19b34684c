//! Population statistics of an ONNX model, estimated anew on data.
//!
//! A layer's stored statistics are those of the data that it was trained on, by running averages that lag behind the
//! weights. Where the data have changed, or the averages never were good, accuracy is lost that nothing else has to be
//! learned for. [`Recalibrator`] measures them again.
//!
//! [`Method::Sequential`] is exact: layer by layer in the order of the graph, each layer's input is taken with all earlier
//! layers in inference and with their new statistics, and pooled over all samples and positions:
//!
//! ```text
//! (n, mean, M2) merged over batches in f64,    running_mean = mean,    running_var = M2 / n
//! ```
//!
//! so that the statistics are the very ones of what the layer will see, whatever the batches. Layers without a path
//! between them share a pass. The price is a pass over the data for each layer that lies behind another; it ends where
//! its layers are, so that all passes together take about half as long as as many whole ones.
//!
//! The other methods take one pass, with all layers normalizing by the batch: what a layer then sees depends on the
//! batch size, and is not what it sees in inference.
//!
//! Reading order: [`Options`], [`Samples`], [`Recalibrator`], [`Report`].

mod accuracy;
mod error;
mod feed;
mod recalibrator;
mod report;
mod run;
mod samples;
mod selection;
mod shift;
mod state;
mod statistics;
mod submodel;
mod tally;
mod training;

use serde::{Deserialize, Serialize};

pub use accuracy::Accuracy;
pub use error::RecalibrateError;
pub use recalibrator::{Outcome, Recalibration, Recalibrator};
pub use report::{Finding, LayerReport, Plan, Progress, Purpose, Report};
pub use samples::{Batch, Samples};
pub use shift::Shift;

/// How statistics are estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Layer by layer, each with those before it already recalibrated and in inference; all values weigh alike.
    #[default]
    Sequential,
    /// One pass with all layers normalizing by the batch; batches weigh alike, and the variance is that of all their values
    /// together (`precise_bn`; Wu & Johnson 2021, arXiv 2105.07576). A smaller last batch is left out.
    Precise,
    /// One pass with all layers normalizing by the batch; means over batches of the mean and of the unbiased variance
    /// (Ioffe & Szegedy 2015, Algorithm 2). A smaller last batch is left out.
    Algorithm2,
}

impl Method {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Sequential, Self::Precise, Self::Algorithm2];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Precise => "precise",
            Self::Algorithm2 => "algorithm2",
        }
    }
}

impl std::str::FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|method| method.name() == text);
        found.copied().ok_or_else(|| {
            format!("expected one of sequential, precise and algorithm2 as a method, found `{text}`")
        })
    }
}

/// What is recalibrated, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How statistics are estimated.
    pub method: Method,
    /// As many samples as the old statistics stand for, to blend them in; `None` to replace them.
    ///
    /// ```text
    /// mean = (N mean_old + n mean_new) / (N + n),    variance = (N variance_old + n variance_new) / (N + n)
    /// ```
    ///
    /// with n the number of samples; both are plain averages, as in adaptation to another domain (AdaBN: Li et al. 2016,
    /// arXiv 1603.04779; with N: Schneider et al. 2020, arXiv 2006.16971), without the spread between the two means.
    pub blend: Option<f64>,
    /// Names of layers, in which `*` is any letters and `?` one; none of them for all layers.
    pub layers: Vec<String>,
    /// Samples in a batch; where the model insists on a number, that is taken. The exact method's result does not depend on
    /// it but for rounding.
    pub batch_size: usize,
    /// Whether the accuracy before and after is measured, where the samples have labels: a pass each.
    pub accuracy: bool,
}

impl Options {
    /// Samples in a batch, where nothing else is said.
    pub const BATCH_SIZE: usize = 64;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: Method::Sequential,
            blend: None,
            layers: Vec::new(),
            batch_size: Self::BATCH_SIZE,
            accuracy: true,
        }
    }
}
