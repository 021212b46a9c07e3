//! Properties of commands.

use std::fmt;

/// Properties of a command, under Redis's names.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u64);

/// Declares the flags, each with a bit of its own.
macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[allow(
            non_camel_case_types,
            clippy::upper_case_acronyms,
            reason = "these names are those of the flags"
        )]
        enum Bit {
            $($name,)*
        }

        impl Flags {
            pub const NONE: Flags = Flags(0);
            $($(#[$doc])* pub const $name: Flags = Flags(1 << Bit::$name as u64);)*
        }
    };
}

flags! {
    WRITE,
    READONLY,
    DENYOOM,
    ADMIN,
    PUBSUB,
    NOSCRIPT,
    BLOCKING,
    LOADING,
    STALE,
    SKIP_MONITOR,
    SKIP_SLOWLOG,
    ASKING,
    FAST,
    NO_AUTH,
    /// Not shown as a flag: has to wait where writes have to, though it writes nothing.
    MAY_REPLICATE,
    NO_MANDATORY_KEYS,
    NO_MULTI,
    MOVABLE_KEYS,
    ALLOW_BUSY,
    /// Not shown as a flag: in the ACL category @dangerous though it is no admin command.
    DANGEROUS,
    /// Not shown as a flag: in the ACL category @keyspace though its group is another.
    KEYSPACE,
    /// Not shown as a flag: does not count as a use of its keys.
    NO_TOUCH,
    /// Not shown as a flag: its argument 2 is a value, which is received where it will stay when it is long.
    VALUE_SECOND,
    /// Not shown as a flag: as [`Flags::VALUE_SECOND`], of its argument 3.
    VALUE_THIRD,
    /// Not shown as a flag: runs while CLIENT PAUSE holds everything else.
    NEVER_PAUSED,
    /// Not shown as a flag: everything that a Python command executes is one transaction over the keys of its row.
    ATOMIC,
    /// Not shown as a flag: in the ACL categories of all types that it takes, instead of @keyspace.
    SEVERAL_TYPES,
    NO_ASYNC_LOADING,
    /// Not shown as a flag: in the ACL category @connection instead of that of its group.
    CONNECTION,
    /// Not shown as a flag: in the ACL category @admin though it is no admin command.
    ADMIN_CATEGORY,
    /// Not shown as a flag: runs only where `enable-debug-command` allows it.
    PROTECTED,
    /// Not shown as a flag: is served while a client that speaks RESP2 is subscribed.
    IN_SUBSCRIBED,
    /// Not shown as a flag: runs at once between MULTI and EXEC, instead of being queued.
    IN_MULTI,
    /// Not shown as a flag: where it waits, it waits for its first key alone.
    WAITS_FOR_FIRST,
    /// Not shown as a flag: the removal of a key that it waits for ends its waiting.
    WAITS_FOR_REMOVAL,
}

impl Flags {
    const NAMES: [(Flags, &'static str); 19] = [
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
        (Self::NO_ASYNC_LOADING, "no_async_loading"),
    ];

    /// Flags that rows of Python name though COMMAND INFO shows them otherwise.
    const HIDDEN_NAMES: [(Flags, &'static str); 6] = [
        (Self::ATOMIC, "atomic"),
        (Self::DANGEROUS, "dangerous"),
        (Self::NEVER_PAUSED, "never_paused"),
        (Self::CONNECTION, "connection"),
        (Self::ADMIN_CATEGORY, "admin_category"),
        (Self::PROTECTED, "protected"),
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

    /// The flag of a name that a row may have.
    pub fn named(name: &str) -> Option<Flags> {
        let mut names = Self::NAMES.iter().chain(&Self::HIDDEN_NAMES);
        names
            .find(|(_, known)| *known == name)
            .map(|(flag, _)| *flag)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
