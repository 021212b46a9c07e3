//! Snapshots beside a log: what is in the one, and what in the other; and what a check says when a file is damaged.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use yggdrasil_core::keyspace::{ChangeListener, KeyspaceError, Record};
use yggdrasil_log::disk::{Disk, RealDisk};
use yggdrasil_log::{Content, End, HEADER_BYTES, Reader, Writer, WriterOptions};
use yggdrasil_snapshot::{
    Folder, LogHistory, Manifest, Options, Progress, Report, Source, Store, Unowned,
    check_directory, repair, take,
};

use common::{NOW, RECORD_BYTES_MAX, Rig, Scratch, contents, load};

const SEGMENT_BYTES: u64 = 64 << 10;

/// Writes a log as a worker does.
#[derive(Debug)]
struct Scribe {
    writer: Writer,
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    changes: u64,
}

impl ChangeListener for Scribe {
    fn reserve(&mut self, bytes: u64) -> Result<(), KeyspaceError> {
        let failed = |_| KeyspaceError::LogFull { bytes };
        self.writer.reserve(bytes).map_err(failed)
    }

    fn changed(&mut self, number: u64, record: &Record<'_>) {
        self.writer.change(number, record);
        self.changes += 1;
        if self.changes.is_multiple_of(100) {
            // What is durable is marked, which makes damage before it damage.
            let progress = Arc::clone(self.writer.progress());
            progress.flush(&*self.disk, &self.directory).unwrap();
        }
    }
}

/// A node's directory: a log, and snapshots.
struct Place {
    scratch: Scratch,
    rig: Rig,
    folder: Arc<dyn Store>,
}

impl Place {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let directory = scratch.0.join("log").join("shard-0");
        fs::create_dir_all(&directory).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let options = WriterOptions {
            directory: directory.clone(),
            segment_bytes: SEGMENT_BYTES,
            epoch: 1,
        };
        let writer = Writer::open(Arc::clone(&disk), options, &End::default()).unwrap();
        let mut rig = Rig::new();
        rig.shard.set_listener(Some(Box::new(Scribe {
            writer,
            disk,
            directory,
            changes: 0,
        })));
        let folder = Arc::new(Folder::new(scratch.0.join("snapshots")));
        Self {
            scratch,
            rig,
            folder,
        }
    }

    fn log(&self) -> PathBuf {
        self.scratch.0.join("log").join("shard-0")
    }

    fn history(&self) -> LogHistory {
        LogHistory::new(Arc::new(RealDisk), &self.log(), 0)
    }

    fn write(&mut self, from: u32, count: u32) {
        for n in from..from + count {
            self.rig.set(0, &(n % 700).to_le_bytes(), &[n as u8; 100]);
            if n % 5 == 0 {
                self.rig.remove(0, &(n * 3 % 700).to_le_bytes());
            }
        }
    }

    fn snapshot(&self, base: Option<&Manifest>) -> Manifest {
        let mut sources = [Source {
            shard: 0,
            reader: &self.rig.reader,
            history: &mut self.history(),
            owner: &mut Unowned(0),
            keeps: &|_| true,
        }];
        let (options, progress) = (Options::default(), Progress::default());
        let taken = take(
            &*self.folder,
            "n",
            &mut sources,
            base,
            &options,
            &progress,
            &|| NOW,
        );
        taken.unwrap().manifest
    }

    /// All changes that a reader of the log finds.
    fn changes(&self) -> Vec<(u64, Vec<u8>)> {
        let mut reader = Reader::open(Arc::new(RealDisk), &self.log()).unwrap();
        let mut changes = Vec::new();
        while let Some(entry) = reader.read().unwrap() {
            if let Content::Change(record) = entry.frame.content {
                changes.push((entry.frame.number, record.to_vec()));
            }
        }
        changes
    }

    fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.log()).unwrap();
        let mut segments: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        segments.retain(|path| path.extension().is_some_and(|ending| ending == "log"));
        segments.sort();
        segments
    }

    fn check(&self) -> Report {
        check_directory(&self.scratch.0, &*self.folder, RECORD_BYTES_MAX).unwrap()
    }

    fn repair(&self, report: &Report) -> yggdrasil_snapshot::Repaired {
        let snapshots = self.scratch.0.join("snapshots");
        repair(&self.scratch.0, Some(&snapshots), report, "test").unwrap()
    }
}

fn flip(path: &Path, offset: usize) {
    let mut contents = fs::read(path).unwrap();
    contents[offset] ^= 0x10;
    fs::write(path, contents).unwrap();
}

#[test]
fn a_log_goes_on_where_a_snapshot_ends() {
    let mut place = Place::new("goes-on");
    place.write(0, 4_000);
    let first = place.snapshot(None);
    place.write(4_000, 500);
    let second = place.snapshot(Some(&first));
    let part = second.shard(0).unwrap();
    assert_eq!(part.layers.len(), 2, "the log tells what has changed");
    place.write(4_500, 500);
    let before = place.segments().len();
    assert!(place.history().drop_before(part.start()).unwrap() > 0);
    assert!(place.segments().len() < before);
    let loaded = load(&place.folder, part, &place.changes());
    assert_eq!(contents(&loaded.reader), contents(&place.rig.reader));
    // The log is too short for what was before.
    let third = place.snapshot(Some(&first));
    assert_eq!(third.shard(0).unwrap().layers.len(), 1);
}

#[test]
fn a_sound_directory_is_sound() {
    let mut place = Place::new("sound");
    assert!(place.check().is_sound());
    place.write(0, 3_000);
    let manifest = place.snapshot(None);
    let report = place.check();
    assert!(report.is_sound());
    assert_eq!(report.snapshots.whole, [manifest.id]);
    let log = &report.logs[0];
    assert_eq!((log.shard, log.last), (Some(0), place.rig.shard.number()));
    assert_eq!(log.changes, place.rig.shard.number());
}

#[test]
fn damage_that_a_snapshot_covers_costs_nothing() {
    let mut place = Place::new("covered");
    place.write(0, 3_000);
    let manifest = place.snapshot(None);
    place.write(3_000, 1_000);
    let expected = contents(&place.rig.reader);
    flip(&place.segments()[1], 30_000);
    let report = place.check();
    let damage = report.logs[0].damage.as_ref().unwrap();
    assert!(damage.is_covered && damage.next > Some(report.logs[0].last));
    assert_eq!(damage.file, place.segments()[1]);
    let untouched = fs::read(&place.segments()[1]).unwrap();
    let repaired = place.repair(&report);
    assert!(repaired.dropped.is_empty(), "{repaired:?}");
    let copy = repaired.backup.join("log/shard-0/0000000000000002.log");
    assert_eq!(fs::read(copy).unwrap(), untouched);
    let after = place.check();
    assert!(after.is_sound(), "{after:?}");
    let loaded = load(&place.folder, manifest.shard(0).unwrap(), &place.changes());
    assert_eq!(contents(&loaded.reader), expected);
}

#[test]
fn damage_that_nothing_covers_cuts_the_log() {
    let mut place = Place::new("cut");
    place.write(0, 3_000);
    let changes = place.changes();
    flip(&place.segments()[2], 10_000);
    let report = place.check();
    let (log, damage) = (&report.logs[0], report.logs[0].damage.as_ref().unwrap());
    assert!(!damage.is_covered && damage.changes_behind > 0);
    let repaired = place.repair(&report);
    assert_eq!(repaired.dropped.len(), 1);
    assert!(repaired.dropped[0].contains(&log.last.to_string()));
    assert!(place.check().is_sound());
    let left = place.changes();
    assert_eq!(left.last().unwrap().0, log.last);
    assert!(changes.starts_with(&left));
}

#[test]
fn a_segment_that_is_gone_is_damage() {
    for is_covered in [true, false] {
        let mut place = Place::new(&format!("gone-{is_covered}"));
        place.write(0, 3_000);
        if is_covered {
            place.snapshot(None);
            place.write(3_000, 10);
        }
        let expected = contents(&place.rig.reader);
        fs::remove_file(&place.segments()[1]).unwrap();
        let report = place.check();
        assert_eq!(
            report.logs[0].damage.as_ref().unwrap().is_covered,
            is_covered
        );
        place.repair(&report);
        let after = place.check();
        assert!(after.is_sound(), "{after:?}");
        if is_covered {
            let newest = yggdrasil_snapshot::newest(&*place.folder, "n")
                .unwrap()
                .unwrap();
            let loaded = load(&place.folder, &newest.shards[0], &place.changes());
            assert_eq!(contents(&loaded.reader), expected);
        }
    }
}

#[test]
fn a_damaged_snapshot_is_set_aside_and_the_one_before_is_found() {
    let mut place = Place::new("aside");
    place.write(0, 1_000);
    let first = place.snapshot(None);
    place.write(1_000, 1_000);
    let second = place.snapshot(Some(&first));
    let last = second.chunks().last().unwrap();
    let chunk = place.scratch.0.join("snapshots").join(last.name.object());
    flip(&chunk, 100);
    let report = place.check();
    assert_eq!(report.snapshots.damaged, std::slice::from_ref(&second.id));
    assert_eq!(report.newest.as_ref().unwrap().0, first.id);
    let repaired = place.repair(&report);
    assert!(repaired.dropped[0].contains(&second.id), "{repaired:?}");
    assert!(place.check().is_sound());
    let newest = yggdrasil_snapshot::newest(&*place.folder, "n").unwrap();
    assert_eq!(newest.as_ref(), Some(&first));
    let loaded = load(&place.folder, &first.shards[0], &place.changes());
    assert_eq!(contents(&loaded.reader), contents(&place.rig.reader));
}

/// Random flips in a log: each is noticed, or stands where nothing is, and what is mended is sound.
#[test]
fn random_damage_of_a_log_is_mended() {
    let mut random = yggdrasil_core::random::Random::new(7);
    for case in 0..25 {
        let mut place = Place::new(&format!("random-{case}"));
        place.write(0, 1_500);
        let changes = place.changes();
        let segments = place.segments();
        let file = &segments[(random.draw() % segments.len() as u64) as usize];
        let bytes = fs::metadata(file).unwrap().len();
        let from = HEADER_BYTES * (random.draw() % 4).min(1);
        flip(file, (from + random.draw() % (bytes - from)) as usize);
        let report = place.check();
        if !report.is_sound() {
            place.repair(&report);
            let after = place.check();
            assert!(after.is_sound(), "case {case}: {after:?}");
        }
        assert!(changes.starts_with(&place.changes()), "case {case}");
    }
}
