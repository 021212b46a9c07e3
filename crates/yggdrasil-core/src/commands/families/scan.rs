//! Walking over the keys of a node, shard after shard, and over the elements of a collection.
//!
//! A cursor is the shard in its upper bits and the cursor of that shard in its lower ones.

use crate::commands::codecs::glob;
use crate::commands::families::value::int_argument;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ShardContext, check_kind};
use crate::keyspace::{EntryView, Kind};
use crate::resp::{Args, Reply};

/// Cursors of one shard are below two to this power.
const SHARD_CURSOR_BITS: u32 = 40;
/// Keys that a call looks at unless it is told.
const COUNT_DEFAULT: u64 = 10;
/// Keys of a bucket that is filled as usual, to look at about as many keys as were asked for.
const KEYS_PER_BUCKET: u64 = 8;
/// Buckets that KEYS looks at in one go.
const KEYS_BUCKETS: usize = 4096;

/// The shard that goes on with the cursor in `args[1]`. For a cursor that no shard gave, the last: it knows that it is
/// none of its own.
pub fn shard_of(args: &Args<'_>, shard_count: u16) -> Result<u16, CommandError> {
    let shard = leading_cursor(args)?.unwrap_or(0) >> SHARD_CURSOR_BITS;
    let last = shard_count.saturating_sub(1);
    Ok(u16::try_from(shard).map_or(last, |shard| shard.min(last)))
}

/// The cursor of a request; `None` where PINNED begins without one.
fn leading_cursor(args: &Args<'_>) -> Result<Option<u64>, CommandError> {
    let is_option =
        |word: &&[u8]| word.eq_ignore_ascii_case(b"match") || word.eq_ignore_ascii_case(b"count");
    let first = args.get(1).filter(|word| !is_option(word));
    first.map(parse_cursor).transpose()
}

/// Digits, whatever zeros they begin with. Blanks and a sign may stand before them, as strtoull has it.
fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0B;
    let blanks = text.iter().take_while(|byte| is_blank(byte)).count();
    let (is_negative, digits) = match &text[blanks..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let parsed = std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_number)
        .and_then(|digits| digits.parse::<u64>().ok());
    match parsed {
        // A negative integer of 64 bits in its shortest form is refused; any other counts back from the end.
        Some(number) if is_negative && blanks == 0 && digits[0] != b'0' && number <= 1 << 63 => {
            Err(CommandError::Plain("invalid cursor"))
        }
        Some(number) if is_negative => Ok(number.wrapping_neg()),
        Some(number) => Ok(number),
        None => Err(CommandError::Plain("invalid cursor")),
    }
}

/// The things that a walk goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Scanned {
    Keys,
    /// Members of a set or a sorted set.
    Members,
    /// Fields of a hash.
    Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    count: u64,
    names_only: bool,
}

impl<'a> ScanOptions<'a> {
    fn parse(options: &Args<'a>, scanned: Scanned) -> Result<Self, CommandError> {
        let mut parsed = Self {
            pattern: None,
            kind: None,
            count: COUNT_DEFAULT,
            names_only: false,
        };
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"novalues") {
                if scanned != Scanned::Fields {
                    return Err(CommandError::Plain(
                        "NOVALUES option can only be used in HSCAN",
                    ));
                }
                parsed.names_only = true;
                continue;
            }
            let value = rest.next().ok_or(CommandError::Syntax)?;
            if option.eq_ignore_ascii_case(b"count") {
                let count = int_argument(value)?;
                parsed.count = u64::try_from(count).map_err(|_| CommandError::Syntax)?;
                if count == 0 {
                    return Err(CommandError::Syntax);
                }
            } else if option.eq_ignore_ascii_case(b"match") {
                parsed.pattern = Some(value).filter(|pattern| *pattern != b"*");
            } else if option.eq_ignore_ascii_case(b"type") && scanned == Scanned::Keys {
                parsed.kind = Some(value);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(parsed)
    }

    fn wants(&self, key: &[u8], entry: &EntryView<'_>) -> bool {
        let kind = entry.kind.type_name().as_bytes();
        self.kind
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(kind))
            && self.wants_name(key)
    }

    fn wants_name(&self, key: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, key))
    }
}

/// Keys, or elements of a collection, written as elements of an array whose length is known at the end.
struct Keys {
    bytes: Vec<u8>,
    len: usize,
}

impl Keys {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            len: 0,
        }
    }

    fn push(&mut self, key: &[u8], like: &Reply<'_>) {
        Reply::new(&mut self.bytes, like.protocol()).bulk(key);
        self.len += 1;
    }

    fn write(&self, reply: &mut Reply<'_>) {
        reply.array(self.len);
        reply.raw(&self.bytes);
    }
}

/// One step of SCAN in the shard that [`shard_of`] names.
pub(in crate::commands) fn scan(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let cursor = parse_cursor(&args[1])?;
    let options = ScanOptions::parse(&args.from(2), Scanned::Keys)?;
    let mut keys = Keys::new();
    let next = if cursor >> SHARD_CURSOR_BITS == u64::from(context.shard_index) {
        let shard_cursor = cursor & ((1 << SHARD_CURSOR_BITS) - 1);
        let next = step(context, shard_cursor, &options, |key| keys.push(key, reply));
        following(context, next)
    } else {
        0
    };
    write_step(next, &keys, reply);
    Ok(())
}

/// One step of PINNED in the shard that [`shard_of`] names.
pub(in crate::commands) fn pinned(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let cursor = leading_cursor(args)?;
    let options = ScanOptions::parse(
        &args.from(if cursor.is_some() { 2 } else { 1 }),
        Scanned::Keys,
    )?;
    if options.kind.is_some() {
        return Err(CommandError::Syntax);
    }
    let cursor = cursor.unwrap_or(0);
    let mut keys = Keys::new();
    let mut next = 0;
    if cursor >> SHARD_CURSOR_BITS == u64::from(context.shard_index) {
        let shard_cursor = cursor & ((1 << SHARD_CURSOR_BITS) - 1);
        let (db, now) = (context.db, context.now);
        let shard_next = context
            .shard
            .pinned(db, shard_cursor, options.count, now, &mut |key| {
                if options.wants_name(key) {
                    keys.push(key, reply);
                }
            });
        next = following(context, shard_next);
    }
    write_step(next, &keys, reply);
    Ok(())
}

fn write_step(next: u64, keys: &Keys, reply: &mut Reply<'_>) {
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    keys.write(reply);
}

/// One step of SSCAN, HSCAN or ZSCAN. `walk` visits about so many elements of a value from a cursor on, each with what
/// is given beside its name, and returns the next cursor.
pub(in crate::commands) fn scan_elements<'e>(
    (kind, scanned): (Kind, Scanned),
    entry: Option<&'e EntryView<'e>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    walk: impl FnOnce(&'e EntryView<'e>, u64, usize, &mut dyn FnMut(&[u8], Option<&[u8]>)) -> u64,
) -> Outcome {
    let cursor = parse_cursor(args.at(2))?;
    check_kind(Some(kind), entry)?;
    let mut names = Keys::new();
    let mut next = 0;
    if let Some(entry) = entry {
        let options = ScanOptions::parse(&args.from(3), scanned)?;
        let count = usize::try_from(options.count).unwrap_or(usize::MAX);
        next = walk(entry, cursor, count, &mut |name, beside| {
            if options.wants_name(name) {
                names.push(name, reply);
                if let Some(beside) = beside.filter(|_| !options.names_only) {
                    names.push(beside, reply);
                }
            }
        });
    }
    write_step(next, &names, reply);
    Ok(())
}

/// Looks at about as many keys as the options ask for. Returns the shard's next cursor.
fn step(
    context: &ShardContext<'_>,
    mut cursor: u64,
    options: &ScanOptions<'_>,
    mut found: impl FnMut(&[u8]),
) -> u64 {
    let mut seen = 0;
    while seen < options.count {
        let buckets = (options.count - seen) / KEYS_PER_BUCKET + 1;
        let buckets = usize::try_from(buckets)
            .unwrap_or(usize::MAX)
            .min(KEYS_BUCKETS);
        cursor = context.shard.scan(
            context.db,
            cursor,
            buckets,
            context.now,
            &mut |key, entry| {
                seen += 1;
                if options.wants(key, entry) {
                    found(key);
                }
            },
        );
        if cursor == 0 {
            break;
        }
    }
    cursor
}

/// The node's cursor for a shard's: after the end of a shard comes the next one.
fn following(context: &ShardContext<'_>, next: u64) -> u64 {
    let shard = u64::from(context.shard_index);
    if next != 0 {
        shard << SHARD_CURSOR_BITS | next
    } else if context.shard_index + 1 < context.shard_count {
        (shard + 1) << SHARD_CURSOR_BITS
    } else {
        0
    }
}

/// All keys of a shard that match.
pub(in crate::commands) fn keys(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let pattern = args.at(1);
    let options = ScanOptions {
        pattern: Some(pattern).filter(|pattern| *pattern != b"*"),
        kind: None,
        count: u64::MAX,
        names_only: false,
    };
    let mut keys = Keys::new();
    step(context, 0, &options, |key| keys.push(key, reply));
    keys.write(reply);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_have_the_forms_that_redis_takes() {
        let taken: [(&[u8], u64); 8] = [
            (b"0", 0),
            (b"007", 7),
            (b" 1", 1),
            (b"+1", 1),
            (b"\t-0", 0),
            (b" -1", u64::MAX),
            (b"-01", u64::MAX),
            (b"18446744073709551615", u64::MAX),
        ];
        for (text, cursor) in taken {
            assert_eq!(parse_cursor(text), Ok(cursor));
        }
        let refused: [&[u8]; 7] = [
            b"",
            b" ",
            b"-",
            b"-1",
            b"1 ",
            b"0x1",
            b"18446744073709551616",
        ];
        for text in refused {
            assert!(parse_cursor(text).is_err());
        }
    }
}
