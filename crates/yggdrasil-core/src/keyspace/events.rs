//! Keyspace events: what has become of a key, for those who subscribe to it.

use std::ops::BitOr;

/// A set of classes of events, as bits. Each class has a letter in `notify-keyspace-events`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct EventClasses(u16);

impl EventClasses {
    pub const NONE: Self = Self(0);
    pub const GENERIC: Self = Self(1);
    pub const STRING: Self = Self(1 << 1);
    pub const LIST: Self = Self(1 << 2);
    pub const SET: Self = Self(1 << 3);
    pub const HASH: Self = Self(1 << 4);
    pub const SORTED_SET: Self = Self(1 << 5);
    pub const EXPIRED: Self = Self(1 << 6);
    pub const EVICTED: Self = Self(1 << 7);
    pub const STREAM: Self = Self(1 << 8);
    pub const MODULE: Self = Self(1 << 9);
    /// A read of a key that is not there. Not among those of the letter `A`.
    pub const KEY_MISS: Self = Self(1 << 10);
    /// A key that was not there before. Not among those of the letter `A`.
    pub const NEW: Self = Self(1 << 11);
    /// Publishes under the name of the key.
    pub const BY_KEY: Self = Self(1 << 12);
    /// Publishes under the name of the event.
    pub const BY_EVENT: Self = Self(1 << 13);

    const LETTERS: [(u8, Self); 14] = [
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::SORTED_SET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'K', Self::BY_KEY),
        (b'E', Self::BY_EVENT),
        (b'm', Self::KEY_MISS),
        (b'n', Self::NEW),
    ];
    /// The classes of the letter `A`.
    const ALL: Self = Self((1 << 10) - 1);

    /// The classes that letters name; `None` where one names none.
    #[must_use]
    pub fn from_letters(letters: &str) -> Option<Self> {
        let mut classes = Self::NONE;
        for letter in letters.bytes() {
            let named = || Self::LETTERS.iter().find(|(known, _)| *known == letter);
            classes = classes
                | match letter {
                    b'A' => Self::ALL,
                    _ => named()?.1,
                };
        }
        Some(classes)
    }

    /// True when any of `other` is in it.
    #[inline(always)]
    #[must_use]
    pub fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What is to be noted where this is asked for: nothing without a name to publish it under.
    fn noted(self) -> Self {
        if self.any(Self::BY_KEY | Self::BY_EVENT) {
            self
        } else {
            Self::NONE
        }
    }
}

impl BitOr for EventClasses {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Declares the events: the name here, the class, the name as it is published.
macro_rules! key_events {
    ($($event:ident: $class:ident $name:literal,)*) => {
        /// An event of a key, under Redis's names.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum KeyEvent {
            $($event,)*
        }

        impl KeyEvent {
            const ALL: &[Self] = &[$(Self::$event,)*];

            #[inline(always)]
            #[must_use]
            pub const fn class(self) -> EventClasses {
                match self {
                    $(Self::$event => EventClasses::$class,)*
                }
            }

            /// The name that is published.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$event => $name,)*
                }
            }
        }
    };
}

key_events! {
    Expired: EXPIRED "expired",
    Evicted: EVICTED "evicted",
    New: NEW "new",
    KeyMiss: KEY_MISS "keymiss",
    Del: GENERIC "del",
    Expire: GENERIC "expire",
    Persist: GENERIC "persist",
    RenameFrom: GENERIC "rename_from",
    RenameTo: GENERIC "rename_to",
    MoveFrom: GENERIC "move_from",
    MoveTo: GENERIC "move_to",
    CopyTo: GENERIC "copy_to",
    Restore: GENERIC "restore",
    Set: STRING "set",
    SetRange: STRING "setrange",
    Append: STRING "append",
    IncrBy: STRING "incrby",
    IncrByFloat: STRING "incrbyfloat",
    SetBit: STRING "setbit",
    PfAdd: STRING "pfadd",
    LPush: LIST "lpush",
    RPush: LIST "rpush",
    LPop: LIST "lpop",
    RPop: LIST "rpop",
    LInsert: LIST "linsert",
    LSet: LIST "lset",
    LTrim: LIST "ltrim",
    LRem: LIST "lrem",
    SortStore: LIST "sortstore",
    SAdd: SET "sadd",
    SRem: SET "srem",
    SPop: SET "spop",
    SInterStore: SET "sinterstore",
    SUnionStore: SET "sunionstore",
    SDiffStore: SET "sdiffstore",
    HSet: HASH "hset",
    HDel: HASH "hdel",
    HIncrBy: HASH "hincrby",
    HIncrByFloat: HASH "hincrbyfloat",
    HExpire: HASH "hexpire",
    HPersist: HASH "hpersist",
    HExpired: HASH "hexpired",
    ZAdd: SORTED_SET "zadd",
    ZIncr: SORTED_SET "zincr",
    ZRem: SORTED_SET "zrem",
    ZRemRangeByRank: SORTED_SET "zremrangebyrank",
    ZRemRangeByScore: SORTED_SET "zremrangebyscore",
    ZRemRangeByLex: SORTED_SET "zremrangebylex",
    ZPopMin: SORTED_SET "zpopmin",
    ZPopMax: SORTED_SET "zpopmax",
    ZUnionStore: SORTED_SET "zunionstore",
    ZInterStore: SORTED_SET "zinterstore",
    ZDiffStore: SORTED_SET "zdiffstore",
    ZRangeStore: SORTED_SET "zrangestore",
    GeoSearchStore: SORTED_SET "geosearchstore",
    GeoRadiusStore: SORTED_SET "georadiusstore",
    XAdd: STREAM "xadd",
    XTrim: STREAM "xtrim",
    XDel: STREAM "xdel",
    XSetId: STREAM "xsetid",
    XGroupCreate: STREAM "xgroup-create",
    XGroupCreateConsumer: STREAM "xgroup-createconsumer",
    XGroupDelConsumer: STREAM "xgroup-delconsumer",
    XGroupDestroy: STREAM "xgroup-destroy",
    XGroupSetId: STREAM "xgroup-setid",
}

impl KeyEvent {
    /// The event with a number, as it travels between workers.
    #[must_use]
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// True for what happens whether or not a command that meets it succeeds.
    fn is_of_time_or_memory(self) -> bool {
        matches!(self, Self::Expired | Self::Evicted | Self::HExpired)
    }
}

/// An event that is to be published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotedEvent {
    pub event: KeyEvent,
    /// The logical database.
    pub db: u8,
    pub key: Box<[u8]>,
}

impl NotedEvent {
    /// True for what has happened in any case, whatever becomes of the command that has come upon it.
    pub(crate) fn is_of_time_or_memory(&self) -> bool {
        self.event.is_of_time_or_memory()
    }
}

/// A place among all events of a shard, those that were taken included.
#[derive(Clone, Copy, Default, Debug)]
pub struct EventMark(usize);

/// The events of a shard that are not published yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    asked: EventClasses,
    noted: Vec<NotedEvent>,
    /// Events that were taken.
    taken: usize,
}

impl Events {
    pub(super) fn ask(&mut self, classes: EventClasses) {
        self.asked = classes.noted();
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked != EventClasses::default()
    }

    #[inline(always)]
    pub(super) fn wants(&self, classes: EventClasses) -> bool {
        self.asked.any(classes)
    }

    #[cold]
    #[inline(never)]
    pub(super) fn note(&mut self, event: KeyEvent, db: u8, key: &[u8]) {
        let key = key.into();
        self.noted.push(NotedEvent { event, db, key });
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.noted.is_empty()
    }

    pub(super) fn take(&mut self) -> Vec<NotedEvent> {
        self.taken += self.noted.len();
        std::mem::take(&mut self.noted)
    }

    pub(super) fn mark(&self) -> EventMark {
        EventMark(self.taken + self.noted.len())
    }

    /// Forgets what was noted since a mark, except for what has happened in any case.
    pub(super) fn forget_since(&mut self, mark: EventMark) {
        let from = mark.0.saturating_sub(self.taken);
        if self.noted.len() > from {
            let since = self.noted.split_off(from);
            let stays = since.into_iter().filter(NotedEvent::is_of_time_or_memory);
            self.noted.extend(stays);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_name_classes() {
        let named = |letters| EventClasses::from_letters(letters);
        assert_eq!(named(""), Some(EventClasses::NONE));
        assert_eq!(
            named("Kg"),
            Some(EventClasses::BY_KEY | EventClasses::GENERIC)
        );
        assert_eq!(named("A"), named("g$lshzxetd"));
        assert_ne!(named("A"), named("An"));
        assert_eq!(named("q"), None);
    }

    #[test]
    fn numbers_name_events_both_ways() {
        for number in 0..=u8::MAX {
            let event = KeyEvent::numbered(number);
            assert!(event.is_none_or(|event| event as u8 == number));
            assert_eq!(event.is_some(), usize::from(number) < KeyEvent::ALL.len());
        }
    }

    #[test]
    fn nothing_is_noted_that_would_be_published_under_no_name() {
        let mut events = Events::default();
        events.ask(EventClasses::STRING);
        assert!(!events.wants(EventClasses::STRING));
        events.ask(EventClasses::STRING | EventClasses::BY_EVENT);
        assert!(events.wants(EventClasses::STRING));
        assert!(!events.wants(EventClasses::LIST));
    }

    #[test]
    fn a_command_that_fails_leaves_what_time_has_done() {
        let mut events = Events::default();
        events.note(KeyEvent::Set, 0, b"before");
        let mark = events.mark();
        events.note(KeyEvent::Set, 0, b"a");
        events.note(KeyEvent::Expired, 0, b"b");
        events.forget_since(mark);
        let keys: Vec<_> = events.take().into_iter().map(|noted| noted.key).collect();
        assert_eq!(keys, [Box::from(&b"before"[..]), Box::from(&b"b"[..])]);
    }

    #[test]
    fn a_mark_holds_when_what_was_before_it_is_taken() {
        let mut events = Events::default();
        events.note(KeyEvent::Set, 0, b"before");
        let mark = events.mark();
        events.note(KeyEvent::Set, 0, b"a");
        events.take();
        events.note(KeyEvent::Set, 0, b"b");
        events.forget_since(mark);
        assert!(events.is_empty());
    }
}
