//! Walking over the keys of a database.

use crate::keyspace::bucket::{LAST, Line, PLACES, line_reference};
use crate::keyspace::layout::{LINK, bucket_mask, home_bucket};
use crate::keyspace::types::{EntryView, Millis};

use super::{Shard, is_past};

/// The cursor behind a bucket: a scan goes through the hashes in the order of their reversed bits, in which the keys
/// of a bucket stay together however often it is split or merged.
pub(in crate::keyspace) fn cursor_after(bucket: u64, mask: u64) -> u64 {
    (bucket | !mask)
        .reverse_bits()
        .wrapping_add(1)
        .reverse_bits()
}

impl Shard {
    /// Visits the live entries of `buckets_at_most` buckets (at least one) and returns the next cursor; 0 ends.
    /// An entry that is there during the whole of a scan is visited at least once.
    pub fn scan(
        &self,
        db: u8,
        cursor: u64,
        buckets_at_most: usize,
        now: Millis,
        visit: &mut dyn FnMut(&[u8], &EntryView<'_>),
    ) -> u64 {
        let database = &self.databases[usize::from(self.map[usize::from(db)])];
        if database.buckets() == 0 {
            return 0;
        }
        let mut cursor = cursor;
        for _ in 0..buckets_at_most.max(1) {
            let bucket = home_bucket(cursor, database.buckets());
            for at in self.refs_of(database.bucket(bucket)) {
                let header = self.header(at);
                let view = self.view(at, &header);
                if !is_past(view.expire_at, now) {
                    visit(self.key_bytes(at, &header), &view);
                }
            }
            cursor = cursor_after(bucket, bucket_mask(bucket, database.buckets()));
            if cursor == 0 {
                break;
            }
        }
        cursor
    }

    /// A live key, chosen by a random number.
    pub fn random(&self, db: u8, random: u64, now: Millis) -> Option<&[u8]> {
        /// A third of the places of a bucket and one overflow bucket is filled: nearly always one of these draws hits.
        const DRAWS: u64 = 64;
        let database = &self.databases[usize::from(self.map[usize::from(db)])];
        if database.buckets() == 0 {
            return None;
        }
        let live = |at: &u64| !is_past(self.expire_at(*at, &self.header(*at)), now);
        for draw in 0..DRAWS {
            let drawn = crate::keyspace::types::hash_key(draw, &random.to_le_bytes());
            let bucket = ((u128::from(drawn) * u128::from(database.buckets())) >> 64) as u64;
            let place = (drawn % (2 * u64::from(PLACES))) as usize;
            if let Some(at) = self
                .refs_of(database.bucket(bucket))
                .nth(place)
                .filter(live)
            {
                return Some(self.key_bytes(at, &self.header(at)));
            }
        }
        let start = home_bucket(random, database.buckets());
        let at = (0..database.buckets())
            .map(|step| (start + step) % database.buckets())
            .find_map(|bucket| self.refs_of(database.bucket(bucket)).find(live))?;
        Some(self.key_bytes(at, &self.header(at)))
    }

    /// The refs of entries in one bucket; 0 where there is none.
    pub(super) fn refs_in_line(&self, line: u64) -> [u64; PLACES as usize] {
        let contents: Line = self.arena.mapping.load_line(line);
        std::array::from_fn(|place| {
            let at = line_reference(&contents, place as u32);
            if at & LINK == 0 { at } else { 0 }
        })
    }

    /// The place of a ref in one bucket.
    pub(super) fn place_in_line(&self, line: u64, at: u64) -> Option<u32> {
        let contents: Line = self.arena.mapping.load_line(line);
        (0..=LAST).find(|place| line_reference(&contents, *place) == at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goes through all buckets, changing their number on the way, and returns the hashes that were seen.
    fn walk(mut buckets: u64, changes: &[i64], hashes: u64) -> Vec<u64> {
        let (mut seen, mut cursor, mut step) = (vec![0; hashes as usize], 0, 0);
        loop {
            let bucket = home_bucket(cursor, buckets);
            let mask = bucket_mask(bucket, buckets);
            (0..hashes)
                .filter(|hash| hash & mask == bucket)
                .for_each(|hash| seen[hash as usize] += 1);
            cursor = cursor_after(bucket, mask);
            if cursor == 0 {
                return seen;
            }
            buckets = buckets
                .saturating_add_signed(changes[step % changes.len()])
                .max(1);
            step += 1;
            assert!(cursor < 1 << 40);
        }
    }

    #[test]
    fn a_scan_meets_every_hash_while_buckets_come_and_go() {
        for buckets in 1..80 {
            assert!(walk(buckets, &[0], 512).iter().all(|seen| *seen == 1));
            for changes in [
                &[1][..],
                &[-1],
                &[3, -1],
                &[-3, 2],
                &[17, -16],
                &[40, -45, 1],
            ] {
                assert!(walk(buckets, changes, 512).iter().all(|seen| *seen >= 1));
            }
        }
    }
}
