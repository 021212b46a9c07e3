//! Requests that the own shard executes, whoever asked for them: answered at once, or later, when what they wait for has
//! come.

use super::Engine;
use super::links::Envelope;
use super::pending::{SessionRef, Waiter};
use crate::commands::{CommandId, Flags, ShardContext};
use crate::keyspace::{Key, WaitToken, hash_key};
use crate::resp::{Args, ArgsBuffer, Protocol, Reply};
use crate::ring::{FrameHeader, FrameKind};
use crate::stats::Counter;

/// A request for the own shard: all its keys are here.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub command: CommandId,
    pub args: &'a Args<'a>,
    /// Hash of its only key, where that is known.
    pub hash: Option<u64>,
    pub db: u8,
    pub protocol: Protocol,
    /// True where it may be answered later.
    pub may_wait: bool,
}

/// An outcome of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a job that waits has not been answered"]
pub(super) enum Ran {
    /// The reply is there.
    Done,
    /// A change of one of its keys is waited for: it has changed nothing, and runs again.
    Later,
}

/// The receiver of a reply that is given later.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    Here(Waiter),
    /// Another worker, which sent this message.
    There {
        from: usize,
        header: FrameHeader,
    },
}

/// A job that waits.
pub(super) struct Parked {
    asker: Asker,
    /// The client behind it, for the slow log.
    client: u64,
    command: CommandId,
    args: ArgsBuffer,
    db: u8,
    protocol: Protocol,
    serial: u32,
}

/// The token of a parked job: its place and its serial number, as places are used again.
fn token_of(index: usize, serial: u32) -> WaitToken {
    index as u64 | u64::from(serial) << 32
}

impl Engine {
    /// Executes a job. When `lends`, long values are not copied into `out`: they are in `lending` then.
    pub(super) fn run_job(&mut self, job: &Job<'_>, out: &mut Vec<u8>, lends: bool) -> Ran {
        let row = self.table.spec(job.command);
        let refusal = if self.may_refuse(row.flags) {
            self.refusal(job.command)
        } else {
            None
        };
        let start = out.len();
        let mut reply = if lends {
            Reply::lending(out, job.protocol, &mut self.lending)
        } else {
            Reply::new(out, job.protocol)
        };
        if let Some(error) = refusal {
            error.write(&mut reply);
            return Ran::Done;
        }
        let own_only = self.scans_own_only;
        let mut context = ShardContext {
            shard: &mut self.shard,
            db: job.db,
            now: self.now,
            hash_seed: self.shape.hash_seed,
            first_key_hash: job.hash,
            limits: &self.options.limits,
            may_wait: job.may_wait,
            waits: false,
            random: &mut self.random,
            shard_index: if own_only { 0 } else { self.me as u16 },
            shard_count: if own_only {
                1
            } else {
                self.shape.shards as u16
            },
            reads: row.flags.has(Flags::READONLY),
            hits: 0,
            misses: 0,
        };
        // Readers from outside look at any moment.
        let excludes = self.reserved.is_none() && row.may_change_several(job.args);
        if excludes {
            context.shard.reserve();
        }
        let outcome = row.run_on_shard(&mut context, job.args, &mut reply);
        if excludes {
            context.shard.release();
        }
        let (hits, misses, waits) = (context.hits, context.misses, context.waits);
        if hits + misses != 0 {
            self.stats.add(Counter::KeyspaceHits, hits);
            self.stats.add(Counter::KeyspaceMisses, misses);
        }
        if let Err(error) = outcome {
            error.write(&mut reply);
        } else if waits {
            out.truncate(start);
            return Ran::Later;
        }
        Ran::Done
    }

    /// Counts an executed job, and notes it where it was slow. Its time began where the last request's ended.
    pub(super) fn account(&mut self, job: &Job<'_>, client: u64, reply: &[u8]) {
        let ticks = (self.clock.ticks)();
        let spent = self.clock.nanoseconds(ticks.wrapping_sub(self.ticks));
        self.ticks = ticks;
        let failed = reply.first() == Some(&b'-');
        self.stats.executed(job.command.index(), spent, failed);
        self.stats.add(Counter::CommandsProcessed, 1);
        if failed {
            self.observations.count_error(reply);
            self.stats.add(Counter::ErrorReplies, 1);
        }
        if spent >= self.observations.slow_ns {
            self.note_slow(client, None, job.command, job.args, spent);
        }
    }

    /// Keeps a job until one of its keys changes.
    pub(super) fn park(&mut self, job: &Job<'_>, client: u64, asker: Asker) {
        self.park_serial = self.park_serial.wrapping_add(1);
        let index = self.parked.insert(Parked {
            asker,
            client,
            command: job.command,
            args: (*job.args).into(),
            db: job.db,
            protocol: job.protocol,
            serial: self.park_serial,
        });
        let token = token_of(index, self.park_serial);
        for position in self.table.spec(job.command).keys.positions(job.args) {
            let bytes = job.args.at(position);
            let key = Key {
                db: job.db,
                hash: hash_key(self.shape.hash_seed, bytes),
                bytes,
            };
            self.shard.wait_for(&key, token);
        }
    }

    fn parked(&self, token: WaitToken) -> Option<(usize, &Parked)> {
        let index = (token & u64::from(u32::MAX)) as usize;
        let parked = self.parked.get(index)?;
        (u64::from(parked.serial) == token >> 32).then_some((index, parked))
    }

    /// Takes back a job that waits.
    fn unpark(&mut self, token: WaitToken) -> Option<Parked> {
        let (index, _) = self.parked(token)?;
        let parked = self.parked.remove(index);
        let args = parked.args.as_args();
        let positions = self.table.spec(parked.command).keys.positions(&args);
        let keys = positions.map(|position| args.at(position));
        self.shard.end_wait(parked.db, keys, token);
        Some(parked)
    }

    /// Runs jobs again whose keys have changed, in the order in which they came.
    #[cold]
    pub(super) fn serve_ready(&mut self) {
        for token in self.shard.take_ready() {
            let Some((_, parked)) = self.parked(token) else {
                continue;
            };
            let (args, client) = (parked.args.clone(), parked.client);
            let job = Job {
                command: parked.command,
                args: &args.as_args(),
                hash: None,
                db: parked.db,
                protocol: parked.protocol,
                may_wait: true,
            };
            let mut reply = Vec::new();
            if self.run_job(&job, &mut reply, false) == Ran::Later {
                continue;
            }
            self.account(&job, client, &reply);
            if let Some(parked) = self.unpark(token) {
                self.tell(parked.asker, &reply);
            }
        }
    }

    /// Gives a reply to who waits for it, here or elsewhere.
    fn tell(&mut self, asker: Asker, reply: &[u8]) {
        match asker {
            Asker::Here(waiter) => self.give(waiter, Some(reply)),
            Asker::There { from, header } => self.send_reply(from, &header, reply),
        }
    }

    /// Ends what a session waits for, here or elsewhere: its client has gone.
    pub(super) fn cancel_jobs(&mut self, at: SessionRef) {
        self.end_parked(
            |asker| matches!(asker, Asker::Here(Waiter::Slot { session, .. }) if *session == at),
        );
        if self.sessions[at.index].slots.is_empty() {
            return;
        }
        for (ticket, target) in self.tickets.of_session(at) {
            if target != self.me {
                let envelope = Envelope::new(FrameKind::Cancel, ticket);
                self.links.send(target, envelope, &[]);
            }
        }
    }

    /// Gives a request of another worker an empty answer where it still waits: its client has gone.
    pub(super) fn take_cancel(&mut self, from: usize, cancelled: &FrameHeader) {
        let (ticket, incarnation) = (cancelled.ticket, cancelled.from_incarnation);
        self.end_parked(|asker| {
            matches!(asker, Asker::There { from: sender, header } if *sender == from
                && header.ticket == ticket
                && header.from_incarnation == incarnation)
        });
    }

    /// Forgets what waits for a worker that was replaced.
    pub(super) fn lose_parked(&mut self, from: usize, incarnation: u32) {
        self.end_parked(|asker| {
            matches!(asker, Asker::There { from: sender, header } if *sender == from
                && header.from_incarnation != incarnation)
        });
    }

    fn end_parked(&mut self, is_over: impl Fn(&Asker) -> bool) {
        let over = self.parked.iter().filter(|(_, job)| is_over(&job.asker));
        let tokens: Vec<WaitToken> = over
            .map(|(index, job)| token_of(index, job.serial))
            .collect();
        for token in tokens {
            if let Some(parked) = self.unpark(token) {
                self.tell(parked.asker, b"");
            }
        }
    }
}
