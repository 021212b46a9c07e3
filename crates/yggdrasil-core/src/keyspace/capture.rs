//! The requests of a shard, written down while a capture is taken: see [`yggdrasil_admission::simulator::capture`].

use yggdrasil_admission::simulator::capture::{Header, Kind, Record, SHIFT_MAX};

use super::types::{Key, Millis};

/// Bytes kept until they are taken: some hundred thousand requests.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Time without a poll after which a capture is abandoned. It is polled ten times a second.
const IDLE_MS: Millis = 10_000;
/// Tells equal keys of different databases apart: the golden ratio by 2^64.
const DATABASE_FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// The requests captured since the last call.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Captured {
    /// For [`Merge`](yggdrasil_admission::simulator::capture::Merge), with times in Unix us.
    pub bytes: Vec<u8>,
    /// Their number.
    pub requests: u64,
    /// Requests of the sample for which there was no room.
    pub dropped: u64,
    /// When this was taken, in Unix us.
    pub until_us: u64,
}

/// How much was captured at some moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct CaptureMark {
    bytes: usize,
    requests: u64,
    dropped: u64,
}

/// Records requests for a sample of the keys.
#[derive(Debug)]
pub(super) struct Capture {
    sample: Header,
    captured: Captured,
    unix_us: fn() -> u64,
    taken_at: Millis,
}

impl Capture {
    /// One key in `2^shift` is captured.
    pub(super) fn new(shift: u8, unix_us: fn() -> u64, now: Millis) -> Self {
        Self {
            sample: Header {
                shift: shift.min(SHIFT_MAX),
            },
            captured: Captured::default(),
            unix_us,
            taken_at: now,
        }
    }

    pub(super) fn shift(&self) -> u8 {
        self.sample.shift
    }

    pub(super) fn is_forgotten(&self, now: Millis) -> bool {
        now.saturating_sub(self.taken_at) > IDLE_MS
    }

    pub(super) fn take(&mut self, now: Millis) -> Captured {
        self.taken_at = now;
        self.captured.until_us = (self.unix_us)();
        std::mem::take(&mut self.captured)
    }

    pub(super) fn mark(&self) -> CaptureMark {
        CaptureMark {
            bytes: self.captured.bytes.len(),
            requests: self.captured.requests,
            dropped: self.captured.dropped,
        }
    }

    pub(super) fn return_to(&mut self, mark: CaptureMark) {
        self.captured.bytes.truncate(mark.bytes);
        (self.captured.requests, self.captured.dropped) = (mark.requests, mark.dropped);
    }

    pub(super) fn note_write(&mut self, key: &Key<'_>, bytes: u64) {
        self.note(key, Kind::Write, bytes);
    }

    pub(super) fn note_read(&mut self, key: &Key<'_>, bytes: u64) {
        self.note(key, Kind::Read, bytes);
    }

    /// Notes a request for an entry whose key and value have `bytes`; 0 for one that is not there.
    #[cold]
    fn note(&mut self, key: &Key<'_>, kind: Kind, bytes: u64) {
        let hash = key.hash ^ u64::from(key.db).wrapping_mul(DATABASE_FACTOR);
        if !self.sample.samples(hash) {
            return;
        }
        if self.captured.bytes.len() >= BYTES_MAX {
            self.captured.dropped += 1;
            return;
        }
        let time = (self.unix_us)();
        self.captured.bytes.extend_from_slice(&time.to_le_bytes());
        Record { hash, kind, bytes }.write(&mut self.captured.bytes);
        self.captured.requests += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hash: u64, db: u8) -> Key<'static> {
        Key {
            db,
            hash,
            bytes: b"",
        }
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut capture = Capture::new(0, || 5, 0);
        let each = 8 + 9;
        let fitting = BYTES_MAX.div_ceil(each) as u64;
        for hash in 0..fitting + 3 {
            capture.note(&key(hash, 0), Kind::Write, 40);
        }
        let first = capture.take(0);
        assert_eq!((first.requests, first.dropped), (fitting, 3));
        assert_eq!(first.bytes.len() as u64, fitting * each as u64);
        capture.note(&key(1, 0), Kind::Read, 0);
        let second = capture.take(0);
        assert_eq!((second.requests, second.dropped), (1, 0));
    }

    #[test]
    fn a_key_is_recorded_always_or_never_and_by_database() {
        let mut capture = Capture::new(3, || 5, 0);
        let mut captured = |hash, db, kind| {
            capture.note(&key(hash, db), kind, 100);
            capture.take(0)
        };
        let mut chosen = 0;
        for number in 0..800_u64 {
            let hash = number.wrapping_mul(0xD134_2543_DE82_EF95);
            let reads = captured(hash, 0, Kind::Read).requests;
            assert_eq!(reads, captured(hash, 0, Kind::Write).requests);
            chosen += reads;
        }
        assert!((60..140).contains(&chosen), "{chosen}");
        let mut all = Capture::new(0, || 5, 0);
        all.note(&key(7, 0), Kind::Read, 100);
        all.note(&key(7, 1), Kind::Read, 100);
        let bytes = all.take(0).bytes;
        let (first, second) = bytes.split_at(bytes.len() / 2);
        assert_eq!(first[..8], 5_u64.to_le_bytes());
        assert_ne!(first, second);
    }
}
