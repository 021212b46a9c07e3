//! Files of each version of the format, which stay readable.
//!
//! With `YGGDRASIL_WRITE_GOLDEN=1` the file of the present version is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use yggdrasil_core::keyspace::{Effect, Kind, Record, Value};
use yggdrasil_log::disk::{Disk, RealDisk, SimulatedDisk};
use yggdrasil_log::{
    Content, Decision, End, FORMAT_VERSION, Given, HEADER_BYTES, LogError, Outcome, Reader, Writer,
    WriterOptions, segment_name,
};

/// A value in pieces.
const LONG: &[u8] = &[b'l'; 20_000];

fn golden(version: u32) -> PathBuf {
    let folder = format!("tests/golden/version-{version}");
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn value(bytes: &'static [u8]) -> Effect<'static> {
    Effect::Put {
        kind: Kind::String,
        value: Value::Bytes(bytes),
        expire_at: Some(1_900_000_000_000),
        pinned_until: None,
    }
}

/// Writes each kind of record.
fn write(disk: &SimulatedDisk, directory: &Path) {
    let options = WriterOptions {
        directory: directory.to_path_buf(),
        segment_bytes: 16_384,
        epoch: 2,
    };
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut writer = Writer::open(shared, options, &End::default()).expect("a new log");
    let (coordinator, tag) = (1, 1 << 40 | 9);
    let key = b"a key";
    let change = |effect| Record { db: 3, key, effect };
    writer.change(5, &change(value(b"a value")));
    let progress = Arc::clone(writer.progress());
    progress.flush(disk, directory).expect("the disk works");
    writer.mark(&Content::Begin { coordinator, tag });
    writer.change(7, &change(Effect::Remove));
    let parts = vec![(0, 7), (1, 90)];
    writer.mark(&Content::Decision(Decision { tag, parts }));
    let outcome = Outcome::Released;
    writer.mark(&Content::End {
        coordinator,
        tag,
        outcome,
    });
    assert!(writer.piece(1, 0, &LONG[..7000]));
    assert!(progress.prepare(disk, directory));
    assert!(writer.piece(2, 0, b"what does not come"));
    assert!(writer.piece(1, 7000, &LONG[7000..14_000]));
    writer.reserve(9000).expect("there is room");
    writer.abandon(2);
    let given = Given {
        draft: 1,
        bytes: 14_000,
    };
    writer.change_in_pieces(8, &change(value(LONG)), given);
    writer.change(9, &change(Effect::Clear));
}

#[test]
fn the_files_of_this_version_are_those_that_are_kept() {
    let (disk, directory) = (SimulatedDisk::new(), PathBuf::from("/log"));
    write(&disk, &directory);
    let mut names = disk.list(&directory).expect("the log is there");
    names.sort();
    assert_eq!(names, [1, 2, 3].map(segment_name));
    for name in names {
        let written = disk.read(&directory.join(&name)).expect("a file").bytes;
        let folder = golden(FORMAT_VERSION);
        if std::env::var_os("YGGDRASIL_WRITE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).expect("a directory");
            std::fs::write(folder.join(&name), &written).expect("a file");
        }
        let kept = std::fs::read(folder.join(&name)).expect("the kept file");
        assert!(written == kept, "{name} differs");
    }
}

/// What the kept files of a version have: numbers, runs, segments and contents; and the end.
fn found(version: u32) -> (Vec<(u64, u64, u64, String)>, End) {
    let mut reader =
        Reader::open(Arc::new(RealDisk::default()), &golden(version)).expect("the kept files");
    let mut found = Vec::new();
    while let Some(entry) = reader.read().expect("a sound log") {
        let place = entry.place;
        let what = match &entry.frame.content {
            Content::Change(bytes) => {
                let record = Record::decode(bytes).expect("a record");
                assert_eq!((record.db, record.key), (3, &b"a key"[..]));
                format!("{:?}", record.effect)
            }
            Content::Piece { draft, bytes, .. } => format!("{} of {draft}", bytes.len()),
            other => format!("{other:?}"),
        };
        found.push((entry.frame.number, entry.frame.epoch, place.sequence, what));
    }
    (found, reader.end())
}

/// What all versions begin with.
fn beginning() -> Vec<(u64, u64, u64, String)> {
    [
        (5, format!("{:?}", value(b"a value"))),
        (5, "Commit(Commit { number: 5, position: 128 })".into()),
        (5, "Begin { coordinator: 1, tag: 1099511627785 }".into()),
        (7, "Remove".into()),
        (
            7,
            "Decision(Decision { tag: 1099511627785, parts: [(0, 7), (1, 90)] })".into(),
        ),
        (
            7,
            "End { coordinator: 1, tag: 1099511627785, outcome: Released }".into(),
        ),
    ]
    .map(|(number, what): (u64, String)| (number, 2, 1, what))
    .to_vec()
}

#[test]
fn version_1_is_read() {
    let (found, end) = found(1);
    let mut expected = beginning();
    expected.push((8, 2, 2, "Clear".into()));
    assert_eq!(found, expected);
    assert_eq!((end.number, end.epoch, end.torn_bytes), (8, 2, 0));
    assert_eq!((end.durable_number, end.durable_position), (5, 128));
}

#[test]
fn version_2_is_read() {
    let (found, end) = found(2);
    let mut expected = beginning();
    expected.extend([
        (7, 2, 1, "7000 of 1".into()),
        (7, 2, 1, "18 of 2".into()),
        (7, 2, 2, "Open { sequence: 1 }".into()),
        (7, 2, 2, "7000 of 1".into()),
        (7, 2, 3, "Open { sequence: 1 }".into()),
        (7, 2, 3, "Abandoned { draft: 2 }".into()),
        (8, 2, 3, format!("{:?}", value(LONG))),
        (9, 2, 3, "Clear".into()),
    ]);
    assert_eq!(found, expected);
    assert_eq!((end.number, end.epoch, end.torn_bytes), (9, 2, 0));
}

#[test]
fn a_segment_of_a_newer_version_is_refused_wherever_it_stands() {
    for newer in 1..=2_u64 {
        let place = std::env::temp_dir().join(format!("ygg-newer-{}-{newer}", std::process::id()));
        std::fs::create_dir_all(&place).expect("a new directory");
        for sequence in 1..=2 {
            let name = segment_name(sequence);
            let mut bytes = std::fs::read(golden(2).join(&name)).expect("a kept file");
            if sequence == newer {
                bytes[8..16].fill(0);
                bytes[8] = FORMAT_VERSION as u8 + 1;
                let crc = crc32c::crc32c(&bytes[..HEADER_BYTES as usize]);
                bytes[12..16].copy_from_slice(&crc.to_le_bytes());
                // Nothing behind it says that it was durable.
                bytes[HEADER_BYTES as usize..].fill(0);
            }
            std::fs::write(place.join(&name), bytes).expect("a file");
        }
        let read = || {
            let mut reader = Reader::open(Arc::new(RealDisk::default()), &place)?;
            while reader.read()?.is_some() {}
            Ok::<_, LogError>(())
        };
        let found = read();
        std::fs::remove_dir_all(&place).expect("the directory");
        let error = found.expect_err("it is not read");
        assert!(
            matches!(&error, LogError::Newer { version, .. } if *version == FORMAT_VERSION + 1),
            "{error}"
        );
    }
}

#[test]
fn a_change_whose_pieces_were_cut_off_is_passed_over() {
    let (disk, directory) = (SimulatedDisk::new(), PathBuf::from("/log"));
    write(&disk, &directory);
    disk.remove(&directory.join(segment_name(1)))
        .expect("a segment");
    let mut reader = Reader::open(Arc::new(disk), &directory).expect("the other segments");
    let mut numbers = Vec::new();
    while let Some(entry) = reader.read().expect("a sound log") {
        if matches!(entry.frame.content, Content::Change(_)) {
            numbers.push(entry.frame.number);
        }
    }
    assert_eq!(numbers, [9]);
}
