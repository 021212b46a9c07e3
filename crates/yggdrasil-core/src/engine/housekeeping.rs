//! What is done from time to time: expiry, idle clients, gauges; and the orderly end.

use super::session::Wait;
use super::{Engine, Event, SessionRef};
use crate::keyspace::{Captured, EntryView, Key, hash_key};
use crate::stats::Counter;

/// Entries looked at in one step of background work.
const STEP_BUDGET: usize = 256;
/// The part of maxmemory that is left for what grows between two looks.
const PART_BETWEEN_LOOKS: u64 = 100;
/// The part of maxmemory that keys have in any case, however much the buffers of clients take.
const LEAST_PART_FOR_KEYS: u64 = 4;
/// Sessions looked at in one tick.
const SESSIONS_PER_TICK: usize = 1024;
/// A session that was idle for so long gives its empty buffers back.
const IDLE_BUFFERS_MS: u64 = 2000;

/// What was counted when the rates were last computed.
#[derive(Default)]
pub(super) struct Rates {
    at: u64,
    counted: [u64; RATES.len()],
}

/// What the process takes on its heap.
#[derive(Default)]
pub(super) struct Heap {
    /// When it began.
    at_start: Option<u64>,
    /// Beyond that, with its part of what the workers share.
    grown: u64,
    /// Of all that, what nobody uses and the allocator has not given back.
    free: u64,
}

/// Counters and the gauges that say how fast they grow.
const RATES: [(Counter, Counter); 3] = [
    (Counter::CommandsProcessed, Counter::CommandRate),
    (Counter::InputBytes, Counter::InputRate),
    (Counter::OutputBytes, Counter::OutputRate),
];
/// Milliseconds over which a rate is taken.
const RATE_PERIOD_MS: u64 = 1000;

impl Engine {
    /// To be called about ten times a second. True when there is more to do at once.
    pub fn tick(&mut self) -> bool {
        self.run_staged();
        self.read_clock();
        self.apply_thresholds();
        self.end_pause_in_time();
        self.end_waits_in_time();
        self.note_reported_uses();
        if let Some(durability) = &mut self.durability {
            durability.log.work(self.now);
        }
        self.note_durable();
        let more = self.reserved.is_none() && self.shard.advance(self.now, STEP_BUDGET);
        self.recent_buffers.advance(self.now / 1000);
        self.hear_broadcasts();
        self.end_partial_flushes();
        self.inspect_sessions();
        self.publish_recent_buffers();
        if self.options.upload_timeout_ms != 0 {
            let before = self.now.saturating_sub(self.options.upload_timeout_ms);
            self.shard.abort_idle_uploads(before);
        }
        self.shard.end_forgotten_capture(self.now);
        self.publish_gauges();
        self.look_for_libraries();
        self.count_scripts();
        if self.publish_rates() {
            self.give_back_room();
        }
        self.settle();
        more
    }

    /// Tells how much memory of its own the process has now, and how much of that its allocator holds though nobody
    /// uses it, in bytes. What it takes for buffers and the like beyond its start is not there for keys, nor is its
    /// part of what the workers share besides the arenas.
    pub fn note_heap(&mut self, bytes: u64, free: u64) {
        self.heap.free = free.min(bytes);
        let start = *self.heap.at_start.get_or_insert(bytes);
        let shared = self.control.resident_bytes().unwrap_or(0) / self.shape().shards as u64;
        self.heap.grown = bytes.saturating_sub(start) + shared;
        self.apply_memory_limit();
    }

    /// Memory that counts against maxmemory beside keys, and how much of it is free and not given back yet.
    #[must_use]
    pub fn heap(&self) -> (u64, u64) {
        let grown = self.heap.grown.saturating_sub(self.shard.heap_bytes());
        (grown, self.heap.free.min(grown))
    }

    /// Gives the shard what the rest of the process leaves of its part of maxmemory.
    pub(super) fn apply_memory_limit(&mut self) {
        let limit = self.options.memory_limit;
        if limit != u64::MAX {
            let (heap, free) = self.heap();
            // What is free goes back to the system soon.
            let outside = heap - free + limit / PART_BETWEEN_LOOKS;
            let least = limit / LEAST_PART_FOR_KEYS;
            self.shard
                .set_memory_limit(limit.saturating_sub(outside).max(least));
        } else {
            self.shard.set_memory_limit(limit);
        }
        self.options.limits.access_bits = self.shard.access_bits();
    }

    /// Counts the reads that other workers and near readers have served from this shard's memory.
    pub(super) fn note_reported_uses(&mut self) {
        if self.shard.counts_uses() {
            self.shard.note_reported_uses(self.now);
        }
    }

    /// True when the rates were published: once in a while.
    fn publish_rates(&mut self) -> bool {
        let elapsed = self.now.saturating_sub(self.rates.at);
        if elapsed < RATE_PERIOD_MS {
            return false;
        }
        self.rates.at = self.now;
        for (counted, (counter, rate)) in self.rates.counted.iter_mut().zip(RATES) {
            let now = self.stats.get(counter);
            // A counter that was reset has grown from zero.
            let grown = now.checked_sub(*counted).unwrap_or(now);
            self.stats.set(rate, grown * 1000 / elapsed);
            *counted = now;
        }
        true
    }

    /// How late the driver's timer was, in microseconds.
    pub fn note_loop_lag(&mut self, microseconds: u64) {
        self.stats.set(Counter::LoopLagMicros, microseconds);
        if microseconds > self.stats.get(Counter::LoopLagMaxMicros) {
            self.stats.set(Counter::LoopLagMaxMicros, microseconds);
        }
    }

    /// Looks at some sessions each time: closes those that are idle for too long or too far behind, and takes back
    /// buffers that are not used.
    fn inspect_sessions(&mut self) {
        let (now, timeout) = (self.now, self.options.timeout_seconds * 1000);
        let count = self.sessions.capacity();
        let start = self.next_inspected;
        let end = count.min(start + SESSIONS_PER_TICK);
        self.next_inspected = if end < count { end } else { 0 };
        for index in start..end {
            if !self.sessions.contains(index) {
                continue;
            }
            self.check_output(index);
            self.recount(index);
            self.look_for_end(index);
            let session = &mut self.sessions[index];
            let idle_ms = now.saturating_sub(session.active_at);
            let is_waiting = session.wait != Wait::None || session.subscriptions() > 0;
            if idle_ms > IDLE_BUFFERS_MS {
                session.give_buffers_back();
            }
            if timeout != 0 && !is_waiting && idle_ms > timeout && !session.closing {
                self.close_after_output(index);
            }
        }
    }

    /// Has the driver look whether a client has gone that is not read from, and for which nobody should wait.
    fn look_for_end(&mut self, index: usize) {
        let session = &self.sessions[index];
        if session.reading_stopped && self.ends_with_input(index) {
            let session = session.at;
            self.events.push(Event::LookForEnd { session });
        }
    }

    fn publish_gauges(&mut self) {
        let memory = self.shard.memory();
        let counters = self.shard.counters();
        let databases = 0..self.shape.databases.min(256) as u16;
        let keys: u64 = databases.clone().map(|db| self.shard.len(db as u8)).sum();
        let expiring: u64 = databases.map(|db| self.shard.expiring(db as u8)).sum();
        let stats = &self.stats;
        stats.set(Counter::Keys, keys);
        stats.set(Counter::Changes, self.shard.number());
        stats.set(Counter::ExpiringKeys, expiring);
        stats.set(Counter::ExpiredKeys, counters.expired);
        stats.set(Counter::ExpiredFields, counters.expired_fields);
        stats.set(Counter::EvictedKeys, counters.evicted);
        let admission = self.shard.admission().unwrap_or_default();
        stats.set(Counter::AdmittedKeys, admission.admitted);
        stats.set(Counter::RejectedKeys, admission.rejected);
        stats.set(Counter::WindowBytes, admission.window_bytes);
        stats.set(Counter::WindowShare, admission.window_share);
        stats.set(Counter::AdmissionBytes, admission.memory);
        let limit = self.options.memory_limit;
        stats.set(
            Counter::MemoryLimit,
            if limit == u64::MAX { 0 } else { limit },
        );
        stats.set(Counter::MemoryUsed, memory.used);
        let (heap, free) = self.heap();
        stats.set(Counter::MemoryHeap, heap);
        stats.set(Counter::MemoryHeapFree, free);
        let limited = memory.limit != u64::MAX;
        stats.set(Counter::MemoryRoom, if limited { memory.limit } else { 0 });
        stats.set(Counter::MemoryEntries, memory.entries);
        stats.set(Counter::MemoryIndex, memory.index);
        stats.set(Counter::MemoryOverhead, memory.overhead);
        stats.set(Counter::MemoryLeased, memory.leased);
        stats.set(Counter::MemoryHuge, memory.huge);
        stats.set(Counter::MemoryPeak, memory.peak);
        stats.set(Counter::PinnedKeys, self.shard.pins().len());
        stats.set(Counter::PinnedBytes, self.shard.pins().bytes());
        let (keys, items) = self.shard.tracked();
        stats.set(Counter::TrackedKeys, keys);
        stats.set(Counter::TrackedItems, items);
        let (waited, removals) = self.shard.waited_keys();
        stats.set(Counter::WaitedKeys, waited);
        stats.set(Counter::WaitedRemovals, removals);
        stats.set(Counter::TimedClients, self.deadlines.len() as u64);
        if let Some(log) = self.log() {
            let status = log.status();
            stats.set(Counter::LogBytes, status.bytes);
            stats.set(Counter::LogUnflushed, status.unflushed_bytes);
            stats.set(Counter::LogSyncs, status.syncs);
            stats.set(Counter::LogPersist, status.persist.into());
            stats.set(Counter::LogErrno, status.errno.unsigned_abs().into());
            stats.set(Counter::LogLost, status.lost_changes);
        }
        stats.set(Counter::RingDepth, self.links.depth() as u64);
        stats.add(Counter::RingStalls, self.links.take_stalls());
    }

    /// Keys, expiring keys and hashes with expiring fields of one database of this shard.
    #[must_use]
    pub fn database_len(&self, db: u8) -> (u64, u64, u64) {
        let hashes = self.shard.hashes_with_times(db);
        (self.shard.len(db), self.shard.expiring(db), hashes)
    }

    /// Keys of database 0 in a hash slot of this shard.
    #[must_use]
    pub fn slot_len(&self, slot: u16) -> u64 {
        self.shard.slot_len(slot)
    }

    /// Up to `count` keys of database 0 in a hash slot of this shard.
    pub fn keys_in_slot(&mut self, slot: u16, count: usize) -> Vec<Vec<u8>> {
        let wanted = usize::try_from(self.shard.slot_len(slot))
            .unwrap_or(usize::MAX)
            .min(count);
        let mut keys = Vec::new();
        let mut cursor = 0;
        while keys.len() < wanted {
            cursor = self.shard.scan(0, cursor, 1024, self.now, &mut |key, _| {
                if keys.len() < wanted && crate::keyspace::slot::key_slot(key) == slot {
                    keys.push(key.to_vec());
                }
            });
            if cursor == 0 {
                break;
            }
        }
        keys
    }

    /// The entry of a key of this shard, and the bytes it takes in the arena, for MEMORY USAGE and DEBUG OBJECT.
    pub fn entry<R>(
        &self,
        db: u8,
        bytes: &[u8],
        look: impl FnOnce(&EntryView<'_>, u64) -> R,
    ) -> Option<R> {
        let key = Key {
            db,
            hash: hash_key(self.shape.hash_seed, bytes),
            bytes,
        };
        let size = self.shard.entry_bytes(&key, self.now)?;
        self.shard
            .look(&key, self.now)
            .map(|view| look(&view, size))
    }

    /// Seconds since an entry was last used, as far as the policy lets that be known.
    #[must_use]
    pub fn idle_seconds(&self, view: &EntryView<'_>) -> u64 {
        let bits = self.shard.access_bits();
        bits.idle_seconds(view.access, self.now).unwrap_or_default()
    }

    /// The shard that a key belongs to.
    #[must_use]
    pub fn owner_of(&self, key: &[u8]) -> usize {
        self.shard_of(key)
    }

    /// Gives memory that is kept for later back to the system.
    pub fn purge(&mut self) {
        self.shard.purge();
    }

    /// Gives what was recorded of requests since the last call, and goes on recording one key in `2^shift`; ends with
    /// `None`. See [`Shard::record`](crate::keyspace::Shard::record).
    pub fn record(&mut self, shift: Option<u8>) -> Captured {
        self.read_clock();
        self.shard.capture(shift, self.clock.unix_us, self.now)
    }

    /// What the arena is used for, in bytes.
    #[must_use]
    pub fn memory(&self) -> crate::keyspace::MemoryUse {
        self.shard.memory()
    }

    /// Bytes of all sessions with their buffers, each as it was when it was last looked at.
    #[must_use]
    pub fn session_bytes(&self) -> u64 {
        self.stats.get(Counter::SessionBytes)
    }

    /// True when nothing that a client waits for is under way.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.tickets.len() == 0
            && self.staged.is_empty()
            && self.steps.turns.is_empty()
            && self.transactions.is_empty()
            && self.delayed_executions.is_empty()
            && self
                .sessions
                .iter()
                .all(|(_, session)| session.slots.is_empty() && session.output.is_empty())
    }

    /// All sessions, for their end.
    #[must_use]
    pub fn open_sessions(&self) -> Vec<SessionRef> {
        self.sessions
            .iter()
            .map(|(_, session)| session.at)
            .collect()
    }
}
