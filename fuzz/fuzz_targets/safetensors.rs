//! Any bytes as a safetensors file: read, and written again if they are one.
//!
//! ```sh
//! cargo +nightly fuzz run safetensors -- -max_total_time=600 -dict=safetensors.dict
//! ```
//!
//! Of every input:
//!
//! 1. nothing panics, no length that is only claimed is allocated (libFuzzer's limit), and errors can be printed;
//! 2. what is read is written, and read as the same: names, shapes, order, values and metadata (compared as bytes: a value
//!    may be NaN).
//!
//! Few bytes are JSON with a length before it. So every input is tried as it is, and as what follows the length, cut into
//! header and values after its last `}`.

#![no_main]

use batchnorm_model::checkpoint::Tensors;
use libfuzzer_sys::fuzz_target;

fn check(bytes: &[u8]) {
    let tensors = match Tensors::from_bytes(bytes) {
        Ok(tensors) => tensors,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let written = tensors.to_bytes().expect("what was read can be written");
    let again = Tensors::from_bytes(&written).expect("what was written can be read");
    assert_eq!(again.to_bytes().expect("as before"), written);
    assert_eq!(again.metadata, tensors.metadata);
    assert_eq!(again.tensors.len(), tensors.tensors.len());
    for (found, expected) in again.tensors.iter().zip(&tensors.tensors) {
        assert_eq!((&found.name, &found.shape), (&expected.name, &expected.shape));
        assert_eq!(found.values.dtype(), expected.values.dtype());
        assert!(tensors.get(&found.name).is_some());
    }
}

fuzz_target!(|data: &[u8]| {
    check(data);
    let header = data.iter().rposition(|&byte| byte == b'}').map_or(data.len(), |last| last + 1);
    let mut framed = (header as u64).to_le_bytes().to_vec();
    framed.extend_from_slice(data);
    check(&framed);
});
