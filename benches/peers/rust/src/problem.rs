//! A row: the numbers that every peer gets, and what must come out, computed in f64.

pub const EPS: f64 = 1e-5;
pub const MOMENTUM: f64 = 0.1;

/// The largest error let through, of the largest value in the answer: enough for f32, too little for a wrong formula.
const TOLERANCE: f64 = 1e-3;

#[derive(Clone, Copy, PartialEq)]
pub enum Op {
    Forward,
    Backward,
    Eval,
}

impl Op {
    pub fn named(name: &str) -> Result<Self, String> {
        [Self::Forward, Self::Backward, Self::Eval]
            .into_iter()
            .find(|op| op.name() == name)
            .ok_or(format!("--op: expected forward, backward or eval, found {name}"))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Eval => "eval",
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Layout {
    ChannelsFirst,
    ChannelsLast,
}

impl Layout {
    pub fn named(name: &str) -> Result<Self, String> {
        match name.replace('-', "_").as_str() {
            "channels_first" => Ok(Self::ChannelsFirst),
            "channels_last" => Ok(Self::ChannelsLast),
            _ => Err(format!("--layout: expected channels-first or channels-last, found {name}")),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::ChannelsFirst => "channels_first",
            Self::ChannelsLast => "channels_last",
        }
    }
}

pub struct Problem {
    /// Batch, channels, and the spatial sizes.
    pub dims: Vec<usize>,
    pub layout: Layout,
    pub x: Vec<f32>,
    pub dy: Vec<f32>,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    pub running_mean: Vec<f32>,
    pub running_variance: Vec<f32>,
}

impl Problem {
    pub fn new(dims: &[usize], layout: Layout) -> Self {
        let length = dims.iter().product();
        let per_channel = |cycle: usize, low: f32| {
            (0..dims[1]).map(|channel| low + (channel % cycle) as f32 / cycle as f32).collect()
        };
        Self {
            dims: dims.to_vec(),
            layout,
            x: uniform(length, 1),
            dy: uniform(length, 2),
            gamma: per_channel(7, 0.5),
            beta: per_channel(5, -0.4),
            running_mean: per_channel(3, 0.0),
            running_variance: per_channel(4, 0.5),
        }
    }

    pub fn channels(&self) -> usize {
        self.dims[1]
    }

    pub fn batch(&self) -> usize {
        self.dims[0]
    }

    pub fn spatial(&self) -> usize {
        self.dims[2..].iter().product()
    }

    pub fn shape(&self) -> String {
        self.dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
    }

    /// Whether y, or dx for the backward pass, is near what it must be.
    pub fn check(&self, op: Op, answer: &[f32]) -> Result<(), String> {
        if answer.len() != self.x.len() {
            return Err(format!("expected {} values, found {}", self.x.len(), answer.len()));
        }
        let (mut worst, mut largest) = (0.0f64, 0.0f64);
        for channel in 0..self.channels() {
            for (place, expected) in self.expected(op, channel) {
                // A NaN in the answer must not pass.
                let off = (f64::from(answer[place]) - expected).abs();
                worst = if off > worst || off.is_nan() { off } else { worst };
                largest = largest.max(expected.abs());
            }
        }
        match worst <= TOLERANCE * largest {
            true => Ok(()),
            false => Err(format!("wrong answer: off by {worst:.1e}, values up to {largest:.1e}")),
        }
    }

    /// The answer of one channel, with the places it belongs to.
    fn expected(&self, op: Op, channel: usize) -> impl Iterator<Item = (usize, f64)> {
        let count = (self.batch() * self.spatial()) as f64;
        let x = |place: usize| f64::from(self.x[place]);
        let dy = |place: usize| f64::from(self.dy[place]);
        let mean_of = |value: &dyn Fn(usize) -> f64| self.places(channel).map(value).sum::<f64>() / count;
        let (mean, variance) = match op {
            Op::Eval => (f64::from(self.running_mean[channel]), f64::from(self.running_variance[channel])),
            _ => {
                let mean = mean_of(&x);
                (mean, mean_of(&|place| (x(place) - mean).powi(2)))
            }
        };
        let rstd = 1.0 / (variance + EPS).sqrt();
        let (gamma, beta) = (f64::from(self.gamma[channel]), f64::from(self.beta[channel]));
        let (mean_dy, mean_dy_xhat) = match op {
            Op::Backward => (mean_of(&dy), mean_of(&|place| dy(place) * (x(place) - mean) * rstd)),
            _ => (0.0, 0.0),
        };
        self.places(channel).map(move |place| {
            let xhat = (f64::from(self.x[place]) - mean) * rstd;
            let answer = match op {
                Op::Backward => gamma * rstd * (f64::from(self.dy[place]) - mean_dy - xhat * mean_dy_xhat),
                _ => gamma * xhat + beta,
            };
            (place, answer)
        })
    }

    fn places(&self, channel: usize) -> impl Iterator<Item = usize> + use<> {
        let (layout, channels, spatial) = (self.layout, self.channels(), self.spatial());
        (0..self.batch()).flat_map(move |sample| {
            (0..spatial).map(move |position| match layout {
                Layout::ChannelsFirst => (sample * channels + channel) * spatial + position,
                Layout::ChannelsLast => (sample * spatial + position) * channels + channel,
            })
        })
    }
}

/// Uniform in [-1, 2): the mean is off zero, as after a ReLU.
fn uniform(length: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 * 3.0 - 1.0
    };
    std::iter::repeat_with(draw).take(length).collect()
}
