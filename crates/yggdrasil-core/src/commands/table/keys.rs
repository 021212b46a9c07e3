//! Places of keys among the arguments of a request, and their use.

use crate::resp::{Args, parse_i64};

/// The rule by which keys are found.
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
    /// Two keys, of which the first is read and the second written.
    FromTo,
    /// Two keys, of which the first is written and the second read.
    ToFrom,
    /// A key that is read, and one behind the last of some words, which is written.
    FirstAndBehind {
        words: &'static [&'static str],
        from: u16,
    },
    /// A key that is written, and behind it at least one that is read.
    IntoFirst {
        first: u16,
    },
    /// Those of SORT: the first is read, and one behind the last STORE is written.
    Sort,
    /// As many keys as the argument at `count_at` says, right behind it. Where there is a destination, that key is
    /// written and the others are read.
    Counted {
        count_at: u16,
        destination: Option<u16>,
    },
    /// The first half of the arguments behind a word, which is sought from `from` on.
    After {
        word: &'static str,
        from: u16,
    },
    /// Those of MIGRATE: the third argument or, where that is empty, everything behind KEYS among the options.
    Migrated,
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

    /// The places of the keys among arguments, a destination first. None where a count or a word is missing or wrong.
    pub fn positions(self, args: &Args<'_>) -> impl Iterator<Item = usize> + Clone + use<> {
        let count = args.len();
        let mut destination = None;
        let (first, end, step) = match self {
            Self::None => (0, 0, 1),
            Self::At { first, last, step } => {
                let end = match usize::try_from(last) {
                    Ok(last) => last + 1,
                    Err(_) => (count + 1).saturating_sub(usize::from(last.unsigned_abs())),
                };
                (usize::from(first), end.min(count), usize::from(step))
            }
            Self::Before { option_names } => (1, end_before(args, option_names), 1),
            Self::FromTo | Self::ToFrom => (1, count.min(3), 1),
            Self::FirstAndBehind { words, from } => {
                match last_behind(args, words, usize::from(from)) {
                    Some(place) => (1, place + 1, place - 1),
                    None => (1, count.min(2), 1),
                }
            }
            Self::IntoFirst { first } => (usize::from(first), count, 1),
            Self::Sort => match stored_at(args) {
                Some(place) => (1, place + 1, place - 1),
                None => (1, count.min(2), 1),
            },
            Self::Counted {
                count_at,
                destination: place,
            } => {
                let (first, end) = counted(args, usize::from(count_at));
                destination = place
                    .map(usize::from)
                    .filter(|place| *place < count && first < end);
                (first, end, 1)
            }
            Self::After { word, from } => {
                let (first, end) = half_behind(args, word, usize::from(from));
                (first, end, 1)
            }
            Self::Migrated => {
                let (first, end) = migrated(args);
                (first, end, 1)
            }
        };
        destination.into_iter().chain((first..end).step_by(step))
    }

    /// True when the key at a place of a command that writes is only read.
    pub fn is_only_read(self, place: usize) -> bool {
        match self {
            Self::FromTo | Self::Sort | Self::FirstAndBehind { .. } => place == 1,
            Self::ToFrom => place == 2,
            Self::IntoFirst { first } => place != usize::from(first),
            Self::Counted {
                destination: Some(destination),
                ..
            } => place != usize::from(destination),
            _ => false,
        }
    }

    /// First key, last key and step, as COMMAND INFO tells them; zeros where only a request tells.
    pub fn triple(self) -> (i64, i64, i64) {
        match self {
            Self::At { first, last, step } => (first.into(), last.into(), step.into()),
            Self::Before { .. } => (1, -1, 1),
            Self::FromTo | Self::ToFrom => (1, 2, 1),
            Self::Sort | Self::FirstAndBehind { .. } => (1, 1, 1),
            Self::IntoFirst { first } => (first.into(), -1, 1),
            Self::Migrated => (MIGRATED_AT as i64, MIGRATED_AT as i64, 1),
            Self::Counted {
                destination: Some(destination),
                ..
            } => (destination.into(), destination.into(), 1),
            Self::None | Self::Counted { .. } | Self::After { .. } => (0, 0, 0),
        }
    }

    /// True when a request names more keys by what others have, in any shard.
    pub fn reach_everywhere(self, args: &Args<'_>) -> bool {
        self == Self::Sort
            && options_of_sort(args).any(|place| {
                let word = args.at(place);
                word.eq_ignore_ascii_case(b"by") || word.eq_ignore_ascii_case(b"get")
            })
    }

    /// True when only a request tells where the keys are.
    pub fn depends_on_arguments(self) -> bool {
        matches!(
            self,
            Self::Counted { .. } | Self::After { .. } | Self::Migrated
        )
    }
}

/// The places of the options of SORT.
fn options_of_sort<'a>(args: &Args<'a>) -> impl Iterator<Item = usize> + use<'a> {
    let args = *args;
    let mut next = 2;
    std::iter::from_fn(move || {
        let place = next;
        let word = args.get(place)?.to_ascii_lowercase();
        next += match word.as_slice() {
            b"limit" => 3,
            b"by" | b"get" | b"store" => 2,
            _ => 1,
        };
        Some(place)
    })
}

/// The place of the key that SORT stores under.
fn stored_at(args: &Args<'_>) -> Option<usize> {
    let stores = options_of_sort(args)
        .filter(|place| args.at(*place).eq_ignore_ascii_case(b"store"))
        .map(|place| place + 1);
    stores.filter(|place| *place < args.len()).last()
}

/// The end of the arguments before an option and its value, which may be the last two.
fn end_before(args: &Args<'_>, option_names: &[&str]) -> usize {
    let option_at = args.len().checked_sub(2).filter(|place| *place > 1);
    let end = option_at.filter(|place| {
        let word = args.at(*place);
        let is = |name: &&str| word.eq_ignore_ascii_case(name.as_bytes());
        option_names.iter().any(is)
    });
    end.unwrap_or(args.len())
}

fn counted(args: &Args<'_>, count_at: usize) -> (usize, usize) {
    let first = count_at + 1;
    let count = args.get(count_at).and_then(parse_i64);
    let count = count.and_then(|count| usize::try_from(count).ok());
    let end = count.and_then(|count| first.checked_add(count));
    let end = end.filter(|end| *end <= args.len());
    (first, end.unwrap_or(first))
}

/// The place of the one key of MIGRATE.
const MIGRATED_AT: usize = 3;
/// The place of its first option.
const MIGRATE_OPTIONS_AT: usize = 6;

fn migrated(args: &Args<'_>) -> (usize, usize) {
    let one = (MIGRATED_AT, args.len().min(MIGRATED_AT + 1));
    let mut place = MIGRATE_OPTIONS_AT;
    while let Some(option) = args.get(place) {
        place += match option.to_ascii_lowercase().as_slice() {
            // Both at once is an error of the command.
            b"keys" if !args.at(MIGRATED_AT).is_empty() => return (0, 0),
            b"keys" => return (place + 1, args.len()),
            b"auth" => 2,
            b"auth2" => 3,
            _ => 1,
        };
    }
    one
}

/// The place behind the last of some words that has one.
fn last_behind(args: &Args<'_>, words: &[&str], from: usize) -> Option<usize> {
    let is_word = |place: usize| {
        let argument = args.at(place);
        let is = |word: &&str| argument.eq_ignore_ascii_case(word.as_bytes());
        words.iter().any(is)
    };
    let (mut place, mut last) = (from, None);
    while place + 1 < args.len() {
        if is_word(place) {
            place += 1;
            last = Some(place);
        }
        place += 1;
    }
    last
}

fn half_behind(args: &Args<'_>, word: &str, from: usize) -> (usize, usize) {
    let mut places = from..args.len();
    let found = places.find(|place| args.at(*place).eq_ignore_ascii_case(word.as_bytes()));
    let first = found.map_or(args.len(), |place| place + 1);
    let rest = args.len() - first;
    let end = if rest.is_multiple_of(2) {
        first + rest / 2
    } else {
        first
    };
    (first, end)
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
        assert_eq!(positions(Keys::FromTo, 5), [1, 2]);
        assert_eq!(positions(Keys::FromTo, 2), [1]);
        assert_eq!(positions(Keys::IntoFirst { first: 2 }, 5), [2, 3, 4]);
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
    fn keys_are_counted_and_found_behind_a_word() {
        let positions = |keys: Keys, line: &str| {
            let args: ArgsBuffer = line.split(' ').map(str::as_bytes).collect();
            keys.positions(&args.as_args()).collect::<Vec<_>>()
        };
        let counted = Keys::Counted {
            count_at: 1,
            destination: None,
        };
        assert_eq!(positions(counted, "LMPOP 2 a b LEFT"), [2, 3]);
        for wrong in ["0", "-1", "3", "x", "9223372036854775807", ""] {
            assert_eq!(positions(counted, &format!("LMPOP {wrong} a b")), []);
        }
        assert_eq!(positions(counted, "LMPOP"), []);
        let stored = Keys::Counted {
            count_at: 2,
            destination: Some(1),
        };
        assert_eq!(
            positions(stored, "ZUNIONSTORE to 2 a b WEIGHTS 1 2"),
            [1, 3, 4]
        );
        assert_eq!(positions(stored, "ZUNIONSTORE to 5 a b"), []);
        assert!(stored.is_only_read(3) && !stored.is_only_read(1));
        assert_eq!(stored.triple(), (1, 1, 1));
        let streams = Keys::After {
            word: "STREAMS",
            from: 1,
        };
        assert_eq!(positions(streams, "XREAD COUNT 2 streams a b 0 0"), [4, 5]);
        assert_eq!(positions(streams, "XREAD STREAMS STREAMS 0"), [2]);
        assert_eq!(positions(streams, "XREAD STREAMS a b 0"), []);
        assert_eq!(positions(streams, "XREAD COUNT 2"), []);
        let migrated = Keys::Migrated;
        assert_eq!(positions(migrated, "MIGRATE h 1 k 0 5 COPY"), [3]);
        assert_eq!(positions(migrated, "MIGRATE h 1 k 0 5 KEYS a"), []);
        assert_eq!(
            positions(migrated, "MIGRATE h 1  0 5 AUTH KEYS KEYS a b"),
            [9, 10]
        );
        assert_eq!(positions(migrated, "MIGRATE h 1  0 5 AUTH2 KEYS KEYS"), [3]);
        assert_eq!(positions(migrated, "MIGRATE h 1"), []);
        assert_eq!(positions(streams, "XREAD STREAMS"), []);
        assert_eq!((streams.triple(), counted.triple()), ((0, 0, 0), (0, 0, 0)));
        assert_eq!(
            positions(Keys::Sort, "SORT a BY store LIMIT store 1 STORE b"),
            [1, 8]
        );
        assert_eq!(positions(Keys::Sort, "SORT a STORE b store c"), [1, 5]);
        assert_eq!(positions(Keys::Sort, "SORT a STORE"), [1]);
        assert!(Keys::Sort.is_only_read(1) && !Keys::Sort.is_only_read(8));
        let stores = Keys::FirstAndBehind {
            words: &["STORE", "STOREDIST"],
            from: 5,
        };
        assert_eq!(positions(stores, "GEORADIUS a 1 2 3 m store"), [1]);
        assert_eq!(positions(stores, "GEORADIUS a 1 2 3 m store b"), [1, 7]);
        assert_eq!(
            positions(stores, "GEORADIUS a 1 2 3 m STORE STORE STOREDIST c"),
            [1, 9]
        );
        assert!(stores.is_only_read(1) && !stores.is_only_read(7));
        assert!(Keys::ToFrom.is_only_read(2) && !Keys::ToFrom.is_only_read(1));
        let into = Keys::IntoFirst { first: 2 };
        assert!(into.is_only_read(3) && !into.is_only_read(2));
        assert!(Keys::FromTo.is_only_read(1) && !Keys::FromTo.is_only_read(2));
        assert!(!Keys::FIRST_TWO.is_only_read(1));
    }
}
