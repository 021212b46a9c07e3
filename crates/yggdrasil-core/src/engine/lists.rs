//! Reads of many keys at once, in steps between which others are served.
//!
//! What each key was found with is remembered, and looked at again at the end: if nothing has changed, all values were
//! there at the same moment. Otherwise the list is read again, and at last under a reservation of its shards.

use super::Engine;
use super::dispatch::Flow;
use super::output::Part;
use super::pending::SessionRef;
use super::reads::payload_bytes;
use super::session::{Gates, Queued, Wait};
use super::views::Lending;
use crate::commands::{CommandId, EachHandler, Join};
use crate::keyspace::{Key, Millis, OwnStamp, Read, ReadStamp, hash_key};
use crate::resp::{Args, ArgsBuffer, Protocol, Reply};
use crate::stats::Counter;

/// Tries before the shards are reserved.
const TRIES: usize = 4;
/// Keys prefetched together.
pub(super) const KEYS_AHEAD: usize = 32;
/// More keys than this are read in steps.
pub(super) const KEYS_AT_ONCE_MAX: usize = 256;
/// What one step reads at most, about.
const STEP_KEYS: usize = 512;
const STEP_BYTES: usize = 256 * 1024;

/// What a key was found with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    /// In the own shard: the place of the key among the arguments, and how it was there.
    Own(usize, SeenOwn),
    /// In that shard, with the time at which the value expires.
    Other(usize, ReadStamp, Option<Millis>),
}

/// What a key of the own shard was found with.
#[derive(Clone, Copy, Debug)]
pub(super) enum SeenOwn {
    /// The version of its value.
    Version(u64),
    /// It was not there: its place then tells whether it has been there since.
    Missing(OwnStamp),
}

/// A list under way. Its session waits for it.
#[derive(Debug)]
pub(super) struct List {
    session: SessionRef,
    command: CommandId,
    each: EachHandler,
    join: Join,
    args: ArgsBuffer,
    db: u8,
    protocol: Protocol,
    positions: Vec<usize>,
    /// The next of them.
    next: usize,
    /// The reply, a part of each step.
    parts: Vec<Part>,
    lending: Lending,
    seen: Vec<Seen>,
    /// How many of these have been looked at again.
    checked: usize,
    sum: i64,
    tries: usize,
}

impl Engine {
    /// Begins to read a long list for a session.
    pub(super) fn start_list(
        &mut self,
        index: usize,
        command: CommandId,
        each: EachHandler,
        join: Join,
        args: &Args<'_>,
    ) -> Flow {
        let session = &self.sessions[index];
        let keys = self.table.spec(command).keys;
        let list = List {
            session: session.at,
            command,
            each,
            join,
            args: (*args).into(),
            db: session.db,
            protocol: session.protocol,
            positions: keys.positions(args).collect(),
            next: 0,
            parts: Vec::new(),
            lending: Lending::new(self.shard.lender()),
            seen: Vec::new(),
            checked: 0,
            sum: 0,
            tries: 0,
        };
        self.steps.lists.push_back(list);
        self.set_wait(index, Wait::Answer);
        Flow::Done
    }

    /// Whether a request may be read in steps: it is answered, and nothing is to be answered before it.
    pub(super) fn may_read_in_steps(&self, index: usize) -> bool {
        let session = &self.sessions[index];
        session.slots.is_empty() && !session.gates.any(Gates::REPLY_OFF) && !session.mute_this
    }

    /// True when [`Engine::step`] has something to do.
    #[must_use]
    pub fn has_steps(&self) -> bool {
        !self.steps.lists.is_empty()
            || !self.steps.turns.is_empty()
            || !self.steps.works.is_empty()
            || self.waiting.has_steps()
            || self.steps.rests.has_steps()
    }

    /// A step of one list, of one script, of one long change and of one long reply, and the turns of some sessions. To
    /// be called once in a round of the loop while there are any.
    pub fn step(&mut self) {
        if self.waiting.has_steps() {
            self.step_scripts();
        }
        self.step_list();
        self.step_turns();
        if !self.steps.works.is_empty() {
            self.step_work();
            self.settle();
        }
        if self.steps.rests.has_steps() {
            self.step_rest();
            self.settle();
        }
    }

    fn step_list(&mut self) {
        let Some(mut list) = self.steps.lists.pop_front() else {
            return;
        };
        self.read_clock();
        if self.session(list.session).is_none() {
            return;
        }
        let is_read = list.next == list.positions.len();
        if self.reserved.is_some() || !is_read && !self.read_some(&mut list) {
            self.reserve_for(list);
        } else if list.next < list.positions.len() {
            self.steps.lists.push_back(list);
        } else if self.check_some(&mut list) {
            if list.checked < list.seen.len() {
                self.steps.lists.push_back(list);
            } else {
                self.finish_list(list);
            }
        } else if list.tries + 1 < TRIES {
            list.tries += 1;
            (list.next, list.checked, list.sum) = (0, 0, 0);
            list.parts.clear();
            list.seen.clear();
            self.steps.lists.push_back(list);
        } else {
            self.reserve_for(list);
        }
        self.settle();
    }

    /// Reads the next keys. False when a read does not settle.
    fn read_some(&mut self, list: &mut List) -> bool {
        let args = list.args.as_args();
        let mut bytes = Vec::new();
        let mut reply = Reply::lending(&mut bytes, list.protocol, &mut list.lending);
        if list.next == 0 && list.join == Join::InOrder {
            reply.array(list.positions.len());
        }
        let end = list.positions.len().min(list.next + STEP_KEYS);
        while list.next < end && reply.position() < STEP_BYTES {
            let until = end.min(list.next + KEYS_AHEAD);
            let chunk = &list.positions[list.next..until];
            let Some(sum) =
                self.read_chunk(list.each, &args, chunk, list.db, &mut reply, &mut list.seen)
            else {
                return false;
            };
            list.sum += sum;
            list.next = until;
        }
        let views = list.lending.drain().collect();
        list.parts.push(Part {
            rest: None,
            bytes,
            views,
        });
        true
    }

    /// Reads up to [`KEYS_AHEAD`] keys. `None` when a read does not settle.
    pub(super) fn read_chunk(
        &mut self,
        each: EachHandler,
        args: &Args<'_>,
        positions: &[usize],
        db: u8,
        reply: &mut Reply<'_>,
        seen: &mut Vec<Seen>,
    ) -> Option<i64> {
        let (keys, count) = self.prefetch_keys(args, positions, db);
        let (mut sum, mut hits) = (0, 0);
        for ((shard, key), &position) in keys[..count].iter().zip(positions) {
            let Some(reader) = &self.readers[*shard] else {
                let found = self.shard.use_entry(key, self.now);
                hits += u64::from(found.is_some());
                let version = found.map(|view| view.version);
                sum += each(found, reply);
                let missing = || SeenOwn::Missing(self.shard.stamp(key));
                seen.push(Seen::Own(
                    position,
                    version.map_or_else(missing, SeenOwn::Version),
                ));
                continue;
            };
            match reader.read(key, self.now, &mut self.scratch) {
                Read::Hit(view, stamp) => {
                    hits += 1;
                    self.shard.note_read(key, payload_bytes(key, Some(view)));
                    seen.push(Seen::Other(*shard, stamp, view.expire_at));
                    sum += each(Some(view), reply);
                    self.holder.report(*shard, key.hash, key.db);
                }
                Read::Miss(stamp) => {
                    self.shard.note_read(key, 0);
                    sum += each(None, reply);
                    seen.push(Seen::Other(*shard, stamp, None));
                }
                Read::AskOwner | Read::Unsettled => return None,
            }
        }
        self.stats.add(Counter::KeyspaceHits, hits);
        self.stats
            .add(Counter::KeyspaceMisses, positions.len() as u64 - hits);
        Some(sum)
    }

    /// Hashes keys and asks for the cache lines that reading them will need.
    fn prefetch_keys<'a>(
        &self,
        args: &Args<'a>,
        positions: &[usize],
        db: u8,
    ) -> ([(usize, Key<'a>); KEYS_AHEAD], usize) {
        let none = Key {
            db,
            hash: 0,
            bytes: &b""[..],
        };
        let (mut keys, mut homes) = ([(0, none); KEYS_AHEAD], [0; KEYS_AHEAD]);
        for ((place, home), &position) in keys.iter_mut().zip(&mut homes).zip(positions) {
            let bytes = args.at(position);
            let hash = hash_key(self.shape.hash_seed, bytes);
            *place = (self.shard_of(bytes), Key { db, hash, bytes });
            *home = self.prefetch_index(place.0, &place.1);
        }
        let count = positions.len().min(KEYS_AHEAD);
        for ((shard, key), &home) in keys[..count].iter().zip(&homes) {
            self.prefetch_entry(*shard, home, key.hash);
        }
        (keys, count)
    }

    /// Looks at the next keys again: whether they are as they were found. All were so between the last reading and the
    /// first look.
    fn check_some(&self, list: &mut List) -> bool {
        let args = list.args.as_args();
        let end = list.seen.len().min(list.checked + STEP_KEYS);
        let next = &list.seen[list.checked..end];
        list.checked = end;
        next.chunks(KEYS_AHEAD).all(|chunk| {
            let mut own = [0; KEYS_AHEAD];
            let mut count = 0;
            for seen in chunk {
                if let Seen::Own(position, _) = seen {
                    own[count] = *position;
                    count += 1;
                }
            }
            let (keys, _) = self.prefetch_keys(&args, &own[..count], list.db);
            let mut keys = keys.iter();
            chunk.iter().all(|seen| match seen {
                Seen::Own(_, seen) => keys
                    .next()
                    .is_some_and(|(_, key)| self.is_own_unchanged(key, seen)),
                Seen::Other(shard, stamp, expire_at) => {
                    expire_at.is_none_or(|at| at > self.now) && self.is_still_valid(*shard, stamp)
                }
            })
        })
    }

    fn is_own_unchanged(&self, key: &Key<'_>, seen: &SeenOwn) -> bool {
        match seen {
            SeenOwn::Version(version) => {
                let found = self.shard.look(key, self.now);
                found.is_some_and(|view| view.version == *version)
            }
            SeenOwn::Missing(stamp) => self.shard.still_valid(key, stamp),
        }
    }

    /// Whether nothing was written since where a key of another shard was read.
    pub(super) fn is_still_valid(&self, shard: usize, stamp: &ReadStamp) -> bool {
        let reader = self.readers[shard].as_ref();
        reader.is_some_and(|reader| reader.still_valid(stamp))
    }

    /// Counts what was read of other shards.
    pub(super) fn count_outside(&self, seen: &[Seen]) {
        let outside = seen.iter().filter(|seen| matches!(seen, Seen::Other(..)));
        self.stats
            .add(Counter::CrossShardReads, outside.count() as u64);
    }

    /// The reply of a list is there.
    fn finish_list(&mut self, mut list: List) {
        self.count_outside(&list.seen);
        if list.join == Join::Sum {
            let mut last = Part::default();
            Reply::new(&mut last.bytes, list.protocol).int(list.sum);
            list.parts.push(last);
        }
        let index = list.session.index;
        let session = &mut self.sessions[index];
        session.output.append(list.parts.into_iter());
        self.resume(index);
        self.touch(index);
    }

    /// Reads a list under a reservation of its shards, because it kept changing.
    fn reserve_for(&mut self, list: List) {
        self.stats.add(Counter::CrossShardRetries, 1);
        let queued = Queued {
            command: list.command,
            args: list.args,
        };
        self.start_transaction(list.session.index, vec![queued], false);
    }
}
