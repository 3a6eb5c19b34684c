//! The part of the arguments of `batchnorm bench` that a peer needs.

use crate::problem::{Layout, Op};

pub struct Arguments {
    pub shapes: Vec<Vec<usize>>,
    pub ops: Vec<Op>,
    pub layout: Layout,
    pub threads: usize,
    pub seconds: f64,
    /// Compare every answer with one in f64.
    pub check: bool,
    /// Say the versions, and no more.
    pub version: bool,
    peers: Option<Vec<String>>,
}

impl Arguments {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            shapes: Vec::new(),
            ops: vec![Op::Forward, Op::Backward, Op::Eval],
            layout: Layout::ChannelsFirst,
            threads: 1,
            seconds: 0.2,
            check: false,
            version: false,
            peers: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                // What `batchnorm bench` is told and a peer does anyway.
                "bench" | "--no-reference" | "--json" => {}
                "--check" => arguments.check = true,
                "--version" => arguments.version = true,
                "--shape" => arguments.shapes = list(&value()?, shape)?,
                "--op" => arguments.ops = list(&value()?, Op::named)?,
                "--layout" => arguments.layout = Layout::named(&value()?)?,
                "--threads" => arguments.threads = number(&value()?)?,
                "--seconds" => arguments.seconds = number(&value()?)?,
                "--peers" => arguments.peers = Some(list(&value()?, |name| Ok(name.to_owned()))?),
                "--dtype" => match value()?.as_str() {
                    "f32" => {}
                    other => return Err(format!("--dtype: expected f32, found {other}")),
                },
                _ => return Err(format!("{word}: no such argument")),
            }
        }
        match arguments.shapes.is_empty() && !arguments.version {
            true => Err("--shape is missing: for example 32x64x56x56".to_owned()),
            false => Ok(arguments),
        }
    }

    pub fn wants(&self, peer: &str) -> bool {
        self.peers.as_ref().is_none_or(|peers| peers.iter().any(|name| name == peer))
    }
}

fn list<T>(text: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(item).collect()
}

fn shape(text: &str) -> Result<Vec<usize>, String> {
    let dims: Vec<usize> = text.split('x').map(number).collect::<Result<_, _>>()?;
    match dims.len() {
        2..=5 if !dims.contains(&0) => Ok(dims),
        _ => Err(format!("--shape: expected 2 to 5 sizes above zero, like 32x64x56x56, found {text}")),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("expected a number, found {text}"))
}
