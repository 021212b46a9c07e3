//! Snapshots beside a log: what is in the one, and what in the other; and what a check says when a file is damaged.

mod common;

use std::fs;
use std::path::Path;

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use yggdrasil_core::keyspace::Mark;
use yggdrasil_log::{FORMAT_VERSION, HEADER_BYTES};
use yggdrasil_snapshot::{
    History, LogHistory, Report, SnapshotError, Visit, check_directory, repair,
};

use common::place::{Place, snapshot};
use common::{RECORD_BYTES_MAX, contents, load};

fn check(place: &Place) -> Report {
    check_directory(&place.scratch.0, &*place.folder, RECORD_BYTES_MAX).unwrap()
}

fn mend(place: &Place, report: &Report) -> yggdrasil_snapshot::Repaired {
    let snapshots = place.scratch.0.join("snapshots");
    repair(&place.scratch.0, Some(&snapshots), report, "test").unwrap()
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

/// A log that tells when it was read.
struct Told(LogHistory, Sender<()>);

impl History for Told {
    fn since(&mut self, first: u64, visit: &mut Visit<'_>) -> Result<bool, SnapshotError> {
        let outcome = self.0.since(first, visit);
        let _ = self.1.send(());
        outcome
    }

    fn settle(&mut self) -> Result<(), SnapshotError> {
        self.0.settle()
    }
}

#[test]
fn what_a_transaction_is_removing_is_gone_from_the_next_snapshot() {
    let mut place = Place::new("under-way");
    for name in [b"a", b"b", b"c"] {
        place.rig.set(0, name, b"1");
    }
    let first = place.snapshot(None);
    place.rig.shard.reserve();
    let (coordinator, tag) = (0, 0);
    place.rig.shard.mark(&Mark::Begin { coordinator, tag });
    place.rig.remove(0, b"a");
    place.rig.remove(0, b"b");
    let (tell, told) = channel();
    let mut history = Told(place.history(), tell);
    let (store, rig) = (&*place.folder, &mut place.rig);
    let second = std::thread::scope(|scope| {
        let reader = &rig.reader;
        let taking = scope.spawn(move || snapshot(store, reader, &mut history, Some(&first)));
        // A snapshot that reads the log before the transaction is over is told so here; one that waits is not.
        let _ = told.recv_timeout(Duration::from_millis(200));
        rig.shard.mark(&Mark::Whole);
        rig.shard.release();
        taking.join().unwrap()
    });
    let part = second.shard(0).unwrap();
    assert_eq!(part.layers.len(), 2);
    let loaded = load(&place.folder, part, &[]);
    assert_eq!(contents(&loaded.reader), contents(&place.rig.reader));
}

#[test]
fn a_sound_directory_is_sound() {
    let mut place = Place::new("sound");
    assert!(check(&place).is_sound());
    place.write(0, 3_000);
    let manifest = place.snapshot(None);
    let report = check(&place);
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
    let report = check(&place);
    let damage = report.logs[0].damage.as_ref().unwrap();
    assert!(damage.is_covered && damage.next > Some(report.logs[0].last));
    assert_eq!(damage.file, place.segments()[1]);
    let untouched = fs::read(&place.segments()[1]).unwrap();
    let repaired = mend(&place, &report);
    assert!(repaired.dropped.is_empty(), "{repaired:?}");
    let copy = repaired.backup.join("log/shard-0/0000000000000002.log");
    assert_eq!(fs::read(copy).unwrap(), untouched);
    let after = check(&place);
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
    let report = check(&place);
    let (log, damage) = (&report.logs[0], report.logs[0].damage.as_ref().unwrap());
    assert!(!damage.is_covered && damage.changes_behind > 0);
    let repaired = mend(&place, &report);
    assert_eq!(repaired.dropped.len(), 1);
    assert!(repaired.dropped[0].contains(&log.last.to_string()));
    assert!(check(&place).is_sound());
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
        let report = check(&place);
        assert_eq!(
            report.logs[0].damage.as_ref().unwrap().is_covered,
            is_covered
        );
        mend(&place, &report);
        let after = check(&place);
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
fn a_file_whose_end_is_not_there_is_no_damage_that_costs_nothing() {
    let mut place = Place::new("short");
    place.write(0, 3_000);
    place.snapshot(None);
    place.write(3_000, 1_000);
    let last = place.segments().pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() / 4]).unwrap();
    let report = check(&place);
    let damage = report.logs[0].damage.as_ref().unwrap();
    assert!(damage.is_cut_short, "{damage:?}");
    let repaired = mend(&place, &report);
    assert!(
        repaired.dropped[0].contains("at the end of"),
        "{repaired:?}"
    );
    assert!(check(&place).is_sound());
}

#[test]
fn what_a_newer_program_has_written_is_not_called_damaged() {
    let mut place = Place::new("newer");
    place.write(0, 3_000);
    let manifest = place.snapshot(None);
    let segment = place.segments().remove(0);
    let kept = fs::read(&segment).unwrap();
    let mut bytes = kept.clone();
    bytes[8..16].fill(0);
    bytes[8] = FORMAT_VERSION as u8 + 1;
    let crc = crc32c::crc32c(&bytes[..HEADER_BYTES as usize]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    fs::write(&segment, &bytes).unwrap();
    let told = refusal(&place);
    assert!(told.contains("version 3 of the format of logs"), "{told}");
    fs::write(&segment, kept).unwrap();
    let object = place.scratch.0.join("snapshots/manifests");
    let object = object.join(format!("{}.json", manifest.id));
    let body = br#"{"format":9}"#;
    let sum = blake3::hash(body);
    let text = [body, format!("\nblake3 {sum}\n").as_bytes()].concat();
    fs::write(object, text).unwrap();
    let told = refusal(&place);
    assert!(told.contains("of format 9"), "{told}");
}

fn refusal(place: &Place) -> String {
    let checked = check_directory(&place.scratch.0, &*place.folder, RECORD_BYTES_MAX);
    checked.unwrap_err().to_string()
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
    let report = check(&place);
    assert_eq!(report.snapshots.damaged, std::slice::from_ref(&second.id));
    assert_eq!(report.newest.as_ref().unwrap().0, first.id);
    let repaired = mend(&place, &report);
    assert!(repaired.dropped[0].contains(&second.id), "{repaired:?}");
    assert!(check(&place).is_sound());
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
        let report = check(&place);
        if !report.is_sound() {
            mend(&place, &report);
            let after = check(&place);
            assert!(after.is_sound(), "case {case}: {after:?}");
        }
        assert!(changes.starts_with(&place.changes()), "case {case}");
    }
}
