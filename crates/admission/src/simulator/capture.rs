//! Captures: what a node was asked for, as it writes it down on request.
//!
//! ```text
//! header    "YGGCAP" | version: u8 = 1 | shift: u8      one key in 2^shift is recorded, chosen by its hash
//! record    hash: u64 | kind and bytes: varint           bytes << 1 | kind, 7 bits a byte, low bits first
//! ```
//! Numbers are little-endian. Kind 0 is a read, whose bytes are those of key and value, 0 where the key was not there;
//! kind 1 is a write. All requests for a key are recorded, or none.

use std::collections::VecDeque;

pub const MAGIC: [u8; 6] = *b"YGGCAP";
pub const VERSION: u8 = 1;
pub const HEADER_BYTES: usize = 8;
/// A sample of less than one key in a million tells nothing.
pub const SHIFT_MAX: u8 = 20;

const VARINT_BYTES_MAX: usize = 9;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub shift: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Read = 0,
    Write = 1,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    pub hash: u64,
    pub kind: Kind,
    /// At most 2^62 - 1.
    pub bytes: u64,
}

impl Header {
    pub fn write(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..6].copy_from_slice(&MAGIC);
        (bytes[6], bytes[7]) = (VERSION, self.shift);
        bytes
    }

    /// Whether the requests for a key are recorded.
    #[inline]
    pub fn samples(self, hash: u64) -> bool {
        // Not the bits that place the key in an index or a sketch.
        let mixed = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.shift == 0 || (mixed ^ mixed >> 33) << (64 - u32::from(self.shift)) == 0
    }

    /// None where more bytes are needed.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, String> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err("expected a capture, which begins with YGGCAP".into());
        }
        if bytes.len() < HEADER_BYTES {
            return Ok(None);
        }
        if bytes[6] != VERSION {
            return Err(format!(
                "expected a capture of version {VERSION}, found version {}",
                bytes[6]
            ));
        }
        if bytes[7] > SHIFT_MAX {
            return Err(format!(
                "expected a sample of at least one key in 2^{SHIFT_MAX}, found one in 2^{}",
                bytes[7]
            ));
        }
        Ok(Some(Self { shift: bytes[7] }))
    }
}

impl Record {
    /// Appends the record.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.to_le_bytes());
        let mut rest = self.bytes << 1 | self.kind as u64;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }

    /// The first record and its length; None where more bytes are needed.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let Some((hash, rest)) = bytes.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let mut value = 0;
        for (count, byte) in rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * count);
            if byte & 0x80 == 0 {
                let record = Self {
                    hash: u64::from_le_bytes(*hash),
                    kind: if value & 1 == 0 {
                        Kind::Read
                    } else {
                        Kind::Write
                    },
                    bytes: value >> 1,
                };
                return Ok(Some((record, 8 + count + 1)));
            }
        }
        if rest.len() < VARINT_BYTES_MAX {
            return Ok(None);
        }
        Err(format!(
            "expected a number of at most {VARINT_BYTES_MAX} bytes"
        ))
    }
}

/// Length of the first record, without looking at what it says. None where it is not whole.
fn record_len(bytes: &[u8]) -> Option<usize> {
    let last = bytes.get(8..)?.iter().position(|byte| byte & 0x80 == 0)?;
    Some(8 + last + 1)
}

/// Brings records of several workers into one order. What a worker hands over is `time: u64 | record`, again and again,
/// the time in any unit that the workers share.
#[derive(Clone, Debug, Default)]
pub struct Merge {
    waiting: Vec<VecDeque<u8>>,
}

impl Merge {
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            waiting: vec![VecDeque::new(); workers],
        }
    }

    /// Takes what a worker has recorded since the last time, in its order.
    pub fn add(&mut self, worker: usize, timed: &[u8]) {
        self.waiting[worker].extend(timed);
    }

    /// Appends the records that were made before `until`, in the order of their times.
    pub fn take(&mut self, until: u64, out: &mut Vec<u8>) {
        for waiting in &mut self.waiting {
            waiting.make_contiguous();
        }
        let mut rests: Vec<&[u8]> = self.waiting.iter().map(|one| one.as_slices().0).collect();
        let first = |rests: &[&[u8]]| {
            let times = rests.iter().enumerate().filter_map(|(worker, rest)| {
                let (time, record) = rest.split_first_chunk::<8>()?;
                Some((u64::from_le_bytes(*time), worker, record_len(record)?))
            });
            times.min().filter(|(time, ..)| *time < until)
        };
        while let Some((_, worker, length)) = first(&rests) {
            let (taken, rest) = rests[worker][8..].split_at(length);
            out.extend_from_slice(taken);
            rests[worker] = rest;
        }
        let left: Vec<usize> = rests.iter().map(|rest| rest.len()).collect();
        for (waiting, left) in self.waiting.iter_mut().zip(left) {
            waiting.drain(..waiting.len() - left);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_are_read_as_written(hash: u64, write: bool, bytes in 0..1u64 << 62) {
            let kind = if write { Kind::Write } else { Kind::Read };
            let record = Record { hash, kind, bytes };
            let mut out = Vec::new();
            record.write(&mut out);
            prop_assert_eq!(Record::read(&out), Ok(Some((record, out.len()))));
            for end in 0..out.len() {
                prop_assert_eq!(Record::read(&out[..end]), Ok(None));
            }
        }
    }

    proptest! {
        #[test]
        fn records_of_workers_are_brought_into_the_order_of_their_times(
            times in proptest::collection::vec((0..3_usize, 0..1000_u64), 0..200),
            pauses in proptest::collection::vec(0..1000_u64, 0..5),
        ) {
            let mut times = times;
            times.sort_unstable_by_key(|(_, time)| *time);
            let mut pauses = pauses;
            pauses.sort_unstable();
            pauses.push(u64::MAX);
            let (mut merge, mut out, mut given) = (Merge::new(3), Vec::new(), 0);
            for until in pauses {
                // Some workers are ahead of the others when they are asked.
                while given < times.len() && times[given].1 < until.saturating_add(50) {
                    let (worker, time) = times[given];
                    let mut timed = time.to_le_bytes().to_vec();
                    let (hash, kind) = (worker as u64, Kind::Read);
                    Record { hash, kind, bytes: time }.write(&mut timed);
                    merge.add(worker, &timed);
                    given += 1;
                }
                merge.take(until, &mut out);
            }
            let (mut rest, mut found) = (&out[..], Vec::new());
            while let Some((record, taken)) = Record::read(rest).unwrap() {
                found.push((record.hash as usize, record.bytes));
                rest = &rest[taken..];
            }
            prop_assert!(found.is_sorted_by_key(|(_, time)| *time));
            times.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(found, times);
        }
    }

    #[test]
    fn headers_are_checked() {
        let header = Header { shift: 7 };
        assert_eq!(Header::read(&header.write()), Ok(Some(header)));
        assert_eq!(Header::read(b"YGG"), Ok(None));
        assert!(Header::read(b"x").unwrap_err().contains("YGGCAP"));
        assert!(
            Header::read(b"YGGCAP\x02\x00")
                .unwrap_err()
                .contains("found version 2")
        );
        assert!(
            Header::read(b"YGGCAP\x01\xff")
                .unwrap_err()
                .contains("2^255")
        );
    }

    #[test]
    fn a_sample_has_its_share_of_the_keys() {
        let header = Header { shift: 4 };
        let chosen = (0..160_000u64)
            .filter(|key| header.samples(crate::simulator::trace::hash_number(*key)))
            .count();
        assert!((9_000..11_000).contains(&chosen), "{chosen}");
        assert!((0..100).all(|key| Header { shift: 0 }.samples(key)));
    }
}
