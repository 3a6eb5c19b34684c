//! The golden files as Rust values. goldens/README.md describes their fields.

use std::fmt::Debug;
use std::str::FromStr;

use batchnorm::{BatchNormConfig, Momentum, Shape};
use serde_json::Value;

/// The libraries whose figures there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    PyTorch,
    Keras,
    Flax,
}

/// One layer of a library: its inputs and what came of them. `P` is the type of the inputs, f32 or f64.
#[derive(Debug)]
pub struct Case<P> {
    pub name: String,
    pub shape: Shape,
    pub config: BatchNormConfig,
    /// Whether the library took the variance as E[x^2] - E[x]^2.
    pub fast_variance: bool,
    pub gamma: Option<Vec<P>>,
    pub beta: Option<Vec<P>>,
    pub train: Vec<Step<P>>,
    pub evaluate: Step<P>,
    /// The library's state after the training steps, under its own names.
    pub state: Value,
}

/// One pass, forward and backward. What the library computed is in f64 whatever `P` is.
#[derive(Debug)]
pub struct Step<P> {
    pub x: Vec<P>,
    pub dy: Vec<P>,
    pub results: Results,
    /// Of f32 cases: what the library's own f32 run gave.
    pub own: Option<Results>,
    /// Of f32 cases' evaluation: what a new layer in f64 gave after loading [`Case::state`].
    pub restored: Option<Results>,
    /// The text of the error, if the library refused the input.
    pub raises: Option<String>,
}

/// The figures of one pass. Empty where the library raised an error.
#[derive(Debug)]
pub struct Results {
    pub y: Vec<f64>,
    pub dx: Vec<f64>,
    pub dgamma: Option<Vec<f64>>,
    pub dbeta: Option<Vec<f64>>,
    /// The running mean and variance after the pass, where the library keeps them.
    pub running: Option<(Vec<f64>, Vec<f64>)>,
    /// The counter after the pass, where the library has one.
    pub batches: Option<u64>,
}

/// A library's cases whose inputs are of type `P`.
pub fn cases<P: Number>(library: Library) -> Vec<Case<P>> {
    let text = match library {
        Library::PyTorch => include_str!("pytorch.json"),
        Library::Keras => include_str!("keras.json"),
        Library::Flax => include_str!("flax.json"),
    };
    let file: Value = serde_json::from_str(text).expect("the golden file is JSON");
    let all = file["cases"].as_array().expect("a golden file has cases");
    all.iter().filter(|case| case["dtype"] == P::NAME).map(|case| Case::read(library, case)).collect()
}

/// The case of that name.
pub fn case<P: Number>(library: Library, name: &str) -> Case<P> {
    cases(library)
        .into_iter()
        .find(|case| case.name == name)
        .unwrap_or_else(|| panic!("{library:?} has no {} case '{name}'", P::NAME))
}

/// f32 or f64, by the name that the files use.
pub trait Number: FromStr<Err: Debug> {
    const NAME: &'static str;
}

impl Number for f32 {
    const NAME: &'static str = "f32";
}

impl Number for f64 {
    const NAME: &'static str = "f64";
}

impl<P: Number> Case<P> {
    fn read(library: Library, case: &Value) -> Self {
        let dims = case["dims"].as_array().expect("dims is an array");
        let dims: Vec<_> = dims.iter().map(|d| d.as_u64().expect("an extent") as usize).collect();
        let axis = case["axis"].as_i64().expect("axis is a number") as isize;
        let train = case["train"].as_array().expect("train is an array");
        Self {
            name: case["name"].as_str().expect("name is a string").to_owned(),
            shape: Shape::of(&dims, axis).expect("the axis exists"),
            config: config(library, &case["options"]),
            fast_variance: library == Library::Flax && case["options"]["use_fast_variance"] != false,
            gamma: numbers(&case["gamma"]),
            beta: numbers(&case["beta"]),
            train: train.iter().map(Step::read).collect(),
            evaluate: Step::read(&case["evaluate"]),
            state: case["state"].clone(),
        }
    }
}

impl<P: Number> Step<P> {
    fn read(step: &Value) -> Self {
        Self {
            x: numbers(&step["x"]).expect("x is always there"),
            dy: numbers(&step["dy"]).expect("dy is always there"),
            results: Results::read(step),
            own: step.get("own").map(Results::read),
            restored: step.get("restored").map(Results::read),
            raises: step["raises"].as_str().map(str::to_owned),
        }
    }
}

impl Results {
    fn read(step: &Value) -> Self {
        Self {
            y: numbers(&step["y"]).unwrap_or_default(),
            dx: numbers(&step["dx"]).unwrap_or_default(),
            dgamma: numbers(&step["dgamma"]),
            dbeta: numbers(&step["dbeta"]),
            running: numbers(&step["mean"]).zip(numbers(&step["variance"])),
            batches: step["batches"].as_u64(),
        }
    }
}

/// An array as the files hold it: numbers in a string, so that only `str::parse`, which is exact, reads them.
pub fn numbers<P: Number>(value: &Value) -> Option<Vec<P>> {
    let number = |word: &str| word.parse().unwrap_or_else(|error| panic!("'{word}': {error:?}"));
    Some(value.as_str()?.split_whitespace().map(number).collect())
}

/// The library's preset with nothing changed but what the case passed to the library's constructor: that the
/// rest agrees is for the preset to show.
fn config(library: Library, options: &Value) -> BatchNormConfig {
    let preset = match library {
        Library::PyTorch => BatchNormConfig::pytorch(),
        Library::Keras => BatchNormConfig::keras(),
        Library::Flax => BatchNormConfig::flax(),
    };
    let number = |value: &Value| value.as_f64().expect("a number");
    let flag = |value: &Value| value.as_bool().expect("true or false");
    let options = options.as_object().expect("options is an object");
    options.iter().fold(preset, |config, (option, value)| match (library, option.as_str()) {
        (Library::PyTorch, "eps") | (_, "epsilon") => config.with_eps(number(value)),
        (Library::PyTorch, "momentum") if value.is_null() => config.with_momentum(Momentum::Cumulative),
        (Library::PyTorch, "momentum") => config.with_momentum(Momentum::of_new(number(value))),
        (_, "momentum") => config.with_momentum(Momentum::of_old(number(value))),
        (Library::PyTorch, "affine") => config.with_affine(flag(value)),
        (Library::PyTorch, "weight") | (Library::Keras, "scale") | (Library::Flax, "use_scale") => {
            config.with_scale(flag(value))
        }
        (Library::PyTorch, "bias") | (Library::Keras, "center") | (Library::Flax, "use_bias") => {
            config.with_shift(flag(value))
        }
        (Library::PyTorch, "track_running_stats") => config.with_running_statistics(flag(value)),
        // How Flax sums, not what: it changes the tolerance alone.
        (Library::Flax, "use_fast_variance") => config,
        _ => panic!("{library:?} has no option '{option}' here"),
    })
}
