//! Requests that the own shard executes, whoever asked for them.

use super::Engine;
use super::durability::AckChoice;
use super::tracking::Origin;
use super::views::{Keeping, TooEarly};
use crate::commands::{CommandId, Flags, InSteps, ShardContext, Waits, Work};
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
    /// True where it may be executed in steps; otherwise it may ask for that.
    pub in_steps: MaySteps,
    /// The client behind it.
    pub origin: Origin,
    /// The acknowledgement that its client has chosen.
    pub ack: AckChoice,
}

/// Whether a job may be executed in steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MaySteps {
    No,
    MayAsk,
    Yes,
}

/// What of a reply need not be written where it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lends {
    Nothing,
    /// What is made in steps.
    Rests,
    /// Long values, too.
    All,
    /// A reply that would be made in steps is not made: it is to come when it is its turn.
    NotYet,
}

/// An outcome of a job.
#[derive(Debug)]
#[must_use = "a job that waits has not been answered"]
pub(super) enum Ran {
    /// The reply is there.
    Done,
    /// A change of one of its keys is waited for: it has changed nothing, and runs again.
    Later(Waits),
    /// A long reply would come too early: it has changed nothing, and runs again.
    TooEarly,
    /// It is to be executed in steps: it has changed nothing, and runs again.
    Long,
    /// The rest of it is to be done.
    Begun(Box<dyn Work>),
}

/// What a request is executed in, of parts of the engine that are borrowed one by one.
macro_rules! context {
    ($engine:ident, $row:expr, $db:expr, $origin:expr) => {
        ShardContext {
            shard: &mut $engine.shard,
            db: $db,
            now: $engine.now,
            hash_seed: $engine.shape.hash_seed,
            first_key_hash: None,
            limits: &$engine.options.limits,
            may_wait: false,
            waits: None,
            in_steps: InSteps::AtOnce,
            random: &mut $engine.random,
            scripts: &mut $engine.scripts,
            shard_index: if $engine.scans_own_only {
                0
            } else {
                $engine.me as u16
            },
            shard_count: if $engine.scans_own_only {
                1
            } else {
                $engine.shape.shards as u16
            },
            reads: $row.flags.has(Flags::READONLY),
            untouched: $origin.untouched,
            hits: 0,
            misses: 0,
        }
    };
}

impl Ran {
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

impl Engine {
    /// Executes a job. What is not written into `out` by `lends` is in `lending` then.
    #[inline(never)]
    pub(super) fn run_job(&mut self, job: &Job<'_>, out: &mut Vec<u8>, lends: Lends) -> Ran {
        self.run_job_inline(job, out, lends)
    }

    /// The same as a part of its caller: for the way of most requests.
    #[inline(always)]
    pub(super) fn run_job_inline(&mut self, job: &Job<'_>, out: &mut Vec<u8>, lends: Lends) -> Ran {
        let is_tracked = self.shard.is_tracked();
        if is_tracked {
            self.shard.set_author(job.origin.client);
        }
        let ran = self.execute_job(job, out, lends);
        if is_tracked {
            self.shard.set_author(0);
        }
        if job.origin.tracked_by.is_some() && ran.is_done() {
            let keys = self.table.spec(job.command).keys.positions(job.args);
            self.track(job.origin, keys.map(|place| job.args.at(place)));
        }
        self.send_stale();
        ran
    }

    #[inline(always)]
    fn execute_job(&mut self, job: &Job<'_>, out: &mut Vec<u8>, lends: Lends) -> Ran {
        let row = self.table.spec(job.command);
        let refusal = if self.may_refuse(row.flags) {
            self.refusal(job.command)
        } else {
            None
        };
        let start = out.len();
        let (mut keeping, mut too_early) = (Keeping(&mut self.lending), TooEarly(false));
        let mut reply = match lends {
            Lends::Nothing => Reply::new(out, job.protocol),
            Lends::All => Reply::lending(out, job.protocol, keeping.0),
            Lends::Rests => Reply::lending(out, job.protocol, &mut keeping),
            Lends::NotYet => Reply::lending(out, job.protocol, &mut too_early),
        };
        if let Some(error) = refusal {
            error.write(&mut reply);
            return Ran::Done;
        }
        let mut context = ShardContext {
            first_key_hash: job.hash,
            may_wait: job.may_wait,
            in_steps: match job.in_steps {
                MaySteps::No => InSteps::AtOnce,
                MaySteps::MayAsk => InSteps::MayAsk,
                MaySteps::Yes => InSteps::Allowed,
            },
            ..context!(self, row, job.db, job.origin)
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
        let (hits, misses) = (context.hits, context.misses);
        if hits + misses != 0 {
            self.stats.add(Counter::KeyspaceHits, hits);
            self.stats.add(Counter::KeyspaceMisses, misses);
        }
        if let Err(error) = outcome {
            error.write(&mut reply);
            return Ran::Done;
        }
        if context.is_whole() && !too_early.0 {
            return Ran::Done;
        }
        let ran = match (context.waits, context.in_steps) {
            (Some(waits), _) => Ran::Later(waits),
            _ if too_early.0 => {
                self.stats.subtract(Counter::KeyspaceHits, hits);
                self.stats.subtract(Counter::KeyspaceMisses, misses);
                Ran::TooEarly
            }
            (None, InSteps::Asked) => Ran::Long,
            (None, InSteps::Begun(work)) => return Ran::Begun(work),
            (None, _) => return Ran::Done,
        };
        out.truncate(start);
        ran
    }

    /// What a further step of a request is executed in.
    pub(super) fn shard_context(
        &mut self,
        command: CommandId,
        db: u8,
        origin: Origin,
    ) -> ShardContext<'_> {
        let row = self.table.spec(command);
        context!(self, row, db, origin)
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
