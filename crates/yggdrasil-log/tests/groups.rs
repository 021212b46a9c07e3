//! Groups of changes whose decision is in another log, or was there.

use std::path::PathBuf;
use std::sync::Arc;

use yggdrasil_core::keyspace::{Effect, Kind, Record, Value};
use yggdrasil_log::disk::{Disk, SimulatedDisk};
use yggdrasil_log::{Content, Each, End, Outcome, Outcomes, Recovery, Writer, WriterOptions};

const COORDINATOR: u16 = 2;
const TAG: u64 = 7;

fn record(effect: Effect<'static>) -> Record<'static> {
    let key = b"a key";
    Record { db: 0, key, effect }
}

fn put() -> Record<'static> {
    record(Effect::Put {
        kind: Kind::String,
        value: Value::Bytes(b"a value"),
        expire_at: None,
        pinned_until: None,
    })
}

/// A log with a change, a group of the changes 2 and 3, and another change.
fn log() -> (Arc<dyn Disk>, PathBuf) {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
    let options = WriterOptions {
        directory: PathBuf::from("/log"),
        segment_bytes: 1 << 16,
        epoch: 1,
    };
    let directory = options.directory.clone();
    let (coordinator, tag) = (COORDINATOR, TAG);
    let mut writer = Writer::open(Arc::clone(&disk), options, &End::default()).expect("a new log");
    writer.change(1, &put());
    writer.mark(&Content::Begin { coordinator, tag });
    writer.change(2, &put());
    writer.change(3, &record(Effect::Remove));
    writer.mark(&Content::End {
        coordinator,
        tag,
        outcome: Outcome::Released,
    });
    writer.change(4, &put());
    (disk, directory)
}

/// Numbers of the changes that are made again behind a snapshot, and whether the group is marked as one that does not
/// count.
fn recovered(start: u64, is_decided: bool) -> (Vec<u64>, bool) {
    let (disk, directory) = log();
    let mut recovery = Recovery::scan(disk, &directory).expect("a sound log");
    recovery.begin_at(start);
    let decided = ((COORDINATOR, TAG), true);
    let outcomes: Outcomes = is_decided.then_some(decided).into_iter().collect();
    recovery.decide(&outcomes);
    let mut made = Vec::new();
    let mut target = Each(|_: &Record<'_>, number| {
        made.push(number);
        Ok(true)
    });
    let is_over = recovery.step(u64::MAX / 2, &mut target);
    assert!(is_over.expect("sound changes"));
    let is_drop = |mark: &Content<'_>| {
        let outcome = Outcome::Dropped;
        matches!(mark, Content::End { outcome: found, .. } if *found == outcome)
    };
    (made, recovery.closing_marks().iter().any(is_drop))
}

#[test]
fn a_group_counts_where_it_was_decided() {
    assert_eq!(recovered(0, true), (vec![1, 2, 3, 4], false));
    assert_eq!(recovered(0, false), (vec![1, 4], true));
    assert_eq!(recovered(1, false), (vec![1, 4], true));
}

#[test]
fn what_a_snapshot_has_is_not_made_again_and_counts() {
    // Nothing of a key that the group has removed comes back.
    assert_eq!(recovered(3, false), (vec![3, 4], false));
    assert_eq!(recovered(4, false), (vec![4], false));
    assert_eq!(recovered(5, true), (vec![], false));
}
