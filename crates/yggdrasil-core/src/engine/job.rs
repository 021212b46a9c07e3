//! Requests that the own shard executes, whoever asked for them.

use super::Engine;
use super::durability::AckChoice;
use super::tracking::Origin;
use crate::commands::{CommandId, Flags, ShardContext, Waits};
use crate::keyspace::Mark;
use crate::resp::{Args, Protocol, Reply};
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
    /// The client behind it.
    pub origin: Origin,
    /// The acknowledgement that its client has chosen.
    pub ack: AckChoice,
}

/// An outcome of a job.
#[derive(Debug)]
#[must_use = "a job that waits has not been answered"]
pub(super) enum Ran {
    /// The reply is there.
    Done,
    /// A change of one of its keys is waited for: it has changed nothing, and runs again.
    Later(Waits),
}

impl Ran {
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

impl Engine {
    /// Executes a job. When `lends`, long values are not copied into `out`: they are in `lending` then.
    #[inline]
    pub(super) fn run_job(&mut self, job: &Job<'_>, out: &mut Vec<u8>, lends: bool) -> Ran {
        self.shard.set_author(job.origin.client);
        let ran = self.execute_job(job, out, lends);
        self.shard.set_author(0);
        if job.origin.tracked_by.is_some() && ran.is_done() {
            let keys = self.table.spec(job.command).keys.positions(job.args);
            self.track(job.origin, keys.map(|place| job.args.at(place)));
        }
        self.send_stale();
        ran
    }

    fn execute_job(&mut self, job: &Job<'_>, out: &mut Vec<u8>, lends: bool) -> Ran {
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
            waits: None,
            random: &mut self.random,
            scripts: &mut self.scripts,
            shard_index: if own_only { 0 } else { self.me as u16 },
            shard_count: if own_only {
                1
            } else {
                self.shape.shards as u16
            },
            reads: row.flags.has(Flags::READONLY),
            untouched: job.origin.untouched,
            hits: 0,
            misses: 0,
        };
        // Readers from outside look at any moment.
        let excludes = self.reserved.is_none() && row.may_change_several(job.args);
        if excludes {
            context.shard.reserve();
            context.shard.mark(&Mark::Begin {
                coordinator: self.me as u16,
                tag: 0,
            });
        }
        let outcome = row.run_on_shard(&mut context, job.args, &mut reply);
        if excludes {
            context.shard.mark(&Mark::Whole);
            context.shard.release();
        }
        let (hits, misses, waits) = (context.hits, context.misses, context.waits);
        if hits + misses != 0 {
            self.stats.add(Counter::KeyspaceHits, hits);
            self.stats.add(Counter::KeyspaceMisses, misses);
        }
        if let Err(error) = outcome {
            error.write(&mut reply);
        } else if let Some(waits) = waits {
            out.truncate(start);
            return Ran::Later(waits);
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
}
