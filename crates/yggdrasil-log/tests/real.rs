//! A log on the disk of the machine.

use std::sync::Arc;

use yggdrasil_log::disk::{Disk, RealDisk};
use yggdrasil_log::{End, Given, Writer, WriterOptions};

mod common;

use common::{Directory, put};

#[test]
fn short_and_long_records_stand_side_by_side() {
    let directory = Directory::new("yggdrasil-log-real");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
    let options = WriterOptions {
        directory: directory.0.clone(),
        segment_bytes: 1 << 20,
        epoch: 1,
    };
    let mut writer = Writer::open(Arc::clone(&disk), options, &End::default()).expect("a new log");
    let values: Vec<Vec<u8>> = (0..60_u8)
        .map(|number| vec![number + 1; [7, 5_000, 20_000, 70_000][usize::from(number % 4)]])
        .collect();
    for (number, value) in (1..).zip(&values) {
        let record = put(value);
        writer.reserve(record.encoded_len()).expect("there is room");
        let is_given = value.len() > 65_536 && writer.piece(number, 0, &value[..65_536]);
        if is_given {
            let (draft, bytes) = (number, 65_536);
            writer.change_in_pieces(number, &record, Given { draft, bytes });
        } else {
            writer.change(number, &record);
        }
    }
    let progress = Arc::clone(writer.progress());
    progress
        .flush(&*disk, &directory.0)
        .expect("the disk works");
    let (found, end) = common::read(disk, &directory.0);
    assert!(found.into_iter().eq((1..).zip(values)));
    assert_eq!(end.torn_bytes, 0);
}

/// Writes changes with these values, of the numbers from `first` on, and leaves what is not durable where it is.
fn write(disk: &Arc<dyn Disk>, options: &WriterOptions, end: &End, first: u64, values: &[Vec<u8>]) {
    let mut writer = Writer::open(Arc::clone(disk), options.clone(), end).expect("the log");
    for (number, value) in (first..).zip(values) {
        let record = put(value);
        writer.reserve(record.encoded_len()).expect("there is room");
        writer.change(number, &record);
    }
}

/// The values that a log has, and its end.
fn read(directory: &Directory) -> (Vec<Vec<u8>>, End) {
    let (found, end) = common::read(Arc::new(RealDisk::default()), &directory.0);
    (found.into_iter().map(|(_, value)| value).collect(), end)
}

fn options_for(directory: &Directory, segment_bytes: u64) -> WriterOptions {
    WriterOptions {
        directory: directory.0.clone(),
        segment_bytes,
        epoch: 1,
    }
}

/// Begins a log with these values, of which no sync is asked for.
fn begin(directory: &Directory, segment_bytes: u64, values: &[Vec<u8>]) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
    let options = options_for(directory, segment_bytes);
    write(&disk, &options, &End::default(), 1, values);
}

#[test]
fn what_no_sync_has_reached_is_there_after_the_process() {
    let directory = Directory::new("yggdrasil-log-ended");
    let lengths = [0_usize, 3, 4_000, 4_096, 100, 30_000, 1];
    let mut values = Vec::new();
    for run in 0..20_u8 {
        let (there, end) = if run == 0 {
            (Vec::new(), End::default())
        } else {
            read(&directory)
        };
        assert!(there == values, "run {run}");
        let more: Vec<_> = lengths.iter().map(|length| vec![run; *length]).collect();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
        let options = WriterOptions {
            epoch: u64::from(run) + 1,
            ..options_for(&directory, 256 << 10)
        };
        write(&disk, &options, &end, end.number + 1, &more);
        values.extend(more);
    }
    assert!(read(&directory).0 == values);
    // What the ring has is put into the segments, once or more often.
    for _ in 0..2 {
        yggdrasil_log::disk::settle(&directory.0).expect("the disk works");
    }
    std::fs::remove_file(directory.0.join("tail")).expect("it is there");
    assert!(read(&directory).0 == values);
}

#[test]
fn more_than_the_ring_holds_is_written() {
    let directory = Directory::new("yggdrasil-log-round");
    let lengths = [900_000_usize, 40_000_000, 5, 70_000, 33_000_001];
    let values: Vec<_> = (1_u8..)
        .zip(lengths.iter().cycle())
        .take(12)
        .map(|(number, length)| vec![number; *length])
        .collect();
    begin(&directory, 16 << 20, &values);
    assert!(read(&directory).0 == values);
}

#[test]
fn the_ring_of_another_run_of_the_machine_is_not_believed() {
    let directory = Directory::new("yggdrasil-log-run");
    let values = vec![vec![1; 1_000]; 3];
    begin(&directory, 1 << 20, &values);
    assert_eq!(read(&directory).0.len(), 3);
    let tail = std::fs::OpenOptions::new()
        .write(true)
        .open(directory.0.join("tail"));
    std::os::unix::fs::FileExt::write_all_at(&tail.expect("it is there"), &[0xA5; 16], 8)
        .expect("the disk works");
    assert_eq!(
        read(&directory).0.len(),
        0,
        "the power was cut before any sync"
    );
}

#[test]
fn another_reader_makes_durable_what_a_dead_writer_has_left() {
    let directory = Directory::new("yggdrasil-log-left");
    let values = vec![vec![1; 1_000]; 3];
    begin(&directory, 1 << 20, &values);
    let segment = directory.0.join(yggdrasil_log::segment_name(1));
    let other = RealDisk::default().open(&segment).expect("it is there");
    other.syncer().sync().expect("the disk works");
    std::fs::remove_file(directory.0.join("tail")).expect("it is there");
    assert_eq!(read(&directory).0, values);
}
