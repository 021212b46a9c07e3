//! Lives of a log on the disk of the machine, with syncs that fail, processes that end and power cuts.
//!
//! `YGGDRASIL_LOG_CASES` says how many cases there are, and `YGGDRASIL_LOG_SEED` with which one it begins.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use yggdrasil_log::disk::{Area, Contents, Damage, Disk, Persist, RealDisk, Source, Syncer, TAIL};
use yggdrasil_log::segment_name;

mod cases;
mod common;

use cases::{Case, FailingDisk, Sizes, number_from, read, run};

const CASES: u64 = 12;
/// The ring is 1 MiB long: it goes round within a case.
const SIZES: Sizes = Sizes {
    segment: 64 << 10,
    long: 600_000,
    middle: 60_000,
    draft: 200_000,
    piece: 40_000,
};
/// The place of the name of a run of the machine in the file with the ring.
const AT_RUN: u64 = 8;

/// The disk of the machine, whose syncs can fail.
#[derive(Clone, Debug)]
struct Failing {
    disk: RealDisk,
    directory: PathBuf,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Default, Debug)]
struct Faults {
    room: Option<u64>,
    syncs_before_failure: Option<u64>,
    failures: u64,
}

#[derive(Debug)]
struct FailingArea {
    area: Box<dyn Area>,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Debug)]
struct FailingSyncer {
    syncer: Arc<dyn Syncer>,
    faults: Arc<Mutex<Faults>>,
}

fn lock(faults: &Mutex<Faults>) -> MutexGuard<'_, Faults> {
    faults.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Failing {
    fn new(directory: &Path) -> Self {
        Self {
            disk: RealDisk::default(),
            directory: directory.to_path_buf(),
            faults: Arc::default(),
        }
    }

    fn area(&self, area: Box<dyn Area>) -> Box<dyn Area> {
        let faults = Arc::clone(&self.faults);
        Box::new(FailingArea { area, faults })
    }
}

impl FailingDisk for Failing {
    fn end_process(&mut self) {
        // Another process knows nothing of what this one has open.
        self.disk = RealDisk::default();
    }

    fn cut_power(&self, _: Damage, _: &mut dyn FnMut(u64) -> u64) {
        lock(&self.faults).syncs_before_failure = None;
        // What was in the ring alone is lost to another run of the machine.
        let tail = OpenOptions::new()
            .write(true)
            .open(self.directory.join(TAIL));
        let tail = tail.expect("the ring is there");
        tail.write_all_at(&[0xA5; 16], AT_RUN)
            .expect("the disk works");
    }

    fn set_room(&self, bytes: Option<u64>) {
        lock(&self.faults).room = bytes;
    }

    fn fail_sync_after(&self, syncs: u64) {
        lock(&self.faults).syncs_before_failure = Some(syncs);
    }
}

impl Disk for Failing {
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn Area>> {
        let mut faults = lock(&self.faults);
        if let Some(room) = &mut faults.room {
            let left = room.checked_sub(bytes);
            *room = left.ok_or(io::ErrorKind::StorageFull)?;
        }
        drop(faults);
        Ok(self.area(self.disk.create(path, bytes)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Area>> {
        Ok(self.area(self.disk.open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Contents> {
        self.disk.read(path)
    }

    fn source(&self, path: &Path) -> io::Result<Box<dyn Source>> {
        // Readers are other processes.
        RealDisk::default().source(path)
    }

    fn read_head(&self, path: &Path, at_most: usize) -> io::Result<(Vec<u8>, u64)> {
        self.disk.read_head(path, at_most)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.disk.sync_directory(directory)
    }
}

impl Area for FailingArea {
    fn bytes(&self) -> u64 {
        self.area.bytes()
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.area.write(offset, bytes);
    }

    fn write_through(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.area.write_through(offset, bytes)
    }

    fn check(&self) -> io::Result<()> {
        self.area.check()
    }

    fn syncer(&self) -> Arc<dyn Syncer> {
        Arc::new(FailingSyncer {
            syncer: self.area.syncer(),
            faults: Arc::clone(&self.faults),
        })
    }
}

impl Syncer for FailingSyncer {
    fn sync(&self) -> io::Result<()> {
        let mut faults = lock(&self.faults);
        match faults.syncs_before_failure {
            Some(0) => {
                faults.syncs_before_failure = None;
                faults.failures += 1;
                if faults.failures.is_multiple_of(2) {
                    // All of it is on the disk nevertheless.
                    self.syncer.sync()?;
                }
                return Err(io::Error::other("the disk fails"));
            }
            Some(syncs) => faults.syncs_before_failure = Some(syncs - 1),
            None => {}
        }
        drop(faults);
        self.syncer.sync()
    }

    fn prepare(&self) {
        self.syncer.prepare();
    }

    fn persist(&self) -> Persist {
        self.syncer.persist()
    }
}

/// A directory for a log, and its removal.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("yggdrasil-log-ring-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn case(&self) -> Case<Failing> {
        Case::new(1, Failing::new(&self.0), &self.0, SIZES)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_reader_takes_from_the_segment_what_has_left_the_ring_meanwhile() {
    let scratch = Scratch::new("meanwhile");
    let mut case = scratch.case();
    case.put(vec![1; 30_000], None);
    let place = case.writer.place();
    let path = scratch.0.join(segment_name(place.sequence));
    let mut source = case.disk.source(&path).expect("it is there");
    case.flush();
    // More than the ring has.
    for byte in 2..=80 {
        case.put(vec![byte; 20_000], None);
    }
    let mut found = Vec::new();
    while (found.len() as u64) < place.offset {
        let at = found.len() as u64;
        let read = source.read(at, place.offset - at, &mut found);
        read.expect("the disk works");
    }
    let there = case.disk.read(&path).expect("the disk works").bytes;
    assert!(found == there[..found.len()]);
}

#[test]
fn a_segment_that_is_written_anew_has_nothing_of_the_one_before() {
    let scratch = Scratch::new("anew");
    let mut case = scratch.case();
    case.put(vec![1; 40_000], None);
    case.flush();
    case.put(vec![2; 20_000], None);
    assert_eq!(case.writer.place().sequence, 2);
    case.disk.fail_sync_after(0);
    case.flush();
    case.writer.heal().expect("the disk works again");
    assert_eq!(case.writer.place().sequence, 2);
    case.put(b"not on the disk".to_vec(), None);
    assert_eq!(case.writer.place().sequence, 2);
    let (found, _) = read(&Failing::new(&scratch.0), &scratch.0);
    assert!(found == case.written);
}

#[test]
fn what_a_failed_sync_has_not_written_is_in_the_ring() {
    let scratch = Scratch::new("part");
    let mut case = scratch.case();
    case.put(vec![1; 40_000], None);
    let place = case.writer.place();
    let path = scratch.0.join(segment_name(place.sequence));
    let written = case.disk.read(&path).expect("the disk works").bytes;
    // The last block alone has come to the disk.
    let end = place.offset as usize;
    let last = (end - 1) / 4096 * 4096;
    let segment = OpenOptions::new().write(true).open(&path);
    let segment = segment.expect("it is there");
    let done = segment.write_all_at(&written[last..end], last as u64);
    done.expect("the disk works");
    let (found, _) = read(&Failing::new(&scratch.0), &scratch.0);
    assert!(found == case.written);
}

#[test]
fn a_segment_that_was_written_anew_is_not_mixed_with_the_ring() {
    let scratch = Scratch::new("other");
    let mut case = scratch.case();
    case.put(vec![1; 40_000], None);
    let place = case.writer.place();
    let path = scratch.0.join(segment_name(place.sequence));
    // The process ends before it can say that the ring has nothing of it any more.
    let mut other = case.disk.read(&path).expect("the disk works").bytes;
    other[place.offset as usize - 20_000..place.offset as usize].fill(7);
    let segment = OpenOptions::new().write(true).open(&path);
    let segment = segment.expect("it is there");
    segment.write_all_at(&other, 0).expect("the disk works");
    let found = RealDisk::default().read(&path).expect("the disk works");
    assert!(found.bytes[..other.len()] == other);
}

#[test]
fn the_ring_of_another_run_of_the_machine_is_not_read() {
    let scratch = Scratch::new("run");
    let mut case = scratch.case();
    case.put(b"durable".to_vec(), None);
    case.flush();
    case.put(b"in the ring alone".to_vec(), None);
    let (found, _) = read(&Failing::new(&scratch.0), &scratch.0);
    assert!(found == case.written);
    case.disk.cut_power(Damage::Drop, &mut |_| 0);
    let (found, _) = read(&Failing::new(&scratch.0), &scratch.0);
    assert!(found == case.written[..1]);
}

#[test]
fn what_was_written_survives_the_process_and_what_was_durable_the_power() {
    let (seed, cases) = (
        number_from("YGGDRASIL_LOG_SEED", 1),
        number_from("YGGDRASIL_LOG_CASES", CASES),
    );
    println!("YGGDRASIL_LOG_SEED={seed} YGGDRASIL_LOG_CASES={cases}");
    for seed in seed..seed + cases {
        let name = format!("yggdrasil-log-ring-{}-{seed}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run(seed, Failing::new(&directory), &directory, SIZES);
        }));
        assert!(
            outcome.is_ok(),
            "YGGDRASIL_LOG_SEED={seed}, kept: {}",
            directory.display()
        );
        fs::remove_dir_all(&directory).expect("it was written");
    }
}
