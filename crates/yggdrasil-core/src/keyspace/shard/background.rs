//! The owner's work between requests, in bounded steps: expiry, freeing of cleared databases, shrinking,
//! emptying of sparse pages.

use crate::keyspace::database::Database;
use crate::keyspace::layout::PAGE_BUCKETS;
use crate::keyspace::types::Millis;
use crate::keyspace::wheel::Due;

use super::fields::FIELDS_AT_ONCE;
use super::{Place, Shard};

/// Freed runs that are looked at in one call, whether they are still held.
const LIMBO_LOOKS: usize = 64;

/// Buckets and entries of a database that was cleared: no reader can find them any more.
#[derive(Debug)]
pub(super) struct Cleared {
    database: Database,
    /// The next bucket to be freed.
    next: u64,
}

impl Cleared {
    pub(super) fn new(database: Database) -> Self {
        Self { database, next: 0 }
    }

    /// About how many entries are not freed yet.
    pub(super) fn entries(&self) -> u64 {
        let buckets = self.database.buckets().max(1);
        let left = u128::from(buckets - self.next.min(buckets));
        (u128::from(self.database.keys) * left / u128::from(buckets)) as u64
    }
}

impl Shard {
    /// Does about `budget` small steps of background work. Tells whether more is due. A follower neither expires nor
    /// evicts.
    pub fn advance(&mut self, now: Millis, budget: usize) -> bool {
        self.clock = now;
        let mut left = budget;
        if !self.is_follower {
            left = self.end_pins(now, left);
            while left > 0 && self.expire_one(now) {
                left -= 1;
            }
            while left > 0 && self.expire_fields(now) {
                left = left.saturating_sub(FIELDS_AT_ONCE);
            }
        }
        self.arena.cut_off_overdue(now, self.lease_age_max);
        self.arena.look_at_limbo(LIMBO_LOOKS);
        if left > 0 && !self.cleared.is_empty() {
            left = self.reclaim(left);
        }
        left = self.free_wrecks(left);
        left = self.field_dues.forget_gone(left);
        while left > 0 && !self.is_follower && self.is_over_limit() && self.relieve(now, 1) {
            left -= 1;
        }
        for physical in 0..self.databases.len() {
            while left > 0 && self.merge(physical as u8) {
                left -= 1;
            }
        }
        if left > 0 && self.cleared.is_empty() {
            left = self.compact(left);
        }
        if left > 0 {
            self.tidy_queues(left);
            left = self.adopt_some(left);
        }
        self.arena.give_up_unneeded();
        self.arena.seek_huge_pages();
        let is_warm = self.arena.cool(now);
        left == 0 || is_warm
    }

    /// A time before which nothing expires; `None` when nothing ever does.
    pub fn next_expiry(&self) -> Option<Millis> {
        let times = [self.wheel.next_due(), self.field_dues.next()];
        times.into_iter().flatten().min()
    }

    /// One step of the wheel. False when nothing is due.
    fn expire_one(&mut self, now: Millis) -> bool {
        match self.wheel.step(&mut self.arena.mapping, now) {
            Due::Nothing => return false,
            Due::Moved => {}
            Due::Entry(at) => match self.place_of(at) {
                Some(place) => self.expire(&place),
                // It belongs to a cleared database and waits to be freed.
                None => self.wheel.unlink(&mut self.arena.mapping, at),
            },
        }
        true
    }

    /// Where the index names an entry; `None` when it is no longer in the index.
    pub(super) fn place_of(&self, at: u64) -> Option<Place> {
        let header = self.header(at);
        let physical = header.db();
        let database = &self.databases[usize::from(physical)];
        if database.buckets() == 0 {
            return None;
        }
        let home = database.home(self.hash_of(at));
        let mut line = home;
        loop {
            if let Some(place) = self.place_in_line(line, at) {
                return Some(Place {
                    physical,
                    home,
                    line,
                    place,
                    at,
                    header,
                });
            }
            line = self.next_line(line)?;
        }
    }

    /// Frees what cleared databases have left, about `budget` entries of it. Returns what is left of the budget.
    pub(super) fn reclaim(&mut self, budget: usize) -> usize {
        let mut left = budget;
        while left > 0 {
            let Some(mut cleared) = self.cleared.pop_front() else {
                break;
            };
            while left > 0 && cleared.next < cleared.database.buckets() {
                left = left.saturating_sub(self.reclaim_bucket(&cleared.database, cleared.next));
                cleared.next += 1;
                self.reclaim_index_page(&mut cleared);
            }
            if cleared.next < cleared.database.buckets() {
                self.cleared.push_front(cleared);
            }
        }
        left
    }

    /// Frees what hangs on a bucket. Returns the number of steps that this was.
    fn reclaim_bucket(&mut self, database: &Database, bucket: u64) -> usize {
        let home = database.bucket(bucket);
        let mut steps = 1;
        let mut line = Some(home);
        while let Some(current) = line {
            steps += self.release_line(current);
            line = self.next_line(current);
            if current != home {
                self.arena.release_bucket(current);
            }
        }
        steps
    }

    fn release_line(&mut self, line: u64) -> usize {
        let refs = self.refs_in_line(line);
        let filled = refs.into_iter().filter(|at| *at != 0);
        let mut released = 0;
        for at in filled {
            let header = self.header(at);
            if header.has_expiry() {
                self.wheel.unlink(&mut self.arena.mapping, at);
            }
            let hash = self.hash_of(at);
            let weight = self.weight(at, &header);
            self.eviction
                .removed(header.db(), header.access(), weight, || hash);
            self.drop_tree(at, &header);
            self.arena.release(at, header.total_bytes());
            released += 1;
        }
        released
    }

    /// Frees the index page that `next` has left behind.
    fn reclaim_index_page(&mut self, cleared: &mut Cleared) {
        let Cleared { database, next } = cleared;
        if *next % PAGE_BUCKETS == 0 || *next == database.buckets() {
            self.arena
                .release_index_page(database.pages[((*next - 1) / PAGE_BUCKETS) as usize]);
        }
    }

    /// Entries that cleared databases still hold.
    pub(super) fn cleared_refs(&self) -> Vec<u64> {
        let mut refs = Vec::new();
        for Cleared { database, next } in &self.cleared {
            for bucket in *next..database.buckets() {
                refs.extend(self.refs_of(database.bucket(bucket)));
            }
        }
        refs
    }
}
