//! Runs that others look at, and what a reset leaves of them.

use std::convert::Infallible;
use std::io;

use crate::keyspace::bucket::{close, open};
use crate::keyspace::classes::CLASS_BYTES_MAX;
use crate::keyspace::entry::Header;
use crate::keyspace::layout::{Layout, PAGE_BYTES, PAGE_WORDS};
use crate::keyspace::types::Millis;
use crate::lease::{HolderId, Holders, LeasePage};
use crate::shm::Mapping;

use super::{Place, Shard};

/// The part of a value that is to change in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InPlace {
    /// Bytes behind its end.
    Behind,
    /// Some or all of its bytes.
    Inside,
}

impl Shard {
    /// Lets a process that reads from outside hold runs.
    pub fn add_guest(&mut self, id: HolderId, page: LeasePage) {
        self.arena.holders.add_guest(id, page);
    }

    /// Forgets such a process: what it holds can be used again.
    pub fn remove_guest(&mut self, id: HolderId) {
        self.arena.holders.remove_guest(id);
    }

    /// For how long a guest may hold the memory of a value that is gone, in milliseconds, before it is cut off.
    pub fn set_lease_age(&mut self, age_max: Millis) {
        self.lease_age_max = age_max;
    }

    /// Hands over what others have read of this shard since the last call: hash of the key and logical database. Both
    /// may be anything.
    pub fn drain_reports(&mut self, each: impl FnMut(u64, u8)) {
        self.arena.holders.drain_reports(each);
    }

    /// Counts what others have read as used, where the policy of eviction wants to know.
    pub fn note_reported_uses(&mut self, now: Millis) {
        let mut reported = std::mem::take(&mut self.reported);
        self.drain_reports(|hash, db| reported.push((hash, db)));
        for (hash, db) in reported.drain(..) {
            self.note_use(db, hash, now);
        }
        self.reported = reported;
    }

    /// Begins a change of an entry in its place. False, with nothing begun, when bytes of its value are to change that
    /// somebody looks at.
    pub(super) fn open_in_place(&mut self, place: &Place, change: InPlace) -> bool {
        open(&mut self.arena.mapping, place.home);
        let is_run = place.header.total_bytes() > CLASS_BYTES_MAX;
        // Who comes from now on finds the bucket changed.
        let must_stay = match change {
            InPlace::Behind => false,
            InPlace::Inside => is_run && self.arena.is_leased(place.at),
        };
        if must_stay {
            close(&mut self.arena.mapping, place.home);
            return false;
        }
        true
    }
}

/// Runs that are held, as first page and bytes: in order, apart from each other, and inside the segment. A holder may
/// have named anything.
pub(super) fn leased_runs(
    holders: &Holders,
    mapping: &Mapping,
    layout: &Layout,
) -> Vec<(u32, u64)> {
    let mut end = layout.first_data_page;
    let mut runs = Vec::new();
    for first in holders.leased() {
        let page = u64::from(first);
        if page < end || page >= layout.pages {
            continue;
        }
        let load = |n| Ok::<_, Infallible>(mapping.load(page * PAGE_WORDS + n));
        let Ok(header) = Header::load(load);
        let bytes = header.total_bytes();
        let behind = page.saturating_add(bytes.div_ceil(PAGE_BYTES));
        if header.kind().is_none() || bytes <= CLASS_BYTES_MAX || behind > layout.pages {
            continue;
        }
        runs.push((first, bytes));
        end = behind;
    }
    runs
}

/// Gives back all memory behind the header page but that of these runs.
pub(super) fn punch_around(runs: &[(u32, u64)], mapping: &mut Mapping) -> io::Result<()> {
    let mut from = PAGE_BYTES;
    for (first, bytes) in runs {
        let start = u64::from(*first) * PAGE_BYTES;
        if start > from {
            mapping.punch_hole(from, start - from)?;
        }
        from = start + bytes.next_multiple_of(PAGE_BYTES);
    }
    let end = mapping.bytes();
    if end > from {
        mapping.punch_hole(from, end - from)?;
    }
    Ok(())
}
