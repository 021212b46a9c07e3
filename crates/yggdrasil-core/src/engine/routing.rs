//! Commands that need more than the owner of one key.

use super::Engine;
use super::dispatch::Flow;
use super::job::{Job, Lends, MaySteps, Ran};
use super::lists::{KEYS_AHEAD, KEYS_AT_ONCE_MAX, Seen};
use super::output::Tail;
use super::pending::{Gather, Receiver, Waiter};
use super::session::{Gates, Listener, Queued, Wait};
use super::views::Lending;
use super::works::Awaiting;
use crate::commands::{CommandId, EachHandler, Flags, Join, Keys, Route, Run, scan};
use crate::keyspace::EventClasses;
use crate::resp::{Args, ArgsBuffer, Lend, Protocol, Reply};
use crate::stats::Counter;

/// Tries of a read over several shards before it becomes a transaction.
const TRIES: usize = 4;

/// The part of a request that one shard executes.
pub(super) struct Part {
    pub shard: usize,
    pub args: ArgsBuffer,
}

impl Engine {
    /// A command whose route is not one key.
    pub(super) fn run_over_shards(
        &mut self,
        index: usize,
        command: CommandId,
        args: &Args<'_>,
    ) -> Flow {
        let row = self.table.spec(command);
        let (run, route, readonly) = (row.run, row.route, row.flags.has(Flags::READONLY));
        // A cluster client asks every worker on its own port and puts the answers together.
        let is_own_only = readonly
            && self.sessions[index].listener == Listener::Own
            && matches!(route, Route::AllShards(_) | Route::Scan | Route::RandomKey);
        let must_ask_owners = self.must_ask_owners(index);
        if let (Run::ReadEach(each), Route::Split(join)) = (run, route)
            && !must_ask_owners
            && args.len() > KEYS_AT_ONCE_MAX
            && self.reserved.is_none()
            && self.may_read_in_steps(index)
        {
            return self.start_list(index, command, each, join, args);
        }
        let one = match route {
            _ if self.shape.shards == 1 || is_own_only => Some(self.me),
            Route::Scan => Some(self.scan_shard(args)),
            Route::Upload => Some(self.upload_shard(args)),
            Route::RandomKey => None,
            _ => self.only_shard(command, args),
        };
        match (one, run) {
            (Some(shard), _) if shard == self.me => {
                self.scans_own_only = is_own_only;
                let flow = self.run_own(index, command, args, None);
                self.scans_own_only = false;
                return flow;
            }
            (Some(shard), Run::Shard(_) | Run::ReadEach(_)) => {
                return self.forward(index, shard, command, args, None);
            }
            // A transaction of this worker would have to be decided in its log, which is not there yet.
            (Some(shard), Run::Together(_))
                if self.is_blocking(command) || self.gate.is_absent() =>
            {
                return self.forward(index, shard, command, args, None);
            }
            _ => {}
        }
        match (run, route) {
            (Run::ReadEach(each), Route::Split(join)) if !must_ask_owners => {
                self.read_each(index, command, each, join, args)
            }
            (Run::Shard(_), Route::Split(_) | Route::AllShards(_) | Route::RandomKey)
                if readonly =>
            {
                self.gather_for_session(index, command, args)
            }
            _ => self.start_alone(index, command, args),
        }
    }

    /// Begins a transaction of one request.
    pub(super) fn start_alone(
        &mut self,
        index: usize,
        command: CommandId,
        args: &Args<'_>,
    ) -> Flow {
        let args = (*args).into();
        self.start_transaction(index, vec![Queued { command, args }], false)
    }

    /// True while owners have to know of each read, so that nothing is read through shared memory.
    fn must_ask_owners(&self, index: usize) -> bool {
        self.sessions[index].gates.any(Gates::NO_TOUCH)
            || self.tracks(index)
            || self.shard.wants_events(EventClasses::KEY_MISS)
    }

    /// The one shard that all keys of a request belong to, or the own for a request that its handler will refuse.
    fn only_shard(&self, command: CommandId, args: &Args<'_>) -> Option<usize> {
        let row = self.table.spec(command);
        let is_everywhere = self.shape.shards > 1 && row.keys.reach_everywhere(args);
        if is_everywhere || matches!(row.route, Route::AllShards(_) | Route::Node) {
            return None;
        }
        if let Keys::At { first, step, .. } = row.keys
            && !(args.len() - usize::from(first)).is_multiple_of(usize::from(step))
        {
            return Some(self.me);
        }
        let mut shards = row
            .keys
            .positions(args)
            .map(|position| self.shard_of(args.at(position)));
        let first = shards.next().unwrap_or(self.me);
        shards.all(|shard| shard == first).then_some(first)
    }

    fn random_shard(&mut self, db: u8) -> usize {
        let lengths: Vec<u64> = (0..self.shape.shards)
            .map(|shard| self.shard_len(shard, db))
            .collect();
        let total: u64 = lengths.iter().sum();
        let mut rest = if total == 0 {
            return self.me;
        } else {
            self.random.draw() % total
        };
        for (shard, length) in lengths.into_iter().enumerate() {
            if rest < length {
                return shard;
            }
            rest -= length;
        }
        self.me
    }

    /// The shard that a cursor names; the own for a cursor that its handler will refuse.
    fn scan_shard(&self, args: &Args<'_>) -> usize {
        scan::shard_of(args, self.shape.shards as u16).map_or(self.me, usize::from)
    }

    /// Keys of a database in any shard.
    pub(super) fn shard_len(&self, shard: usize, db: u8) -> u64 {
        self.readers[shard]
            .as_ref()
            .map_or_else(|| self.shard.len(db), |reader| reader.len(db))
    }

    /// The shards a request needs, as bits.
    pub(super) fn shards_of(&self, command: CommandId, args: &Args<'_>) -> u64 {
        let row = self.table.spec(command);
        let all = u64::MAX >> (64 - self.shape.shards);
        if let Run::Script(call) = row.run {
            return self.shards_of_script_step(call, args);
        }
        match row.route {
            Route::Session if !matches!(row.run, Run::Python) => 0,
            Route::AllShards(_) | Route::Node | Route::RandomKey => all,
            Route::Together if row.keys.reach_everywhere(args) => all,
            Route::Scan => 1 << self.scan_shard(args),
            Route::Upload => 1 << self.upload_shard(args),
            // A Python command has no route: what it executes inside of a transaction is for the keys of its row.
            Route::Session | Route::Key | Route::Split(_) | Route::Together => {
                let positions = row.keys.positions(args);
                positions.fold(0, |shards, position| {
                    shards | 1 << self.shard_of(args.at(position))
                })
            }
        }
    }

    /// Cuts a request into the parts of its shards; with the part that answers each key.
    pub(super) fn split(&self, command: CommandId, args: &Args<'_>) -> (Vec<Part>, Vec<u8>) {
        let row = self.table.spec(command);
        let mut parts: Vec<Part> = Vec::new();
        let mut order = Vec::new();
        let (Route::Split(_), Keys::At { first, step, .. }) = (row.route, row.keys) else {
            let shards = match row.route {
                Route::Node => 1 << self.me,
                _ => self.shards_of(command, args),
            };
            let each = (0..self.shape.shards).filter(|shard| shards & (1 << shard) != 0);
            return (
                each.map(|shard| Part {
                    shard,
                    args: (*args).into(),
                })
                .collect(),
                order,
            );
        };
        for position in row.keys.positions(args) {
            let shard = self.shard_of(args.at(position));
            let part = parts
                .iter()
                .position(|part| part.shard == shard)
                .unwrap_or_else(|| {
                    let head: ArgsBuffer = args.iter().take(usize::from(first)).collect();
                    parts.push(Part { shard, args: head });
                    parts.len() - 1
                });
            for offset in 0..usize::from(step) {
                parts[part]
                    .args
                    .push(args.get(position + offset).unwrap_or_default());
            }
            order.push(part as u8);
        }
        (parts, order)
    }

    /// As [`Engine::split`]; of a random key, a shard is preferred by the number of its keys.
    pub(super) fn split_in(
        &mut self,
        command: CommandId,
        args: &Args<'_>,
        db: u8,
    ) -> (Vec<Part>, Vec<u8>) {
        let (parts, mut order) = self.split(command, args);
        if self.table.spec(command).route == Route::RandomKey {
            order.push(self.random_shard(db) as u8);
        }
        (parts, order)
    }

    /// Runs the parts of a read that need not be of one moment, and joins them in a reply slot.
    fn gather_for_session(&mut self, index: usize, command: CommandId, args: &Args<'_>) -> Flow {
        let db = self.sessions[index].db;
        let (parts, order) = self.split_in(command, args, db);
        if let Some(flow) = self.not_yet(&parts) {
            return flow;
        }
        let shards = parts
            .iter()
            .fold(0, |shards, part| shards | 1 << part.shard);
        let session = &mut self.sessions[index];
        if session.has_reads_under_way() {
            return Flow::Again(Wait::Slots);
        }
        let slot = session.open_slot_at(shards, None);
        session.reads_under_way |= shards & !(1 << self.me);
        let receiver = Receiver::Slot {
            session: session.at,
            slot,
        };
        let (db, protocol) = (session.db, session.protocol);
        self.gather(command, parts, order, receiver, db, protocol, 0);
        Flow::Done
    }

    /// Why parts cannot be executed or sent now.
    fn not_yet(&self, parts: &[Part]) -> Option<Flow> {
        parts.iter().find_map(|part| match part.shard {
            shard if shard == self.me => self
                .reserved
                .is_some()
                .then_some(Flow::Again(Wait::Release)),
            shard => self
                .links
                .is_backlogged(shard)
                .then_some(Flow::Again(Wait::Ring(shard))),
        })
    }

    /// Executes or sends the parts of a request. `tag` is the transaction's number, 0 outside of one.
    #[allow(
        clippy::too_many_arguments,
        reason = "what a request is executed with, in one place"
    )]
    pub(super) fn gather(
        &mut self,
        command: CommandId,
        parts: Vec<Part>,
        order: Vec<u8>,
        receiver: Receiver,
        db: u8,
        protocol: Protocol,
        tag: u64,
    ) -> usize {
        let join = match self.table.spec(command).route {
            Route::Split(join) | Route::AllShards(join) => join,
            Route::RandomKey | Route::Node => Join::Any,
            _ => Join::AllOk,
        };
        let gather = self
            .gathers
            .insert(Gather::new(join, order, parts.len(), receiver));
        let mut own = None;
        for (number, part) in parts.iter().enumerate() {
            if part.shard == self.me {
                own = Some(number);
            } else {
                let waiter = Waiter::Part {
                    gather,
                    part: number,
                };
                self.send_request(
                    part.shard,
                    waiter,
                    command,
                    &part.args.as_args(),
                    None,
                    db,
                    protocol,
                    tag,
                );
            }
        }
        if let Some(number) = own {
            let mut reply = Vec::new();
            let in_steps = match self.gathers_in_steps(gather) {
                true => MaySteps::Yes,
                false => MaySteps::No,
            };
            let job = Job {
                command,
                args: &parts[number].args.as_args(),
                hash: None,
                db,
                protocol,
                may_wait: false,
                in_steps,
                origin: self.origin_of_receiver(receiver, command),
                ack: self.ack_of_gather(gather),
            };
            let before = self.shard.number();
            let lends = match self.gathers_for_client(gather) {
                true => Lends::Rests,
                false => Lends::Nothing,
            };
            let ran = self.run_job(&job, &mut reply, lends);
            self.gathers[gather].tail = self.lending.take_rest().map(Tail::Here);
            if let Ran::Begun(work) = ran {
                self.begin_work(Awaiting::Gather(gather), &job, before, reply, work);
                return gather;
            }
            assert!(ran.is_done(), "it was not allowed to wait");
            self.note_part(gather, self.me, self.part_of_group(job.ack, before));
            self.gathers[gather].parts[number] = Some(reply);
        }
        self.finish_if_complete(gather);
        gather
    }

    /// A reply for a slot that was complete at once leaves at once. A transaction looks after its own.
    pub(super) fn finish_if_complete(&mut self, gather: usize) {
        let gathering = &self.gathers[gather];
        if gathering.is_complete() && matches!(gathering.receiver, Receiver::Slot { .. }) {
            self.gather_done(gather);
        }
    }

    /// One part of a gathered reply is there.
    pub(super) fn part_done(&mut self, gather: usize, part: usize, reply: Vec<u8>) {
        let Some(gathering) = self.gathers.get_mut(gather) else {
            return;
        };
        gathering.parts[part] = Some(reply);
        if gathering.is_complete() {
            self.gather_done(gather);
        }
    }

    fn gather_done(&mut self, gather: usize) {
        match self.gathers[gather].receiver {
            Receiver::Slot { session, slot } => {
                let reply = self.gathers.remove(gather).finish();
                self.answer(session, slot, &reply);
            }
            Receiver::Transaction(transaction) => self.advance_transaction(transaction),
        }
    }

    /// Reads several keys of several shards as they were at one moment.
    fn read_each(
        &mut self,
        index: usize,
        command: CommandId,
        each: EachHandler,
        join: Join,
        args: &Args<'_>,
    ) -> Flow {
        let session = &mut self.sessions[index];
        if !session.slots.is_empty() {
            return Flow::Again(Wait::Slots);
        }
        if self.reserved.is_some() {
            return Flow::Again(Wait::Release);
        }
        let (db, protocol) = (session.db, session.protocol);
        let mut target = std::mem::take(session.reply_target());
        let start = target.len();
        let mut seen = Vec::new();
        let mut lending = Lending::new(self.shard.lender());
        let mark = self.shard.capture_mark();
        let settled = (0..TRIES).any(|_| {
            self.shard.forget_captured(mark);
            target.truncate(start);
            lending.take_back(start);
            seen.clear();
            let mut reply = Reply::lending(&mut target, protocol, &mut lending);
            let run = (each, join);
            self.try_read_each(run, command, args, db, &mut reply, &mut seen)
                && seen.iter().all(|seen| match seen {
                    // Nothing has run here since.
                    Seen::Own(..) => true,
                    Seen::Other(shard, stamp, _) => self.is_still_valid(*shard, stamp),
                })
        });
        self.count_outside(&seen);
        if !settled {
            self.shard.forget_captured(mark);
            target.truncate(start);
        }
        let session = &mut self.sessions[index];
        *session.reply_target() = target;
        if settled {
            session.output.add_views(lending.drain());
            return Flow::Done;
        }
        self.stats.add(Counter::CrossShardRetries, 1);
        self.start_transaction(
            index,
            vec![Queued {
                command,
                args: (*args).into(),
            }],
            false,
        )
    }

    /// One try to read all keys; what it saw goes to `seen`. False when a read does not settle.
    fn try_read_each(
        &mut self,
        (each, join): (EachHandler, Join),
        command: CommandId,
        args: &Args<'_>,
        db: u8,
        reply: &mut Reply<'_>,
        seen: &mut Vec<Seen>,
    ) -> bool {
        let positions: Vec<usize> = self.table.spec(command).keys.positions(args).collect();
        if join == Join::InOrder {
            reply.array(positions.len());
        }
        let mut sum = 0;
        for chunk in positions.chunks(KEYS_AHEAD) {
            match self.read_chunk(each, args, chunk, db, reply, seen) {
                Some(part) => sum += part,
                None => return false,
            }
        }
        if join == Join::Sum {
            reply.int(sum);
        }
        true
    }
}
