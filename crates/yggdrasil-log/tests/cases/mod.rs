//! Lives of a log on a disk that fails, drawn by a seed: what is written, cut off, refused and read, beside a model.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use yggdrasil_log::disk::{Damage, Disk, Source};
use yggdrasil_log::{Content, End, Given, Writer, WriterOptions, segment_name};

use crate::common;

/// A disk that fails when it is told to. Clones are the same disk.
pub trait FailingDisk: Disk + Clone + 'static {
    /// Ends the process that writes.
    fn end_process(&mut self);

    /// Cuts the power. `draw(n)` gives a number below `n`.
    fn cut_power(&self, damage: Damage, draw: &mut dyn FnMut(u64) -> u64);

    /// Lets the disk have room for so many more bytes of new files, or for any.
    fn set_room(&self, bytes: Option<u64>);

    /// Lets one sync fail after so many that succeed.
    fn fail_sync_after(&self, syncs: u64);
}

/// Bytes of what a case writes, at most.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub segment: u64,
    /// One value in twenty has up to so many.
    pub long: u64,
    /// Three in twenty have up to so many.
    pub middle: u64,
    /// Of a value in pieces, and of a piece.
    pub draft: u32,
    pub piece: u64,
}

/// A number from the environment.
pub fn number_from(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(otherwise, |text| text.parse().expect("a number"))
}

/// xorshift64*, good enough to draw cases.
pub struct Draw(u64);

impl Draw {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

/// A node on a disk, and what it has written.
pub struct Case<D> {
    pub disk: D,
    draw: Draw,
    sizes: Sizes,
    pub options: WriterOptions,
    pub writer: Writer,
    /// Numbers and values, in order.
    pub written: Vec<(u64, Vec<u8>)>,
    /// The last change that was called durable.
    durable: u64,
    /// Values of which pieces are written: their names, bytes, and how many of them are written.
    drafts: Vec<(u64, Vec<u8>, usize)>,
    last_draft: u64,
    watches: Vec<Watch>,
}

/// A segment that is read while it is written.
struct Watch {
    path: PathBuf,
    source: Box<dyn Source>,
    /// Bytes read, and bytes that were there when it was opened.
    done: u64,
    end: u64,
}

/// All changes of a log, and its end.
pub fn read<D: FailingDisk>(disk: &D, directory: &Path) -> (Vec<(u64, Vec<u8>)>, End) {
    common::read(Arc::new(disk.clone()), directory)
}

impl<D: FailingDisk> Case<D> {
    pub fn new(seed: u64, disk: D, directory: &Path, sizes: Sizes) -> Self {
        let options = WriterOptions {
            directory: directory.to_path_buf(),
            segment_bytes: sizes.segment,
            epoch: 1,
        };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let writer = Writer::open(shared, options.clone(), &End::default()).expect("a new log");
        Self {
            disk,
            draw: Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            sizes,
            options,
            writer,
            written: Vec::new(),
            durable: 0,
            drafts: Vec::new(),
            last_draft: 0,
            watches: Vec::new(),
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
            let value = (0..self.sizes.draft).map(|place: u32| byte ^ place.to_le_bytes()[1]);
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
                let length = self.draw.below(self.sizes.piece) as usize;
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

    pub fn write(&mut self) {
        let length = match self.draw.below(20) {
            0 => self.draw.below(self.sizes.long),
            1..4 => self.draw.below(self.sizes.middle),
            _ => self.draw.below(100),
        };
        let byte = self.draw.below(256) as u8;
        self.put(vec![byte; length as usize], None);
    }

    pub fn put(&mut self, value: Vec<u8>, given: Option<Given>) {
        let record = common::put(&value);
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

    pub fn flush(&mut self) {
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

    pub fn step(&mut self) {
        match self.draw.below(47) {
            0..4 => self.flush(),
            4 => self.disk.fail_sync_after(self.draw.below(3)),
            5..8 if self.writer.check().is_err() => {
                // It replaces segments.
                self.watches.clear();
                if self.writer.heal().is_ok() {
                    self.durable = self.writer.progress().durable_number();
                    assert_eq!(self.durable, self.written.last().map_or(0, |last| last.0));
                }
            }
            8 => self
                .disk
                .set_room(Some(self.draw.below(3) * self.sizes.segment)),
            9..12 => self.disk.set_room(None),
            12..15 => {
                let directory = &self.options.directory;
                self.writer.progress().prepare(&self.disk, directory);
            }
            15..25 => self.write_in_pieces(),
            25 | 26 => self.watch(),
            27..31 => self.look(),
            31 => self.writer.commit(),
            _ => self.write(),
        }
    }

    /// Begins to read the last segment.
    fn watch(&mut self) {
        let place = self.writer.place();
        let path = self.options.directory.join(segment_name(place.sequence));
        self.watches.push(Watch {
            source: self.disk.source(&path).expect("the segment is there"),
            path,
            done: 0,
            end: place.offset,
        });
    }

    /// Reads on in a segment that may have been written to since, and compares with what is there by now.
    fn look(&mut self) {
        if self.watches.is_empty() {
            return;
        }
        let chosen = self.draw.below(self.watches.len() as u64) as usize;
        let watch = &mut self.watches[chosen];
        let end = watch
            .end
            .min(watch.done + self.draw.below(2 * self.sizes.segment));
        let mut found = Vec::new();
        read_part(&mut *watch.source, watch.done..end, &mut found).expect("the disk works");
        let mut now = self.disk.read(&watch.path).expect("the disk works").bytes;
        now.resize(now.len().max(end as usize), 0);
        let (from, to) = (watch.done as usize, end as usize);
        assert!(
            found == now[from..to],
            "bytes {from} to {to} of {}",
            watch.path.display()
        );
        watch.done = end;
        if watch.done == watch.end {
            self.watches.swap_remove(chosen);
        }
    }

    /// Ends the process, and perhaps the power too, and comes back.
    pub fn restart(&mut self) {
        let damage = match self.draw.below(5) {
            0 => Damage::Drop,
            1 => Damage::TearAnywhere,
            2 => Damage::Sectors(512),
            3 => Damage::Sectors(4096),
            _ => Damage::Keep,
        };
        self.watches.clear();
        if self.draw.below(4) == 0 {
            self.writer.close();
            self.durable = self.writer.progress().durable_number();
        }
        self.disk.end_process();
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

/// Reads a part of a segment. Behind its data there are zeros.
fn read_part(
    source: &mut dyn Source,
    part: std::ops::Range<u64>,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let bytes = part.end - part.start;
    while (out.len() as u64) < bytes {
        let at = part.start + out.len() as u64;
        if at >= source.data_end() {
            out.resize(bytes as usize, 0);
        } else {
            source.read(at, part.end - at, out)?;
        }
    }
    Ok(())
}

/// Runs a case: some steps, and a restart, four times.
pub fn run<D: FailingDisk>(seed: u64, disk: D, directory: &Path, sizes: Sizes) {
    let mut case = Case::new(seed, disk, directory, sizes);
    for _ in 0..4 {
        for _ in 0..case.draw.below(120) {
            case.step();
        }
        case.restart();
    }
}
