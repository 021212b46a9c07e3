//! A log on a disk that fails in the middle of a record which no memory can hold until the disk works again.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use yggdrasil_log::disk::{Disk, RealDisk};
use yggdrasil_log::{End, Given, Writer, WriterOptions};

mod common;

use common::{Directory, put};

const SEGMENT_BYTES: u64 = 1 << 20;
/// More than the ring of a log with such segments holds, by far.
const LONG: usize = 12 << 20;
const PIECE: usize = 64 << 10;

/// A log, and what it should have.
struct Case {
    directory: Directory,
    disk: Arc<dyn Disk>,
    writer: Writer,
    values: Vec<(u64, Vec<u8>)>,
    /// The file of a segment.
    fragile: Fragile,
}

/// A file that takes nothing more once it is told so, as a broken part of a disk does.
struct Fragile(File);

impl Fragile {
    fn new() -> Self {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("segment", flags).expect("memory");
        Self(File::from(file))
    }

    /// Lets a file have this name.
    fn stand_at(&self, path: &Path) {
        symlink(format!("/proc/self/fd/{}", self.0.as_raw_fd()), path).expect("the name is free");
    }

    fn fail(&self) {
        fcntl_add_seals(&self.0, SealFlags::WRITE).expect("it can be sealed");
    }
}

impl Case {
    fn new(name: &str) -> Self {
        let directory = Directory::new(name);
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
        let options = WriterOptions {
            directory: directory.0.clone(),
            segment_bytes: SEGMENT_BYTES,
            epoch: 1,
        };
        let writer = Writer::open(Arc::clone(&disk), options, &End::default());
        Self {
            directory,
            disk,
            writer: writer.expect("a new log"),
            values: Vec::new(),
            fragile: Fragile::new(),
        }
    }

    fn path(&self) -> &Path {
        &self.directory.0
    }

    /// Writes a change, whether there is room for it or not.
    fn change(&mut self, value: Vec<u8>) {
        let number = self.writer.progress().number() + 1;
        self.writer.change(number, &put(&value));
        self.values.push((number, value));
    }

    fn flush(&self) -> bool {
        let progress = self.writer.progress();
        progress.flush(&*self.disk, self.path()).is_ok()
    }

    /// What somebody finds who reads the log now.
    fn read(&self) -> Vec<(u64, Vec<u8>)> {
        common::read(Arc::new(RealDisk::default()), self.path()).0
    }

    /// Writes long records to a segment that is not the first one, and lets the disk fail in the middle of the last.
    fn fail_in_a_long_record(&mut self, first: &[usize]) {
        self.change(b"durable".to_vec());
        assert!(self.flush());
        self.change(b"not durable".to_vec());
        self.fragile.stand_at(&self.path().join("needed.new"));
        let all: usize = first.iter().sum::<usize>() + LONG;
        self.writer
            .reserve(all as u64 + 4096)
            .expect("there is room");
        for bytes in first {
            self.change(vec![3; *bytes]);
        }
        self.fragile.fail();
        self.change(vec![4; LONG]);
    }

    /// The log goes on by itself, and has all of it.
    fn heal(&mut self) {
        assert!(!self.flush(), "the disk has failed");
        self.writer.heal().expect("other parts of the disk work");
        self.writer.check().expect("the log takes changes again");
        assert!(self.read() == self.values, "all is there");
        for bytes in [10, LONG, 5_000, 10] {
            self.writer
                .reserve(bytes as u64 + 100)
                .expect("there is room");
            self.change(vec![5; bytes]);
        }
        assert!(self.read() == self.values, "also what no sync has reached");
        assert!(self.flush());
        std::fs::remove_file(self.path().join("tail")).expect("it is there");
        assert!(self.read() == self.values, "the disk has all of it");
    }
}

#[test]
fn a_disk_that_fails_within_a_long_record_is_recovered_from() {
    let mut case = Case::new("yggdrasil-log-within");
    case.fail_in_a_long_record(&[]);
    assert!(case.writer.reserve(1).is_err(), "nothing more is taken");
    assert!(case.writer.check().is_err());
    case.heal();
}

#[test]
fn changes_that_nobody_may_refuse_are_kept_behind_it() {
    let mut case = Case::new("yggdrasil-log-behind");
    case.fail_in_a_long_record(&[100, 300_000]);
    for bytes in [3, 70_000, 2_000_000] {
        case.change(vec![6; bytes]);
    }
    case.heal();
}

#[test]
fn a_long_value_whose_pieces_the_disk_loses_is_whole_again() {
    let mut case = Case::new("yggdrasil-log-pieces");
    let value: Vec<u8> = (0..LONG).map(|at| (at / 1000) as u8).collect();
    case.change(b"before".to_vec());
    case.fragile.stand_at(&case.path().join("needed.new"));
    let reserved = case.writer.reserve(2 * LONG as u64);
    reserved.expect("there is room");
    case.fragile.fail();
    let pieces = value.chunks_exact(PIECE).zip(0..);
    let taken = pieces.take_while(|(piece, number)| {
        let offset = number * PIECE as u64;
        case.writer.piece(7, offset, piece)
    });
    let bytes = taken.count() as u64 * PIECE as u64;
    assert!((1 << 19..LONG as u64).contains(&bytes), "{bytes}");
    assert!(!case.flush());
    case.writer.heal().expect("other parts of the disk work");
    let number = case.writer.progress().number() + 1;
    let reserved = case.writer.reserve(value.len() as u64);
    reserved.expect("there is room");
    let given = Given { draft: 7, bytes };
    case.writer.change_in_pieces(number, &put(&value), given);
    case.values.push((number, value));
    assert!(case.read() == case.values);
    assert!(case.flush());
}
