//! Any bytes as an ONNX model whose batch-norm layers are folded.
//!
//! ```sh
//! cargo +nightly fuzz run fold fuzz/corpus/fold crates/batchnorm-model/tests/fold/cases -- \
//!     -max_total_time=600 -rss_limit_mb=2048 -timeout=20 -dict=fuzz/onnx.dict
//! ```
//!
//! Of every input that is a model:
//!
//! 1. nothing panics, hangs, or asks for more memory than the limit, and refusals can be printed;
//! 2. with nothing folded it is unchanged; with layers folded it is a model again without them;
//! 3. it can be folded again.

#![no_main]

use batchnorm_model::fold::{Options, Outcome, Verdict, fold};
use batchnorm_model::onnx::document::Document;
use batchnorm_model::onnx::layers;
use libfuzzer_sys::fuzz_target;

/// A folded model is not made if its weights would be more bytes than this: constants that are shapes alone are small files.
const LARGE: u64 = 64 << 20;

fn folded(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Folded(_))).count()
}

/// Counts bytes, and takes no more than allowed.
struct Limited {
    bytes: Vec<u8>,
}

impl std::io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > LARGE {
            return Err(std::io::Error::other("large"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn written(document: &Document) -> Option<Vec<u8>> {
    let mut out = Limited { bytes: Vec::new() };
    document.write_to(&mut out).ok().map(|()| out.bytes)
}

fuzz_target!(|data: &[u8]| {
    let Ok(document) = Document::from_bytes(data.to_vec()) else { return };
    let Ok(before) = layers::find(&document) else { return };
    for options in [Options::default(), Options { overridable: true, exact_borders: true, disturbed: Some(1) }]
    {
        let mut document = document.clone();
        let Ok(outcomes) = fold(&mut document, &options) else { continue };
        for outcome in &outcomes {
            match &outcome.verdict {
                Verdict::Folded(folded) => {
                    assert!(!folded.into.is_empty() && folded.bound >= 0.0, "{outcome:?}")
                }
                Verdict::Refused(refusal) => assert!(!refusal.code.is_empty() && !refusal.reason.is_empty()),
            }
        }
        let count = folded(&outcomes);
        if count == 0 {
            assert!(!document.is_changed(), "nothing was folded");
            continue;
        }
        let left = layers::find(&document).expect("as before").len();
        assert!(left + count <= before.len(), "{left} of {} layers, {count} folded", before.len());
        let Some(bytes) = written(&document) else { continue };
        let mut again = Document::from_bytes(bytes.clone()).expect("a folded model can be read");
        assert_eq!(layers::find(&again).expect("as before").len(), left);
        assert!(written(&again).expect("a model that was written") == bytes);
        let _ = fold(&mut again, &options);
    }
});
