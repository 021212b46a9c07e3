//! The ids of entries of streams.

use std::fmt;

use crate::keyspace::collection::map::MapKey;
use crate::keyspace::collection::wire::Wire;

/// An id: a time in milliseconds and a number within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct StreamId {
    pub milliseconds: u64,
    pub sequence: u64,
}

impl MapKey for StreamId {}

impl StreamId {
    pub const MIN: Self = Self::new(0, 0);
    pub const MAX: Self = Self::new(u64::MAX, u64::MAX);

    #[must_use]
    pub const fn new(milliseconds: u64, sequence: u64) -> Self {
        Self {
            milliseconds,
            sequence,
        }
    }

    /// Bytes of the longest text of an id.
    pub const TEXT_BYTES_MAX: usize = 41;

    /// The text, which is written to `buffer`.
    #[must_use]
    pub fn text(self, buffer: &mut [u8; Self::TEXT_BYTES_MAX]) -> &[u8] {
        let (mut first, mut second) = (itoa::Buffer::new(), itoa::Buffer::new());
        let first = first.format(self.milliseconds).as_bytes();
        let second = second.format(self.sequence).as_bytes();
        let dash = first.len();
        let end = dash + 1 + second.len();
        buffer[..dash].copy_from_slice(first);
        buffer[dash] = b'-';
        buffer[dash + 1..end].copy_from_slice(second);
        &buffer[..end]
    }

    /// The id behind this one, if it is not the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.sequence.checked_add(1) {
            Some(sequence) => Some(Self { sequence, ..self }),
            None => Some(Self::new(self.milliseconds.checked_add(1)?, 0)),
        }
    }

    /// The id before this one, if it is not the first.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        match self.sequence.checked_sub(1) {
            Some(sequence) => Some(Self { sequence, ..self }),
            None => Some(Self::new(self.milliseconds.checked_sub(1)?, u64::MAX)),
        }
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        out.extend(self.milliseconds.to_le_bytes());
        out.extend(self.sequence.to_le_bytes());
    }

    pub(super) fn read(wire: &mut Wire<'_>) -> Option<Self> {
        Some(Self::new(wire.u64()?, wire.u64()?))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_of_an_id_is_what_it_prints(milliseconds: u64, sequence: u64) {
            for id in [StreamId::new(milliseconds, sequence), StreamId::MIN, StreamId::MAX] {
                let mut buffer = [0; StreamId::TEXT_BYTES_MAX];
                let printed = id.to_string();
                prop_assert_eq!(id.text(&mut buffer), printed.as_bytes());
            }
        }
    }
}
