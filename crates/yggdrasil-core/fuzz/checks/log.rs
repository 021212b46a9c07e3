//! Logs of any bytes: both readings find the same, and what was read can be gone on with.

use std::path::PathBuf;
use std::sync::Arc;

use yggdrasil_core::keyspace::Record;
use yggdrasil_log::disk::{Disk, SimulatedDisk};
use yggdrasil_log::{
    Each, Frame, HEADER_BYTES, RECORD_HEADER_BYTES, Recovery, SegmentHeader, Writer, WriterOptions,
    segment_name,
};

/// Bytes that stand for a segment that begins here.
pub const SEPARATOR: &[u8] = b"\x1aSEG";

/// Reads bytes as a record, and as the records of segments, whose checksums are right where the first byte is odd.
pub fn log(data: &[u8]) {
    if let Ok(frame) = Frame::decode(data, 0) {
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert_eq!(Frame::decode(&again, 0), Ok(frame));
    }
    let _ = SegmentHeader::decode(data, data.len() as u64);
    let Some((flags, data)) = data.split_first() else {
        return;
    };
    let (disk, directory) = (SimulatedDisk::new(), PathBuf::from("/log"));
    lay(&disk, &directory, data, flags & 1 != 0);
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let Ok(mut recovery) = Recovery::scan(Arc::clone(&shared), &directory) else {
        return;
    };
    let mut last = 0;
    let read = recovery.step(
        u64::MAX / 2,
        &mut Each(|_: &Record<'_>, number| {
            assert!(number > last, "numbers of changes rise");
            last = number;
            Ok(true)
        }),
    );
    let end = recovery.found().end;
    assert!(last <= end.number);
    if read.is_err() {
        return;
    }
    let options = WriterOptions {
        directory: directory.clone(),
        segment_bytes: 8192,
        epoch: end.epoch.saturating_add(1),
    };
    if Writer::open(Arc::clone(&shared), options, &end).is_ok() {
        let again = Recovery::scan(shared, &directory).expect("the log goes on");
        assert_eq!(again.found().changes, recovery.found().changes);
        assert_eq!(again.found().end.torn_bytes, 0);
    }
}

/// Writes segments whose heads are right.
fn lay(disk: &SimulatedDisk, directory: &std::path::Path, data: &[u8], seals: bool) {
    let mut pieces = Vec::new();
    let mut rest = data;
    while let Some(at) = rest
        .windows(SEPARATOR.len())
        .position(|bytes| bytes == SEPARATOR)
    {
        pieces.push(&rest[..at]);
        rest = &rest[at + SEPARATOR.len()..];
    }
    pieces.push(rest);
    let mut position = 0;
    for (piece, sequence) in pieces.into_iter().take(8).zip(1..) {
        let bytes = HEADER_BYTES + piece.len() as u64 + RECORD_HEADER_BYTES;
        let header = SegmentHeader {
            sequence,
            bytes,
            position,
            number: 0,
            epoch: 0,
            previous_end: 0,
        };
        position += bytes;
        let mut records = piece.to_vec();
        if seals {
            seal(&mut records);
        }
        let path = directory.join(segment_name(sequence));
        let mut area = disk.create(&path, bytes).expect("there is room");
        area.write(0, &header.encode());
        area.write(HEADER_BYTES, &records);
    }
}

/// Makes the checksums of records right, as far as their lengths lead from one to the next.
fn seal(records: &mut [u8]) {
    let mut at = 0;
    while let Some(record) = records.get_mut(at..) {
        let Some(length) = record.get(8..16) else {
            return;
        };
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes"));
        let Some(end) = length.checked_add(RECORD_HEADER_BYTES) else {
            return;
        };
        let Some(body) = usize::try_from(end).ok().and_then(|end| record.get(4..end)) else {
            return;
        };
        let sum = crc32c::crc32c(body);
        record[..4].copy_from_slice(&sum.to_le_bytes());
        at += end.next_multiple_of(8) as usize;
    }
}
