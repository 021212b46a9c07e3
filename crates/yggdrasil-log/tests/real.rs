//! A log on the disk of the machine.

use std::path::PathBuf;
use std::sync::Arc;

use yggdrasil_core::keyspace::{Effect, Kind, Record, Value};
use yggdrasil_log::disk::{Disk, RealDisk};
use yggdrasil_log::{Content, End, Given, Reader, Writer, WriterOptions};

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn put(value: &[u8]) -> Record<'_> {
    let effect = Effect::Put {
        kind: Kind::String,
        value: Value::Bytes(value),
        expire_at: None,
        pinned_until: None,
    };
    Record {
        db: 0,
        key: b"a key",
        effect,
    }
}

#[test]
fn short_and_long_records_stand_side_by_side() {
    let directory = Directory::new("yggdrasil-log-real");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let options = WriterOptions {
        directory: directory.0.clone(),
        segment_bytes: 1 << 20,
        epoch: 1,
    };
    let mut writer = Writer::open(Arc::clone(&disk), options, &End::default()).expect("a new log");
    let values: Vec<Vec<u8>> = (0..60_u8)
        .map(|number| vec![number + 1; [7, 5_000, 20_000, 70_000][usize::from(number % 4)]])
        .collect();
    for (number, value) in (1..).zip(&values) {
        let record = put(value);
        writer.reserve(record.encoded_len()).expect("there is room");
        let is_given = value.len() > 65_536 && writer.piece(number, 0, &value[..65_536]);
        if is_given {
            let (draft, bytes) = (number, 65_536);
            writer.change_in_pieces(number, &record, Given { draft, bytes });
        } else {
            writer.change(number, &record);
        }
    }
    let progress = Arc::clone(writer.progress());
    progress
        .flush(&*disk, &directory.0)
        .expect("the disk works");
    let mut reader = Reader::open(disk, &directory.0).expect("the log is there");
    let mut found = Vec::new();
    while let Some(entry) = reader.read().expect("a sound log") {
        if let Content::Change(bytes) = entry.frame.content {
            let record = Record::decode(bytes).expect("a record");
            let number = entry.frame.number as usize;
            assert_eq!(record, put(&values[number - 1]), "change {number}");
            found.push(number);
        }
    }
    assert_eq!(found, (1..=60).collect::<Vec<_>>());
    assert_eq!(reader.end().torn_bytes, 0);
}
