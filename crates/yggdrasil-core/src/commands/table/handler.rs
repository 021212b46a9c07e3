//! Who runs a command: the kinds of handlers, what they are given and what they give back.

use std::cell::RefCell;
use std::fmt;

use crate::keyspace::collection::Part;
use crate::keyspace::{
    AccessBits, Effect, EntryPlace, EntryView, EventClasses, Expiry, Key, KeyEvent, KeyspaceError,
    Kind, Millis, PinRoom, Received, Shard, Value, hash_key,
};
use crate::random::Random;
use crate::resp::{Args, ArgsBuffer, Progress, Reply};
use crate::script::Scripts;

use crate::commands::families::session::SessionCommand;
use crate::commands::families::value::canonical;
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::keys::Keys;
use crate::commands::table::made::Made;
use crate::commands::table::spec::{CommandSpec, Join, Route};
use crate::commands::table::together::run_together;

/// The result of a handler. On an error the caller takes back what was written, and the error is the reply.
pub type Outcome = Result<(), CommandError>;

pub type ReadHandler =
    fn(&ReadContext<'_>, Option<&EntryView<'_>>, &Args<'_>, &mut Reply<'_>) -> Outcome;
pub type EachHandler = fn(Option<EntryView<'_>>, &mut Reply<'_>) -> i64;
pub type LookHandler = for<'a> fn(&PlanContext<'_>, &Args<'a>, &mut Vec<Look<'a>>) -> Outcome;
pub type DecideHandler = for<'a> fn(
    &PlanContext<'a>,
    &Args<'a>,
    &[Found<'a>],
    &mut Vec<Change<'a>>,
    &mut Reply<'_>,
) -> Outcome;
pub type ShardHandler = fn(&mut ShardContext<'_>, &Args<'_>, &mut Reply<'_>) -> Outcome;

/// Who runs a command.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// Looks at the entry of its one key and at nothing else: also served from another shard's memory.
    Read(ReadHandler),
    /// Looks at each of its keys by itself. The function is called once for each: under [`Join::InOrder`] it writes
    /// one element, under [`Join::Sum`] it writes nothing and returns what to add.
    ReadEach(EachHandler),
    /// Runs at the owner.
    Shard(ShardHandler),
    /// Looks at several keys, decides, and changes them, wherever they are.
    Together(Together),
    /// The engine itself.
    Session(SessionCommand),
    /// A script, or a function of a library.
    Script(ScriptCall),
    /// A coroutine that the worker has registered.
    Python,
    /// Its subcommands; alone, where its arity allows that, a coroutine.
    Container,
    /// The list of subcommands, see [`Registry::write_help`](crate::commands::Registry::write_help).
    Help,
}

/// How a command calls a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScriptCall {
    pub by: CalledBy,
    /// Writes are refused.
    pub read_only: bool,
}

/// What a command says of the script to call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CalledBy {
    Text,
    Hash,
    /// The name of a function.
    Name,
}

/// A command over keys that may belong to several shards, in two steps with the shards reserved around both.
#[derive(Clone, Copy, Debug)]
pub struct Together {
    /// Reads the arguments: which keys it needs to see.
    pub look: LookHandler,
    /// Gets what was found, in the order of the looks; says what to change and writes the reply, which holds if
    /// all changes succeed.
    pub decide: DecideHandler,
}

/// The entry that a look found, if any.
pub type Found<'a> = Option<EntryView<'a>>;

/// A key that a [`Together`] command wants to see.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub db: u8,
    pub key: &'a [u8],
    /// True when its value is needed. If not, an empty one may be given for it.
    pub value: bool,
    /// The part of the value that is enough; without it, the whole is given.
    pub part: Option<Part<'a>>,
}

/// A change that a [`Together`] command makes, applied in order by the owner of the key.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    pub db: u8,
    pub key: &'a [u8],
    pub effect: Effect<'a>,
    /// What is published when it is made, in order.
    pub events: &'a [KeyEvent],
}

/// Bounds that come from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimits {
    /// The longest string that may come into being (proto-max-bulk-len), other than by an upload.
    pub string_bytes_max: u64,
    pub databases: u8,
    /// The longest HyperLogLog in the sparse encoding (hll-sparse-max-bytes).
    pub hll_sparse_bytes_max: usize,
    /// Uploads of a shard at a time.
    pub uploads_max: usize,
    /// Bytes of all of them; 0 for no limit but the memory.
    pub upload_bytes_max: u64,
    /// How long a pin lasts when nobody says.
    pub pin_milliseconds: u64,
    /// The meaning of the access bits of entries.
    pub access_bits: AccessBits,
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self {
            string_bytes_max: 512 * 1024 * 1024,
            databases: 16,
            hll_sparse_bytes_max: 3000,
            uploads_max: 256,
            upload_bytes_max: 0,
            pin_milliseconds: 3_600_000,
            access_bits: AccessBits::default(),
        }
    }
}

/// The surroundings of a [`Run::Read`] handler.
#[derive(Clone, Copy, Debug)]
pub struct ReadContext<'a> {
    pub now: Millis,
    pub limits: &'a KeyLimits,
}

/// A wait that a handler has begun.
#[derive(Clone, Debug)]
pub struct Waits {
    /// The end of its time; `None` for a wait without end.
    pub until: Option<Millis>,
    /// The arguments with which the request runs again, where they are others: the keys have the same places.
    pub instead: Option<Box<ArgsBuffer>>,
}

/// A change of so much that it is made in steps. All the while the shard is held for it, as for a transaction.
pub trait Work: fmt::Debug {
    /// Makes a bounded part of the change. What may be refused is refused before its first part, or in a last one that
    /// alone changes anything: nothing is undone.
    ///
    /// # Errors
    /// The reply.
    fn go_on(
        &mut self,
        context: &mut ShardContext<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<Progress, CommandError>;
}

/// Whether a request may be executed in steps, and whether it is.
#[derive(Debug, Default)]
pub enum InSteps {
    #[default]
    AtOnce,
    /// It begins again where it may be, if it asks for that.
    MayAsk,
    Asked,
    Allowed,
    Begun(Box<dyn Work>),
}

impl InSteps {
    fn is_possible(&self) -> bool {
        matches!(self, Self::MayAsk | Self::Allowed)
    }

    fn leave(self, work: impl FnOnce() -> Box<dyn Work>) -> Self {
        match self {
            Self::Allowed => Self::Begun(work()),
            _ => Self::Asked,
        }
    }

    /// True where the request has been left to be done in steps.
    pub fn is_left(&self) -> bool {
        matches!(self, Self::Asked | Self::Begun(_))
    }
}

/// Whether a request may be answered later, and whether it is to be.
#[derive(Debug, Default)]
pub struct MayWait {
    pub allowed: bool,
    asked: RefCell<Option<Waits>>,
}

impl MayWait {
    pub fn new(allowed: bool) -> Self {
        Self {
            allowed,
            asked: RefCell::new(None),
        }
    }

    /// Takes the wait that was asked for.
    pub fn asked(&self) -> Option<Waits> {
        self.asked.take()
    }
}

/// Keys of the database in use that a command wants to see when it has seen others.
#[derive(Debug, Default)]
pub struct Further(RefCell<Vec<Vec<u8>>>);

impl Further {
    /// Has `decide` called again, with what these keys have behind what was found before.
    pub fn ask(&self, keys: Vec<Vec<u8>>) {
        self.0.replace(keys);
    }

    /// Takes what was asked for.
    pub fn take(&self) -> Vec<Vec<u8>> {
        self.0.take()
    }
}

/// The surroundings of the steps of a [`Together`] command.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext<'a> {
    pub db: u8,
    pub now: Millis,
    pub limits: &'a KeyLimits,
    /// What may still be pinned.
    pub pins: &'a PinRoom,
    /// Holds values that the command makes, so that its changes can name them.
    pub made: &'a Made,
    pub may_wait: &'a MayWait,
    /// Takes keys that only what was found has told. The shards of a row whose [`Keys::reach_everywhere`] are all
    /// reserved.
    pub further: &'a Further,
    pub in_steps: &'a RefCell<InSteps>,
    /// All keys lie in one shard, and its changes are kept.
    pub is_logged: bool,
}

impl PlanContext<'_> {
    /// Lets the request run again when a key that it waits for changes, see [`ShardContext::wait_for_change`].
    pub fn wait_for_change(&self, until: Option<Millis>) -> bool {
        self.wait_instead(until, None)
    }

    /// The same for a request that runs again with other arguments.
    pub fn wait_instead(&self, until: Option<Millis>, instead: Option<Box<ArgsBuffer>>) -> bool {
        if self.may_wait.allowed {
            self.may_wait.asked.replace(Some(Waits { until, instead }));
        }
        self.may_wait.allowed
    }

    /// True where [`PlanContext::work_in_steps`] may be asked for.
    pub fn may_work_in_steps(&self) -> bool {
        self.in_steps.borrow().is_possible()
    }

    /// Leaves the whole request to be done in steps: nothing is decided then.
    pub fn work_in_steps(&self, work: impl FnOnce() -> Box<dyn Work>) {
        let mut in_steps = self.in_steps.borrow_mut();
        *in_steps = std::mem::take(&mut *in_steps).leave(work);
    }

    /// A look at a key of the database in use.
    pub fn look<'a>(&self, key: &'a [u8], value: bool) -> Look<'a> {
        Look {
            db: self.db,
            key,
            value,
            part: None,
        }
    }

    /// A look at a part of the value of a key of the database in use.
    pub fn look_at_part<'a>(&self, key: &'a [u8], part: Part<'a>) -> Look<'a> {
        Look {
            part: Some(part),
            ..self.look(key, true)
        }
    }
}

/// The shard and the surroundings of a [`Run::Shard`] handler.
pub struct ShardContext<'a> {
    pub shard: &'a mut Shard,
    pub db: u8,
    pub now: Millis,
    pub hash_seed: u64,
    /// Hash of the first key, where the engine has computed it already.
    pub first_key_hash: Option<u64>,
    pub limits: &'a KeyLimits,
    /// True when the request may be answered later, see [`ShardContext::wait_for_change`].
    pub may_wait: bool,
    /// The request waits for a change of one of its keys, and runs again then: what was written of a reply is dropped.
    pub waits: Option<Waits>,
    pub in_steps: InSteps,
    pub random: &'a mut Random,
    pub scripts: &'a mut Scripts,
    pub shard_index: u16,
    pub shard_count: u16,
    /// The command gives what it finds: a key that is not there is a miss.
    pub reads: bool,
    /// What is read does not count as used: its client has said so.
    pub untouched: bool,
    /// Reads that found their key, and those that did not.
    pub hits: u64,
    pub misses: u64,
}

/// Refuses an entry of another kind than is needed: the one place that says WRONGTYPE.
#[inline(always)]
pub fn check_kind(needs: Option<Kind>, found: Option<&EntryView<'_>>) -> Outcome {
    match found {
        Some(entry) if !fits(needs, entry) => Err(misfit(needs, entry)),
        _ => Ok(()),
    }
}

#[inline(always)]
fn fits(needs: Option<Kind>, entry: &EntryView<'_>) -> bool {
    needs.is_none_or(|needed| entry.kind == needed && !matches!(entry.value, Value::Absent(_)))
}

#[cold]
fn misfit(needs: Option<Kind>, entry: &EntryView<'_>) -> CommandError {
    if needs == Some(entry.kind) {
        CommandError::NotInMemory
    } else {
        CommandError::WrongType
    }
}

/// Bytes of an operation beside the arguments that it names.
const OP_BYTES: usize = 32;

impl ShardContext<'_> {
    /// An empty buffer with room for operations that name arguments of a request. [`ShardContext::change_at`] keeps its
    /// memory for the next one, and so does [`ShardContext::keep_ops`].
    #[inline]
    pub fn ops_of(&mut self, args: &Args<'_>) -> Vec<u8> {
        self.shard.take_ops(args.bytes().len() + OP_BYTES)
    }

    /// Takes back a buffer for operations of which none was needed.
    #[inline]
    pub fn keep_ops(&mut self, ops: Vec<u8>) {
        self.shard.keep_ops(ops);
    }

    /// The string of a key, used by this.
    ///
    /// # Errors
    /// The key has a value of another kind.
    #[inline]
    pub fn string(&mut self, key: &Key<'_>) -> Result<Option<EntryView<'_>>, CommandError> {
        self.of_kind(Kind::String, key)
    }

    /// The value of a key, used by this, which is of the given kind.
    ///
    /// # Errors
    /// The key has a value of another kind.
    #[inline]
    pub fn of_kind(
        &mut self,
        kind: Kind,
        key: &Key<'_>,
    ) -> Result<Option<EntryView<'_>>, CommandError> {
        self.note_miss(key);
        let found = if self.untouched && self.reads {
            self.shard.look(key, self.now)
        } else {
            self.shard.use_entry(key, self.now)
        };
        check_kind(Some(kind), found.as_ref())?;
        Ok(found)
    }

    /// The value of a key, used by this, which is of the given kind and is going to be changed, and its place.
    ///
    /// # Errors
    /// The key has a value of another kind.
    #[inline(always)]
    pub fn to_change(
        &mut self,
        kind: Kind,
        key: &Key<'_>,
    ) -> Result<(Option<EntryView<'_>>, Option<EntryPlace>), CommandError> {
        let (found, at) = self.shard.use_entry_at(key, self.now).unzip();
        check_kind(Some(kind), found.as_ref())?;
        Ok((found, at))
    }

    /// Notes that a command which reads does not find its key, where somebody asks for that.
    #[inline(always)]
    pub(super) fn note_miss(&mut self, key: &Key<'_>) {
        if self.shard.wants_events(EventClasses::KEY_MISS)
            && self.reads
            && self.shard.look(key, self.now).is_none()
        {
            self.notify(KeyEvent::KeyMiss, key);
        }
    }

    /// Lets the request run again when one of its keys changes, until its time is over. False where it must be answered
    /// at once: inside of a transaction nobody waits. A handler that waits has changed nothing.
    pub fn wait_for_change(&mut self, until: Option<Millis>) -> bool {
        if self.may_wait {
            self.waits = Some(Waits {
                until,
                instead: None,
            });
        }
        self.may_wait
    }

    /// True for a request of which nothing is left to be done later.
    #[inline]
    pub fn is_whole(&self) -> bool {
        self.waits.is_none() && !self.in_steps.is_left()
    }

    /// True where [`ShardContext::work_in_steps`] may be asked for.
    pub fn may_work_in_steps(&self) -> bool {
        self.in_steps.is_possible()
    }

    /// Leaves the rest of the request to be done in steps. A handler that does so has changed nothing, and may be called
    /// again.
    pub fn work_in_steps(&mut self, work: impl FnOnce() -> Box<dyn Work>) {
        self.in_steps = std::mem::take(&mut self.in_steps).leave(work);
    }

    /// Changes a collection by operations, see [`Shard::change`].
    ///
    /// # Errors
    /// There is no memory for it, or no room for its record, or the value is of another kind.
    pub fn change(&mut self, key: &Key<'_>, kind: Kind, ops: &[u8]) -> Outcome {
        Ok(self.shard.change(key, kind, ops, self.now)?)
    }

    /// Changes a collection that was found at a place, see [`Shard::change_at`].
    ///
    /// # Errors
    /// There is no memory for it, or no room for its record, or the value is of another kind.
    #[inline]
    pub fn change_at(
        &mut self,
        at: Option<EntryPlace>,
        key: &Key<'_>,
        kind: Kind,
        ops: Vec<u8>,
    ) -> Result<Option<u64>, CommandError> {
        let outcome = self.shard.change_at(at, key, kind, &ops, self.now);
        self.keep_ops(ops);
        Ok(outcome?)
    }

    /// Makes a collection smaller that was found at a place, see [`Shard::reduce_at`].
    ///
    /// # Errors
    /// There is no room for its record, or the value is of another kind.
    #[inline]
    pub fn reduce_at(
        &mut self,
        at: Option<EntryPlace>,
        key: &Key<'_>,
        kind: Kind,
        ops: Vec<u8>,
    ) -> Outcome {
        let outcome = self.shard.reduce_at(at, key, kind, &ops, self.now);
        self.keep_ops(ops);
        Ok(outcome?)
    }

    /// Makes a collection smaller by operations, see [`Shard::reduce`].
    ///
    /// # Errors
    /// There is no room for its record, or the value is of another kind.
    pub fn reduce(&mut self, key: &Key<'_>, kind: Kind, ops: &[u8]) -> Outcome {
        Ok(self.shard.reduce(key, kind, ops, self.now)?)
    }

    /// Makes changes of which all count or none, see [`Shard::end_changes`].
    ///
    /// # Errors
    /// Those of the changes.
    pub fn all_or_none(&mut self, change: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        self.shard.begin_changes();
        let outcome = change(self);
        self.shard.end_changes(outcome.is_ok(), self.now);
        outcome
    }

    /// Publishes an event of a key when the command, or the transaction around it, has ended. An event of a command
    /// that fails is forgotten. One test where nobody has asked for its class.
    #[inline(always)]
    pub fn notify(&mut self, event: KeyEvent, key: &Key<'_>) {
        self.shard.notify(event, key.db, key.bytes);
    }

    /// Any key.
    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key {
            db: self.db,
            hash: hash_key(self.hash_seed, bytes),
            bytes,
        }
    }

    /// The first key of the command, whose hash may be known.
    #[inline(always)]
    pub fn first_key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        match self.first_key_hash {
            Some(hash) => Key {
                db: self.db,
                hash,
                bytes,
            },
            None => self.key(bytes),
        }
    }

    /// Makes `bytes`, or what was received in the place of that argument, the value of a key. Tells whether a live
    /// entry was there before.
    #[inline(always)]
    pub fn store(
        &mut self,
        key: &Key<'_>,
        bytes: &[u8],
        expiry: Expiry,
    ) -> Result<bool, KeyspaceError> {
        if self.shard.has_received()
            && let Some(Received::Value(draft)) = self.shard.take_received()
        {
            let published = self.shard.publish(draft, key, expiry, self.now)?;
            return Ok(published.existed);
        }
        self.shard.set(key, canonical(bytes), expiry, self.now)
    }

    /// Writes `bytes`, or what was received in the place of that argument, into a value that is there: at an offset, or at
    /// its end. Returns the new length.
    pub fn splice(
        &mut self,
        key: &Key<'_>,
        offset: Option<u64>,
        bytes: &[u8],
    ) -> Result<u64, KeyspaceError> {
        let now = self.now;
        match (self.shard.take_received(), offset) {
            (Some(Received::Value(draft)), _) => self.shard.splice_draft(key, offset, draft, now),
            (_, Some(offset)) => self.shard.write_range(key, offset, bytes, now),
            (_, None) => self.shard.append(key, bytes, now),
        }
    }

    /// The entry of a key, used by this unless the command has [`Flags::NO_TOUCH`].
    #[inline]
    pub fn look_up(&mut self, key: &Key<'_>, flags: Flags) -> Option<EntryView<'_>> {
        self.note_miss(key);
        let view = if self.untouched || flags.has(Flags::NO_TOUCH) {
            self.shard.look(key, self.now)
        } else {
            self.shard.use_entry(key, self.now)
        };
        match view {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        view
    }
}

/// Bytes of a record that holds no value, beside its key.
const SMALL_RECORD_BYTES: u64 = 32;

impl CommandSpec {
    /// Runs a command whose keys all belong to this shard. On an error the reply is as it was.
    ///
    /// # Panics
    /// If the command needs no shard.
    #[inline(always)]
    pub fn run_on_shard(
        &self,
        context: &mut ShardContext<'_>,
        args: &Args<'_>,
        reply: &mut Reply<'_>,
    ) -> Outcome {
        if context.shard.has_listener() && self.flags.has(Flags::WRITE) {
            self.reserve_small_records(context, args)?;
        }
        let position = reply.position();
        let mark = context.shard.event_mark();
        let outcome = match &self.run {
            Run::Read(read) => self.run_read(*read, context, args, reply),
            Run::ReadEach(each) => self.run_read_each(*each, context, args, reply),
            Run::Shard(run) => run(context, args, reply),
            Run::Together(together) => run_together(together, context, args, reply),
            Run::Session(_) | Run::Script(_) | Run::Python | Run::Container | Run::Help => {
                panic!("{} runs on no shard", self.name)
            }
        };
        if outcome.is_err() {
            reply.rewind(position);
            context.shard.forget_events_since(mark);
        }
        outcome
    }

    /// Makes sure that what a command changes without storing values can be recorded: its keys, and something for each.
    #[cold]
    fn reserve_small_records(&self, context: &mut ShardContext<'_>, args: &Args<'_>) -> Outcome {
        let mut is_of_keys = false;
        for place in self.keys.positions(args) {
            is_of_keys = true;
            context.shard.admit(args.at(place))?;
        }
        if !is_of_keys {
            context.shard.admit(b"")?;
        }
        let keys = self.keys.positions(args);
        let bytes = keys.map(|place| args.at(place).len() as u64 + SMALL_RECORD_BYTES);
        Ok(context.shard.reserve_record(bytes.sum())?)
    }

    #[inline]
    fn run_read(
        &self,
        read: ReadHandler,
        context: &mut ShardContext<'_>,
        args: &Args<'_>,
        reply: &mut Reply<'_>,
    ) -> Outcome {
        let Keys::At { first, .. } = self.keys else {
            panic!("{} has no key", self.name);
        };
        let key = context.first_key(args.at(usize::from(first)));
        let read_context = ReadContext {
            now: context.now,
            limits: context.limits,
        };
        let found = context.look_up(&key, self.flags);
        if let Some(entry) = &found
            && !fits(self.needs, entry)
        {
            return Err(misfit(self.needs, entry));
        }
        read(&read_context, found.as_ref(), args, reply)
    }

    fn run_read_each(
        &self,
        each: EachHandler,
        context: &mut ShardContext<'_>,
        args: &Args<'_>,
        reply: &mut Reply<'_>,
    ) -> Outcome {
        let is_sum = self.route == Route::Split(Join::Sum);
        if !is_sum {
            reply.array(args.len() - 1);
        }
        let mut sum = 0;
        for argument in args.from(1).iter() {
            let key = Key {
                db: context.db,
                hash: hash_key(context.hash_seed, argument),
                bytes: argument,
            };
            sum += each(context.look_up(&key, self.flags), reply);
        }
        if is_sum {
            reply.int(sum);
        }
        Ok(())
    }
}
