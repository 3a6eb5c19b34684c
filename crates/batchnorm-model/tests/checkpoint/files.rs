//! Safetensors files with elements of any type, made here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use batchnorm_model::checkpoint::Archive;

/// The tensors of a file to be written.
#[derive(Clone, Default)]
pub struct File {
    tensors: Vec<(String, String, Vec<usize>, Vec<u8>)>,
    metadata: BTreeMap<String, String>,
}

impl File {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn raw(mut self, name: &str, dtype: &str, shape: &[usize], bytes: &[u8]) -> Self {
        self.tensors.push((name.to_owned(), dtype.to_owned(), shape.to_vec(), bytes.to_vec()));
        self
    }

    pub fn f32(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.raw(name, "F32", shape, &bytes)
    }

    pub fn counter(self, name: &str, value: i64) -> Self {
        self.raw(name, "I64", &[], &value.to_le_bytes())
    }

    pub fn metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A trained layer under PyTorch's names, with numbers that differ from channel to channel.
    pub fn batch_norm(self, name: &str, channels: usize) -> Self {
        let ramp = |start: f32, step: f32| -> Vec<f32> {
            (0..channels).map(|channel| start + step * channel as f32).collect()
        };
        self.f32(&format!("{name}.weight"), &[channels], &ramp(0.5, 0.25))
            .f32(&format!("{name}.bias"), &[channels], &ramp(-1.0, 0.5))
            .f32(&format!("{name}.running_mean"), &[channels], &ramp(2.0, -0.75))
            .f32(&format!("{name}.running_var"), &[channels], &ramp(0.25, 0.5))
            .counter(&format!("{name}.num_batches_tracked"), 10)
    }

    /// A weight of numbers that differ.
    pub fn weight(self, name: &str, shape: &[usize]) -> Self {
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|index: usize| (index * 37 % 17) as f32 / 8.0 - 1.0).collect();
        self.f32(name, shape, &values)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut header = Vec::new();
        if !self.metadata.is_empty() {
            header.push(format!("\"__metadata__\":{}", serde_json::to_string(&self.metadata).unwrap()));
        }
        let mut values = Vec::new();
        for (name, dtype, shape, bytes) in &self.tensors {
            let start = values.len();
            values.extend_from_slice(bytes);
            let entry =
                serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [start, values.len()]});
            header.push(format!("{}:{entry}", serde_json::to_string(name).unwrap()));
        }
        let header = format!("{{{}}}", header.join(","));
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &values].concat()
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, self.bytes()).unwrap();
    }

    /// The file, written and opened.
    pub fn open(&self, folder: &Path) -> Archive {
        let path = folder.join("net.safetensors");
        self.write(&path);
        Archive::open(&path).unwrap()
    }
}

/// A file that is part of this crate.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}
