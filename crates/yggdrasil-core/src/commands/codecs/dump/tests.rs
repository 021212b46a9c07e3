use proptest::prelude::*;

use super::*;
use crate::commands::families::value::canonical;
use crate::keyspace::Collection;
use crate::keyspace::collection::Packing;
use crate::keyspace::collection::hash::put_set;
use crate::keyspace::collection::set::put_add;
use crate::keyspace::collection::sorted_set::put_score;

fn dump(value: Value<'_>) -> Vec<u8> {
    super::dump(Kind::String, value).unwrap()
}

/// The string in a payload.
fn restore(payload: &[u8], bytes_max: u64) -> Result<Vec<u8>, CommandError> {
    match super::restore(payload, bytes_max)? {
        Restored::String(text) => Ok(text.into_owned()),
        Restored::Collection { .. } => Err(CommandError::WrongType),
    }
}

/// A payload with a right footer.
fn payload_of(body: &[u8]) -> Vec<u8> {
    let mut payload = [body, &VERSION.to_le_bytes()].concat();
    let checksum = CRC64_TABLE.checksum(&payload);
    payload.extend(checksum.to_le_bytes());
    payload
}

const MAX: u64 = 1 << 20;

/// Payloads of Redis 8.0, those without compression.
#[test]
fn payloads_are_those_of_redis() {
    let bytes_64: Vec<u8> = (0..64).collect();
    for (text, expected) in [
        (&b"1"[..], &b"\x00\xc0\x01\x0c\x00\xed\x0e\xd3\x76\x2b\x2b\x8f\xb5"[..]),
        (&b"-128"[..], &b"\x00\xc0\x80\x0c\x00\x52\x10\x06\xad\xd5\x26\xc5\x90"[..]),
        (&b"300"[..], &b"\x00\xc1\x2c\x01\x0c\x00\x5e\x34\x55\x32\x9f\xa8\xc2\x59"[..]),
        (&b"-70000"[..], &b"\x00\xc2\x90\xee\xfe\xff\x0c\x00\xe3\x03\xea\xbb\xe9\xc1\xb6\x49"[..]),
        (&b"2147483648"[..], &b"\x00\x0a\x32\x31\x34\x37\x34\x38\x33\x36\x34\x38\x0c\x00\x2c\xc7\x1d\x63\xb6\x37\xe8\xa7"[..]),
        (&b""[..], &b"\x00\x00\x0c\x00\x96\xed\x68\x80\xf5\x55\x3c\x93"[..]),
        (&b"abc"[..], &b"\x00\x03\x61\x62\x63\x0c\x00\x12\xda\x04\xfd\xbb\x58\x3c\xab"[..]),
    ] {
        assert_eq!(dump(canonical(text)), expected, "{text:?}");
        assert_eq!(restore(expected, MAX).unwrap(), text);
    }
    let payload = dump(Value::Bytes(&bytes_64));
    assert_eq!(payload[..3], *b"\x00\x40\x40");
    assert_eq!(payload[67..], *b"\x0c\x00\x47\x7a\x33\x6c\x0f\x22\x2a\x0c");
}

#[test]
fn compressed_payloads_of_redis_are_read() {
    for (payload, text) in [
        (&b"\x00\xc3\x09\x3f\x01\x78\x78\xe0\x32\x00\x01\x78\x78\x0c\x00\xb9\xd6\x23\x65\x9a\xc7\x68\xac"[..], b"x".repeat(63)),
        (&b"\x00\xc3\x09\x40\x64\x01\x30\x30\xe0\x57\x00\x01\x30\x30\x0c\x00\x7b\x15\xbc\xb4\x67\xc9\xc4\xf1"[..], b"0".repeat(100)),
        (&b"\x00\xc3\x0b\x31\x03\x61\x62\x63\x61\xe0\x22\x02\x01\x63\x21\x0c\x00\x30\x66\x52\x2b\x0d\x48\xc7\xad"[..], [b"abc".repeat(16), b"!".to_vec()].concat()),
    ] {
        assert_eq!(restore(payload, MAX).unwrap(), text);
    }
}

#[test]
fn broken_payloads_are_refused() {
    let good = dump(Value::Bytes(b"abc"));
    let wrong = CommandError::Plain("DUMP payload version or checksum are wrong");
    for len in 0..good.len() {
        assert_eq!(restore(&good[..len], MAX), Err(wrong.clone()));
    }
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 1;
        assert_eq!(restore(&bad, MAX), Err(wrong.clone()));
    }
    for body in [
        &b""[..],
        b"\x00",
        b"\x01\x03abc",
        b"\x00\x04abc",
        b"\x00\xc0",
        b"\x00\xc4a",
        b"\x00\xc3\x01\xff",
        b"\x00\x80\xff\xff\xff\xffa",
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xffa",
        b"\x00\x82a",
        b"\x00\xc3\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00a",
    ] {
        assert_eq!(
            restore(&payload_of(body), MAX),
            Err(CommandError::Plain("Bad data format")),
            "{body:?}"
        );
    }
}

/// The collection that operations make, in both of its forms.
fn forms(kind: Kind, ops: &[u8]) -> (Collection, Option<Vec<u8>>) {
    let packing = Packing::default();
    let tree = Collection::written(kind, ops, &packing).unwrap();
    let mut packed = Vec::new();
    let fit = Collection::apply_packed(kind, &mut packed, ops, &packing);
    let fits = fit == crate::keyspace::collection::Fit::Packed;
    (tree, fits.then_some(packed))
}

fn assert_comes_back(kind: Kind, ops: &[u8]) {
    let (tree, packed) = forms(kind, ops);
    let ops_of = |payload: &[u8]| match super::restore(payload, MAX).unwrap() {
        Restored::Collection { kind: found, ops } if found == kind => ops,
        other => panic!("{other:?} is no {kind:?}"),
    };
    let tree_payload = super::dump(kind, Value::Tree(&tree)).unwrap();
    assert_eq!(forms(kind, &ops_of(&tree_payload)).0, tree);
    if let Some(packed) = packed {
        let payload = super::dump(kind, Value::Bytes(&packed)).unwrap();
        let restored = forms(kind, &ops_of(&payload));
        assert_eq!(restored, (tree, Some(packed)), "also in the same order");
    }
}

proptest! {
    #[test]
    fn every_value_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..20_000)) {
        let payload = dump(Value::Bytes(&bytes));
        prop_assert_eq!(restore(&payload, MAX).unwrap(), bytes);
    }

    #[test]
    fn every_integer_comes_back(int: i64) {
        let payload = dump(Value::Int(int));
        let text = int.to_string();
        prop_assert_eq!(restore(&payload, MAX).unwrap(), text.as_bytes());
    }

    #[test]
    fn every_set_comes_back(members in proptest::collection::vec(texts(), 1..200)) {
        let mut ops = Vec::new();
        members.iter().for_each(|member| put_add(&mut ops, member));
        assert_comes_back(Kind::Set, &ops);
    }

    #[test]
    fn every_sorted_set_comes_back(members in proptest::collection::vec((texts(), -1e9..1e9_f64), 1..200)) {
        let mut ops = Vec::new();
        members.iter().for_each(|(member, score)| put_score(&mut ops, member, *score));
        assert_comes_back(Kind::SortedSet, &ops);
    }

    #[test]
    fn every_hash_comes_back(fields in proptest::collection::vec((texts(), texts(), times()), 1..200)) {
        let mut ops = Vec::new();
        fields.iter().for_each(|(field, value, at)| put_set(&mut ops, field, value, *at));
        assert_comes_back(Kind::Hash, &ops);
    }

    #[test]
    fn no_payload_is_too_strange_to_be_read(
        kind in proptest::sample::select(&[0_u8, 2, 3, 4, 5, 9, 11, 12, 13, 16, 17, 20, 22, 23, 24, 25][..]),
        bytes: Vec<u8>,
    ) {
        let _ = super::restore(&payload_of(&[&[kind][..], &bytes].concat()), MAX);
    }

    #[test]
    fn a_payload_with_changed_bytes_does_no_harm(
        fields in proptest::collection::vec((texts(), texts(), times()), 1..20),
        is_tree: bool,
        changed: usize,
        by in 1..=u8::MAX,
    ) {
        let mut ops = Vec::new();
        fields.iter().for_each(|(field, value, at)| put_set(&mut ops, field, value, *at));
        let (tree, packed) = forms(Kind::Hash, &ops);
        let value = match &packed {
            Some(packed) if !is_tree => Value::Bytes(packed),
            _ => Value::Tree(&tree),
        };
        let payload = super::dump(Kind::Hash, value).unwrap();
        let mut body = payload[..payload.len() - FOOTER_BYTES].to_vec();
        let at = changed % body.len();
        body[at] ^= by;
        let _ = super::restore(&payload_of(&body), MAX);
    }
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let number = any::<i32>().prop_map(|number| number.to_string().into_bytes());
    prop_oneof![2 => number, 1 => proptest::collection::vec(any::<u8>(), 0..80)]
}

fn times() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(prop_oneof![1..4_u64, 1..1_u64 << 46])
}
