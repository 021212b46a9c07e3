//! The index of the owner: placing and removing refs, splitting and merging buckets.

use crate::keyspace::arena::Limit;
use crate::keyspace::bucket::{
    LAST, Line, PLACES, clear, close, fingerprint, line_fingerprint, line_reference, open,
    set_place, set_reference,
};
use crate::keyspace::database::{BUCKETS_MIN, Database};
use crate::keyspace::layout::{
    BLOCK_BYTES, BUCKET_WORDS, LINK, PAGE_BUCKETS, State, bucket_mask, parent_bucket,
};
use crate::keyspace::slot::SLOTS;
use crate::keyspace::types::{KeyspaceError, hash_key};

use super::{Place, Shard};

/// Memory that splits and merges work on, kept so that they need not allocate.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    staying: Vec<(u8, u64)>,
    moving: Vec<(u8, u64)>,
    lines: Vec<u64>,
}

/// Room for one more entry in the index.
#[derive(Debug)]
#[must_use = "an overflow bucket may have been allocated for it"]
pub(super) struct Spot {
    home: u64,
    /// The last bucket of the chain.
    line: u64,
    place: SpotPlace,
}

#[derive(Debug)]
enum SpotPlace {
    Free(u32),
    /// The chain is full: an overflow bucket that is not linked yet.
    Overflow(u64),
}

/// Overflow buckets that a number of refs needs.
fn overflow_lines(refs: usize) -> usize {
    refs.saturating_sub(2) / LAST as usize
}

impl Shard {
    /// Finds room for one more entry in the chain of a bucket. Nothing else may change there before it is taken.
    pub(super) fn find_spot(&mut self, physical: u8, hash: u64) -> Result<Spot, KeyspaceError> {
        let home = self.databases[usize::from(physical)].home(hash);
        let mut line = home;
        while let Some(next) = self.next_line(line) {
            line = next;
        }
        let contents: Line = self.arena.mapping.load_line(line);
        let place = match (0..PLACES).find(|place| line_reference(&contents, *place) == 0) {
            Some(place) => SpotPlace::Free(place),
            None => {
                SpotPlace::Overflow(self.obtain(|arena| arena.allocate_bucket(Limit::Respect))?)
            }
        };
        Ok(Spot { home, line, place })
    }

    /// Hangs an entry on its bucket.
    pub(super) fn attach(&mut self, spot: Spot, hash: u64, at: u64) {
        let Spot { home, line, place } = spot;
        match place {
            SpotPlace::Free(place) => {
                open(&mut self.arena.mapping, home);
                set_place(&mut self.arena.mapping, line, place, fingerprint(hash), at);
                close(&mut self.arena.mapping, home);
            }
            SpotPlace::Overflow(overflow) => self.attach_overflow(home, line, overflow, hash, at),
        }
    }

    /// Adds an overflow bucket behind a full one; the last place there moves into it to make room for the link.
    #[cold]
    fn attach_overflow(&mut self, home: u64, full: u64, line: u64, hash: u64, at: u64) {
        let mapping = &mut self.arena.mapping;
        let contents: Line = mapping.load_line(full);
        clear(mapping, line, false);
        set_place(
            mapping,
            line,
            0,
            line_fingerprint(&contents, LAST),
            line_reference(&contents, LAST),
        );
        set_place(mapping, line, 1, fingerprint(hash), at);
        open(mapping, home);
        set_place(mapping, full, LAST, 0, line | LINK);
        close(mapping, home);
    }

    /// Names another entry in the place of the old one.
    pub(super) fn reattach(&mut self, place: &Place, at: u64) {
        let mapping = &mut self.arena.mapping;
        open(mapping, place.home);
        set_reference(mapping, place.line, place.place, at);
        close(mapping, place.home);
    }

    /// Takes a ref out; the last one of the chain fills the gap.
    pub(super) fn detach(&mut self, place: &Place) {
        let mut last = place.line;
        while let Some(next) = self.next_line(last) {
            last = next;
        }
        let contents: Line = self.arena.mapping.load_line(last);
        let filled = (0..PLACES)
            .rev()
            .find(|place| line_reference(&contents, *place) != 0)
            .expect("a bucket that is not the only one of its chain is not empty");
        // Two refs in an overflow bucket: the one that stays goes where the link was.
        let dissolved =
            (last != place.home && filled == 1).then(|| self.line_before(place.home, last));
        let mapping = &mut self.arena.mapping;
        open(mapping, place.home);
        let moved = (
            line_fingerprint(&contents, filled),
            line_reference(&contents, filled),
        );
        set_place(mapping, place.line, place.place, moved.0, moved.1);
        set_place(mapping, last, filled, 0, 0);
        if let Some(before) = dissolved {
            let contents: Line = mapping.load_line(last);
            set_place(
                mapping,
                before,
                LAST,
                line_fingerprint(&contents, 0),
                line_reference(&contents, 0),
            );
        }
        close(mapping, place.home);
        if dissolved.is_some() {
            self.arena.release_bucket(last);
        }
    }

    fn line_before(&self, home: u64, line: u64) -> u64 {
        let mut before = home;
        while let Some(next) = self.next_line(before).filter(|next| *next != line) {
            before = next;
        }
        before
    }

    /// Gives a database its first buckets.
    pub(super) fn ensure_buckets(&mut self, physical: u8) -> Result<(), KeyspaceError> {
        if self.databases[usize::from(physical)].buckets() != 0 {
            return Ok(());
        }
        let page = self.obtain(|arena| arena.allocate_index_page())?;
        self.add_index_page(physical, page);
        let database = &mut self.databases[usize::from(physical)];
        if database.slot_counts.is_none() {
            database.slot_counts = Some(vec![0; usize::from(SLOTS)].into_boxed_slice());
            self.arena.fixed_bytes += u64::from(SLOTS) * size_of::<u32>() as u64;
        }
        database.set_buckets(BUCKETS_MIN);
        for bucket in 0..BUCKETS_MIN {
            let line = database.bucket(bucket);
            clear(&mut self.arena.mapping, line, false);
        }
        self.publish_state(physical, BUCKETS_MIN, false);
        Ok(())
    }

    fn add_index_page(&mut self, physical: u8, page: u32) {
        let database = &mut self.databases[usize::from(physical)];
        let index = database.pages.len() as u64;
        database.pages.push(page);
        let (word, shift) = self.arena.layout.directory(physical, index);
        let old = self.arena.mapping.load(word);
        let mask = u64::from(u32::MAX) << shift;
        self.arena
            .mapping
            .store(word, old & !mask | u64::from(page) << shift);
        let touched = &mut self.directory_blocks[usize::from(physical)];
        let blocks = ((index + 1) * 4).div_ceil(BLOCK_BYTES);
        if blocks > *touched {
            self.arena.fixed_bytes += (blocks - *touched) * BLOCK_BYTES;
            *touched = blocks;
        }
    }

    /// Splits buckets as long as there are too many keys for them, a few at most. Without memory it waits for better
    /// times: the buckets overflow meanwhile.
    #[inline]
    pub(super) fn grow(&mut self, physical: u8) {
        const AT_ONCE: usize = 2;
        for _ in 0..AT_ONCE {
            if !self.databases[usize::from(physical)].wants_split() || !self.split(physical) {
                return;
            }
        }
    }

    /// Makes the buckets that so many keys of a database are going to need, while there are few: later ones would be split
    /// with keys in them. Without memory for them they come as they are needed.
    pub fn expect_keys(&mut self, physical: u8, keys: u64) {
        let databases = self.databases.len();
        while usize::from(physical) < databases {
            let database = &self.databases[usize::from(physical)];
            if !database.would_split(keys) || database.buckets() == 0 || !self.split(physical) {
                return;
            }
        }
    }

    fn split(&mut self, physical: u8) -> bool {
        let Some(created) = self.room_for_bucket(physical) else {
            return false;
        };
        let database = &self.databases[usize::from(physical)];
        let (buckets, home) = (
            database.buckets(),
            database.bucket(parent_bucket(database.buckets())),
        );
        let mut scratch = std::mem::take(&mut self.scratch);
        self.gather(home, &mut scratch.staying, &mut scratch.lines);
        for (_, at) in &scratch.staying {
            self.arena.mapping.prefetch(at * 8);
        }
        let bit = 1 << buckets.ilog2();
        let Scratch {
            staying, moving, ..
        } = &mut scratch;
        staying.retain(|entry| {
            let stays = self.hash_of(entry.1) & bit == 0;
            if !stays {
                moving.push(*entry);
            }
            stays
        });
        // Two chains never need more overflow buckets than the one had that they come from.
        open(&mut self.arena.mapping, home);
        clear(&mut self.arena.mapping, created, false);
        self.write_chain(created, &scratch.moving, &mut scratch.lines);
        clear(&mut self.arena.mapping, home, true);
        self.write_chain(home, &scratch.staying, &mut scratch.lines);
        self.databases[usize::from(physical)].set_buckets(buckets + 1);
        self.publish_state(physical, buckets + 1, false);
        close(&mut self.arena.mapping, home);
        self.counters.splits += 1;
        self.put_back(scratch);
        true
    }

    /// Room for one bucket more: its position.
    fn room_for_bucket(&mut self, physical: u8) -> Option<u64> {
        let database = &self.databases[usize::from(physical)];
        let bucket = database.buckets();
        if bucket == State::BUCKETS_MAX {
            return None;
        }
        if bucket.is_multiple_of(PAGE_BUCKETS) {
            let page = self.arena.allocate_index_page().ok()?;
            self.add_index_page(physical, page);
        } else {
            let page = database.pages[(bucket / PAGE_BUCKETS) as usize];
            let end = (bucket % PAGE_BUCKETS + 1) * BUCKET_WORDS * 8;
            self.arena
                .touch_index(page, end.div_ceil(BLOCK_BYTES) as u32)
                .ok()?;
        }
        Some(self.databases[usize::from(physical)].bucket(bucket))
    }

    /// Merges the last bucket into the one it once came from. False when there is no reason or no memory to.
    pub(super) fn merge(&mut self, physical: u8) -> bool {
        let database = &self.databases[usize::from(physical)];
        if !database.wants_merge() {
            return false;
        }
        let last = database.buckets() - 1;
        let (home, child) = (database.bucket(parent_bucket(last)), database.bucket(last));
        let mut scratch = std::mem::take(&mut self.scratch);
        self.gather(home, &mut scratch.staying, &mut scratch.lines);
        self.gather(child, &mut scratch.staying, &mut scratch.lines);
        let had = scratch.lines.len();
        while scratch.lines.len() < overflow_lines(scratch.staying.len()) {
            let Ok(line) = self.arena.allocate_bucket(Limit::Respect) else {
                scratch.lines.drain(..had);
                self.put_back(scratch);
                return false;
            };
            scratch.lines.push(line);
        }
        self.databases[usize::from(physical)].set_buckets(last);
        open(&mut self.arena.mapping, home);
        self.publish_state(physical, last, true);
        clear(&mut self.arena.mapping, home, true);
        self.write_chain(home, &scratch.staying, &mut scratch.lines);
        close(&mut self.arena.mapping, home);
        if last.is_multiple_of(PAGE_BUCKETS) {
            self.drop_index_page(physical);
        }
        self.counters.merges += 1;
        self.put_back(scratch);
        true
    }

    fn drop_index_page(&mut self, physical: u8) {
        if let Some(page) = self.databases[usize::from(physical)].pages.pop() {
            self.arena.release_index_page(page);
        }
    }

    /// Frees the overflow buckets that are left, and keeps the vectors.
    fn put_back(&mut self, mut scratch: Scratch) {
        for line in scratch.lines.drain(..) {
            self.arena.release_bucket(line);
        }
        scratch.staying.clear();
        scratch.moving.clear();
        self.scratch = scratch;
    }

    /// Collects the refs of a chain and the positions of its overflow buckets.
    fn gather(&self, home: u64, refs: &mut Vec<(u8, u64)>, lines: &mut Vec<u64>) {
        let mut line = home;
        loop {
            let contents: Line = self.arena.mapping.load_line(line);
            let filled = (0..PLACES)
                .map(|place| {
                    (
                        line_fingerprint(&contents, place),
                        line_reference(&contents, place),
                    )
                })
                .take_while(|(_, at)| *at != 0 && at & LINK == 0);
            refs.extend(filled);
            let Some(next) = self.next_line(line) else {
                return;
            };
            lines.push(next);
            line = next;
        }
    }

    /// Fills an empty bucket with refs, taking overflow buckets from `lines`.
    fn write_chain(&mut self, home: u64, refs: &[(u8, u64)], lines: &mut Vec<u64>) {
        let (mut line, mut rest) = (home, refs);
        loop {
            let here = if rest.len() > PLACES as usize {
                LAST as usize
            } else {
                rest.len()
            };
            for (place, (fingerprint, at)) in (0..).zip(&rest[..here]) {
                set_place(&mut self.arena.mapping, line, place, *fingerprint, *at);
            }
            rest = &rest[here..];
            if rest.is_empty() {
                return;
            }
            let next = lines.pop().expect("there are overflow buckets enough");
            clear(&mut self.arena.mapping, next, false);
            set_place(&mut self.arena.mapping, line, LAST, 0, next | LINK);
            line = next;
        }
    }

    pub(super) fn hash_of(&self, at: u64) -> u64 {
        hash_key(self.shape.hash_seed, self.key_bytes(at, &self.header(at)))
    }

    /// The refs of a bucket and of its overflow buckets.
    pub(super) fn refs_of(&self, home: u64) -> impl Iterator<Item = u64> + '_ {
        let mut next = Some(home);
        std::iter::from_fn(move || {
            let line = next?;
            next = self.next_line(line);
            let contents: Line = self.arena.mapping.load_line(line);
            Some((0..PLACES).map(move |place| line_reference(&contents, place)))
        })
        .flatten()
        .filter(|at| *at != 0 && at & LINK == 0)
    }

    /// Checks the buckets of one database and returns its refs.
    pub(super) fn check_buckets(&self, physical: u8, database: &Database) -> Vec<u64> {
        let mut refs = Vec::new();
        assert!(database.buckets() == 0 || database.buckets() >= BUCKETS_MIN);
        assert_eq!(
            database.pages.len() as u64,
            database.buckets().div_ceil(PAGE_BUCKETS)
        );
        for bucket in 0..database.buckets() {
            let home = database.bucket(bucket);
            let (mut chain, mut lines) = (Vec::new(), Vec::new());
            self.gather(home, &mut chain, &mut lines);
            assert_eq!(
                self.arena.mapping.load(home) & 1,
                0,
                "no bucket is left open"
            );
            assert_eq!(
                lines.len(),
                overflow_lines(chain.len()),
                "places are filled from the first on"
            );
            for (fp, at) in &chain {
                let hash = self.hash_of(*at);
                let mask = bucket_mask(bucket, database.buckets());
                assert_eq!(hash & mask, bucket, "an entry hangs on its home bucket");
                assert_eq!(fingerprint(hash), *fp);
                assert_eq!(self.header(*at).db(), physical);
            }
            refs.extend(chain.iter().map(|(_, at)| at));
        }
        refs
    }
}

#[cfg(test)]
mod tests {
    use super::overflow_lines;

    #[test]
    fn two_chains_need_no_more_overflow_than_their_union() {
        let needed: Vec<_> = (0..60).map(overflow_lines).collect();
        assert_eq!(
            (needed[0], needed[10], needed[11], needed[19], needed[20]),
            (0, 0, 1, 1, 2)
        );
        for a in 0..30 {
            for b in 0..30 {
                assert!(needed[a] + needed[b] <= needed[a + b]);
            }
        }
    }
}
