//! The bytes of a log: heads of segments, and records. `docs/formats.md` specifies them.

use crc32c::{crc32c, crc32c_append};

/// The version of the format that is written. Older ones are read.
pub const FORMAT_VERSION: u32 = 2;
/// Bytes of the head of a segment.
pub const HEADER_BYTES: u64 = 64;
/// Bytes of a record before its contents.
pub const RECORD_HEADER_BYTES: u64 = 32;
/// Records begin at multiples of it.
pub(crate) const ALIGNMENT: u64 = 8;

const MAGIC: [u8; 8] = *b"YggLog\x1a\n";
/// Begins the contents of a commit, by which they are found behind damage.
pub(crate) const COMMIT_MAGIC: [u8; 8] = *b"YggMark\x1a";
pub(crate) const COMMIT_BYTES: usize = 32;
/// Shards that may take part in a transaction.
const PARTS_MAX: usize = 64;

pub(crate) const CHANGE: u8 = 1;
const COMMIT: u8 = 2;
const BEGIN: u8 = 3;
const DECISION: u8 = 4;
const END: u8 = 5;
const SEALED: u8 = 6;
const SETTLED: u8 = 7;
pub(crate) const PIECE: u8 = 8;
pub(crate) const PIECED: u8 = 9;
const ABANDONED: u8 = 10;
const OPEN: u8 = 11;

/// A fault in the bytes of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FormatError {
    #[error("the file is no segment of a log")]
    NoSegment,
    #[error("the head of the segment does not fit its checksum")]
    Head,
    #[error("version {0} of the format is newer than this program, which knows {FORMAT_VERSION}")]
    Version(u32),
    #[error("the file has {found} bytes and should have {expected}")]
    Length { expected: u64, found: u64 },
    #[error("a record ends behind the end of its segment")]
    Long,
    #[error("a record does not fit its checksum")]
    Checksum,
    #[error("no record stands where one is expected")]
    Absent,
    #[error("a record of kind {0} is unknown")]
    Kind(u8),
    #[error("the contents of a record of kind {0} make no sense")]
    Contents(u8),
    #[error("a record comes from an earlier run than the one before it")]
    Stale,
    #[error("a record has a lower number than the one before it")]
    Order,
    #[error("pieces of a long value are missing")]
    Pieces,
}

/// The head of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// Its place among the segments of its shard: they are numbered in a row.
    pub sequence: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Where it begins in the log: bytes of all segments before it.
    pub position: u64,
    /// Number of the last change before it.
    pub number: u64,
    /// The run that wrote it.
    pub epoch: u64,
    /// The offset where the segment before it ends, whatever stands behind; 0 where a record there says so.
    pub previous_end: u64,
}

impl SegmentHeader {
    /// The bytes at the beginning of the file.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let words = [
            self.sequence,
            self.bytes,
            self.position,
            self.number,
            self.epoch,
            self.previous_end,
        ];
        for (place, word) in bytes[16..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32c(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the head of a file of `found` bytes.
    ///
    /// # Errors
    /// It is not that of a segment that can be read.
    pub fn decode(file: &[u8], found: u64) -> Result<Self, FormatError> {
        if found < HEADER_BYTES {
            let expected = HEADER_BYTES;
            return Err(FormatError::Length { expected, found });
        }
        let head: &[u8; HEADER_BYTES as usize] =
            file.first_chunk().ok_or(FormatError::NoSegment)?;
        if head[..8] != MAGIC {
            return Err(FormatError::NoSegment);
        }
        let mut bare = *head;
        bare[12..16].fill(0);
        if crc32c(&bare).to_le_bytes() != head[12..16] {
            return Err(FormatError::Head);
        }
        let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if version > FORMAT_VERSION {
            return Err(FormatError::Version(version));
        }
        let word = |place: usize| word_at(head, 16 + 8 * place);
        let header = Self {
            sequence: word(0),
            bytes: word(1),
            position: word(2),
            number: word(3),
            epoch: word(4),
            previous_end: word(5),
        };
        if header.bytes != found {
            let expected = header.bytes;
            return Err(FormatError::Length { expected, found });
        }
        Ok(header)
    }
}

/// The name of the file of a segment.
#[must_use]
pub fn segment_name(sequence: u64) -> String {
    format!("{sequence:016x}.log")
}

/// The place of a segment that has this name; `None` for the name of another file.
#[must_use]
pub fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    let sequence = u64::from_str_radix(digits, 16).ok()?;
    (segment_name(sequence) == name).then_some(sequence)
}

/// A mark that all before a place is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Number of the last change that is durable.
    pub number: u64,
    /// Bytes of the log that are.
    pub position: u64,
}

/// The outcome of a part of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Outcome {
    /// It counts where the log of the coordinator has the decision.
    Released = 1,
    /// It was undone: the records up to here say so, and count.
    Undone = 2,
    /// It did not count when the log was read, and its records are passed over.
    Dropped = 3,
    /// It counts: all of it is here.
    Whole = 4,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Released, Self::Undone, Self::Dropped, Self::Whole];
}

/// The decision that a transaction counts where all its parts are there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    pub tag: u64,
    /// Shards that it has changed, each with the number of its last change there.
    pub parts: Vec<(u16, u64)>,
}

/// The contents of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content<'a> {
    /// A change: `yggdrasil_core::keyspace::Record` reads it.
    Change(&'a [u8]),
    Commit(Commit),
    /// What follows belongs to a transaction over several shards.
    Begin {
        coordinator: u16,
        tag: u64,
    },
    Decision(Decision),
    /// What follows does not belong to it any more.
    End {
        coordinator: u16,
        tag: u64,
        outcome: Outcome,
    },
    /// The segment ends here.
    Sealed,
    /// What has become of all groups before is known and marked.
    Settled,
    /// Bytes of a long value whose change has not come yet, from an offset of the value on. They end what was there.
    Piece {
        draft: u64,
        offset: u64,
        bytes: &'a [u8],
    },
    /// A change of which some bytes stand in pieces before: between its head and its tail, `len` of them.
    Pieced {
        draft: u64,
        len: u64,
        head: &'a [u8],
        tail: &'a [u8],
    },
    /// The change of a long value does not come.
    Abandoned {
        draft: u64,
    },
    /// Pieces without their change stand in the segments from this one on. The first record of a segment.
    Open {
        sequence: u64,
    },
}

impl<'a> Content<'a> {
    /// True for what a reader needs that puts long values together.
    #[inline]
    pub(crate) fn is_of_pieces(&self) -> bool {
        matches!(
            self,
            Self::Piece { .. } | Self::Pieced { .. } | Self::Abandoned { .. } | Self::Settled
        )
    }

    /// The number that stands for the kind in the head of a record.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Change(_) => CHANGE,
            Self::Commit(_) => COMMIT,
            Self::Begin { .. } => BEGIN,
            Self::Decision(_) => DECISION,
            Self::End { .. } => END,
            Self::Sealed => SEALED,
            Self::Settled => SETTLED,
            Self::Piece { .. } => PIECE,
            Self::Pieced { .. } => PIECED,
            Self::Abandoned { .. } => ABANDONED,
            Self::Open { .. } => OPEN,
        }
    }

    /// Appends the bytes of the contents.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Change(bytes) => out.extend_from_slice(bytes),
            Self::Commit(commit) => {
                out.extend_from_slice(&COMMIT_MAGIC);
                out.extend_from_slice(&u64::from(FORMAT_VERSION).to_le_bytes());
                out.extend_from_slice(&commit.number.to_le_bytes());
                out.extend_from_slice(&commit.position.to_le_bytes());
            }
            Self::Begin { coordinator, tag } => {
                out.extend_from_slice(&tag.to_le_bytes());
                out.extend_from_slice(&coordinator.to_le_bytes());
            }
            Self::Decision(decision) => {
                out.extend_from_slice(&decision.tag.to_le_bytes());
                for (shard, number) in &decision.parts {
                    out.extend_from_slice(&shard.to_le_bytes());
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
            Self::End {
                coordinator,
                tag,
                outcome,
            } => {
                out.extend_from_slice(&tag.to_le_bytes());
                out.extend_from_slice(&coordinator.to_le_bytes());
                out.push(*outcome as u8);
            }
            Self::Sealed | Self::Settled => {}
            Self::Piece {
                draft,
                offset,
                bytes,
            } => {
                out.extend_from_slice(&draft.to_le_bytes());
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Pieced {
                draft,
                len,
                head,
                tail,
            } => {
                put_pieced(out, *draft, *len, head.len());
                out.extend_from_slice(head);
                out.extend_from_slice(tail);
            }
            Self::Abandoned { draft: word } | Self::Open { sequence: word } => {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
    }

    fn decode(kind: u8, bytes: &'a [u8]) -> Result<Self, FormatError> {
        let unsound = FormatError::Contents(kind);
        match kind {
            CHANGE => Ok(Self::Change(bytes)),
            COMMIT => {
                let is_whole = bytes.len() == COMMIT_BYTES && bytes[..8] == COMMIT_MAGIC;
                is_whole.then(|| commit_at(bytes)).ok_or(unsound)
            }
            BEGIN if bytes.len() == 10 => {
                let (coordinator, tag) = member(bytes);
                Ok(Self::Begin { coordinator, tag })
            }
            DECISION => decision(bytes).map(Self::Decision).ok_or(unsound),
            END if bytes.len() == 11 => {
                let (coordinator, tag) = member(bytes);
                let outcomes = Outcome::ALL;
                let mut named = outcomes.into_iter().filter(|one| *one as u8 == bytes[10]);
                let outcome = named.next().ok_or(unsound)?;
                Ok(Self::End {
                    coordinator,
                    tag,
                    outcome,
                })
            }
            SEALED if bytes.is_empty() => Ok(Self::Sealed),
            SETTLED if bytes.is_empty() => Ok(Self::Settled),
            PIECE if bytes.len() >= 16 => Ok(Self::Piece {
                draft: word_at(bytes, 0),
                offset: word_at(bytes, 8),
                bytes: &bytes[16..],
            }),
            PIECED => pieced(bytes).ok_or(unsound),
            ABANDONED if bytes.len() == 8 => Ok(Self::Abandoned {
                draft: word_at(bytes, 0),
            }),
            OPEN if bytes.len() == 8 => Ok(Self::Open {
                sequence: word_at(bytes, 0),
            }),
            BEGIN | END | SEALED | SETTLED | PIECE | ABANDONED | OPEN => Err(unsound),
            other => Err(FormatError::Kind(other)),
        }
    }
}

fn commit_at(bytes: &[u8]) -> Content<'_> {
    Content::Commit(Commit {
        number: word_at(bytes, 16),
        position: word_at(bytes, 24),
    })
}

/// Appends what stands before the head of a change in pieces.
pub(crate) fn put_pieced(out: &mut Vec<u8>, draft: u64, len: u64, head_bytes: usize) {
    out.extend_from_slice(&draft.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&(head_bytes as u64).to_le_bytes());
}

fn pieced(bytes: &[u8]) -> Option<Content<'_>> {
    let (words, rest) = bytes.split_at_checked(24)?;
    let (head, tail) = rest.split_at_checked(usize::try_from(word_at(words, 16)).ok()?)?;
    Some(Content::Pieced {
        draft: word_at(words, 0),
        len: word_at(words, 8),
        head,
        tail,
    })
}

fn member(bytes: &[u8]) -> (u16, u64) {
    (u16::from_le_bytes([bytes[8], bytes[9]]), word_at(bytes, 0))
}

fn decision(bytes: &[u8]) -> Option<Decision> {
    const PART_BYTES: usize = 10;
    let (tag, rest) = bytes.split_first_chunk()?;
    let parts = rest.chunks_exact(PART_BYTES);
    if !parts.remainder().is_empty() || parts.len() > PARTS_MAX {
        return None;
    }
    let part = |bytes: &[u8]| (u16::from_le_bytes([bytes[0], bytes[1]]), word_at(bytes, 2));
    Some(Decision {
        tag: u64::from_le_bytes(*tag),
        parts: parts.map(part).collect(),
    })
}

/// The number of eight bytes, which are there.
fn word_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// A record as it stands in a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    pub content: Content<'a>,
    /// Number of the change, or of the last one before.
    pub number: u64,
    pub epoch: u64,
    /// Bytes in the segment.
    pub bytes: u64,
}

/// Fills in the head at the beginning of a record, whose contents stand behind it and go on in a piece elsewhere.
#[inline]
pub(crate) fn seal_frame(kind: u8, number: u64, epoch: u64, frame: &mut [u8], piece: &[u8]) {
    let length = (frame.len() - RECORD_HEADER_BYTES as usize + piece.len()) as u64;
    frame[4..8].copy_from_slice(&[kind, 0, 0, 0]);
    frame[8..16].copy_from_slice(&length.to_le_bytes());
    frame[16..24].copy_from_slice(&number.to_le_bytes());
    frame[24..32].copy_from_slice(&epoch.to_le_bytes());
    let mut crc = crc32c(&frame[4..]);
    if !piece.is_empty() {
        crc = crc32c_append(crc, piece);
    }
    frame[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Bytes that a record with so many bytes of contents takes in a segment.
#[inline]
pub(crate) const fn frame_bytes(contents: u64) -> u64 {
    (RECORD_HEADER_BYTES + contents).next_multiple_of(ALIGNMENT)
}

impl<'a> Frame<'a> {
    /// Reads the record at an offset of a segment.
    ///
    /// # Errors
    /// No whole record stands there.
    pub fn decode(segment: &'a [u8], offset: u64) -> Result<Self, FormatError> {
        Self::read(segment, offset, true)
    }

    /// The same for a record whose checksum was looked at before.
    pub(crate) fn decode_checked(segment: &'a [u8], offset: u64) -> Result<Self, FormatError> {
        Self::read(segment, offset, false)
    }

    fn read(segment: &'a [u8], offset: u64, verifies: bool) -> Result<Self, FormatError> {
        let start = usize::try_from(offset).map_err(|_| FormatError::Long)?;
        let rest = segment.get(start..).ok_or(FormatError::Long)?;
        let header: &[u8; RECORD_HEADER_BYTES as usize] =
            rest.first_chunk().ok_or(FormatError::Long)?;
        if *header == [0; RECORD_HEADER_BYTES as usize] {
            return Err(FormatError::Absent);
        }
        let length = usize::try_from(word_at(header, 8)).map_err(|_| FormatError::Long)?;
        let end = length
            .checked_add(header.len())
            .and_then(|end| end.checked_next_multiple_of(ALIGNMENT as usize))
            .filter(|end| *end <= rest.len())
            .ok_or(FormatError::Long)?;
        let whole = &rest[..header.len() + length];
        let contents = &whole[header.len()..];
        let is_sound = || {
            let crc = crc32c(&whole[4..]);
            crc.to_le_bytes() == header[..4] && header[5..8] == [0; 3]
        };
        if verifies && !is_sound() {
            return Err(FormatError::Checksum);
        }
        Ok(Self {
            content: Content::decode(header[4], contents)?,
            number: word_at(header, 16),
            epoch: word_at(header, 24),
            bytes: end as u64,
        })
    }

    /// Bytes of the record that seems to begin here, as far as its head is there; of its head where that is not.
    #[inline]
    pub(crate) fn bytes_wanted(rest: &[u8]) -> u64 {
        let head: Option<&[u8; RECORD_HEADER_BYTES as usize]> = rest.first_chunk();
        let length = head.map_or(0, |head| word_at(head, 8));
        let bytes = length.checked_add(RECORD_HEADER_BYTES + ALIGNMENT);
        bytes.map_or(u64::MAX, |_| frame_bytes(length))
    }

    /// The contents of what looks like a change at an offset, if it is one, and the offset behind it. Nothing is checked,
    /// so nothing may be believed.
    pub(crate) fn glance(segment: &[u8], offset: u64) -> Option<(Option<&[u8]>, u64)> {
        let rest = segment.get(usize::try_from(offset).ok()?..)?;
        let header: &[u8; RECORD_HEADER_BYTES as usize] = rest.first_chunk()?;
        let length = usize::try_from(word_at(header, 8)).ok()?;
        let contents = rest[header.len()..].get(..length)?;
        let change = Some(contents).filter(|_| header[4] == CHANGE);
        Some((change, offset + frame_bytes(length as u64)))
    }

    /// Appends the record, as a segment has it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; RECORD_HEADER_BYTES as usize]);
        self.content.encode(out);
        let kind = self.content.kind();
        seal_frame(kind, self.number, self.epoch, &mut out[start..], b"");
        let length = (out.len() - start).next_multiple_of(ALIGNMENT as usize);
        out.resize(start + length, 0);
    }
}

/// Bytes of the record of a commit.
pub(crate) const COMMIT_RECORD_BYTES: usize = RECORD_HEADER_BYTES as usize + COMMIT_BYTES;

/// The last valid commit among bytes of a segment, wherever it stands.
pub(crate) fn last_commit(bytes: &[u8]) -> Option<Commit> {
    let finder = memchr::memmem::FinderRev::new(&COMMIT_MAGIC);
    let found = finder.rfind_iter(bytes);
    found
        .filter_map(|at| {
            let record = (at as u64).checked_sub(RECORD_HEADER_BYTES)?;
            match Frame::decode(bytes, record).ok()?.content {
                Content::Commit(commit) => Some(commit),
                _ => None,
            }
        })
        .next()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contents() -> Vec<Content<'static>> {
        let (coordinator, tag) = (3, 1 << 40 | 7);
        let commit = Commit {
            number: 5,
            position: 4096,
        };
        let parts = vec![(0, 17), (63, u64::MAX)];
        let end = |outcome| Content::End {
            coordinator,
            tag,
            outcome,
        };
        vec![
            Content::Change(b"some change"),
            Content::Change(b""),
            Content::Commit(commit),
            Content::Begin { coordinator, tag },
            Content::Decision(Decision { tag, parts }),
            end(Outcome::Released),
            end(Outcome::Undone),
            end(Outcome::Dropped),
            end(Outcome::Whole),
            Content::Sealed,
            Content::Settled,
            Content::Piece {
                draft: 7,
                offset: 1 << 33,
                bytes: b"some bytes",
            },
            Content::Pieced {
                draft: 7,
                len: 1 << 33,
                head: b"the head",
                tail: b"and the tail",
            },
            Content::Abandoned { draft: 7 },
            Content::Open { sequence: 9 },
        ]
    }

    #[test]
    fn records_come_back() {
        for content in contents() {
            let mut bytes = vec![0; 8];
            let frame = Frame {
                content,
                number: 12,
                epoch: 3,
                bytes: 0,
            };
            frame.encode(&mut bytes);
            let length = bytes.len() as u64 - 8;
            let frame = Frame {
                bytes: length,
                ..frame
            };
            assert_eq!(Frame::decode(&bytes, 8), Ok(frame));
            for cut in 8..bytes.len() - 8 {
                assert!(Frame::decode(&bytes[..cut], 8).is_err());
            }
        }
    }

    #[test]
    fn each_changed_bit_is_noticed() {
        for content in contents() {
            let mut bytes = Vec::new();
            let frame = Frame {
                content,
                number: 12,
                epoch: 3,
                bytes: 0,
            };
            frame.encode(&mut bytes);
            let mut contents = Vec::new();
            frame.content.encode(&mut contents);
            let checked = RECORD_HEADER_BYTES as usize + contents.len();
            for bit in 0..checked * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(Frame::decode(&bytes, 0).is_err(), "bit {bit} of {frame:?}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn heads_of_segments_come_back_and_notice_changes() {
        let header = SegmentHeader {
            sequence: 1,
            bytes: 4096,
            position: 2,
            number: 3,
            epoch: 4,
            previous_end: 5,
        };
        let mut file = header.encode().to_vec();
        file.resize(4096, 0);
        assert_eq!(SegmentHeader::decode(&file, 4096), Ok(header));
        for bit in 0..HEADER_BYTES as usize * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&file, 4096).is_err(), "bit {bit}");
            file[bit / 8] ^= 1 << (bit % 8);
        }
        let error = SegmentHeader::decode(&file, 4000);
        let (expected, found) = (4096, 4000);
        assert_eq!(error, Err(FormatError::Length { expected, found }));
        assert_eq!(
            SegmentHeader::decode(&file[..40], 40),
            Err(FormatError::Length {
                expected: HEADER_BYTES,
                found: 40
            })
        );
    }

    #[test]
    fn names_name_segments_both_ways() {
        assert_eq!(segment_name(26), "000000000000001a.log");
        assert_eq!(sequence_of("000000000000001a.log"), Some(26));
        for other in [
            "1a.log",
            "000000000000001A.log",
            "x.log",
            "000000000000001a.log.new",
        ] {
            assert_eq!(sequence_of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_be_read(mut bytes: Vec<u8>, kind in 0_u8..13, length in 0_u64..64) {
            let _ = SegmentHeader::decode(&bytes, 4096);
            let _ = Frame::decode(&bytes, 0);
            let contents = bytes.clone();
            let _ = Content::decode(kind, &contents);
            bytes.splice(0..0, [0; RECORD_HEADER_BYTES as usize]);
            seal_frame(kind, length, 1, &mut bytes, b"");
            bytes.extend([0; 8]);
            if let Ok(frame) = Frame::decode(&bytes, 0) {
                let mut again = Vec::new();
                frame.encode(&mut again);
                prop_assert_eq!(&again[..], &bytes[..again.len()]);
            }
        }
    }
}
