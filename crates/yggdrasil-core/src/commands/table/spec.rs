//! The row of the command table: everything that is known about a command, in one place.

use crate::acl::{CATEGORIES, Permission};
use crate::keyspace::{Kind, Shard};
use crate::resp::Args;

use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Outcome, Run};
use crate::commands::table::key_use::{self, KeyUse};
use crate::commands::table::keys::Keys;

/// One command, or one subcommand of a container. Names are lower case; a subcommand's is "container|name".
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    pub name: &'static str,
    pub arity: Arity,
    pub flags: Flags,
    pub keys: Keys,
    pub group: Group,
    /// The kind of value that its keys must have where they exist; otherwise the reply is WRONGTYPE. None for any.
    pub needs: Option<Kind>,
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

/// The chapter of the command reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Generic,
    String,
    Bitmap,
    HyperLogLog,
    Hash,
    List,
    Set,
    SortedSet,
    Geo,
    Stream,
    Scripting,
    Connection,
    Transactions,
    PubSub,
    Server,
    Cluster,
    /// One of a module of commands.
    Other(&'static str),
}

/// Characters that the name of a group has at most.
const GROUP_CHARACTERS_MAX: usize = 32;

impl Group {
    const BUILT_IN: [Group; 16] = [
        Self::Generic,
        Self::String,
        Self::Bitmap,
        Self::HyperLogLog,
        Self::Hash,
        Self::List,
        Self::Set,
        Self::SortedSet,
        Self::Geo,
        Self::Stream,
        Self::Scripting,
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
            Self::Bitmap => "bitmap",
            Self::HyperLogLog => "hyperloglog",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Geo => "geo",
            Self::Stream => "stream",
            Self::Scripting => "scripting",
            Self::Connection => "connection",
            Self::Transactions => "transactions",
            Self::PubSub => "pubsub",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Other(name) => name,
        }
    }

    /// The group of this name, which lives as long as the process; `None` for a name that would not fit on one line of
    /// any page.
    pub fn named(name: &str) -> Option<Self> {
        let fits = (1..=GROUP_CHARACTERS_MAX).contains(&name.chars().count());
        if !fits || name.contains(|sign: char| sign.is_control() || sign == ':') {
            return None;
        }
        let known = Self::BUILT_IN
            .into_iter()
            .find(|known| known.name() == name);
        Some(known.unwrap_or_else(|| Self::Other(name.to_owned().leak())))
    }

    fn acl_category(self) -> Option<&'static str> {
        match self {
            Self::Generic => Some("keyspace"),
            Self::String => Some("string"),
            Self::Bitmap => Some("bitmap"),
            Self::HyperLogLog => Some("hyperloglog"),
            Self::Hash => Some("hash"),
            Self::List => Some("list"),
            Self::Set => Some("set"),
            Self::SortedSet => Some("sortedset"),
            Self::Geo => Some("geo"),
            Self::Stream => Some("stream"),
            Self::Scripting => Some("scripting"),
            Self::Connection => Some("connection"),
            Self::Transactions => Some("transaction"),
            Self::PubSub | Self::Server | Self::Cluster | Self::Other(_) => None,
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
    /// The shard of the upload that it names, see [`upload_shard`](crate::commands::parts::upload_shard).
    Upload,
    /// The owners of its keys; the handler gets the arguments of its shard only (the name first).
    Split(Join),
    /// Several keys, or one in several databases, that are looked at and changed together.
    Together,
    /// Every shard, with the same arguments.
    AllShards(Join),
    /// Every shard is held, and the worker of the client executes it alone, for the whole node.
    Node,
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
    /// That of the worker that has ended a script, or why none has.
    Killed,
}

/// For COMMAND DOCS and the command reference.
#[derive(Clone, Copy, Debug)]
pub struct Docs {
    pub summary: &'static str,
    /// The version of Redis that it came with; of Yggdrasil where Redis does not have it.
    pub since: &'static str,
    pub complexity: &'static str,
    /// The arguments after the name, as in "key value [NX | XX] [EX seconds | PX milliseconds]";
    /// see [`syntax`](crate::commands::syntax).
    pub syntax: &'static str,
    /// Tips of COMMAND INFO for clients of a cluster, those of Redis in its order.
    pub tips: &'static [&'static str],
    /// The use of all keys, or of each, if it is another than reading (readonly) or changing (write).
    pub key_uses: &'static [KeyUse],
}

impl CommandSpec {
    /// Refuses keys without the values that belong to them. To be asked before a request is spread over shards, when
    /// it is executed: MULTI queues such a request.
    #[inline]
    pub fn check_steps(&self, args: &Args<'_>) -> Outcome {
        match self.keys {
            Keys::At { first, step, .. }
                if !(args.len() - usize::from(first)).is_multiple_of(usize::from(step)) =>
            {
                Err(CommandError::WrongArity(self.name))
            }
            _ => Ok(()),
        }
    }

    /// True when a request may change several entries, so that somebody could see it half done.
    #[inline]
    pub fn may_change_several(&self, args: &Args<'_>) -> bool {
        self.flags.has(Flags::WRITE)
            && match self.route {
                Route::Together | Route::AllShards(_) => true,
                Route::Split(_) => self.keys.positions(args).nth(1).is_some(),
                Route::Session
                | Route::Key
                | Route::Upload
                | Route::Node
                | Route::Scan
                | Route::RandomKey => false,
            }
    }

    /// The keys of a request, as places among its arguments, each with whether it is written.
    pub fn key_uses(&self, args: &Args<'_>) -> impl Iterator<Item = (usize, bool)> + use<> {
        let (keys, writes) = (self.keys, self.flags.has(Flags::WRITE));
        let places = keys.positions(args);
        places.map(move |place| (place, writes && !keys.is_only_read(place)))
    }

    /// The keys, as places among its arguments, whose change a request waits for that blocks.
    pub fn waits_for(&self, args: &Args<'_>) -> impl Iterator<Item = usize> + use<> {
        let count = match self.flags.has(Flags::WAITS_FOR_FIRST) {
            true => 1,
            false => usize::MAX,
        };
        self.keys.positions(args).take(count)
    }

    /// The keys that a request writes, each with the bytes that a new entry for it takes at most.
    pub fn rooms<'a>(&self, args: &Args<'a>) -> impl Iterator<Item = (&'a [u8], u64)> + use<'a> {
        let step = match self.keys {
            Keys::At { step, .. } => usize::from(step),
            _ => 1,
        };
        let args = *args;
        let written = self.key_uses(&args).filter(|(_, is_written)| *is_written);
        written.map(move |(place, _)| {
            // Values follow their keys, or one key has all the rest.
            let end = if step > 1 { place + step } else { args.len() };
            let values = (place + 1..end.min(args.len())).map(|place| args.at(place).len() as u64);
            let key = args.at(place);
            (key, Shard::certain_need(key.len() as u64, values.sum()))
        })
    }

    /// What becomes of its keys: the use of all of them, or of each.
    pub fn uses_of_keys(&self) -> &'static [KeyUse] {
        let has = |flag| self.flags.has(flag);
        match self.docs.key_uses {
            _ if self.keys == Keys::None => &[],
            [] if matches!(
                self.keys,
                Keys::Counted {
                    destination: Some(_),
                    ..
                }
            ) =>
            {
                &[key_use::OVERWRITE, key_use::READ]
            }
            [] if has(Flags::PUBSUB) => &[key_use::NO_KEY],
            [] if has(Flags::READONLY) => &[key_use::READ],
            [] => &[key_use::CHANGE],
            uses => uses,
        }
    }

    /// The keys of a request, as places among its arguments, each with its use there. What only looks like a key is
    /// left out.
    pub fn uses_in<'a>(&self, args: &Args<'a>) -> impl Iterator<Item = (usize, KeyUse)> + use<'a> {
        let (name, uses, args) = (self.name, self.uses_of_keys(), *args);
        let keys = match uses {
            [] => Keys::None,
            [first, ..] if *first == key_use::NO_KEY => Keys::None,
            _ => self.keys,
        };
        let places = keys.positions(&args).enumerate();
        places.map(move |(number, place)| {
            // Where there are several uses, each is that of one key, and the last that of all that follow.
            let key_use = uses[number.min(uses.len() - 1)];
            if key_use == key_use::BY_OPTIONS {
                (place, key_use::by_options(name, &args))
            } else {
                (place, key_use)
            }
        })
    }

    /// The keys of a request, as places among its arguments, each with what its user must be permitted.
    pub fn key_permissions<'a>(
        &self,
        args: &Args<'a>,
    ) -> impl Iterator<Item = (usize, Permission)> + use<'a> {
        let uses = self.uses_in(args);
        uses.map(|(place, key_use)| (place, key_use::permission(key_use)))
    }

    /// The name without its container.
    pub fn own_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, own)| own)
    }

    /// The container of a subcommand.
    pub fn container(&self) -> Option<&'static str> {
        self.name.split_once('|').map(|(container, _)| container)
    }

    /// Names of the ACL categories, without "@", in Redis's order.
    pub fn acl_categories(&self) -> Vec<&'static str> {
        let all = CATEGORIES.into_iter();
        all.filter(|category| self.is_in_category(category))
            .collect()
    }

    fn is_in_category(&self, category: &str) -> bool {
        let has = |flag| self.flags.has(flag);
        let is_admin = has(Flags::ADMIN) || has(Flags::ADMIN_CATEGORY);
        let is_of_group = !matches!(self.run, Run::Container)
            && !has(Flags::CONNECTION)
            && !has(Flags::SEVERAL_TYPES)
            && self.group.acl_category() == Some(category);
        is_of_group
            || match category {
                "keyspace" => has(Flags::KEYSPACE),
                "list" | "set" | "sortedset" => has(Flags::SEVERAL_TYPES),
                // Scripts that only read are no reads.
                "read" => has(Flags::READONLY) && self.group != Group::Scripting,
                "write" => has(Flags::WRITE),
                "pubsub" => has(Flags::PUBSUB),
                "admin" => is_admin,
                "fast" => has(Flags::FAST),
                "slow" => !has(Flags::FAST),
                "blocking" => has(Flags::BLOCKING),
                "dangerous" => is_admin || has(Flags::DANGEROUS),
                "connection" => has(Flags::CONNECTION),
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_name_of_one_line() {
        assert_eq!(Group::named("string"), Some(Group::String));
        assert_eq!(Group::named("time series").unwrap().name(), "time series");
        let long = "g".repeat(GROUP_CHARACTERS_MAX + 1);
        for wrong in ["", "a:b", "a\nb", &long] {
            assert_eq!(Group::named(wrong), None);
        }
    }
}
