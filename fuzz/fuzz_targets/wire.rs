//! Any bytes as a protobuf message: read field by field, written again, and copied.
//!
//! ```sh
//! cargo +nightly fuzz run wire -- -max_total_time=600
//! ```
//!
//! Of every input:
//!
//! 1. nothing panics, whatever a field is asked for, and errors can be printed;
//! 2. the fields are the bytes: each lies where its range says, one after the other, inside messages inside messages too;
//! 3. copied raw they are the input, byte for byte; written by value they are read as the same, and are no longer.

#![no_main]

use batchnorm_model::onnx::wire::{Payload, Reader, Writer};
use libfuzzer_sys::fuzz_target;

/// Any text is a message of messages to who looks long enough.
const DEPTH: usize = 16;

/// Goes over the message at `start`, of which `reader` has the fields, and returns where it became unreadable.
fn explore(outermost: &[u8], mut reader: Reader<'_>, start: usize, depth: usize) -> usize {
    let mut end = start;
    for field in reader.by_ref() {
        let field = match field {
            Ok(field) => field,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        };
        assert_eq!(field.range.start, end, "a gap");
        assert_eq!(&outermost[field.range.clone()], field.raw);
        end = field.range.end;

        let asked = [
            field.varint().map(drop),
            field.int64().map(drop),
            field.float().map(drop),
            field.double().map(drop),
            field.bytes().map(drop),
            field.text().map(drop),
            field.int64s(&mut Vec::new()),
        ];
        for error in asked.iter().filter_map(|answer| answer.as_ref().err()) {
            assert!(!error.to_string().is_empty());
        }
        match (field.message(), field.payload) {
            (Ok(inner), Payload::Bytes(bytes)) => {
                if depth < DEPTH {
                    let start = field.range.end - bytes.len();
                    assert!(explore(outermost, inner, start, depth + 1) <= field.range.end);
                }
            }
            (message, payload) => assert!(message.is_err(), "a message in {payload:?}"),
        }
    }
    assert!(reader.next().is_none(), "a field after the end or an error");
    end
}

/// The fields before the first error, copied and written anew.
fn rewrite(data: &[u8]) -> (Writer, Writer) {
    let (mut copied, mut written) = (Writer::new(), Writer::new());
    for field in Reader::new(data).map_while(Result::ok) {
        copied.raw(field.raw);
        match field.payload {
            Payload::Varint(value) => written.varint(field.number, value),
            Payload::Fixed64(bits) => written.double(field.number, f64::from_bits(bits)),
            Payload::Fixed32(bits) => written.float(field.number, f32::from_bits(bits)),
            Payload::Bytes(bytes) => written.message(field.number, |inner| inner.raw(bytes)),
        }
    }
    (copied, written)
}

fuzz_target!(|data: &[u8]| {
    let end = explore(data, Reader::new(data), 0, 0);
    let (copied, written) = rewrite(data);
    assert_eq!(copied.into_bytes(), data[..end]);

    let written = written.into_bytes();
    assert!(written.len() <= end, "longer than it was");
    let mut again = Reader::new(&written);
    for field in Reader::new(&data[..end]) {
        let field = field.expect("read before");
        let found = again.next().expect("as many fields").expect("what a writer wrote");
        assert_eq!((found.number, found.payload), (field.number, field.payload));
    }
    assert!(again.next().is_none());
});
