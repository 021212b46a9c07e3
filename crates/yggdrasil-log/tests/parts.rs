//! What a log tells the others about groups of changes of several shards, also where it is damaged.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use yggdrasil_log::disk::SimulatedDisk;
use yggdrasil_log::{
    Content, Decision, End, Group, LogError, Outcome, Recovery, RecoveryError, Remains, Writer,
    WriterOptions, find_parts, segment_name,
};

mod common;

use common::put;

const COORDINATOR: u16 = 2;

/// The parts of a decision.
fn parts_of(tag: u64) -> Vec<(u16, u64)> {
    vec![(0, tag * 10), (1, tag * 10 + 1)]
}

struct Log {
    disk: SimulatedDisk,
    directory: PathBuf,
    writer: Writer,
    number: u64,
}

impl Log {
    fn new() -> Self {
        let disk = SimulatedDisk::new();
        let directory = PathBuf::from("/log");
        let options = WriterOptions {
            directory: directory.clone(),
            segment_bytes: 1 << 16,
            epoch: 1,
        };
        let writer = Writer::open(Arc::new(disk.clone()), options, &End::default());
        let writer = writer.expect("a new log");
        Self {
            disk,
            directory,
            writer,
            number: 0,
        }
    }

    fn change(&mut self, value: &'static [u8]) {
        self.number += 1;
        self.writer.change(self.number, &put(value));
    }

    fn begin(&mut self, tag: u64) {
        let coordinator = COORDINATOR;
        self.writer.mark(&Content::Begin { coordinator, tag });
    }

    fn end(&mut self, tag: u64, outcome: Outcome) {
        let coordinator = COORDINATOR;
        self.writer.mark(&Content::End {
            coordinator,
            tag,
            outcome,
        });
    }

    fn group(&mut self, tag: u64, outcome: Outcome) {
        self.begin(tag);
        self.change(b"in a group");
        self.change(b"in a group");
        self.end(tag, outcome);
    }

    fn decide(&mut self, tag: u64) {
        let parts = parts_of(tag);
        self.writer
            .mark(&Content::Decision(Decision { tag, parts }));
    }

    /// Makes durable what is written; the next record says so.
    fn flush(&self) {
        let progress = Arc::clone(self.writer.progress());
        let flushed = progress.flush(&self.disk, &self.directory);
        flushed.expect("a disk that works");
    }

    fn parts(&self, tags: &[u64]) -> Vec<(u64, u64)> {
        let wanted: HashSet<Group> = tags.iter().map(|tag| (COORDINATOR, *tag)).collect();
        let found = find_parts(Arc::new(self.disk.clone()), &self.directory, &wanted);
        let found = found.expect("a sound log").into_iter();
        let mut parts: Vec<(u64, u64)> = found.map(|((_, tag), number)| (tag, number)).collect();
        parts.sort_unstable();
        parts
    }

    fn scanned(&self) -> Result<Recovery, RecoveryError> {
        Recovery::scan(Arc::new(self.disk.clone()), &self.directory)
    }

    fn remains(&self) -> Remains {
        Remains::of(&self.disk, &self.directory).expect("a disk that works")
    }

    /// Changes a byte of what stands once in the log.
    fn damage(&self, text: &[u8]) {
        let path = self.directory.join(segment_name(1));
        self.disk.corrupt(&path, |bytes| {
            let at = bytes.windows(text.len()).position(|some| some == text);
            bytes[at.expect("it is there")] ^= 1;
        });
    }
}

#[test]
fn a_log_has_the_parts_of_groups_that_it_does_not_say_are_dropped() {
    let mut log = Log::new();
    log.group(1, Outcome::Released);
    log.change(b"alone");
    log.group(2, Outcome::Dropped);
    log.group(3, Outcome::Released);
    log.end(3, Outcome::Dropped);
    log.writer.mark(&Content::Settled);
    log.group(4, Outcome::Released);
    log.begin(5);
    log.change(b"unfinished");
    let all = [1, 2, 3, 4, 5, 6];
    assert_eq!(log.parts(&all), [(1, 2), (4, 9), (5, 10)]);
    assert_eq!(log.parts(&[4]), [(4, 9)], "only what is asked for");
    let known = log.scanned().expect("a sound log").parts();
    let mut known: Vec<(u64, u64)> = known
        .into_iter()
        .map(|((_, tag), number)| (tag, number))
        .collect();
    known.sort_unstable();
    assert_eq!(known, [(4, 9), (5, 10)], "those of the last run");
}

#[test]
fn a_snapshot_has_groups_that_began_before_it() {
    let mut log = Log::new();
    log.group(1, Outcome::Released);
    log.group(2, Outcome::Released);
    let mut recovery = log.scanned().expect("a sound log");
    let tags = |recovery: &Recovery| {
        let undecided = recovery.undecided();
        undecided.map(|open| open.tag).collect::<Vec<_>>()
    };
    assert_eq!(tags(&recovery), [1, 2]);
    recovery.begin_at(1);
    assert_eq!(tags(&recovery), [2]);
}

#[test]
fn what_is_whole_of_a_damaged_log_is_told() {
    let mut log = Log::new();
    log.decide(1);
    log.change(b"first");
    log.change(b"to be damaged");
    log.decide(2);
    log.change(b"last");
    log.flush();
    log.decide(3);
    let whole = log.remains();
    assert_eq!(whole.number, 3);
    let decided = [1, 2, 3].map(|tag| (tag, parts_of(tag)));
    assert_eq!(whole.decisions, decided.into());
    log.damage(b"to be damaged");
    let error = log.scanned().expect_err("what was durable is damaged");
    assert!(matches!(
        error,
        RecoveryError::Log(LogError::Damaged { .. })
    ));
    assert_eq!(log.remains(), whole, "a record in between is not asked for");
    log.damage(b"last");
    assert_eq!(log.remains(), whole, "the commit behind it has its number");
}

#[test]
fn what_stands_behind_damage_is_told_where_a_commit_says_that_it_was_durable() {
    let mut log = Log::new();
    log.decide(1);
    log.change(b"to be damaged");
    log.decide(2);
    log.change(b"last");
    log.damage(b"to be damaged");
    let remains = log.remains();
    assert_eq!(
        remains.number, 0,
        "a power cut may have left what is behind it"
    );
    assert_eq!(remains.decisions, [(1, parts_of(1))].into());
    log.flush();
    log.decide(3);
    let remains = log.remains();
    assert_eq!(remains.number, 2);
    let decided = [1, 2, 3].map(|tag| (tag, parts_of(tag)));
    assert_eq!(remains.decisions, decided.into());
}

#[test]
fn a_later_group_of_the_same_name_takes_nothing_away() {
    let mut log = Log::new();
    log.group(1, Outcome::Released);
    log.writer.mark(&Content::Settled);
    log.group(1, Outcome::Undone);
    assert_eq!(log.parts(&[1]), [(1, 2)]);
}
