//! Power cuts on a simulated disk: what was durable comes back, in order and without gaps, and nothing else does.
//!
//! `YGGDRASIL_LOG_CASES` says how many cases there are, and `YGGDRASIL_LOG_SEED` with which one it begins.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use yggdrasil_core::keyspace::{Effect, Kind, Record, Value};
use yggdrasil_log::disk::{Damage, Disk, Mistake, SimulatedDisk};
use yggdrasil_log::{Content, End, Given, Reader, Writer, WriterOptions};

const CASES: u64 = 300;

/// xorshift64*, good enough to draw cases.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

fn number_from(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(otherwise, |text| text.parse().expect("a number"))
}

/// A node on a disk, and what it has written.
struct Case {
    disk: SimulatedDisk,
    draw: Draw,
    options: WriterOptions,
    writer: Writer,
    /// Numbers and values, in order.
    written: Vec<(u64, Vec<u8>)>,
    /// The last change that was called durable.
    durable: u64,
    /// Values of which pieces are written: their names, bytes, and how many of them are written.
    drafts: Vec<(u64, Vec<u8>, usize)>,
    last_draft: u64,
}

fn read(disk: &SimulatedDisk, directory: &Path) -> (Vec<(u64, Vec<u8>)>, End) {
    let mut reader = Reader::open(Arc::new(disk.clone()), directory).expect("the log is there");
    let mut found = Vec::new();
    while let Some(entry) = reader.read().expect("nothing that was durable is damaged") {
        if let Content::Change(bytes) = entry.frame.content {
            let record = Record::decode(bytes).expect("a record");
            let Effect::Put {
                value: Value::Bytes(value),
                ..
            } = record.effect
            else {
                panic!("only values were written");
            };
            found.push((entry.frame.number, value.to_vec()));
        }
    }
    (found, reader.end())
}

impl Case {
    fn new(seed: u64, disk: SimulatedDisk) -> Self {
        let options = WriterOptions {
            directory: PathBuf::from("/log"),
            segment_bytes: 8192,
            epoch: 1,
        };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let writer = Writer::open(shared, options.clone(), &End::default()).expect("a new log");
        Self {
            disk,
            draw: Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            options,
            writer,
            written: Vec::new(),
            durable: 0,
            drafts: Vec::new(),
            last_draft: 0,
        }
    }

    /// Writes a piece of a long value, or its change, or says that it does not come.
    fn write_in_pieces(&mut self) {
        if self.writer.check().is_err() {
            return;
        }
        if self.drafts.is_empty() || self.draw.below(4) == 0 {
            self.last_draft += 1;
            let byte = self.draw.below(256) as u8;
            // Pieces that are put together wrongly are noticed.
            let value = (0..12_000).map(|place: u32| byte ^ place.to_le_bytes()[1]);
            self.drafts.push((self.last_draft, value.collect(), 0));
        }
        let chosen = self.draw.below(self.drafts.len() as u64) as usize;
        match self.draw.below(8) {
            0 => {
                let (name, ..) = self.drafts.swap_remove(chosen);
                self.writer.abandon(name);
            }
            1 => {
                let (draft, value, given) = self.drafts.swap_remove(chosen);
                let bytes = given as u64;
                self.put(value, (given > 0).then_some(Given { draft, bytes }));
            }
            // What was received last is forgotten.
            2 => self.drafts[chosen].2 /= 2,
            _ => {
                let length = self.draw.below(2_500) as usize;
                let (name, value, given) = &mut self.drafts[chosen];
                let until = (*given + length).min(value.len());
                if self
                    .writer
                    .piece(*name, *given as u64, &value[*given..until])
                {
                    *given = until;
                }
            }
        }
    }

    fn write(&mut self) {
        let length = match self.draw.below(20) {
            0 => self.draw.below(20_000),
            1..4 => self.draw.below(3_000),
            _ => self.draw.below(100),
        };
        let byte = self.draw.below(256) as u8;
        self.put(vec![byte; length as usize], None);
    }

    fn put(&mut self, value: Vec<u8>, given: Option<Given>) {
        let record = Record {
            db: 0,
            key: b"a key",
            effect: Effect::Put {
                kind: Kind::String,
                value: Value::Bytes(&value),
                expire_at: None,
                pinned_until: None,
            },
        };
        let is_refused = self.writer.check().is_err();
        if is_refused || self.writer.reserve(record.encoded_len()).is_err() {
            if let Some(given) = given {
                self.writer.abandon(given.draft);
            }
            return;
        }
        let number = self.written.last().map_or(0, |last| last.0) + 1 + self.draw.below(3);
        match given {
            Some(given) => self.writer.change_in_pieces(number, &record, given),
            None => self.writer.change(number, &record),
        }
        self.written.push((number, value));
    }

    fn flush(&mut self) {
        let progress = Arc::clone(self.writer.progress());
        let flushed = progress.flush(&self.disk, &self.options.directory);
        if flushed.is_ok() && self.writer.check().is_ok() {
            assert_eq!(
                progress.durable_number(),
                self.written.last().map_or(0, |last| last.0)
            );
        }
        self.durable = progress.durable_number();
    }

    fn step(&mut self) {
        match self.draw.below(40) {
            0..4 => self.flush(),
            4 => self.disk.fail_sync_after(self.draw.below(3)),
            5..8 if self.writer.check().is_err() => {
                if self.writer.heal().is_ok() {
                    self.durable = self.writer.progress().durable_number();
                    assert_eq!(self.durable, self.written.last().map_or(0, |last| last.0));
                }
            }
            8 => self.disk.set_room(Some(self.draw.below(3) * 8192)),
            9..12 => self.disk.set_room(None),
            12..15 => {
                let directory = &self.options.directory;
                self.writer.progress().prepare(&self.disk, directory);
            }
            15..25 => self.write_in_pieces(),
            _ => self.write(),
        }
    }

    /// Ends the process, and perhaps the power too, and comes back.
    fn restart(&mut self) {
        let damage = match self.draw.below(5) {
            0 => Damage::Drop,
            1 => Damage::TearAnywhere,
            2 => Damage::Sectors(512),
            3 => Damage::Sectors(4096),
            _ => Damage::Keep,
        };
        let is_power_cut = self.draw.below(4) != 0;
        if is_power_cut {
            let draw = &mut self.draw;
            self.disk.cut_power(damage, &mut |limit| draw.below(limit));
        }
        self.disk.set_room(None);
        let (found, end) = read(&self.disk, &self.options.directory);
        assert!(
            found.len() <= self.written.len() && found == self.written[..found.len()],
            "what comes back is the beginning of what was written"
        );
        let last = found.last().map_or(0, |last| last.0);
        assert!(last >= self.durable, "{last} is less than {}", self.durable);
        if !is_power_cut {
            assert_eq!(
                found.len(),
                self.written.len(),
                "a process that dies loses nothing"
            );
        }
        self.written = found;
        self.options.epoch = end.epoch + 1;
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let open = || Writer::open(Arc::clone(&disk), self.options.clone(), &end);
        // A sync that was to fail may fail here.
        self.writer = open().or_else(|_| open()).expect("the log goes on");
        self.writer.mark(&Content::Settled);
        self.drafts.clear();
        // What was found must be there again, whatever happens to the power.
        self.durable = last;
    }
}

/// Runs a case: some steps, and a restart, four times.
fn run(seed: u64, disk: SimulatedDisk) {
    let mut case = Case::new(seed, disk);
    for _ in 0..4 {
        for _ in 0..case.draw.below(120) {
            case.step();
        }
        case.restart();
    }
}

fn run_all(disk: impl Fn() -> SimulatedDisk) {
    let (seed, cases) = (
        number_from("YGGDRASIL_LOG_SEED", 1),
        number_from("YGGDRASIL_LOG_CASES", CASES),
    );
    println!("YGGDRASIL_LOG_SEED={seed} YGGDRASIL_LOG_CASES={cases}");
    for seed in seed..seed + cases {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, disk())));
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
            catch_unwind(AssertUnwindSafe(|| run(*seed, disk))).is_err()
        });
        assert!(caught.next().is_some(), "{mistake:?} goes unnoticed");
    }
}

#[test]
fn damage_before_what_was_durable_is_an_error_that_names_the_place() {
    let mut case = Case::new(7, SimulatedDisk::new());
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

#[test]
fn a_segment_that_is_missing_is_named() {
    let mut case = Case::new(3, SimulatedDisk::new());
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
    let mut case = Case::new(5, SimulatedDisk::new());
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
