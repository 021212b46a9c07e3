//! Ids among the arguments of stream commands.

use crate::commands::table::error::CommandError;
use crate::keyspace::collection::stream::StreamId;

/// The longest text that is an id.
const TEXT_BYTES_MAX: usize = 127;

const INVALID: CommandError =
    CommandError::Plain("Invalid stream ID specified as stream command argument");

/// An unsigned number as `strtoull` reads it: digits, perhaps behind spaces and a sign. A negative number counts from
/// the end, unless it is written as one usually is.
fn number(text: &[u8]) -> Option<u64> {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let spaces = text.iter().take_while(|byte| is_space(byte)).count();
    let (is_negative, digits) = match &text[spaces..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let is_usual = spaces == 0 && digits[0] != b'0' && i64::try_from(number).is_ok();
    match is_negative {
        true if is_usual => None,
        true => Some(number.wrapping_neg()),
        false => Some(number),
    }
}

/// An id of one or two numbers.
struct Parsed {
    milliseconds: u64,
    sequence: Option<u64>,
}

fn parse(text: &[u8]) -> Option<Parsed> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    // What is behind a zero is not read.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let dash = text.iter().position(|byte| *byte == b'-');
    let (milliseconds, sequence) = match dash {
        Some(at) => (&text[..at], Some(number(&text[at + 1..])?)),
        None => (text, None),
    };
    Some(Parsed {
        milliseconds: number(milliseconds)?,
        sequence,
    })
}

/// A whole id, or one without its second number, which then is `missing`.
pub(super) fn strict_id(text: &[u8], missing: u64) -> Result<StreamId, CommandError> {
    let parsed = parse(text).ok_or(INVALID)?;
    let sequence = parsed.sequence.unwrap_or(missing);
    Ok(StreamId::new(parsed.milliseconds, sequence))
}

/// The same, or "-" and "+" for the least and the largest id.
pub(super) fn id(text: &[u8], missing: u64) -> Result<StreamId, CommandError> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => strict_id(text, missing),
    }
}

/// An end of a range, which a bracket excludes.
pub(super) enum Side {
    Start,
    End,
}

/// The end of a range.
pub(super) fn range_end(text: &[u8], side: &Side) -> Result<StreamId, CommandError> {
    let missing = match side {
        Side::Start => 0,
        Side::End => u64::MAX,
    };
    let Some(text) = text.strip_prefix(b"(") else {
        return id(text, missing);
    };
    let at = strict_id(text, missing)?;
    match side {
        Side::Start => at
            .next()
            .ok_or(CommandError::Plain("invalid start ID for the interval")),
        Side::End => at
            .previous()
            .ok_or(CommandError::Plain("invalid end ID for the interval")),
    }
}

/// The id of a new entry, as it is asked for.
#[derive(Clone, Copy)]
pub(super) enum NewId {
    /// The time of now, or behind the last.
    Now,
    /// This time, and the next number in it.
    At(u64),
    Exactly(StreamId),
}

impl NewId {
    pub(super) fn parse(text: &[u8]) -> Result<Self, CommandError> {
        if text == b"*" {
            return Ok(Self::Now);
        }
        if let Some(milliseconds) = text.strip_suffix(b"-*") {
            let milliseconds = number(milliseconds).ok_or(INVALID)?;
            return Ok(Self::At(milliseconds));
        }
        strict_id(text, 0).map(Self::Exactly)
    }

    /// The id behind the last one.
    pub(super) fn resolve(self, last: StreamId, now: u64) -> Result<StreamId, CommandError> {
        const SMALLER: CommandError = CommandError::Plain(
            "The ID specified in XADD is equal or smaller than the target stream top item",
        );
        if last == StreamId::MAX {
            return Err(CommandError::Plain(
                "The stream has exhausted the last possible ID, unable to add more items",
            ));
        }
        let found = match self {
            Self::Now if now > last.milliseconds => Some(StreamId::new(now, 0)),
            Self::Now => last.next(),
            Self::At(milliseconds) if milliseconds == last.milliseconds => {
                let sequence = last.sequence.checked_add(1);
                sequence.map(|sequence| StreamId::new(milliseconds, sequence))
            }
            Self::At(milliseconds) => Some(StreamId::new(milliseconds, 0)),
            Self::Exactly(id) => Some(id),
        };
        found.filter(|id| *id > last).ok_or(SMALLER)
    }
}
