//! Files that are no library of ONNX Runtime, in a process that has loaded none: one test, in this order.
#![cfg(feature = "onnxruntime")]

use std::path::Path;

use batchnorm_model::runtime::{OnnxRuntime, RuntimeError};

#[track_caller]
fn refused(asked: &Path, file: &Path, reason: &str) {
    let error = OnnxRuntime::load(asked).unwrap_err();
    let RuntimeError::Library { path, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*path, file.canonicalize().unwrap());
    let text = error.to_string();
    assert!(text.contains("is not an ONNX Runtime library") && text.contains(reason), "{text}");
}

#[test]
fn what_is_no_library_is_refused_and_what_fails_to_load_was_the_only_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libonnxruntime.so.1");
    std::fs::write(&path, "no library").unwrap();
    refused(&path, &path, "no function `OrtGetApiBase`");
    // Found in its folder, and beyond the first piece that is read.
    std::fs::write(&path, [&vec![0; (1 << 20) - 5][..], b"OrtGetApiBase"].concat()).unwrap();
    refused(folder.path(), &path, "failed to load");
    let other = folder.path().join("libonnxruntime.so");
    std::fs::write(&other, "OrtGetApiBase").unwrap();
    refused(&other, &path, "a process can try once");
}
