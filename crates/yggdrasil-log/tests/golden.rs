//! Files of each version of the format, which stay readable.
//!
//! With `YGGDRASIL_WRITE_GOLDEN=1` the file of the present version is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use yggdrasil_core::keyspace::{Effect, Kind, Record, Value};
use yggdrasil_log::disk::{Disk, RealDisk, SimulatedDisk};
use yggdrasil_log::{Content, Decision, End, Outcome, Reader, Writer, WriterOptions};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/version-1")
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
        segment_bytes: 4096,
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
    writer.reserve(4000).expect("there is room");
    writer.change(8, &change(Effect::Clear));
}

#[test]
fn the_files_of_this_version_are_those_that_are_kept() {
    let (disk, directory) = (SimulatedDisk::new(), PathBuf::from("/log"));
    write(&disk, &directory);
    let mut names = disk.list(&directory).expect("the log is there");
    names.sort();
    assert_eq!(names, ["0000000000000001.log", "0000000000000002.log"]);
    for name in names {
        let written = disk.read(&directory.join(&name)).expect("a file").bytes;
        if std::env::var_os("YGGDRASIL_WRITE_GOLDEN").is_some() {
            std::fs::create_dir_all(golden()).expect("a directory");
            std::fs::write(golden().join(&name), &written).expect("a file");
        }
        let kept = std::fs::read(golden().join(&name)).expect("the kept file");
        assert!(written == kept, "{name} differs");
    }
}

#[test]
fn version_1_is_read() {
    let mut reader = Reader::open(Arc::new(RealDisk), &golden()).expect("the kept files");
    let mut found = Vec::new();
    while let Some(entry) = reader.read().expect("a sound log") {
        let place = entry.place;
        let what = match &entry.frame.content {
            Content::Change(bytes) => {
                let record = Record::decode(bytes).expect("a record");
                assert_eq!((record.db, record.key), (3, &b"a key"[..]));
                format!("{:?}", record.effect)
            }
            other => format!("{other:?}"),
        };
        found.push((entry.frame.number, entry.frame.epoch, place.sequence, what));
    }
    let expected = [
        (5, 2, 1, format!("{:?}", value(b"a value"))),
        (
            5,
            2,
            1,
            "Commit(Commit { number: 5, position: 128 })".into(),
        ),
        (
            5,
            2,
            1,
            "Begin { coordinator: 1, tag: 1099511627785 }".into(),
        ),
        (7, 2, 1, "Remove".into()),
        (
            7,
            2,
            1,
            "Decision(Decision { tag: 1099511627785, parts: [(0, 7), (1, 90)] })".into(),
        ),
        (
            7,
            2,
            1,
            "End { coordinator: 1, tag: 1099511627785, outcome: Released }".into(),
        ),
        (8, 2, 2, "Clear".into()),
    ];
    assert_eq!(found, expected);
    let end = reader.end();
    assert_eq!((end.number, end.epoch, end.torn_bytes), (8, 2, 0));
    assert_eq!((end.durable_number, end.durable_position), (5, 128));
}
