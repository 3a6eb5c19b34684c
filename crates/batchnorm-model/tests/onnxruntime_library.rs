//! Files that are no library of ONNX Runtime, in a process that has loaded none.
#![cfg(feature = "onnxruntime")]

use batchnorm_model::runtime::{OnnxRuntime, RuntimeError};

#[test]
fn a_file_that_is_no_library_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libonnxruntime.so.1");
    std::fs::write(&path, "no library").unwrap();
    for asked in [folder.path(), &path] {
        let error = OnnxRuntime::load(asked).unwrap_err();
        let RuntimeError::Library { path: named, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*named, path.canonicalize().unwrap());
        assert!(error.to_string().contains("is not an ONNX Runtime library"), "{error}");
    }
}

#[test]
fn a_library_of_something_else_is_refused() {
    // Beside the library there is another one that it may load.
    let Some(folder) = std::env::var_os("BATCHNORM_TEST_ONNXRUNTIME") else {
        println!(
            "skipped: BATCHNORM_TEST_ONNXRUNTIME is not set to a folder that has a library of ONNX Runtime"
        );
        return;
    };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let other = folder.join("libonnxruntime_providers_shared.so");
    if !other.is_file() {
        println!("skipped: there is no {}", other.display());
        return;
    }
    let error = OnnxRuntime::load(&other).unwrap_err();
    assert!(matches!(error, RuntimeError::Library { .. }), "{error:?}");
    println!("{error}");
}
