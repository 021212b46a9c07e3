//! The form of archived objects.
//!
//! ```text
//! "YGSEGMT1" or "YGTIMES1" | name_bytes: u16 | name | raw_bytes: u64 | zstd frame | BLAKE3 of all before
//! ```
//! The name is that of the object, so none can stand in the place of another.

use std::io::{self, Read};

/// Most bytes of what an object holds.
pub const RAW_BYTES_MAX: u64 = 1 << 36;
const MAGIC_BYTES: usize = 8;
const SUM_BYTES: usize = 32;
const LEVEL: i32 = 1;

/// The kind of what an archived object holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Segment,
    Times,
}

impl Kind {
    fn magic(self) -> &'static [u8; MAGIC_BYTES] {
        match self {
            Self::Segment => b"YGSEGMT1",
            Self::Times => b"YGTIMES1",
        }
    }
}

/// A fault of an archived object.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ArchiveFault {
    #[error("it is not there")]
    Missing,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it does not begin as an archived object of format 1")]
    Magic,
    #[error("it is that of another name")]
    Name,
    #[error("its {0} bytes before compression are more than it may have")]
    Raw(u64),
    #[error("it is compressed wrongly")]
    Compression,
    #[error("{0}")]
    Contents(String),
}

/// The bytes of an object.
pub fn seal(kind: Kind, name: &str, raw: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = kind.magic().to_vec();
    bytes.extend((name.len() as u16).to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend((raw.len() as u64).to_le_bytes());
    bytes.extend(zstd::bulk::compress(raw, LEVEL)?);
    let sum = blake3::hash(&bytes);
    bytes.extend_from_slice(sum.as_bytes());
    Ok(bytes)
}

/// Checks an object, and unpacks what it holds, of at most `raw_max` bytes.
///
/// # Errors
/// The bytes are not those of the object with this name.
pub fn open(kind: Kind, name: &str, bytes: &[u8], raw_max: u64) -> Result<Vec<u8>, ArchiveFault> {
    let checked = bytes.len().checked_sub(SUM_BYTES);
    let (checked, sum) = bytes.split_at(checked.ok_or(ArchiveFault::Magic)?);
    let rest = checked
        .strip_prefix(kind.magic())
        .ok_or(ArchiveFault::Magic)?;
    if blake3::hash(checked).as_bytes() != sum {
        return Err(ArchiveFault::Checksum);
    }
    let (len, rest) = rest.split_first_chunk().ok_or(ArchiveFault::Magic)?;
    let len = usize::from(u16::from_le_bytes(*len));
    let (named, rest) = rest.split_at_checked(len).ok_or(ArchiveFault::Magic)?;
    if named != name.as_bytes() {
        return Err(ArchiveFault::Name);
    }
    let (raw, frame) = rest.split_first_chunk().ok_or(ArchiveFault::Magic)?;
    let raw = u64::from_le_bytes(*raw);
    if raw > raw_max {
        return Err(ArchiveFault::Raw(raw));
    }
    // No memory is taken because of what a head claims.
    let mut unpacked = Vec::new();
    let reader = zstd::stream::read::Decoder::new(frame);
    let read = reader.and_then(|reader| reader.take(raw + 1).read_to_end(&mut unpacked));
    match read {
        Ok(_) if unpacked.len() as u64 == raw => Ok(unpacked),
        _ => Err(ArchiveFault::Compression),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_is_that_of_its_name_and_kind() {
        let bytes = seal(Kind::Segment, "segments/a", b"contents").unwrap();
        let opened = |kind, name, max| open(kind, name, &bytes, max);
        assert_eq!(
            opened(Kind::Segment, "segments/a", 8),
            Ok(b"contents".to_vec())
        );
        assert_eq!(
            opened(Kind::Segment, "segments/b", 8),
            Err(ArchiveFault::Name)
        );
        assert_eq!(
            opened(Kind::Times, "segments/a", 8),
            Err(ArchiveFault::Magic)
        );
        assert_eq!(
            opened(Kind::Segment, "segments/a", 7),
            Err(ArchiveFault::Raw(8))
        );
    }

    /// An object of the first format, as it was written. Later versions read it, too.
    #[test]
    fn the_first_format_stays_readable() {
        let golden = include_bytes!("../../tests/golden/archived-1");
        let opened = open(Kind::Times, "times/golden", golden, 1 << 20);
        assert_eq!(opened, Ok(b"what it holds".repeat(10)));
    }

    proptest! {
        #[test]
        fn one_damaged_byte_is_noticed(raw: Vec<u8>, place in any::<prop::sample::Index>(), flip in 1..=u8::MAX) {
            let mut bytes = seal(Kind::Times, "times/n", &raw).unwrap();
            prop_assert_eq!(open(Kind::Times, "times/n", &bytes, 1 << 20), Ok(raw));
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            prop_assert!(open(Kind::Times, "times/n", &bytes, 1 << 20).is_err());
            bytes.truncate(place);
            prop_assert!(open(Kind::Times, "times/n", &bytes, 1 << 20).is_err());
        }

        #[test]
        fn any_bytes_are_an_object_or_a_fault(bytes: Vec<u8>) {
            let _ = open(Kind::Segment, "n", &bytes, 1 << 20);
            let mut sealed = [Kind::Segment.magic(), &[1, 0, b'n'][..], &bytes].concat();
            let sum = blake3::hash(&sealed);
            sealed.extend_from_slice(sum.as_bytes());
            let _ = open(Kind::Segment, "n", &sealed, 1 << 20);
        }
    }
}
