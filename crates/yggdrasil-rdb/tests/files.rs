//! Files as others write them, as we write them, and of any bytes.

use proptest::prelude::*;
use yggdrasil_core::keyspace::{Kind, Value};
use yggdrasil_rdb::{Entry, Fault, Header, Item, Limits, Reader, Writer};

const LIMITS: Limits = Limits {
    value_bytes: 1 << 20,
    databases: 16,
};
const FOOTER_BYTES: usize = 10;

fn read(file: &[u8]) -> Result<Vec<Item>, Fault> {
    let reader = Reader::open(file, LIMITS).map_err(|error| error.fault)?;
    reader
        .map(|item| item.map_err(|error| error.fault))
        .collect()
}

fn entries(file: &[u8]) -> Vec<Entry> {
    let items = read(file).unwrap().into_iter();
    items
        .filter_map(|item| match item {
            Item::Entry(entry) => Some(entry),
            _ => None,
        })
        .collect()
}

fn file(version: &str, parts: &[&[u8]]) -> Vec<u8> {
    [
        b"REDIS",
        version.as_bytes(),
        &parts.concat(),
        b"\xff",
        &[0; 8],
    ]
    .concat()
}

/// Streams of the three forms, each with a group, a consumer and an entry that is not acknowledged.
fn streams() -> [Vec<u8>; 3] {
    let group = [
        b"\x01\x01g\x05\x01\x07\x01".as_slice(),
        &[0; 24],
        b"\x02\x01\x01c",
        &[0; 8],
        b"\x01",
        &[0; 16],
    ]
    .concat();
    let early_group = [
        b"\x01\x01g\x05\x01\x01".as_slice(),
        &[0; 24],
        b"\x02\x01\x01c",
        &[0; 8],
        b"\x01",
        &[0; 16],
    ]
    .concat();
    let late_group = [
        b"\x01\x01g\x05\x01\x07\x01".as_slice(),
        &[0; 24],
        b"\x02\x01\x01c",
        &[0; 16],
        b"\x01",
        &[0; 16],
    ]
    .concat();
    let early_stream = [b"\x01\x01i\x01l\x03\x05\x01".as_slice(), &early_group].concat();
    let stream = [
        b"\x01\x01i\x01l\x03\x05\x01\x01\x01\x04\x02\x03".as_slice(),
        &group,
    ]
    .concat();
    let late_stream = [
        b"\x01\x01i\x01l\x03\x05\x01\x01\x01\x04\x02\x03".as_slice(),
        &late_group,
    ]
    .concat();
    [early_stream, stream, late_stream]
}

/// The value of each type has its end where it is: what follows is another entry.
#[test]
fn every_type_ends_where_it_ends() {
    let [early_stream, stream, late_stream] = streams();
    let values: [(u8, &[u8]); 26] = [
        (0, b"\x05value"),
        (0, b"\xc0\x11"),
        (0, b"\xc1\x11\x11"),
        (0, b"\xc2\x11\x11\x11\x11"),
        (0, b"\xc3\x02\x0aab"),
        (0, b"\x80\0\0\0\x01v"),
        (1, b"\x02\x01a\x01b"),
        (2, b"\x01\x01a"),
        (3, b"\x03\x01a\x031.5\x01b\xfe\x01c\xfd"),
        (4, b"\x01\x01f\x01v"),
        (5, b"\x01\x01a\0\0\0\0\0\0\0\0"),
        (9, b"\x01z"),
        (10, b"\x01z"),
        (11, b"\x01z"),
        (12, b"\x01z"),
        (13, b"\x01z"),
        (14, b"\x02\x01z\x01z"),
        (16, b"\x01z"),
        (17, b"\x01z"),
        (18, b"\x02\x01\x01z\x02\x01z"),
        (20, b"\x01z"),
        (22, b"\x01\x05\x01f\x01v"),
        (23, b"\x01z"),
        (24, b"\0\0\0\0\0\0\0\0\x01\x05\x01f\x01v"),
        (25, b"\0\0\0\0\0\0\0\0\x01z"),
        (15, &early_stream),
    ];
    let streams: [(u8, &[u8]); 2] = [(19, &stream), (21, &late_stream)];
    for (kind, value) in values.into_iter().chain(streams) {
        let first = [&[kind], b"\x01k".as_slice(), value].concat();
        let found = entries(&file("0012", &[&first, b"\x00\x04next\x01v"]));
        assert_eq!(found.len(), 2, "type {kind}");
        assert_eq!((&*found[0].key, &*found[1].key), (&b"k"[..], &b"next"[..]));
        let body = found[0].payload.len() - FOOTER_BYTES;
        let typed = [&[kind], value].concat();
        assert_eq!(found[0].payload[..body], typed, "type {kind}");
    }
}

#[test]
fn what_stands_before_an_entry_is_its_own() {
    let parts: [&[u8]; 8] = [
        b"\xfa\x03ver\xc0\x07",
        b"\xfe\x03\xfb\x02\x01\xf4\x01\x02\x03",
        b"\xfc\x10\0\0\0\0\0\0\0\xf8\x40\x80\x00\x01a\x01v",
        b"\xf9\x09\x00\x01b\x01v",
        b"\xfd\x02\0\0\0\x00\x01c\x01v",
        b"\xf5\x04code",
        b"\xf7\x01\x02\x02\x01\x05\x03\0\0\0\0\x04\0\0\0\0\0\0\0\0\x05\x01x\x00",
        b"\x07\x01m\x81\0\0\0\0\0\0\x04\x00\x02\x05\x00",
    ];
    let items = read(&file("0011", &parts)).unwrap();
    let told: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Item::Entry(it) => Some((it.db, &*it.key, it.expire_at, it.idle, it.frequency)),
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        [
            (3, &b"a"[..], Some(16), Some(128), None),
            (3, &b"b"[..], None, None, Some(9)),
            (3, &b"c"[..], Some(2000), None, None),
        ]
    );
    let note = Item::Note {
        name: b"ver".to_vec(),
        value: b"7".to_vec(),
    };
    assert_eq!(items[0], note);
    assert!(items.contains(&Item::Library(b"code".to_vec())));
    let Some(Item::Skipped(last)) = items.last() else {
        panic!("{items:?}");
    };
    assert_eq!(last.module, "AAAAAAAAB");
    assert_eq!(last.key, Some((3, b"m".to_vec())));
}

#[test]
fn what_is_written_is_read() {
    let header = Header {
        version: "8.0.0",
        created: 1_700_000_000,
    };
    let long = vec![7; 400_000];
    let mut out = Vec::new();
    let mut writer = Writer::begin(&mut out, &header).unwrap();
    writer.libraries(b"\xf5\x04code").unwrap();
    writer.expect(2, 3).unwrap();
    let mut add = |db, key: &[u8], value, expire_at| {
        let written = writer.entry(db, key, Kind::String, value, expire_at);
        assert!(written.unwrap());
    };
    add(2, b"a", Value::Bytes(b"text"), None);
    add(2, b"b", Value::Int(-70_000), Some(5));
    add(0, b"c", Value::Bytes(&long), None);
    assert!(
        !writer
            .entry(0, b"v", Kind::Vector, Value::Bytes(b""), None)
            .unwrap()
    );
    assert_eq!(writer.entries(), 3);
    assert_eq!(writer.end().unwrap(), out.len() as u64);
    let items = read(&out).unwrap();
    assert!(items.contains(&Item::Library(b"code".to_vec())));
    let found = entries(&out);
    let told: Vec<_> = found
        .iter()
        .map(|it| (it.db, &*it.key, it.expire_at))
        .collect();
    assert_eq!(
        told,
        [
            (2, &b"a"[..], None),
            (2, &b"b"[..], Some(5)),
            (0, &b"c"[..], None)
        ]
    );
    assert!(found[2].payload.ends_with(&found[2].payload[400_000..]));
    // Whatever byte is changed, the checksum tells.
    for place in [9, 40, out.len() / 2, out.len() - 20] {
        let mut damaged = out.clone();
        damaged[place] ^= 1;
        assert!(read(&damaged).is_err(), "{place}");
    }
}

#[test]
fn the_largest_numbers_are_refused() {
    let most = b"\x81\xff\xff\xff\xff\xff\xff\xff\xff";
    let database = file("0011", &[&[b"\xfe".as_slice(), most].concat()]);
    assert!(matches!(read(&database), Err(Fault::Database(_))));
    let value = file("0011", &[&[b"\x00\x01k".as_slice(), most, b"v"].concat()]);
    assert!(matches!(read(&value), Err(Fault::TooLong { .. })));
}

#[test]
fn no_memory_is_taken_for_what_is_only_claimed() {
    let long = file("0009", &[b"\x00\x01k\x81\0\0\0\x10\0\0\0\0"]);
    assert!(matches!(read(&long), Err(Fault::TooLong { .. })));
    let key = file("0009", &[b"\x00\x81\0\0\0\x10\0\0\0\0"]);
    assert!(matches!(read(&key), Err(Fault::TooLong { .. })));
    let many = file("0009", &[b"\x01\x01k\x81\xff\0\0\x10\0\0\0\0"]);
    assert!(read(&many).is_err());
    let packed = file("0009", &[b"\x00\xc3\x01\x80\xff\0\0\0\0"]);
    assert!(matches!(read(&packed), Err(Fault::TooLong { .. })));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, kind in 0_u8..=26, version in 1_u32..=12) {
        let _ = read(&bytes);
        let mut begun = format!("REDIS{version:04}").into_bytes();
        begun.extend_from_slice(&bytes);
        let _ = read(&begun);
        let typed = [b"REDIS0012", &[kind][..], b"\x01k", &bytes].concat();
        let _ = read(&typed);
    }

    /// Where reads end makes no difference.
    #[test]
    fn a_file_is_the_same_in_pieces(step in 1_usize..40) {
        struct Slow<'a>(&'a [u8], usize);
        impl std::io::Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let bytes = self.1.min(self.0.len()).min(buffer.len());
                buffer[..bytes].copy_from_slice(&self.0[..bytes]);
                self.0 = &self.0[bytes..];
                Ok(bytes)
            }
        }
        let whole = file("0010", &[b"\xfe\x01\x00\x03key\x05value", b"\x04\x01h\x01\x01f\x01v"]);
        let reader = Reader::open(Slow(&whole, step), LIMITS).unwrap();
        let items: Vec<Item> = reader.map(Result::unwrap).collect();
        prop_assert_eq!(items, read(&whole).unwrap());
    }
}
