//! Damage of the segments of a log: each is noticed, or takes nothing that was known to be durable, and nothing wrong is
//! ever handed on.
//!
//! `YGGDRASIL_DAMAGE_CASES` says how many cases are tried, `YGGDRASIL_DAMAGE_SEED` which are the first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use yggdrasil_core::keyspace::{Effect, Kind, Record, Value};
use yggdrasil_core::random::Random;
use yggdrasil_log::disk::{Disk, SimulatedDisk};
use yggdrasil_log::{
    Content, End, Entry, LogError, Outcome, Reader, Recovery, Writer, WriterOptions,
};

const CASES: u64 = 300;
const SEGMENT_BYTES: u64 = 8192;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn below(random: &mut Random, limit: usize) -> usize {
    (random.draw() % limit as u64) as usize
}

/// A record of a log: where it stands, and what it says.
#[derive(Clone, PartialEq, Debug)]
struct Told {
    sequence: u64,
    offset: u64,
    number: u64,
    content: Vec<u8>,
}

impl Told {
    fn new(entry: &Entry<'_>) -> Self {
        let mut content = vec![entry.frame.content.kind()];
        entry.frame.content.encode(&mut content);
        Self {
            sequence: entry.place.sequence,
            offset: entry.place.offset,
            number: entry.frame.number,
            content,
        }
    }
}

/// The records before the end of a log, or before an error.
fn read(disk: &SimulatedDisk, directory: &Path) -> (Vec<Told>, Result<End, LogError>) {
    let mut told = Vec::new();
    let mut reader = match Reader::open(Arc::new(disk.clone()), directory) {
        Ok(reader) => reader,
        Err(error) => return (told, Err(error)),
    };
    loop {
        match reader.read() {
            Ok(Some(entry)) => told.push(Told::new(&entry)),
            Ok(None) => return (told, Ok(reader.end())),
            Err(error) => return (told, Err(error)),
        }
    }
}

fn set(value: &[u8]) -> Record<'_> {
    Record {
        db: 0,
        key: b"a key",
        effect: Effect::Put {
            kind: Kind::String,
            value: Value::Bytes(value),
            expire_at: None,
            pinned_until: None,
        },
    }
}

/// Writes a log of several segments, with groups and commits, and tells where it is.
fn written(disk: &SimulatedDisk) -> PathBuf {
    let directory = PathBuf::from("/log");
    let options = WriterOptions {
        directory: directory.clone(),
        segment_bytes: SEGMENT_BYTES,
        epoch: 1,
    };
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut writer = Writer::open(shared, options, &End::default()).expect("a new log");
    for number in 1..=200_u64 {
        let value = vec![number as u8; (number % 13 * 40) as usize];
        let record = set(&value);
        writer.reserve(record.encoded_len()).expect("room");
        if number % 17 == 0 {
            let (coordinator, tag) = (0, number);
            writer.mark(&Content::Begin { coordinator, tag });
            writer.change(number, &record);
            let outcome = Outcome::Whole;
            writer.mark(&Content::End {
                coordinator,
                tag,
                outcome,
            });
        } else {
            writer.change(number, &record);
        }
        if number % 5 == 0 {
            let progress = Arc::clone(writer.progress());
            progress.flush(disk, &directory).expect("the disk is well");
        }
    }
    directory
}

/// The number of the last change that the commits say was durable, of those that stand in whole files and before damage.
fn known_durable(records: &[Told], is_damaged: impl Fn(&Told) -> bool) -> u64 {
    let commits = records
        .iter()
        .filter(|told| told.content[0] == 2 && !is_damaged(told));
    let numbers =
        commits.map(|told| u64::from_le_bytes(told.content[17..25].try_into().expect("8")));
    numbers.max().unwrap_or(0)
}

/// The bytes of a file that are not what they were, from an offset up to another.
type Hurt = (usize, usize, usize);

/// Changes files. True where that is to be noticed in any case.
fn damage(disk: &SimulatedDisk, files: &[PathBuf], random: &mut Random) -> (Vec<Hurt>, bool) {
    let index = below(random, files.len());
    let bytes = disk.read(&files[index]).expect("it is there").bytes;
    // Most of what is written stands in the first part.
    let place = below(random, bytes.len());
    match below(random, 5) {
        0 => {
            disk.corrupt(&files[index], |bytes| bytes[place] ^= 1 << below(random, 8));
            (vec![(index, place, place + 1)], false)
        }
        1 => {
            disk.corrupt(&files[index], |bytes| bytes.truncate(place));
            (vec![(index, 0, usize::MAX)], true)
        }
        2 => {
            let more = 1 + below(random, 5000);
            disk.corrupt(&files[index], |bytes| bytes.resize(bytes.len() + more, 7));
            (vec![(index, 0, usize::MAX)], true)
        }
        3 => {
            let end = (place + 1 + below(random, 4096)).min(bytes.len());
            disk.corrupt(&files[index], |bytes| bytes[place..end].fill(0));
            (vec![(index, place, end)], false)
        }
        _ => {
            let other = below(random, files.len());
            let others = disk.read(&files[other]).expect("it is there").bytes;
            disk.corrupt(&files[index], |bytes| bytes.clone_from(&others));
            disk.corrupt(&files[other], |now| now.clone_from(&bytes));
            let hurt = vec![(index, 0, usize::MAX), (other, 0, usize::MAX)];
            (hurt, index != other)
        }
    }
}

#[test]
fn damage_is_noticed_or_takes_nothing_that_is_known_to_be_durable() {
    let disk = SimulatedDisk::new();
    let directory = written(&disk);
    let (good, end) = read(&disk, &directory);
    assert_eq!(end.expect("it is whole").number, 200);
    let mut names = disk.list(&directory).expect("it is there");
    names.sort();
    let files: Vec<PathBuf> = names.iter().map(|name| directory.join(name)).collect();
    assert!(files.len() >= 5, "{files:?}");
    let originals: Vec<Vec<u8>> = files
        .iter()
        .map(|file| disk.read(file).expect("it is there").bytes)
        .collect();
    let seed = number("YGGDRASIL_DAMAGE_SEED", 0x00dd_ba11);
    let (mut noticed, mut cut, mut harmless) = (0, 0, 0);
    for seed in seed..seed + number("YGGDRASIL_DAMAGE_CASES", CASES) {
        let told = format!("YGGDRASIL_DAMAGE_SEED={seed} YGGDRASIL_DAMAGE_CASES=1");
        let (hurt, must_be_noticed) = damage(&disk, &files, &mut Random::new(seed));
        let (found, end) = read(&disk, &directory);
        assert!(
            good.starts_with(&found),
            "{told}: something else comes back"
        );
        let is_hurt = |record: &Told| {
            let bytes = record.content.len() as u64 + 31;
            hurt.iter().any(|(index, from, to)| {
                record.sequence == *index as u64 + 1
                    && (*from as u64) < record.offset + bytes
                    && record.offset < *to as u64
            })
        };
        let scanned = Recovery::scan(Arc::new(disk.clone()), &directory);
        assert_eq!(scanned.is_ok(), end.is_ok(), "{told}");
        assert!(
            end.is_err() || !must_be_noticed,
            "{told}: {hurt:?} goes unnoticed"
        );
        if end.is_err() {
            noticed += 1;
        } else {
            let last = found.iter().rev().find(|record| record.content[0] == 1);
            let last = last.map_or(0, |record| record.number);
            let durable = known_durable(&good, is_hurt);
            assert!(last >= durable, "{told}: {last} of {durable}: {hurt:?}");
            if found.len() < good.len() {
                cut += 1;
            } else {
                harmless += 1;
            }
        }
        for (index, ..) in hurt {
            disk.corrupt(&files[index], |bytes| bytes.clone_from(&originals[index]));
        }
    }
    println!("{noticed} noticed, {cut} taken for a torn tail, {harmless} without a consequence");
}
