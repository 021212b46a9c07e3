//! Properties of commands.

use std::fmt;

/// Properties of a command, under Redis's names.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u64);

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
    /// Not shown as a flag: everything that a Python command executes is one transaction over the keys of its row.
    pub const ATOMIC: Flags = Flags(1 << 31);
    /// Not shown as a flag: in the ACL categories of all types that it takes, instead of @keyspace.
    pub const SEVERAL_TYPES: Flags = Flags(1 << 42);
    pub const NO_ASYNC_LOADING: Flags = Flags(1 << 25);
    /// Not shown as a flag: in the ACL category @connection instead of that of its group.
    pub const CONNECTION: Flags = Flags(1 << 26);
    /// Not shown as a flag: in the ACL category @admin though it is no admin command.
    pub const ADMIN_CATEGORY: Flags = Flags(1 << 27);
    /// Not shown as a flag: runs only where `enable-debug-command` allows it.
    pub const PROTECTED: Flags = Flags(1 << 28);

    /// Not shown as a flag: is served while a client that speaks RESP2 is subscribed.
    pub const IN_SUBSCRIBED: Flags = Flags(1 << 29);
    /// Not shown as a flag: runs at once between MULTI and EXEC, instead of being queued.
    pub const IN_MULTI: Flags = Flags(1 << 30);
    /// Not shown as a flag: where it waits, it waits for its first key alone.
    pub const WAITS_FOR_FIRST: Flags = Flags(1 << 40);
    /// Not shown as a flag: the removal of a key that it waits for ends its waiting.
    pub const WAITS_FOR_REMOVAL: Flags = Flags(1 << 41);

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
    fn every_flag_has_a_bit_of_its_own() {
        let named = Flags::NAMES.iter().chain(&Flags::HIDDEN_NAMES);
        let bits: Vec<u64> = named.map(|(flag, _)| flag.0).collect();
        assert!(bits.iter().all(|bits| bits.is_power_of_two()));
        let all = bits.iter().fold(0, |all, bits| all | bits);
        assert_eq!(all.count_ones() as usize, bits.len());
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
