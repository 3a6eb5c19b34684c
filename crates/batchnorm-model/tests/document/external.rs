//! Tensors in files beside the model.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use batchnorm_model::onnx::document::{Document, DocumentError, ElementType, Payload, Tensor};
use batchnorm_model::onnx::wire::Writer;

/// A model whose tensor `w` of 400 numbers is in another file.
fn model(location: &str, offset: u64, length: Option<u64>) -> Vec<u8> {
    let mut model = Writer::new();
    model.int64(1, 8);
    model.message(7, |graph| {
        graph.message(1, |node| {
            node.text(1, "w");
            node.text(2, "y");
            node.text(4, "Identity");
        });
        graph.message(5, |tensor| {
            tensor.int64(1, 400);
            tensor.int64(2, 1);
            tensor.text(8, "w");
            let mut pair = |key: &str, value: &str| {
                tensor.message(13, |entry| {
                    entry.text(1, key);
                    entry.text(2, value);
                });
            };
            pair("location", location);
            pair("offset", &offset.to_string());
            if let Some(length) = length {
                pair("length", &length.to_string());
            }
            tensor.int64(14, 1);
        });
    });
    model.into_bytes()
}

fn data() -> Vec<u8> {
    let numbers = (0..400).flat_map(|index| (index as f32).to_le_bytes());
    [0_u8; 64].into_iter().chain(numbers).collect()
}

fn values(path: &Path, name: &str) -> Result<Vec<f64>, DocumentError> {
    let document = Document::open(path)?;
    document.storage().values(document.graph().initializer(name).unwrap())
}

#[test]
fn they_are_read_from_where_the_model_says() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w.bin"), data()).unwrap();
    let path = folder.path().join("model.onnx");
    for length in [Some(1600), None] {
        fs::write(&path, model("w.bin", 64, length)).unwrap();
        assert_eq!(values(&path, "w").unwrap()[399], 399.0);
    }
    fs::write(&path, model("w.bin", 65, Some(1600))).unwrap();
    assert!(values(&path, "w").unwrap_err().to_string().contains("the file has 1664"));
}

#[test]
fn files_elsewhere_and_links_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(folder.path().join("secret"), data()).unwrap();
    fs::hard_link(folder.path().join("secret"), inner.join("hard")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.path().join("secret"), inner.join("soft")).unwrap();
        std::os::unix::fs::symlink(folder.path(), inner.join("linked")).unwrap();
    }
    let path = inner.join("model.onnx");
    let absolute = folder.path().join("secret");
    for location in
        ["../secret", absolute.to_str().unwrap(), "hard", "soft", "linked/secret", "", ".", "missing"]
    {
        fs::write(&path, model(location, 64, Some(1600))).unwrap();
        let error = values(&path, "w").unwrap_err();
        assert!(matches!(error, DocumentError::External { .. }), "{location}: {error}");
    }
}

#[test]
fn a_model_saved_elsewhere_takes_its_files_along_and_new_tensors_get_one_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("weights")).unwrap();
    fs::write(folder.path().join("weights/w.bin"), data()).unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, model("weights/w.bin", 64, Some(1600))).unwrap();
    let mut document = Document::open(&path).unwrap();
    let scaled: Vec<f64> = (0..400).map(f64::from).map(|value| value * 2.0).collect();
    document.graph_mut().add_initializer(Tensor::made("v", &[400], ElementType::Float, Arc::new(scaled)));
    let small = Arc::new(vec![3.0]);
    document.graph_mut().add_initializer(Tensor::made("s", &[1], ElementType::Float, small));

    let saved = other.path().join("saved.onnx");
    document.save(&saved).unwrap();
    assert_eq!(values(&saved, "w").unwrap()[399], 399.0);
    assert_eq!(values(&saved, "v").unwrap()[399], 798.0);
    let again = Document::open(&saved).unwrap();
    assert!(matches!(again.graph().initializer("v").unwrap().payload(), Payload::External(_)));
    assert!(matches!(again.graph().initializer("s").unwrap().payload(), Payload::Raw(_)));

    // Another file of that name is in the way: nothing is overwritten.
    fs::write(other.path().join("weights/w.bin"), b"another's").unwrap();
    assert!(document.save(&other.path().join("second.onnx")).is_err());
    assert_eq!(fs::read(other.path().join("weights/w.bin")).unwrap(), b"another's");
    assert!(!other.path().join("second.onnx").exists());
}
