//! Protobuf's wire format: what is written is read back, what is damaged is refused where it is damaged.

use batchnorm_model::WireError;
use batchnorm_model::onnx::wire::{Field, Payload, Reader, WireType, Writer};
use proptest::prelude::*;

fn fields(bytes: &[u8]) -> Result<Vec<Field<'_>>, WireError> {
    Reader::new(bytes).collect()
}

fn refused(bytes: &[u8]) -> WireError {
    fields(bytes).unwrap_err()
}

/// A message with a field of each kind, one of them a message with a message in it.
fn sample() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.varint(1, 300);
    writer.int64(2, -1);
    writer.float(3, -0.0);
    writer.double(4, f64::MIN_POSITIVE);
    writer.text(5, "Größe 大");
    writer.bytes(6, &[0xff, 0, 0x80]);
    writer.message(7, |inner| {
        inner.message(1, |innermost| innermost.text(1, "deep"));
        inner.int64(536_870_911, i64::MIN);
    });
    writer.bytes(8, &[]);
    writer.into_bytes()
}

#[test]
fn every_kind_of_field_comes_back() {
    let bytes = sample();
    let fields = fields(&bytes).unwrap();
    assert_eq!(fields.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(fields[0].varint(), Ok(300));
    assert_eq!(fields[1].int64(), Ok(-1));
    assert_eq!(fields[2].float().map(f32::to_bits), Ok(0x8000_0000));
    assert_eq!(fields[3].double(), Ok(f64::MIN_POSITIVE));
    assert_eq!(fields[4].text(), Ok("Größe 大"));
    assert_eq!(fields[5].bytes(), Ok(&[0xff, 0, 0x80][..]));
    assert_eq!(fields[7].bytes(), Ok(&[][..]));
    let inner: Vec<_> = fields[6].message().unwrap().map(Result::unwrap).collect();
    assert_eq!(inner[0].message().unwrap().next().unwrap().unwrap().text(), Ok("deep"));
    assert_eq!((inner[1].number, inner[1].int64()), (536_870_911, Ok(i64::MIN)));
}

#[test]
fn ranges_cover_the_message_and_point_into_it_at_any_depth() {
    let bytes = sample();
    let mut end = 0;
    for field in fields(&bytes).unwrap() {
        assert_eq!(field.range.start, end);
        assert_eq!(&bytes[field.range.clone()], field.raw);
        end = field.range.end;
        if field.number == 7 {
            for inner in field.message().unwrap().map(Result::unwrap) {
                assert_eq!(&bytes[inner.range.clone()], inner.raw);
            }
        }
    }
    assert_eq!(end, bytes.len());
}

#[test]
fn protobufs_own_examples_are_read_as_it_says() {
    // https://protobuf.dev/programming-guides/encoding/: 150 in field 1, "testing" in field 2, and packed numbers.
    assert_eq!(fields(b"\x08\x96\x01").unwrap()[0].varint(), Ok(150));
    assert_eq!(fields(b"\x12\x07testing").unwrap()[0].text(), Ok("testing"));
    let mut values = Vec::new();
    fields(b"\x32\x06\x03\x8e\x02\x9e\xa7\x05").unwrap()[0].int64s(&mut values).unwrap();
    assert_eq!(values, [3, 270, 86_942]);
}

#[test]
fn repeated_numbers_are_read_packed_or_not() {
    let mut writer = Writer::new();
    writer.int64(8, 3);
    writer.bytes(8, &[4, 5]);
    let mut values = Vec::new();
    for field in fields(&writer.into_bytes()).unwrap() {
        field.int64s(&mut values).unwrap();
    }
    assert_eq!(values, [3, 4, 5]);
}

#[test]
fn an_encoding_longer_than_needed_is_kept_by_raw() {
    // The number 1 in three bytes, which protobuf allows and no writer would choose.
    let bytes = [0x08, 0x81, 0x80, 0x00];
    let fields = fields(&bytes).unwrap();
    assert_eq!(fields[0].varint(), Ok(1));
    let mut writer = Writer::new();
    writer.raw(fields[0].raw);
    assert_eq!(writer.into_bytes(), bytes);
}

#[test]
fn an_empty_message_has_no_fields() {
    assert_eq!(fields(&[]), Ok(vec![]));
    assert!(Writer::new().is_empty());
}

#[test]
fn damage_is_refused_with_its_place() {
    // A good field of two bytes before each.
    let at = |bytes: &[u8]| refused(&[&[0x08, 0x01], bytes].concat());
    assert_eq!(at(&[0x80]), WireError::Truncated { offset: 2, expected: "a varint" });
    assert_eq!(at(&[0x10]), WireError::Truncated { offset: 3, expected: "a varint" });
    assert_eq!(at(&[0x11, 1, 2, 3]), WireError::Truncated { offset: 3, expected: "eight fixed bytes" });
    assert_eq!(at(&[0x15, 1, 2, 3]), WireError::Truncated { offset: 3, expected: "four fixed bytes" });
    assert_eq!(at(&[0x12, 3, 1, 2]), WireError::LengthPastEnd { offset: 2, number: 2, length: 3, left: 2 });
    assert_eq!(at(&[0x13]), WireError::Group { offset: 2, number: 2 });
    assert_eq!(at(&[0x14]), WireError::Group { offset: 2, number: 2 });
    assert_eq!(at(&[0x16]), WireError::WireType { offset: 2, number: 2, found: 6 });
    assert_eq!(at(&[0x17]), WireError::WireType { offset: 2, number: 2, found: 7 });
    assert_eq!(at(&[0x00, 0x00]), WireError::FieldNumber { offset: 2, found: 0 });
    assert_eq!(at(&[0x80, 0x80, 0x80, 0x80, 0x10, 0]), WireError::FieldNumber { offset: 2, found: 1 << 29 });
}

#[test]
fn a_varint_has_64_bits_and_no_more() {
    let number = |tenth: u8| [&[0x08][..], &[0xff; 9], &[tenth]].concat();
    assert_eq!(fields(&number(0x01)).unwrap()[0].varint(), Ok(u64::MAX));
    assert_eq!(refused(&number(0x02)), WireError::OverlongVarint { offset: 1 });
    assert_eq!(refused(&number(0x81)), WireError::OverlongVarint { offset: 1 });
}

#[test]
fn a_claimed_length_is_not_believed() {
    // 2^64 - 1 bytes, of which there are none.
    let bytes = [&[0x12][..], &[0xff; 9], &[0x01]].concat();
    assert_eq!(refused(&bytes), WireError::LengthPastEnd { offset: 0, number: 2, length: u64::MAX, left: 0 });
}

#[test]
fn a_reader_ends_after_an_error() {
    let mut reader = Reader::new(&[0x08, 0x01, 0x16, 0x08, 0x01]);
    assert!(reader.next().unwrap().is_ok());
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

#[test]
fn an_error_inside_a_message_counts_from_the_outermost_start() {
    let mut writer = Writer::new();
    writer.varint(1, 1);
    writer.message(2, |inner| inner.message(3, |innermost| innermost.raw(&[0x08, 0x05, 0x17])));
    let bytes = writer.into_bytes();
    let inner = fields(&bytes).unwrap()[1].message().unwrap().next().unwrap().unwrap();
    let error = inner.message().unwrap().nth(1).unwrap().unwrap_err();
    assert_eq!(error, WireError::WireType { offset: bytes.len() - 1, number: 2, found: 7 });
}

#[test]
fn packed_numbers_that_are_cut_off_are_refused_with_their_place() {
    let bytes = [0x08, 0x01, 0x12, 3, 4, 5, 0x80];
    let mut values = Vec::new();
    let error = fields(&bytes).unwrap()[1].int64s(&mut values).unwrap_err();
    assert_eq!(error, WireError::Truncated { offset: 6, expected: "a varint" });
    assert_eq!(values, [4, 5]);
}

#[test]
fn asking_for_the_wrong_kind_is_an_error_that_says_what_is_there() {
    let bytes = sample();
    let fields = fields(&bytes).unwrap();
    let error = fields[4].varint().unwrap_err();
    assert_eq!(
        error,
        WireError::Mismatch {
            offset: fields[4].range.start,
            number: 5,
            expected: "an integer",
            found: WireType::Bytes
        }
    );
    assert!(error.to_string().contains("expected an integer in field 5, found bytes with a length"), "{error}");
    assert!(fields[0].bytes().is_err() && fields[0].message().is_err() && fields[0].float().is_err());
    assert!(fields[0].double().is_err() && fields[2].int64s(&mut Vec::new()).is_err());
    assert!(matches!(fields[5].text(), Err(WireError::NotText { number: 6, .. })));
}

/// Looks at everything there is to look at, as deep as bytes can be taken for messages.
fn look(reader: Reader<'_>, depth: usize) {
    for field in reader.map_while(Result::ok) {
        let _ = (field.int64(), field.float(), field.double(), field.text(), field.int64s(&mut Vec::new()));
        if depth > 0
            && let Ok(inner) = field.message()
        {
            look(inner, depth - 1);
        }
    }
}

fn payload() -> impl Strategy<Value = (u32, Vec<u8>, u64, u8)> {
    (1..=536_870_911_u32, prop::collection::vec(any::<u8>(), 0..40), any::<u64>(), 0..4_u8)
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        look(Reader::new(&bytes), 4);
    }

    #[test]
    fn no_change_to_a_message_makes_the_reader_panic(at in any::<prop::sample::Index>(), with: u8, cut in any::<prop::sample::Index>()) {
        let mut bytes = sample();
        let at = at.index(bytes.len());
        bytes[at] = with;
        look(Reader::new(&bytes), 4);
        look(Reader::new(&bytes[..cut.index(bytes.len() + 1)]), 4);
    }

    #[test]
    fn what_is_written_is_read_and_written_again_byte_for_byte(written in prop::collection::vec(payload(), 0..20)) {
        let mut writer = Writer::new();
        for (number, bytes, bits, kind) in &written {
            match kind {
                0 => writer.varint(*number, *bits),
                1 => writer.double(*number, f64::from_bits(*bits)),
                2 => writer.bytes(*number, bytes),
                _ => writer.float(*number, f32::from_bits(*bits as u32)),
            }
        }
        let length = writer.len();
        let message = writer.into_bytes();
        prop_assert_eq!(message.len(), length);
        let fields = fields(&message).unwrap();
        prop_assert_eq!(fields.len(), written.len());
        let mut again = Writer::new();
        for (field, (number, bytes, bits, kind)) in fields.iter().zip(&written) {
            prop_assert_eq!(field.number, *number);
            let expected = match kind {
                0 => Payload::Varint(*bits),
                1 => Payload::Fixed64(*bits),
                2 => Payload::Bytes(bytes),
                _ => Payload::Fixed32(*bits as u32),
            };
            prop_assert_eq!(field.payload, expected);
            again.raw(field.raw);
        }
        prop_assert_eq!(again.into_bytes(), message);
    }
}
