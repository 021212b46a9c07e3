//! The control segment: what all processes of a node share besides the arenas.
//!
//! ```text
//! 0        node words, one cache line each (NodeWord)
//! 4096     names of commands, in the order of their statistics
//! ...      per worker: words (WorkerWord, one cache line each), then its statistics block, then its lease page
//! ...      rings, one per ordered pair of workers
//! ```
//! Every process maps it read-write; each word says who writes it. Offsets follow from the node's shape alone.

mod libraries;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};

pub use libraries::LibrariesVersion;

use crate::keyspace::slot::{SLOTS, key_slot, shard_of_slot};
use crate::keyspace::{DATABASES_MAX, PIN_RULES_MAX, PinLedger};
use crate::lease::{LeasePage, SLOTS_MAX};
use crate::ring::{Consumer, Producer, RING_HEADER_BYTES, positions};
use crate::shm::{Segment, SharedMapping, ShmError};
use crate::stats::{COMMANDS_MAX, Counter, StatsBlock, StatsReader};

const LINE: usize = 64;
const INSIDE: &str = "offsets follow from the shape the segment was checked against";
const NAMES_OFFSET: usize = 4096;
/// Bytes of a command's name in the table of names: its length, then the name.
const NAME_BYTES: usize = 128;
const WORKERS_OFFSET: usize = NAMES_OFFSET + (COMMANDS_MAX * NAME_BYTES).next_multiple_of(4096);
const WORKER_WORDS_BYTES: usize = 4096;
const LEASES_OFFSET: usize =
    (WORKER_WORDS_BYTES + crate::stats::BLOCK_BYTES).next_multiple_of(4096);

/// Workers of a node at most: shard numbers travel in one byte and sets of shards in one word.
pub const SHARDS_MAX: usize = 64;
const RING_BYTES_MIN: usize = 4096;
const RING_BYTES_MAX: usize = 1 << 30;

/// What every process of a node must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeShape {
    /// Workers, each with one shard.
    pub shards: usize,
    /// Reserved bytes of each arena.
    pub arena_bytes: u64,
    /// Data bytes of each ring; a power of two.
    pub ring_bytes: usize,
    /// Logical databases.
    pub databases: usize,
    /// Seed of the key hash, drawn at the node's start.
    pub hash_seed: u64,
}

/// Why a shape is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ShapeError {
    /// Number of shards out of range.
    #[error("shards is {0}, expected 1 to {SHARDS_MAX}")]
    Shards(usize),
    /// Ring size not a power of two, or out of range.
    #[error("ring_bytes is {0}, expected a power of two from {RING_BYTES_MIN} to {RING_BYTES_MAX}")]
    RingBytes(usize),
    /// Number of databases out of range.
    #[error("databases is {0}, expected 1 to {DATABASES_MAX}")]
    Databases(usize),
}

impl NodeShape {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ShapeError> {
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            return Err(ShapeError::Shards(self.shards));
        }
        if !self.ring_bytes.is_power_of_two()
            || !(RING_BYTES_MIN..=RING_BYTES_MAX).contains(&self.ring_bytes)
        {
            return Err(ShapeError::RingBytes(self.ring_bytes));
        }
        if !(1..=usize::from(DATABASES_MAX)).contains(&self.databases) {
            return Err(ShapeError::Databases(self.databases));
        }
        Ok(())
    }

    /// The shard of a hash slot: equal contiguous ranges.
    #[inline]
    #[must_use]
    pub fn shard_of_slot(&self, slot: u16) -> usize {
        shard_of_slot(slot, self.shards)
    }

    /// The shard of a key.
    #[inline]
    #[must_use]
    pub fn shard_of(&self, key: &[u8]) -> usize {
        match self.shards {
            1 => 0,
            _ => self.shard_of_slot(key_slot(key)),
        }
    }

    /// The first and the last slot of a shard.
    #[must_use]
    pub fn slots_of_shard(&self, shard: usize) -> (u16, u16) {
        let slots = usize::from(SLOTS);
        let first = (shard * slots).div_ceil(self.shards);
        let end = ((shard + 1) * slots).div_ceil(self.shards);
        (first as u16, (end - 1) as u16)
    }

    fn worker_bytes(&self) -> usize {
        LEASES_OFFSET + LeasePage::bytes(self.shards)
    }

    fn worker_offset(&self, shard: usize) -> usize {
        WORKERS_OFFSET + shard * self.worker_bytes()
    }

    fn ring_offset(&self, from: usize, to: usize) -> usize {
        let ring = (RING_HEADER_BYTES + self.ring_bytes).next_multiple_of(4096);
        self.worker_offset(self.shards) + (from * self.shards + to) * ring
    }

    fn control_bytes(&self) -> usize {
        self.ring_offset(self.shards, 0)
            .next_multiple_of(Segment::GRANULARITY as usize)
    }
}

/// Words of the whole node.
#[repr(usize)]
enum NodeWord {
    NextClientId,
    /// Clients in MONITOR on any worker.
    Monitors,
    NextSlowId,
    NextDenialId,
    /// The version of the libraries of functions, see [`LibrariesVersion`].
    Libraries,
}

/// Words of one worker.
#[repr(usize)]
enum WorkerWord {
    /// Starts of this worker so far; written by the supervisor.
    Incarnation,
    /// 1 while the worker has been woken and has not looked yet.
    Woken,
    /// Bytes that its shard has pinned, by rule, 8 bytes each; written by the worker.
    Pinned,
}
const _: () =
    assert!(WorkerWord::Pinned as usize * LINE + (PIN_RULES_MAX + 1) * 8 <= WORKER_WORDS_BYTES);

/// One process's mapping of the control segment.
#[derive(Clone)]
pub struct Control {
    segment: Arc<Segment>,
    mapping: Arc<SharedMapping>,
    shape: NodeShape,
}

impl Control {
    /// Creates the segment of a new node.
    ///
    /// # Errors
    /// When the system gives no shared memory.
    pub fn create(shape: &NodeShape) -> Result<OwnedFd, ShmError> {
        Ok(Segment::create("yggdrasil-control", shape.control_bytes() as u64)?.into())
    }

    /// Maps the segment behind `descriptor`.
    ///
    /// # Errors
    /// When it cannot be mapped or is too small for `shape`.
    pub fn open(descriptor: OwnedFd, shape: NodeShape) -> Result<Self, ShmError> {
        let segment = Segment::adopt(descriptor)?;
        if segment.bytes() != shape.control_bytes() as u64 {
            return Err(ShmError::Size {
                bytes: segment.bytes(),
            });
        }
        Ok(Self {
            mapping: Arc::new(segment.share()?),
            segment: Arc::new(segment),
            shape,
        })
    }

    /// The shape it was opened with.
    #[must_use]
    pub fn shape(&self) -> &NodeShape {
        &self.shape
    }

    /// Memory that the segment takes, in bytes: its rings become resident as messages go round.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn resident_bytes(&self) -> Result<u64, ShmError> {
        self.segment.resident_bytes()
    }

    fn node_word(&self, word: NodeWord) -> &AtomicU64 {
        self.mapping
            .u64((word as usize * LINE) as u64)
            .expect(INSIDE)
    }

    fn worker_word(&self, shard: usize, word: WorkerWord) -> &AtomicU32 {
        assert!(shard < self.shape.shards);
        let offset = self.shape.worker_offset(shard) + word as usize * LINE;
        self.mapping.u32(offset as u64).expect(INSIDE)
    }

    fn woken(&self, shard: usize) -> &AtomicU64 {
        assert!(shard < self.shape.shards);
        let offset = self.shape.worker_offset(shard) + WorkerWord::Woken as usize * LINE;
        self.mapping.u64(offset as u64).expect(INSIDE)
    }

    fn pinned(&self, shard: usize, rule: usize) -> &AtomicU64 {
        assert!(shard < self.shape.shards && rule <= PIN_RULES_MAX);
        let offset =
            self.shape.worker_offset(shard) + WorkerWord::Pinned as usize * LINE + rule * 8;
        self.mapping.u64(offset as u64).expect(INSIDE)
    }

    /// The worker's side of what the shards have pinned. Only the worker of `shard` may use it.
    #[must_use]
    pub fn pin_ledger(&self, shard: usize) -> Box<dyn PinLedger> {
        Box::new(NodeLedger {
            control: self.clone(),
            shard,
        })
    }

    /// A client id that no other connection of the node has or had.
    #[must_use]
    pub fn next_client_id(&self) -> u64 {
        self.node_word(NodeWord::NextClientId).fetch_add(1, Relaxed) + 1
    }

    /// The number of the next entry of the slow log, in one order for all workers.
    #[must_use]
    pub fn next_slow_id(&self) -> u64 {
        self.node_word(NodeWord::NextSlowId).fetch_add(1, Relaxed)
    }

    /// The number of the next entry of the log of denials, in one order for all workers.
    #[must_use]
    pub fn next_denial_id(&self) -> u64 {
        self.node_word(NodeWord::NextDenialId).fetch_add(1, Relaxed)
    }

    /// Says under which name the statistics of a command are shown. All workers say the same.
    pub fn set_command_name(&self, command: usize, name: &str) {
        let name = &name.as_bytes()[..name.len().min(NAME_BYTES - 1)];
        let mut bytes = [0; NAME_BYTES];
        bytes[0] = name.len() as u8;
        bytes[1..=name.len()].copy_from_slice(name);
        if command < COMMANDS_MAX {
            let offset = (NAMES_OFFSET + command * NAME_BYTES) as u64;
            self.mapping.copy_in(offset, &bytes).expect(INSIDE);
        }
    }

    /// Names of all commands that have statistics.
    #[must_use]
    pub fn command_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for command in 0..COMMANDS_MAX {
            let mut bytes = [0; NAME_BYTES];
            let offset = (NAMES_OFFSET + command * NAME_BYTES) as u64;
            self.mapping.copy_out(offset, &mut bytes).expect(INSIDE);
            let length = usize::from(bytes[0]).min(NAME_BYTES - 1);
            if length == 0 {
                break;
            }
            names.push(String::from_utf8_lossy(&bytes[1..=length]).into_owned());
        }
        names
    }

    /// Clients in MONITOR on any worker.
    #[inline]
    #[must_use]
    pub fn monitors(&self) -> u64 {
        self.node_word(NodeWord::Monitors).load(Relaxed)
    }

    /// A client entered or left MONITOR.
    pub fn change_monitors(&self, by: i64) {
        self.node_word(NodeWord::Monitors)
            .fetch_add(by as u64, Relaxed);
    }

    /// The version of the libraries of functions. Only the worker of `shard` may change it by this.
    #[must_use]
    pub fn libraries(&self, shard: usize) -> LibrariesVersion {
        let offset = (NodeWord::Libraries as usize * LINE) as u64;
        LibrariesVersion::new(Arc::clone(&self.mapping), offset, shard)
    }

    /// How often the worker of `shard` has been started.
    #[must_use]
    pub fn incarnation(&self, shard: usize) -> u32 {
        self.worker_word(shard, WorkerWord::Incarnation)
            .load(Acquire)
    }

    /// Declares the worker of `shard` dead, or not yet born; returns the incarnation of its successor.
    #[must_use]
    pub fn next_incarnation(&self, shard: usize) -> u32 {
        self.woken(shard).store(0, Relaxed);
        for rule in 0..=PIN_RULES_MAX {
            self.pinned(shard, rule).store(0, Relaxed);
        }
        let stats = self.stats_block(shard);
        self.change_monitors(-(stats.get(Counter::MonitorClients) as i64));
        stats.clear();
        self.lease_page(shard).clear();
        self.libraries(shard).end_of_dead();
        self.worker_word(shard, WorkerWord::Incarnation)
            .fetch_add(1, AcqRel)
            + 1
    }

    /// Notes that `shard` is to be woken; true when its eventfd must be written.
    #[must_use]
    pub fn request_wake(&self, shard: usize) -> bool {
        positions::request_wake(self.woken(shard))
    }

    /// Called by a worker that is awake, before it looks into its rings.
    pub fn woke(&self, shard: usize) {
        positions::woke(self.woken(shard));
    }

    /// The writer's side of a worker's statistics. Only the worker of `shard` may use it.
    #[must_use]
    pub fn stats_block(&self, shard: usize) -> StatsBlock {
        let base = self.shape.worker_offset(shard) + WORKER_WORDS_BYTES;
        StatsBlock::new(Arc::clone(&self.mapping), base)
    }

    /// The lease page of a worker. Only that worker may hold anything by it.
    #[must_use]
    pub fn lease_page(&self, shard: usize) -> LeasePage {
        let base = self.shape.worker_offset(shard) + LEASES_OFFSET;
        LeasePage::inside(
            Arc::clone(&self.mapping),
            base,
            self.shape.shards,
            SLOTS_MAX,
        )
    }

    /// Anyone's view of a worker's statistics.
    #[must_use]
    pub fn stats(&self, shard: usize) -> StatsReader {
        self.stats_block(shard).reader()
    }

    /// Open connections of all workers.
    #[must_use]
    pub fn connected_clients(&self) -> u64 {
        (0..self.shape.shards)
            .map(|shard| self.stats(shard).get(Counter::ConnectedClients))
            .sum()
    }

    /// The producer's end of the ring `from` -> `to`. Only the worker of `from` may use it.
    #[must_use]
    pub fn producer(&self, from: usize, to: usize) -> Producer {
        Producer::new(
            Arc::clone(&self.mapping),
            self.shape.ring_offset(from, to),
            self.shape.ring_bytes,
        )
    }

    /// The consumer's end of the ring `from` -> `to`. Only the worker of `to` may use it.
    #[must_use]
    pub fn consumer(&self, from: usize, to: usize) -> Consumer {
        Consumer::new(
            Arc::clone(&self.mapping),
            self.shape.ring_offset(from, to),
            self.shape.ring_bytes,
        )
    }
}

/// What the shards of the node have pinned, in the control segment.
struct NodeLedger {
    control: Control,
    shard: usize,
}

impl std::fmt::Debug for NodeLedger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("NodeLedger")
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

impl PinLedger for NodeLedger {
    fn publish(&mut self, rule: usize, bytes: u64) {
        self.control.pinned(self.shard, rule).store(bytes, SeqCst);
    }

    fn elsewhere(&self, rule: usize) -> u64 {
        (0..self.control.shape.shards)
            .filter(|shard| *shard != self.shard)
            .map(|shard| self.control.pinned(shard, rule).load(SeqCst))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_belongs_to_the_shard_whose_range_names_it() {
        for shards in 1..=SHARDS_MAX {
            let shape = NodeShape {
                shards,
                arena_bytes: 1 << 30,
                ring_bytes: 4096,
                databases: 16,
                hash_seed: 0,
            };
            let mut next = 0_u32;
            for shard in 0..shards {
                let (first, last) = shape.slots_of_shard(shard);
                assert_eq!(u32::from(first), next);
                assert_eq!(shape.shard_of_slot(first), shard);
                assert_eq!(shape.shard_of_slot(last), shard);
                next = u32::from(last) + 1;
            }
            assert_eq!(next, u32::from(SLOTS));
        }
    }
}
