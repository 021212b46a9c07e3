//! Logs on a disk that loses what was not synced: what a snapshot relies on, and what is archived for good, stays.

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use yggdrasil_core::keyspace::{Effect, Kind, Record, Value};
use yggdrasil_log::disk::{Damage, Disk, SimulatedDisk};
use yggdrasil_log::{Content, End, Reader, Writer, WriterOptions, segment_name};
use yggdrasil_snapshot::{Archive, Folder, History, LogHistory};

use common::Scratch;

const SEGMENT_BYTES: u64 = 64 << 10;
/// Six segments full.
const CHANGES: u64 = 300;

/// A log of which only changes up to a number were flushed.
struct Rig {
    disk: SimulatedDisk,
    shared: Arc<dyn Disk>,
    directory: PathBuf,
    writer: Writer,
}

impl Rig {
    fn new() -> Self {
        let disk = SimulatedDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let directory = PathBuf::from("/log/shard-0");
        let options = WriterOptions {
            directory: directory.clone(),
            segment_bytes: SEGMENT_BYTES,
            epoch: 1,
        };
        let writer = Writer::open(Arc::clone(&shared), options, &End::default());
        Self {
            disk,
            shared,
            directory,
            writer: writer.expect("a new log"),
        }
    }

    fn write(&mut self, numbers: impl Iterator<Item = u64>) {
        for number in numbers {
            let effect = Effect::Put {
                kind: Kind::String,
                value: Value::Bytes(&[7; 1_000]),
                expire_at: None,
                pinned_until: None,
            };
            let key = &number.to_le_bytes();
            let record = Record { db: 0, key, effect };
            let reserved = self.writer.reserve(record.encoded_len());
            reserved.expect("there is room");
            self.writer.change(number, &record);
        }
    }

    fn flush(&self) {
        let progress = self.writer.progress();
        let flushed = progress.flush(&*self.shared, &self.directory);
        assert!(flushed.expect("the disk works"));
    }

    fn history(&self) -> LogHistory {
        LogHistory::new(Arc::clone(&self.shared), &self.directory, 0)
    }

    fn segments(&self) -> Vec<String> {
        let names = self.disk.list(&self.directory).expect("it is there");
        let mut names: Vec<_> = names
            .into_iter()
            .filter(|name| name.ends_with(".log"))
            .collect();
        names.sort();
        names
    }

    /// Cuts the power: nothing is left that was not synced. Gives the last change that the log has then.
    fn left(&self) -> u64 {
        self.disk.cut_power(Damage::Drop, &mut |_| 0);
        let disk = Arc::clone(&self.shared);
        let mut reader = Reader::open(disk, &self.directory).expect("the log is there");
        let mut last = 0;
        while let Some(entry) = reader.read().expect("a sound log") {
            if matches!(entry.frame.content, Content::Change(_)) {
                last = entry.frame.number;
            }
        }
        last
    }
}

#[test]
fn what_a_snapshot_relies_on_is_durable_in_however_many_segments_it_stands() {
    for flushed in [0, 1, 120, CHANGES] {
        let mut rig = Rig::new();
        rig.write(1..=flushed);
        if flushed > 0 {
            rig.flush();
        }
        rig.write(flushed + 1..=CHANGES);
        assert!(rig.segments().len() > 4);
        let mut history = rig.history();
        let mut seen = 0;
        let mut see = |_: yggdrasil_snapshot::Change<'_>| {
            seen += 1;
            Ok(())
        };
        assert!(history.since(1, &mut see).expect("a sound log"));
        assert_eq!(seen, CHANGES);
        history.settle().expect("the disk works");
        assert_eq!(rig.left(), CHANGES, "{flushed} were flushed before");
    }
}

#[test]
fn only_what_is_not_durable_is_synced_for_a_snapshot() {
    let mut rig = Rig::new();
    rig.write(1..=CHANGES);
    rig.flush();
    // Tells that those before are durable.
    rig.write(CHANGES + 1..=CHANGES + 1);
    let mut history = rig.history();
    assert!(history.since(1, &mut |_| Ok(())).expect("a sound log"));
    let before = rig.disk.syncs();
    history.settle().expect("the disk works");
    assert_eq!(rig.disk.syncs() - before, 1);
}

#[test]
fn what_is_archived_for_good_is_durable() {
    let mut rig = Rig::new();
    rig.write(1..=CHANGES);
    let scratch = Scratch::new("archived-before-a-cut");
    let folder = Folder::new(scratch.0.clone());
    let mut archive = Archive::new("n", 1);
    let archived = archive.archive(&folder, &[rig.history()]);
    assert!(archived.expect("the log is sound") > 0);
    let segments = rig.segments();
    assert!(segments.len() > 4);
    let last = rig.left();
    let mut left = rig.segments();
    left.truncate(segments.len() - 2);
    assert_eq!(
        left,
        segments[..segments.len() - 2],
        "all but the last two are there"
    );
    assert_eq!(left[0], segment_name(1));
    assert!(last > CHANGES / 2 && last < CHANGES, "{last}");
}
