//! Any bytes as a checkpoint: opened, and its batch-norm layers told, folded and converted.
//!
//! ```sh
//! cargo +nightly fuzz run checkpoint fuzz/corpus/checkpoint crates/batchnorm-model/tests/goldens -- \
//!     -max_total_time=600 -rss_limit_mb=2048 -timeout=20 -dict=fuzz/checkpoint.dict
//! ```
//!
//! Of every input:
//!
//! 1. nothing panics, hangs, or asks for more memory than the limit, and errors can be printed;
//! 2. what is folded or converted is a checkpoint again, in which the folded layers are gone and all else is.
//!
//! Few bytes are a safetensors file or a zip archive. So every input is tried as it is; one that begins as JSON is tried as a
//! header as well, and as an index of shards; one that begins as a pickle, in an archive with a storage `0`.

#![no_main]

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use batchnorm_model::checkpoint::{
    Archive, Convention, Conversion, ConversionOptions, FoldOptions, FoldPlan, Format, Layer, NamedTensor,
    Tensors,
};
use libfuzzer_sys::fuzz_target;

/// Tensors of more bytes than this are not read one by one: a file of a few bytes may have many that repeat one number.
const READ: u64 = 1 << 20;

/// A folder in memory, one for each process.
fn folder() -> PathBuf {
    thread_local!(static FOLDER: OnceCell<PathBuf> = const { OnceCell::new() });
    FOLDER.with(|folder| {
        let made = || {
            let memory = Path::new("/dev/shm");
            let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
            let folder = parent.join(format!("batchnorm-fuzz-{}", std::process::id()));
            fs::create_dir_all(&folder).expect("a folder for what is tried");
            let mut shard = Tensors::default();
            shard.tensors.push(NamedTensor::new("conv.weight", [2, 1, 1], vec![1.0_f32, 2.0]));
            for name in ["weight", "bias", "running_mean", "running_var"] {
                shard.tensors.push(NamedTensor::new(format!("bn.{name}"), [2], vec![0.5_f32, 2.0]));
            }
            shard.write(&folder.join("a")).expect("a shard");
            folder
        };
        folder.get_or_init(made).clone()
    })
}

/// A header of safetensors with what follows it: the length is put before.
fn framed(data: &[u8]) -> Vec<u8> {
    let header = data.iter().rposition(|&byte| byte == b'}').map_or(data.len(), |last| last + 1);
    [&(header as u64).to_le_bytes()[..], data].concat()
}

/// What `torch.save` writes around a pickle, without checksums.
fn zipped(pickle: &[u8]) -> Vec<u8> {
    let storage: Vec<u8> = (0..256).flat_map(|index| (index as f32 / 8.0).to_le_bytes()).collect();
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in [("a/data.pkl", pickle), ("a/data/0", &storage)] {
        let length = (content.len() as u32).to_le_bytes();
        // Version, flags, method, time, date, checksum, both lengths, length of the name, nothing more.
        let fields =
            [&[10, 0, 0, 0, 0, 0, 0, 0, 33, 0, 0, 0, 0, 0][..], &length, &length, &[name.len() as u8, 0, 0, 0]];
        let fields = fields.concat();
        let offset = (archive.len() as u32).to_le_bytes();
        directory.extend([b"PK\x01\x02\x0a\x00", &fields[..], &[0; 10], &offset, name.as_bytes()].concat());
        archive.extend([b"PK\x03\x04", &fields[..], name.as_bytes(), content].concat());
    }
    let (offset, length) = ((archive.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    archive.extend(directory);
    archive.extend([b"PK\x05\x06\0\0\0\0\x02\0\x02\0", &length[..], &offset, &[0, 0]].concat());
    archive
}

fn check(bytes: &[u8]) {
    let (path, out) = (folder().join("tried"), folder().join("made"));
    fs::write(&path, bytes).expect("room in memory");
    let archive = match Archive::open(&path) {
        Ok(archive) => archive,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for entry in archive.entries().iter().filter(|entry| entry.bytes <= READ) {
        match archive.read(&entry.name) {
            Ok(bytes) => assert_eq!(bytes.len() as u64, entry.bytes),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        if let Ok(values) = archive.values(&entry.name) {
            assert_eq!(values.len(), entry.shape.iter().product::<usize>());
        }
    }
    if archive.entries().iter().map(|entry| entry.bytes).sum::<u64>() > 8 * READ {
        return;
    }
    let Ok(layers) = Layer::all(&archive, None) else { return };
    for layer in &layers {
        let remarks = layer.remarks.iter().map(ToString::to_string);
        assert!(
            remarks
                .chain(layer.findings.iter().map(|finding| format!("{finding:?}")))
                .all(|text| !text.is_empty())
        );
    }
    fold(&archive, &layers, &out);
    convert(&archive, &out);
}

/// Folds the pairs that the names propose, and some that they do not.
fn fold(archive: &Archive, layers: &[Layer], out: &Path) {
    let proposed: Vec<_> = layers.iter().filter_map(|layer| layer.pair()?.parse().ok()).collect();
    let patterns =
        ["*conv*=*bn*", "*.0=*.1", "*=*", "fc=bn"].map(|pair| pair.parse().expect("a pair")).to_vec();
    for (pairs, transposed) in [(proposed.clone(), ""), (patterns, ""), (proposed, "*")] {
        let transposed = transposed.parse().into_iter().collect();
        let Ok(plan) = FoldPlan::new(archive, &FoldOptions { pairs, eps: Some(0.5), transposed }) else {
            continue;
        };
        let mut folded = Vec::new();
        for report in plan.reports() {
            match &report.outcome {
                Ok(_) => folded.push(report.norm.as_str()),
                Err(refusal) => assert!(!refusal.code().is_empty() && !refusal.to_string().is_empty()),
            }
        }
        if plan.write(out).is_err() {
            continue;
        }
        let made = Archive::open(out).expect("what was written can be read");
        assert_eq!(made.format(), Format::Safetensors);
        let gone: Vec<&str> = layers
            .iter()
            .filter(|layer| folded.contains(&layer.name.as_str()))
            .flat_map(|layer| layer.tensors.all())
            .collect();
        for name in archive.names() {
            assert_eq!(made.entry(name).is_none(), gone.contains(&name), "`{name}`");
        }
    }
}

fn convert(archive: &Archive, out: &Path) {
    let names = [None, Some(Convention::PyTorch), Some(Convention::Keras), Some(Convention::Burn)];
    for (names, frozen) in names.into_iter().flat_map(|names| [(names, None), (names, Some(0.5))]) {
        let conversion = Conversion::new(archive, &ConversionOptions { names, frozen });
        if conversion.write(out).is_err() {
            continue;
        }
        let made = Archive::open(out).expect("what was written can be read");
        let reports = conversion.reports();
        let dropped: usize = reports.iter().map(|report| report.dropped.len()).sum();
        let created: usize = reports.iter().map(|report| report.created.len()).sum();
        assert_eq!(made.entries().len() + dropped, archive.entries().len() + created);
        for (_, name) in reports.iter().flat_map(|report| &report.renamed) {
            assert!(made.entry(name).is_some(), "`{name}`");
        }
    }
}

fuzz_target!(|data: &[u8]| {
    check(data);
    match data.first() {
        Some(b'{') => check(&framed(data)),
        Some(0x80) => check(&zipped(data)),
        _ => {}
    }
});
