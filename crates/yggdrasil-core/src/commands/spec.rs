//! The row of the command table: everything that is known about a command, in one place.

use std::fmt;

use crate::commands::error::CommandError;
use crate::commands::session::SessionCommand;
use crate::commands::together::run_together;
use crate::commands::value::canonical;
use crate::keyspace::{
    AccessBits, EntryView, Expiry, Key, KeyspaceError, Millis, Pins, Received, Shard, Value,
    hash_key,
};
use crate::resp::{Args, Reply};

/// One command, or one subcommand of a container. Names are lower case; a subcommand's is "container|name".
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    pub name: &'static str,
    pub arity: Arity,
    pub flags: Flags,
    pub keys: Keys,
    pub group: Group,
    pub route: Route,
    pub run: Run,
    pub docs: Docs,
}

/// Arguments a command takes, its name (and its container's) included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    Exact(u16),
    AtLeast(u16),
}

impl Arity {
    pub fn allows(self, count: usize) -> bool {
        match self {
            Self::Exact(exact) => count == usize::from(exact),
            Self::AtLeast(least) => count >= usize::from(least),
        }
    }

    /// As COMMAND INFO tells it: negative for "at least".
    pub fn number(self) -> i64 {
        match self {
            Self::Exact(exact) => i64::from(exact),
            Self::AtLeast(least) => -i64::from(least),
        }
    }
}

/// Where the keys are among the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    None,
    /// Every `step`-th argument from `first` to `last`; a negative `last` counts from the end, -1 being the last.
    At {
        first: u16,
        last: i16,
        step: u16,
    },
    /// Every argument behind the name, but for one of these options with its value at the end.
    Before {
        option_names: &'static [&'static str],
    },
}

impl Keys {
    pub const FIRST: Keys = Keys::range(1, 1);
    pub const SECOND: Keys = Keys::range(2, 2);
    pub const FIRST_TWO: Keys = Keys::range(1, 2);
    pub const ALL: Keys = Keys::range(1, -1);

    pub const fn range(first: u16, last: i16) -> Keys {
        Keys::At {
            first,
            last,
            step: 1,
        }
    }

    /// The places of the keys among arguments.
    pub fn positions(self, args: &Args<'_>) -> impl Iterator<Item = usize> + Clone + use<> {
        let count = args.len();
        let (first, end, step) = match self {
            Self::None => (0, 0, 1),
            Self::Before { option_names } => {
                let option_at = count.checked_sub(2).filter(|place| *place > 1);
                let end = option_at.filter(|place| {
                    let word = args.at(*place);
                    let is = |name: &&str| word.eq_ignore_ascii_case(name.as_bytes());
                    option_names.iter().any(is)
                });
                (1, end.unwrap_or(count), 1)
            }
            Self::At { first, last, step } => {
                let end = match usize::try_from(last) {
                    Ok(last) => last + 1,
                    Err(_) => (count + 1).saturating_sub(usize::from(last.unsigned_abs())),
                };
                (usize::from(first), end.min(count), usize::from(step))
            }
        };
        (first..end).step_by(step)
    }

    /// First key, last key and step, as COMMAND INFO tells them.
    pub fn triple(self) -> (i64, i64, i64) {
        match self {
            Self::None => (0, 0, 0),
            Self::At { first, last, step } => (first.into(), last.into(), step.into()),
            Self::Before { .. } => (1, -1, 1),
        }
    }
}

/// Properties of a command, under Redis's names.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u32);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const WRITE: Flags = Flags(1);
    pub const READONLY: Flags = Flags(1 << 1);
    pub const DENYOOM: Flags = Flags(1 << 2);
    pub const ADMIN: Flags = Flags(1 << 3);
    pub const PUBSUB: Flags = Flags(1 << 4);
    pub const NOSCRIPT: Flags = Flags(1 << 5);
    pub const BLOCKING: Flags = Flags(1 << 6);
    pub const LOADING: Flags = Flags(1 << 7);
    pub const STALE: Flags = Flags(1 << 8);
    pub const SKIP_MONITOR: Flags = Flags(1 << 9);
    pub const SKIP_SLOWLOG: Flags = Flags(1 << 10);
    pub const ASKING: Flags = Flags(1 << 11);
    pub const FAST: Flags = Flags(1 << 12);
    pub const NO_AUTH: Flags = Flags(1 << 13);
    /// Not shown as a flag: has to wait where writes have to, though it writes nothing.
    pub const MAY_REPLICATE: Flags = Flags(1 << 14);
    pub const NO_MANDATORY_KEYS: Flags = Flags(1 << 15);
    pub const NO_MULTI: Flags = Flags(1 << 16);
    pub const MOVABLE_KEYS: Flags = Flags(1 << 17);
    pub const ALLOW_BUSY: Flags = Flags(1 << 18);
    /// Not shown as a flag: in the ACL category @dangerous though it is no admin command.
    pub const DANGEROUS: Flags = Flags(1 << 19);
    /// Not shown as a flag: in the ACL category @keyspace though its group is another.
    pub const KEYSPACE: Flags = Flags(1 << 20);
    /// Not shown as a flag: does not count as a use of its keys.
    pub const NO_TOUCH: Flags = Flags(1 << 21);
    /// Not shown as a flag: its argument 2 is a value, which is received where it will stay when it is long.
    pub const VALUE_SECOND: Flags = Flags(1 << 22);
    /// Not shown as a flag: as [`Flags::VALUE_SECOND`], of its argument 3.
    pub const VALUE_THIRD: Flags = Flags(1 << 23);
    /// Not shown as a flag: runs while CLIENT PAUSE holds everything else.
    pub const NEVER_PAUSED: Flags = Flags(1 << 24);

    const NAMES: [(Flags, &'static str); 18] = [
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::DENYOOM, "denyoom"),
        (Self::ADMIN, "admin"),
        (Self::PUBSUB, "pubsub"),
        (Self::NOSCRIPT, "noscript"),
        (Self::BLOCKING, "blocking"),
        (Self::LOADING, "loading"),
        (Self::STALE, "stale"),
        (Self::SKIP_MONITOR, "skip_monitor"),
        (Self::SKIP_SLOWLOG, "skip_slowlog"),
        (Self::ASKING, "asking"),
        (Self::FAST, "fast"),
        (Self::NO_AUTH, "no_auth"),
        (Self::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Self::NO_MULTI, "no_multi"),
        (Self::MOVABLE_KEYS, "movablekeys"),
        (Self::ALLOW_BUSY, "allow_busy"),
    ];

    /// All of `flags` together.
    pub const fn of(flags: &[Flags]) -> Flags {
        let mut bits = 0;
        let mut index = 0;
        while index < flags.len() {
            bits |= flags[index].0;
            index += 1;
        }
        Flags(bits)
    }

    #[inline]
    pub const fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 == flag.0
    }

    /// The names that COMMAND INFO shows.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let shown = Self::NAMES.into_iter();
        shown
            .filter(move |(flag, _)| self.has(*flag))
            .map(|(_, name)| name)
    }

    /// The flag of a name that COMMAND INFO shows.
    pub fn named(name: &str) -> Option<Flags> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(flag, _)| *flag)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.names()).finish()
    }
}

/// The chapter of the command reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Generic,
    String,
    Connection,
    Transactions,
    PubSub,
    Server,
    Cluster,
}

impl Group {
    pub const ALL: [Group; 7] = [
        Self::Generic,
        Self::String,
        Self::Connection,
        Self::Transactions,
        Self::PubSub,
        Self::Server,
        Self::Cluster,
    ];

    /// As COMMAND DOCS says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Connection => "connection",
            Self::Transactions => "transactions",
            Self::PubSub => "pubsub",
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }

    fn acl_category(self) -> Option<&'static str> {
        match self {
            Self::Generic => Some("keyspace"),
            Self::String => Some("string"),
            Self::Connection => Some("connection"),
            Self::Transactions => Some("transaction"),
            Self::PubSub | Self::Server | Self::Cluster => None,
        }
    }
}

/// Which shards a command needs, and how the answers of several become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// None.
    Session,
    /// The owner of its one key.
    Key,
    /// The shard of the upload that it names, see [`upload_shard`](crate::commands::streams::upload_shard).
    Upload,
    /// The owners of its keys; the handler gets the arguments of its shard only (the name first).
    Split(Join),
    /// Several keys that are looked at and changed together.
    Together,
    /// Every shard, with the same arguments.
    AllShards(Join),
    /// The shard that the cursor names, see [`scan`](crate::commands::scan).
    Scan,
    /// Every shard: one that has a key answers.
    RandomKey,
}

/// How the replies of several shards become one. Each is a complete reply to the arguments its shard got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Integers, added.
    Sum,
    /// OK, unless one shard gave an error.
    AllOk,
    /// Arrays with one element for each key, brought into the order of the keys.
    InOrder,
    /// Arrays, one after another.
    Concat,
    /// Any that is not null.
    Any,
}

/// What a handler gives. On an error the caller takes back what was written, and the error is the reply.
pub type Outcome = Result<(), CommandError>;

pub type ReadHandler =
    fn(&ReadContext<'_>, Option<EntryView<'_>>, &Args<'_>, &mut Reply<'_>) -> Outcome;
pub type EachHandler = fn(Option<EntryView<'_>>, &mut Reply<'_>) -> i64;
pub type LookHandler = for<'a> fn(&PlanContext<'_>, &Args<'a>, &mut Vec<Look<'a>>) -> Outcome;
pub type DecideHandler = for<'a> fn(
    &PlanContext<'_>,
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
    /// A coroutine that the worker has registered.
    Python,
    /// Its subcommands; alone, where its arity allows that, a coroutine.
    Container,
    /// The list of subcommands, see [`Registry::write_help`](crate::commands::Registry::write_help).
    Help,
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

/// What a look found, or nothing.
pub type Found<'a> = Option<EntryView<'a>>;

/// A key that a [`Together`] command wants to see.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub db: u8,
    pub key: &'a [u8],
    /// Whether its value is needed. If not, an empty one may be given for it.
    pub value: bool,
}

/// A change that a [`Together`] command makes, applied in order by the owner of the key.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    pub db: u8,
    pub key: &'a [u8],
    pub action: Action<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    Remove,
    /// What was there keeps its pin; it lasts until `pinned_until` at least.
    Put {
        value: Value<'a>,
        expire_at: Option<Millis>,
        pinned_until: Option<Millis>,
    },
    /// Pins what is there, whatever the limits of pins say.
    Pin {
        until: Millis,
    },
}

/// Bounds that come from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimits {
    /// The longest string that may come into being (proto-max-bulk-len), other than by an upload.
    pub string_bytes_max: u64,
    pub databases: u8,
    /// Uploads of a shard at a time.
    pub uploads_max: usize,
    /// Bytes of all of them; 0 for no limit but the memory.
    pub upload_bytes_max: u64,
    /// How long a pin lasts when nobody says.
    pub pin_milliseconds: u64,
    /// What the access bits of entries mean.
    pub access_bits: AccessBits,
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self {
            string_bytes_max: 512 * 1024 * 1024,
            databases: 16,
            uploads_max: 256,
            upload_bytes_max: 0,
            pin_milliseconds: 3_600_000,
            access_bits: AccessBits::default(),
        }
    }
}

/// What a [`Run::Read`] handler knows beside the entry.
#[derive(Clone, Copy, Debug)]
pub struct ReadContext<'a> {
    pub now: Millis,
    pub limits: &'a KeyLimits,
}

/// What the steps of a [`Together`] command know beside the entries.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext<'a> {
    pub db: u8,
    pub now: Millis,
    pub limits: &'a KeyLimits,
    /// Those of one shard, which know what the others have.
    pub pins: &'a Pins,
}

/// What a [`Run::Shard`] handler works on.
pub struct ShardContext<'a> {
    pub shard: &'a mut Shard,
    pub db: u8,
    pub now: Millis,
    pub hash_seed: u64,
    /// Hash of the first key, where the engine has computed it already.
    pub first_key_hash: Option<u64>,
    pub limits: &'a KeyLimits,
    /// A fresh random number.
    pub random: u64,
    pub shard_index: u16,
    pub shard_count: u16,
    /// Reads that found their key, and those that did not.
    pub hits: u64,
    pub misses: u64,
}

impl ShardContext<'_> {
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
    #[inline]
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
            return self.shard.publish(draft, key, expiry, self.now);
        }
        self.shard.set(key, canonical(bytes), expiry, self.now)
    }

    /// The entry of a key, used by this unless the command has [`Flags::NO_TOUCH`].
    #[inline]
    pub fn look_up(&mut self, key: &Key<'_>, flags: Flags) -> Option<EntryView<'_>> {
        let view = if flags.has(Flags::NO_TOUCH) {
            self.shard.peek(key, self.now)
        } else {
            self.shard.find(key, self.now)
        };
        match view {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        view
    }
}

/// For COMMAND DOCS and the command reference.
#[derive(Clone, Copy, Debug)]
pub struct Docs {
    pub summary: &'static str,
    /// The version of Redis that it came with.
    pub since: &'static str,
    pub complexity: &'static str,
    /// The arguments after the name, as in "key value [NX | XX] [EX seconds | PX milliseconds]";
    /// see [`syntax`](crate::commands::syntax).
    pub syntax: &'static str,
}

impl CommandSpec {
    /// Runs a command whose keys all belong to this shard. On an error the reply is as it was.
    ///
    /// # Panics
    /// If the command needs no shard.
    #[inline]
    pub fn run_on_shard(
        &self,
        context: &mut ShardContext<'_>,
        args: &Args<'_>,
        reply: &mut Reply<'_>,
    ) -> Outcome {
        let position = reply.position();
        let outcome = match &self.run {
            Run::Read(read) => self.run_read(*read, context, args, reply),
            Run::ReadEach(each) => self.run_read_each(*each, context, args, reply),
            Run::Shard(run) => run(context, args, reply),
            Run::Together(together) => run_together(together, context, args, reply),
            Run::Session(_) | Run::Python | Run::Container | Run::Help => {
                panic!("{} runs on no shard", self.name)
            }
        };
        if outcome.is_err() {
            reply.rewind(position);
        }
        outcome
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
        read(
            &read_context,
            context.look_up(&key, self.flags),
            args,
            reply,
        )
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
        for argument in args.iter().skip(1) {
            let key = context.key(argument);
            sum += each(context.look_up(&key, self.flags), reply);
        }
        if is_sum {
            reply.int(sum);
        }
        Ok(())
    }

    /// Refuses keys without the values that belong to them. To be asked before a request is spread over shards, when
    /// it is executed: MULTI queues such a request.
    #[inline]
    pub fn check_steps(&self, args: &Args<'_>) -> Outcome {
        match self.keys {
            Keys::At { first, step, .. }
                if (args.len() - usize::from(first)) % usize::from(step) != 0 =>
            {
                Err(CommandError::WrongArity(self.name))
            }
            _ => Ok(()),
        }
    }

    /// The name without its container.
    pub fn own_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, own)| own)
    }

    /// The container of a subcommand.
    pub fn container(&self) -> Option<&'static str> {
        self.name.split_once('|').map(|(container, _)| container)
    }

    /// Names of the ACL categories, without "@".
    pub fn acl_categories(&self) -> Vec<&'static str> {
        let has = |flag| self.flags.has(flag);
        let is_keyspace = has(Flags::KEYSPACE) && self.group != Group::Generic;
        let is_container = matches!(self.run, Run::Container);
        let by_flag = [
            (is_keyspace, "keyspace"),
            (has(Flags::WRITE), "write"),
            (has(Flags::READONLY), "read"),
            (has(Flags::ADMIN), "admin"),
            (has(Flags::ADMIN) || has(Flags::DANGEROUS), "dangerous"),
            (has(Flags::PUBSUB), "pubsub"),
            (has(Flags::BLOCKING), "blocking"),
            (has(Flags::FAST), "fast"),
            (!has(Flags::FAST), "slow"),
        ];
        let group = self.group.acl_category().filter(|_| !is_container);
        let flags = by_flag
            .into_iter()
            .filter(|(holds, _)| *holds)
            .map(|(_, name)| name);
        group.into_iter().chain(flags).collect()
    }

    /// What COMMAND INFO tips off to clients of a cluster.
    pub fn tips(&self) -> &'static [&'static str] {
        match self.route {
            Route::Split(Join::Sum) => &["request_policy:multi_shard", "response_policy:agg_sum"],
            Route::Split(Join::AllOk) => &[
                "request_policy:multi_shard",
                "response_policy:all_succeeded",
            ],
            Route::Split(Join::InOrder | Join::Concat | Join::Any) => {
                &["request_policy:multi_shard"]
            }
            Route::AllShards(Join::Sum) => {
                &["request_policy:all_shards", "response_policy:agg_sum"]
            }
            Route::AllShards(Join::AllOk) => {
                &["request_policy:all_shards", "response_policy:all_succeeded"]
            }
            Route::AllShards(Join::InOrder | Join::Concat | Join::Any) => {
                &["request_policy:all_shards", "nondeterministic_output_order"]
            }
            Route::Scan => &[
                "nondeterministic_output",
                "request_policy:special",
                "response_policy:special",
            ],
            Route::RandomKey => &[
                "request_policy:all_shards",
                "response_policy:special",
                "nondeterministic_output",
            ],
            Route::Session | Route::Key | Route::Upload | Route::Together => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ArgsBuffer;

    #[test]
    fn keys_are_where_the_row_says() {
        let positions = |keys: Keys, count| {
            let args: ArgsBuffer = std::iter::repeat_n(&b"ex"[..], count).collect();
            keys.positions(&args.as_args()).collect::<Vec<_>>()
        };
        let before = Keys::Before {
            option_names: &["EX"],
        };
        assert_eq!(positions(before, 2), [1]);
        assert_eq!(positions(before, 3), [1, 2]);
        assert_eq!(positions(before, 4), [1]);
        assert_eq!(positions(before, 5), [1, 2]);
        assert_eq!(
            positions(
                Keys::Before {
                    option_names: &["PX"]
                },
                4
            ),
            [1, 2, 3]
        );
        assert_eq!(positions(Keys::None, 3), []);
        assert_eq!(positions(Keys::FIRST, 2), [1]);
        assert_eq!(positions(Keys::FIRST, 1), []);
        assert_eq!(positions(Keys::SECOND, 3), [2]);
        assert_eq!(positions(Keys::FIRST_TWO, 5), [1, 2]);
        assert_eq!(positions(Keys::ALL, 4), [1, 2, 3]);
        let pairs = Keys::At {
            first: 1,
            last: -1,
            step: 2,
        };
        assert_eq!(positions(pairs, 5), [1, 3]);
        assert_eq!(positions(pairs, 1), []);
    }

    #[test]
    fn flags_have_names_both_ways() {
        let flags = Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST, Flags::DANGEROUS]);
        assert_eq!(
            flags.names().collect::<Vec<_>>(),
            ["write", "denyoom", "fast"]
        );
        for (flag, name) in Flags::NAMES {
            assert_eq!(Flags::named(name), Some(flag));
        }
        assert_eq!(Flags::named("quick"), None);
    }
}
