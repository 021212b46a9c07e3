//! Arguments of the commands over fields that expire.

use crate::commands::families::value::int_argument;
use crate::commands::table::error::CommandError;
use crate::keyspace::Millis;
use crate::resp::Args;

/// The latest time at which a field may expire: that of Redis, in the year 4199.
const EXPIRE_AT_MAX: i64 = (1 << 46) - 1;

/// Units and beginnings of times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Clock {
    /// Milliseconds of a unit.
    pub(super) unit: i64,
    /// Counted from now on, not from 1970.
    pub(super) is_relative: bool,
}

impl Clock {
    pub(super) const SECONDS: Self = Self {
        unit: 1000,
        is_relative: true,
    };
    pub(super) const MILLISECONDS: Self = Self {
        unit: 1,
        is_relative: true,
    };
    pub(super) const UNIX_SECONDS: Self = Self {
        unit: 1000,
        is_relative: false,
    };
    pub(super) const UNIX_MILLISECONDS: Self = Self {
        unit: 1,
        is_relative: false,
    };

    /// The clock of an option.
    fn of_option(word: &[u8]) -> Option<Self> {
        let options: [(&[u8], Self); 4] = [
            (b"ex", Self::SECONDS),
            (b"px", Self::MILLISECONDS),
            (b"exat", Self::UNIX_SECONDS),
            (b"pxat", Self::UNIX_MILLISECONDS),
        ];
        let mut options = options.into_iter();
        options
            .find(|(name, _)| word.eq_ignore_ascii_case(name))
            .map(|(_, clock)| clock)
    }

    /// The Unix time in milliseconds that an argument gives.
    pub(super) fn read(
        self,
        argument: &[u8],
        now: Millis,
        command: &'static str,
    ) -> Result<Millis, CommandError> {
        let time = int_argument(argument)?;
        if time < 0 {
            return Err(CommandError::Plain("invalid expire time, must be >= 0"));
        }
        let start = if self.is_relative { now as i64 } else { 0 };
        let at = time
            .checked_mul(self.unit)
            .and_then(|time| time.checked_add(start))
            .filter(|at| *at <= EXPIRE_AT_MAX)
            .ok_or(CommandError::InvalidExpireTime(command))?;
        Ok(at.unsigned_abs())
    }
}

const NO_FIELDS: CommandError =
    CommandError::Plain("Mandatory argument FIELDS is missing or not at the right position");

/// The fields behind FIELDS and their number, which stand at a place and are all of the rest.
pub(super) fn fields<'a>(
    args: &Args<'a>,
    at: usize,
    wrong_number: &'static str,
) -> Result<Args<'a>, CommandError> {
    let is_there = args
        .get(at)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"fields"));
    if !is_there {
        return Err(NO_FIELDS);
    }
    let count = args
        .get(at + 1)
        .and_then(|number| int_argument(number).ok());
    let count = count.filter(|count| *count > 0);
    let count = count.ok_or(CommandError::Plain(wrong_number))?;
    let fields = args.from(at + 2);
    if usize::try_from(count) != Ok(fields.len()) {
        return Err(CommandError::Plain(
            "The `numfields` parameter must match the number of arguments",
        ));
    }
    Ok(fields)
}

/// The complaint of most of these commands about a number of fields.
pub(super) const NOT_POSITIVE: &str = "Number of fields must be a positive integer";

/// A condition of HEXPIRE and its kin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    /// The field has no time of expiry.
    Missing,
    /// It has one.
    Existing,
    /// The new time is later. A field that never expires does so later than any other.
    Greater,
    Less,
}

impl Condition {
    pub(super) fn of(word: &[u8]) -> Option<Self> {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => Some(Self::Missing),
            b"xx" => Some(Self::Existing),
            b"gt" => Some(Self::Greater),
            b"lt" => Some(Self::Less),
            _ => None,
        }
    }

    pub(super) fn holds(self, before: Option<Millis>, after: Millis) -> bool {
        match self {
            Self::Missing => before.is_none(),
            Self::Existing => before.is_some(),
            Self::Greater => before.is_some_and(|before| after > before),
            Self::Less => before.is_none_or(|before| after < before),
        }
    }
}

/// What a command does to the times of expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NewTime {
    Keep,
    Never,
    At(Millis),
}

/// Options of HGETEX, and its fields.
pub(super) fn getex<'a>(args: &Args<'a>, now: Millis) -> Result<(NewTime, Args<'a>), CommandError> {
    let word = args.at(2);
    let (time, at) = if let Some(clock) = Clock::of_option(word) {
        let time = clock.read(args.at(3), now, "hgetex")?;
        (NewTime::At(time), 4)
    } else if word.eq_ignore_ascii_case(b"persist") {
        (NewTime::Never, 3)
    } else {
        (NewTime::Keep, 2)
    };
    Ok((time, fields(args, at, NOT_POSITIVE)?))
}

/// Which fields HSETEX needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Needs {
    Nothing,
    /// That none of the fields is there.
    None,
    /// That all of them are.
    All,
}

/// Options of HSETEX, and its fields, each with its value.
#[derive(Clone, Copy)]
pub(super) struct Setex<'a> {
    pub(super) needs: Needs,
    pub(super) time: NewTime,
    pub(super) pairs: Args<'a>,
}

impl<'a> Setex<'a> {
    pub(super) fn parse(args: &Args<'a>, now: Millis) -> Result<Self, CommandError> {
        let mut needs = Needs::Nothing;
        let mut time = None;
        let mut at = 2;
        while let Some(word) = args.get(at) {
            let needed = match word.to_ascii_lowercase().as_slice() {
                b"fnx" => Some(Needs::None),
                b"fxx" => Some(Needs::All),
                _ => None,
            };
            let clock = Clock::of_option(word);
            if let Some(needed) = needed {
                if needs != Needs::Nothing {
                    return Err(CommandError::Plain(
                        "Only one of FXX or FNX arguments can be specified",
                    ));
                }
                needs = needed;
            } else if clock.is_some() || word.eq_ignore_ascii_case(b"keepttl") {
                if time.is_some() {
                    return Err(CommandError::Plain(
                        "Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
                    ));
                }
                time = Some(NewTime::Keep);
                if let Some(clock) = clock {
                    at += 1;
                    let argument = args.get(at).ok_or(CommandError::WrongArity("hsetex"))?;
                    time = Some(NewTime::At(clock.read(argument, now, "hsetex")?));
                }
            } else if word.eq_ignore_ascii_case(b"fields") {
                let pairs = Self::pairs(args, at + 1)?;
                let time = time.unwrap_or(NewTime::Never);
                return Ok(Self { needs, time, pairs });
            } else {
                let text = [b"ERR unknown argument: ", word].concat();
                return Err(CommandError::Text(text.into()));
            }
            at += 1;
        }
        Err(NO_FIELDS)
    }

    fn pairs(args: &Args<'a>, count_at: usize) -> Result<Args<'a>, CommandError> {
        let arity = CommandError::WrongArity("hsetex");
        let count = args.get(count_at).ok_or_else(|| arity.clone())?;
        let count = int_argument(count).ok().filter(|count| *count > 0);
        let count = count.ok_or(CommandError::Plain("invalid number of fields"))?;
        let pairs = args.from(count_at + 1);
        let is_right =
            pairs.len().is_multiple_of(2) && usize::try_from(count) == Ok(pairs.len() / 2);
        if is_right { Ok(pairs) } else { Err(arity) }
    }
}
