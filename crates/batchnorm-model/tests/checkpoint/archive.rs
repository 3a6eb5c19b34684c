//! Files of any kind, size and state: read, or refused by the name of what is wrong.

use std::error::Error;
use std::fs;
use std::path::Path;

use batchnorm_model::checkpoint::{Archive, ArchiveError, Dtype, Format};
use proptest::prelude::*;

use super::files::File;

fn sample() -> File {
    File::new()
        .f32("a", &[2], &[1.5, -2.0])
        .raw("half", "F16", &[2], &[0x00, 0x3c, 0x00, 0xc0])
        .raw("brain", "BF16", &[1], &[0x80, 0x3f])
        .raw("flags", "BOOL", &[3], &[1, 0, 1])
        .raw("small", "I8", &[2], &[255, 1])
        .raw("packed", "F4", &[6], &[1, 2, 3])
        .raw("of the future", "F128", &[1], &[7; 5])
        .counter("count", -3)
        .metadata("format", "pt")
}

#[test]
fn elements_of_every_type_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let archive = sample().open(folder.path());
    assert_eq!(archive.format(), Format::Safetensors);
    assert_eq!(archive.names().next(), Some("a"));
    assert_eq!(archive.entries().len(), 8);
    for (name, expected) in [
        ("a", vec![1.5, -2.0]),
        ("half", vec![1.0, -2.0]),
        ("brain", vec![1.0]),
        ("flags", vec![1.0, 0.0, 1.0]),
        ("small", vec![-1.0, 1.0]),
        ("count", vec![-3.0]),
    ] {
        assert_eq!(archive.values(name).unwrap(), expected, "{name}");
    }
    assert_eq!(archive.metadata()["format"], "pt");
}

#[test]
fn elements_of_unknown_types_are_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let archive = sample().open(folder.path());
    assert_eq!(archive.read("packed").unwrap(), [1, 2, 3]);
    let future = archive.entry("of the future").unwrap();
    assert_eq!((&future.dtype, future.bytes), (&Dtype::Other("F128".to_owned()), 5));
    let error = archive.values("of the future").unwrap_err();
    assert!(error.to_string().contains("holds F128"), "{error}");
}

#[test]
fn a_name_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = sample().open(folder.path()).read("b").unwrap_err();
    assert!(matches!(&error, ArchiveError::NoSuchTensor { tensor, .. } if tensor == "b"), "{error}");
}

#[test]
fn the_contents_tell_the_format_and_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    sample().write(&path);
    assert_eq!(Archive::open(&path).unwrap().format(), Format::Safetensors);
    assert_eq!(Format::of(&path).unwrap(), Some(Format::Safetensors));
}

#[test]
fn what_is_no_checkpoint_is_told_by_its_first_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for (bytes, part) in [
        (&b"\x08\x07\x12\x07pytorch"[..], "begins with 08 07 12"),
        (b"", "it is empty"),
        (b"\x00\x00\x00\x00\x00\x00\x00\xff{}", "begins with 00"),
    ] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(Format::of(&path).unwrap(), None);
        let error = Archive::open(&path).unwrap_err();
        assert!(matches!(error, ArchiveError::Unrecognised { .. }));
        assert!(error.to_string().contains(part), "{error}");
    }
    let missing = Archive::open(&folder.path().join("missing")).unwrap_err();
    assert!(matches!(&missing, ArchiveError::Read { .. }) && missing.to_string().contains("missing"));
}

#[test]
fn a_truncated_file_is_an_error_wherever_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let whole = sample().bytes();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(Archive::open(&path).is_err(), "cut off after {length} bytes");
    }
}

#[test]
fn a_file_cut_off_after_it_was_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let archive = sample().open(folder.path());
    let file = fs::OpenOptions::new().write(true).open(folder.path().join("net.safetensors")).unwrap();
    file.set_len(100).unwrap();
    let error = archive.read("count").unwrap_err();
    assert!(matches!(&error, ArchiveError::Tensor { tensor, .. } if tensor == "count"), "{error}");
}

fn index(folder: &Path, text: &str) -> Result<Archive, ArchiveError> {
    let path = folder.join("model.safetensors.index.json");
    fs::write(&path, text).unwrap();
    Archive::open(&path)
}

#[test]
fn shards_are_read_by_their_index() {
    let folder = tempfile::tempdir().unwrap();
    File::new().f32("a", &[1], &[1.0]).metadata("format", "pt").write(&folder.path().join("1.safetensors"));
    // A tensor that the index does not know, and a leftover of one that it has elsewhere.
    File::new()
        .f32("b", &[1], &[2.0])
        .f32("extra", &[1], &[3.0])
        .f32("a", &[1], &[9.0])
        .write(&folder.path().join("2.safetensors"));
    let archive = index(
        folder.path(),
        r#" {"metadata":{"total_size":8},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}"#,
    )
    .unwrap();
    assert_eq!(archive.format(), Format::Sharded);
    assert_eq!(archive.names().collect::<Vec<_>>(), ["a", "b", "extra"]);
    assert_eq!(["a", "b", "extra"].map(|name| archive.values(name).unwrap()[0]), [1.0, 2.0, 3.0]);
    assert_eq!(archive.metadata()["format"], "pt");
}

#[test]
fn an_index_that_does_not_fit_its_shards_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    File::new().f32("a", &[1], &[1.0]).write(&folder.path().join("1.safetensors"));
    fs::write(folder.path().join("other.txt"), "no shard").unwrap();
    for (map, part) in [
        (r#"{"a":"2.safetensors"}"#, "names for 1 tensors"),
        (r#"{"b":"1.safetensors"}"#, "`b` is not in"),
        (r#"{"a":"other.txt"}"#, "as a safetensors file"),
    ] {
        let error = index(folder.path(), &format!(r#"{{"weight_map":{map}}}"#)).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    for text in ["{}", "{\"weight_map\":[]}", "{\"weight_map\":{\"a\":1}}", "{", "{\"weight_map\":{\"a\":\"1"] {
        let error = index(folder.path(), text).unwrap_err();
        assert!(matches!(error, ArchiveError::Index { .. }) && error.source().is_some(), "{error}");
    }
}

#[test]
fn a_shard_elsewhere_is_refused_before_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let outside = folder.path().join("1.safetensors");
    File::new().f32("a", &[1], &[1.0]).write(&outside);
    for shard in ["../1.safetensors", outside.to_str().unwrap(), "x/../../1.safetensors", "..", ""] {
        let map = serde_json::json!({"weight_map": {"a": shard}}).to_string();
        let error = index(&inside, &map).unwrap_err();
        assert!(matches!(&error, ArchiveError::ShardName { shard: named, .. } if named == shard), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn shards_may_be_links_as_in_caches() {
    let folder = tempfile::tempdir().unwrap();
    let (blobs, snapshot) = (folder.path().join("blobs"), folder.path().join("snapshot"));
    fs::create_dir(&blobs).unwrap();
    fs::create_dir(&snapshot).unwrap();
    File::new().f32("a", &[1], &[1.0]).write(&blobs.join("0123"));
    fs::write(blobs.join("4567"), r#"{"weight_map":{"a":"1.safetensors"}}"#).unwrap();
    std::os::unix::fs::symlink("../blobs/0123", snapshot.join("1.safetensors")).unwrap();
    std::os::unix::fs::symlink("../blobs/4567", snapshot.join("index.json")).unwrap();
    let archive = Archive::open(&snapshot.join("index.json")).unwrap();
    assert_eq!(archive.values("a").unwrap(), [1.0]);
}

/// Opens what may be anything, and reads all of it.
fn read_all(path: &Path) {
    if let Ok(archive) = Archive::open(path) {
        for name in archive.names() {
            let _ = archive.read(name);
        }
    }
}

proptest! {
    #[test]
    fn no_change_to_a_file_makes_reading_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net");
        let mut bytes = sample().bytes();
        for (at, with) in changes {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        fs::write(&path, &bytes).unwrap();
        read_all(&path);
        fs::write(&path, &bytes[..cut.index(bytes.len() + 1)]).unwrap();
        read_all(&path);
    }

    #[test]
    fn no_change_to_a_file_of_pytorch_makes_reading_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        name in prop::sample::select(vec!["state.pth", "legacy.pth", "training.pth"]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net");
        let mut bytes = fs::read(super::files::golden(name)).unwrap();
        for (at, with) in changes {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        fs::write(&path, &bytes).unwrap();
        read_all(&path);
    }
}
