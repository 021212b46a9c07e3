//! Writes to a log for ever and tells what is durable, for a machine that is killed meanwhile.
//!
//! `acknowledged DIRECTORY` reads the log there first, checks that it has each change that was written, and prints
//! `recovered NUMBER PERSIST`, then the number of each change that is durable from then on.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use yggdrasil_core::keyspace::{Effect, Kind, Record, Value};
use yggdrasil_log::disk::{Disk, RealDisk};
use yggdrasil_log::{Each, Flusher, Recovery, Writer, WriterOptions};

const SEGMENT_BYTES: u64 = 1 << 20;
const FLUSH_INTERVAL: Duration = Duration::from_secs(60);

/// The value that the change with a number has: anybody can tell whether it is whole.
fn value_of(number: u64) -> Vec<u8> {
    let length = match number % 50 {
        0 => 200_000,
        1..10 => 3_000,
        _ => number * 37 % 400,
    };
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn record(value: &[u8]) -> Record<'_> {
    Record {
        db: 0,
        key: b"key",
        effect: Effect::Put {
            kind: Kind::String,
            value: Value::Bytes(value),
            expire_at: None,
            pinned_until: None,
        },
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.ok_or("usage: acknowledged DIRECTORY")?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
    let mut recovery = Recovery::scan(Arc::clone(&disk), &directory)?;
    let mut last = 0;
    let mut check = Each(|found: &Record<'_>, number| {
        assert_eq!(number, last + 1, "no change is missing");
        assert_eq!(*found, record(&value_of(number)), "a change is what it was");
        last = number;
        Ok(true)
    });
    recovery.step(u64::MAX / 2, &mut check)?;
    let end = recovery.found().end;
    let options = WriterOptions {
        directory: directory.clone(),
        segment_bytes: SEGMENT_BYTES,
        epoch: end.epoch + 1,
    };
    let mut writer = Writer::open(Arc::clone(&disk), options, &end)?;
    let progress = Arc::clone(writer.progress());
    println!("recovered {last} {}", progress.persist().name());
    let (tell, told) = channel();
    let shared = Arc::clone(&progress);
    let _flusher = Flusher::start(shared, disk, directory, FLUSH_INTERVAL, move || {
        // Who listens has gone at the end.
        let _ = tell.send(());
    })?;
    let mut out = io::stdout().lock();
    loop {
        for _ in 0..=last % 4 {
            last += 1;
            let value = value_of(last);
            let record = record(&value);
            writer.reserve(record.encoded_len())?;
            writer.change(last, &record);
        }
        writer.demand();
        while progress.durable_number() < last {
            writer.check()?;
            told.recv()?;
        }
        writeln!(out, "{last}")?;
        out.flush()?;
    }
}
