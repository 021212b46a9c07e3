//! Power cuts on a simulated disk: what was durable comes back, in order and without gaps, and nothing else does.
//!
//! `YGGDRASIL_LOG_CASES` says how many cases there are, and `YGGDRASIL_LOG_SEED` with which one it begins.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use yggdrasil_log::disk::{Damage, Disk, Mistake, SimulatedDisk};
use yggdrasil_log::{LogError, Reader, Writer, segment_name};

mod cases;
mod common;

use cases::{Case, FailingDisk, Sizes, number_from, read, run};

const CASES: u64 = 300;
const SIZES: Sizes = Sizes {
    segment: 8192,
    long: 20_000,
    middle: 3_000,
    draft: 12_000,
    piece: 2_500,
};
const DIRECTORY: &str = "/log";

impl FailingDisk for SimulatedDisk {
    fn end_process(&mut self) {}

    fn cut_power(&self, damage: Damage, draw: &mut dyn FnMut(u64) -> u64) {
        Self::cut_power(self, damage, draw);
    }

    fn set_room(&self, bytes: Option<u64>) {
        Self::set_room(self, bytes);
    }

    fn fail_sync_after(&self, syncs: u64) {
        Self::fail_sync_after(self, syncs);
    }
}

/// Goes through a life of a log on a simulated disk.
fn live(seed: u64, disk: SimulatedDisk) {
    run(seed, disk, Path::new(DIRECTORY), SIZES);
}

/// A log on a disk that works.
fn case(seed: u64) -> Case<SimulatedDisk> {
    Case::new(seed, SimulatedDisk::new(), Path::new(DIRECTORY), SIZES)
}

fn run_all(disk: impl Fn() -> SimulatedDisk) {
    let (seed, cases) = (
        number_from("YGGDRASIL_LOG_SEED", 1),
        number_from("YGGDRASIL_LOG_CASES", CASES),
    );
    println!("YGGDRASIL_LOG_SEED={seed} YGGDRASIL_LOG_CASES={cases}");
    for seed in seed..seed + cases {
        let outcome = catch_unwind(AssertUnwindSafe(|| live(seed, disk())));
        assert!(outcome.is_ok(), "YGGDRASIL_LOG_SEED={seed}");
    }
}

#[test]
fn what_was_durable_survives_power_cuts_and_nothing_is_invented() {
    run_all(SimulatedDisk::new);
}

#[test]
fn what_was_written_back_survives_power_cuts_of_persistent_memory() {
    run_all(SimulatedDisk::persistent_memory);
}

#[test]
fn a_missing_write_back_or_fence_is_caught() {
    let mistakes = [
        Mistake::NoWriteBack,
        Mistake::FirstLine,
        Mistake::LastLine,
        Mistake::NoFence,
    ];
    for mistake in mistakes {
        let mut caught = (1..=CASES).filter(|seed| {
            let disk = SimulatedDisk::persistent_memory();
            disk.make_mistake(mistake);
            catch_unwind(AssertUnwindSafe(|| live(*seed, disk))).is_err()
        });
        assert!(caught.next().is_some(), "{mistake:?} goes unnoticed");
    }
}

#[test]
fn damage_before_what_was_durable_is_an_error_that_names_the_place() {
    let mut case = case(7);
    for _ in 0..30 {
        case.write();
        case.flush();
    }
    let directory = case.options.directory.clone();
    let first = directory.join("0000000000000001.log");
    case.disk.corrupt(&first, |bytes| bytes[100] ^= 1);
    let mut reader = Reader::open(Arc::new(case.disk.clone()), &directory).expect("the log opens");
    let error = loop {
        match reader.read() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("damage was passed over"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(
        error.starts_with("/log/0000000000000001.log is damaged at offset 64: "),
        "{error}"
    );
}

/// What a reader says of a log whose first record is damaged afterwards.
fn damaged_first(case: &Case<SimulatedDisk>) -> Result<usize, LogError> {
    let directory = case.options.directory.clone();
    case.disk
        .corrupt(&directory.join(segment_name(1)), |bytes| bytes[100] ^= 1);
    let mut reader = Reader::open(Arc::new(case.disk.clone()), &directory)?;
    let mut read = 0;
    while reader.read()?.is_some() {
        read += 1;
    }
    Ok(read)
}

#[test]
fn what_was_written_last_is_called_durable_when_nothing_follows() {
    for ends in [Writer::commit, Writer::close] {
        let mut case = case(1);
        for _ in 0..10 {
            case.put(b"at once".to_vec(), None);
        }
        case.writer.commit();
        assert_eq!(
            damaged_first(&case).ok(),
            Some(0),
            "it looks like a torn tail"
        );
        damaged_first(&case).expect("the damage is taken back");
        case.flush();
        ends(&mut case.writer);
        let end = case.writer.place();
        case.flush();
        ends(&mut case.writer);
        assert_eq!(case.writer.place(), end, "a commit needs none");
        assert!(matches!(
            damaged_first(&case),
            Err(LogError::Damaged { .. })
        ));
    }
}

#[test]
fn a_run_without_changes_writes_nothing() {
    let mut case = case(1);
    case.put(b"once".to_vec(), None);
    case.writer.close();
    // What the commit says is durable, and so is the commit.
    case.disk.cut_power(Damage::Drop, &mut |_| 0);
    let (found, end) = read(&case.disk, &case.options.directory);
    assert_eq!((found.len(), end.durable_number), (1, found[0].0));
    let disk: Arc<dyn Disk> = Arc::new(case.disk.clone());
    let mut again = Writer::open(disk, case.options.clone(), &end).expect("the log goes on");
    again.close();
    assert_eq!(Some(again.place()), end.place);
}

#[test]
fn a_segment_that_is_missing_is_named() {
    let mut case = case(3);
    for _ in 0..300 {
        case.write();
    }
    let directory = case.options.directory.clone();
    let second = directory.join("0000000000000002.log");
    case.disk
        .remove(&second)
        .expect("there are several segments");
    let error = Reader::open(Arc::new(case.disk.clone()), &directory).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/log/0000000000000002.log is missing: the log has segments before it and behind it"
    );
}

#[test]
fn a_sync_that_has_failed_is_not_forgotten_for_want_of_room() {
    let mut case = case(5);
    case.put(b"durable".to_vec(), None);
    case.flush();
    case.put(b"not durable".to_vec(), None);
    case.disk.fail_sync_after(0);
    case.flush();
    case.disk.set_room(Some(0));
    assert!(case.writer.reserve(1 << 20).is_err());
    case.disk.set_room(None);
    let progress = Arc::clone(case.writer.progress());
    progress.prepare(&case.disk, &case.options.directory);
    assert!(
        case.writer.check().is_err(),
        "it is to be written anew first"
    );
    case.writer.heal().expect("the disk works again");
    assert!(case.writer.check().is_ok());
    case.disk.cut_power(Damage::Drop, &mut |_| 0);
    let (found, _) = read(&case.disk, &case.options.directory);
    assert!(found == case.written);
}
