//! Real ONNX files, read by wire format and written back byte for byte.

use std::path::{Path, PathBuf};

use batchnorm_model::onnx::wire::{Payload, Reader, Writer};

/// The folder with `.onnx` files to read; relative paths count from the workspace.
const FOLDER: &str = "BATCHNORM_TEST_ONNX";

/// The fields that are messages: the graph of a model, and the nodes, tensors, inputs, outputs and values of a graph.
const MODEL: [u32; 1] = [7];
const GRAPH: [u32; 5] = [1, 5, 11, 12, 13];

/// Takes a message apart, down to its fields' values, and puts it together again. Counts the fields.
fn rewritten(message: Reader<'_>, levels: &[&[u32]], count: &mut usize) -> Vec<u8> {
    let mut writer = Writer::new();
    for field in message {
        let field = field.unwrap();
        *count += 1;
        let inside = levels.first().is_some_and(|numbers| numbers.contains(&field.number));
        match field.payload {
            Payload::Bytes(_) if inside => {
                let inner = rewritten(field.message().unwrap(), &levels[1..], count);
                writer.bytes(field.number, &inner);
            }
            Payload::Bytes(bytes) => writer.bytes(field.number, bytes),
            Payload::Varint(value) => writer.varint(field.number, value),
            Payload::Fixed32(bits) => writer.float(field.number, f32::from_bits(bits)),
            Payload::Fixed64(bits) => writer.double(field.number, f64::from_bits(bits)),
        }
    }
    writer.into_bytes()
}

fn onnx_files() -> Option<Vec<PathBuf>> {
    let folder = PathBuf::from(std::env::var_os(FOLDER)?);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{FOLDER} names {}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no .onnx files in {}", folder.display());
    Some(files)
}

#[test]
fn real_files_come_back_byte_for_byte() {
    let Some(files) = onnx_files() else {
        println!("skipped: {FOLDER} is not set to a folder of .onnx files");
        return;
    };
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let mut count = 0;
        // Model, graph, and the fields of what is in the graph.
        let again = rewritten(Reader::new(&bytes), &[&MODEL, &GRAPH], &mut count);
        assert!(again == bytes, "{} does not come back as it was", path.display());
        assert!(count > 100, "{}: only {count} fields", path.display());
        println!("{}: {count} fields, {} bytes", path.display(), bytes.len());
        let raw: Vec<u8> = Reader::new(&bytes).flat_map(|field| field.unwrap().raw.to_vec()).collect();
        assert!(raw == bytes, "{} does not come back from its raw fields", path.display());
    }
}
