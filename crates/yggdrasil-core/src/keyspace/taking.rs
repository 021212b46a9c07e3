//! Uses that a reader from outside makes of a value: it copies the value, holds it, or leaves it.

use crate::lease::{Holder, RunLease};

use super::layout::PAGE_WORDS;
use super::reader::{Failure, Found, ReadStamp, ShardReader};

/// Values from here on are checked before they are copied, not only afterwards.
const LARGE_VALUE: u64 = 1024;

/// Something to be done with a value before it is sure that what was read belongs together.
pub(super) trait Taking {
    fn take(
        &mut self,
        reader: &ShardReader,
        found: &Found,
        stamp: &ReadStamp,
    ) -> Result<(), Failure>;

    /// Forgets what was taken.
    fn undo(&mut self) {}

    /// True for who cannot make anything of another kind.
    fn wants_string(&self) -> bool {
        true
    }
}

/// Copies the value to the beginning of a vector, which grows as needed.
impl Taking for &mut Vec<u8> {
    #[inline(always)]
    fn take(
        &mut self,
        reader: &ShardReader,
        found: &Found,
        stamp: &ReadStamp,
    ) -> Result<(), Failure> {
        let bytes = found.header.value_bytes();
        if bytes >= LARGE_VALUE {
            reader.confirm(stamp).ok_or(Failure::Again)?;
        }
        if (self.len() as u64) < bytes {
            self.resize(bytes as usize, 0);
        }
        reader.copy_out(found, &mut self[..bytes as usize])
    }

    fn wants_string(&self) -> bool {
        false
    }
}

/// Copies the value to the beginning of a slice, if it fits.
impl Taking for &mut [u8] {
    #[inline(always)]
    fn take(
        &mut self,
        reader: &ShardReader,
        found: &Found,
        stamp: &ReadStamp,
    ) -> Result<(), Failure> {
        let bytes = found.header.value_bytes();
        if bytes >= LARGE_VALUE {
            reader.confirm(stamp).ok_or(Failure::Again)?;
        }
        match self.get_mut(..bytes as usize) {
            Some(target) => reader.copy_out(found, target),
            None => Ok(()),
        }
    }
}

/// Leaves a value that has a run of its own where it is.
pub(super) struct Small<T>(pub(super) T);

impl<T: Taking> Taking for Small<T> {
    #[inline(always)]
    fn take(
        &mut self,
        reader: &ShardReader,
        found: &Found,
        stamp: &ReadStamp,
    ) -> Result<(), Failure> {
        if found.can_be_held() {
            return Ok(());
        }
        self.0.take(reader, found, stamp)
    }
}

/// Integers go to the second place, all others to the first.
impl<T: Taking> Taking for (T, &mut [u8]) {
    #[inline(always)]
    fn take(
        &mut self,
        reader: &ShardReader,
        found: &Found,
        stamp: &ReadStamp,
    ) -> Result<(), Failure> {
        let (bytes, number) = self;
        if found.is_int() {
            number.take(reader, found, stamp)
        } else {
            bytes.take(reader, found, stamp)
        }
    }
}

/// Holds the run of a large value, and does the other thing with a smaller one.
pub(super) struct Hold<'h, T> {
    pub(super) holder: &'h mut Holder,
    pub(super) shard: usize,
    pub(super) small: T,
    pub(super) held: Option<RunLease>,
    /// There was no slot for the run.
    pub(super) refused: bool,
}

impl<T: Taking> Taking for Hold<'_, T> {
    fn take(
        &mut self,
        reader: &ShardReader,
        found: &Found,
        stamp: &ReadStamp,
    ) -> Result<(), Failure> {
        if !found.can_be_held() {
            return self.small.take(reader, found, stamp);
        }
        if !found.at.is_multiple_of(PAGE_WORDS) {
            return Err(Failure::Again);
        }
        let first_page = (found.at / PAGE_WORDS) as u32;
        self.held = self.holder.hold(self.shard, first_page);
        self.refused = self.held.is_none();
        Ok(())
    }

    fn undo(&mut self) {
        self.refused = false;
        if let Some(lease) = self.held.take() {
            self.holder.release(lease);
        }
    }
}
