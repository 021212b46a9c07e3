//! Strings between the client, who sees bytes, and the keyspace, which keeps integers as integers.

use crate::keyspace::collection::listpack::Element;
use crate::keyspace::{Millis, Value};
use crate::resp::{Reply, parse_i64};

use crate::commands::table::error::CommandError;

/// The latest time of expiry: 48 bits of milliseconds, in the year 10889. What is later expires then.
pub const EXPIRE_AT_MAX: Millis = (1 << 48) - 1;

/// Decimal digits of an i64, and its sign.
const INT_TEXT_MAX: usize = 20;

/// How bytes are stored: as an integer, if they are exactly how one is printed.
#[inline]
pub(in crate::commands) fn canonical(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > INT_TEXT_MAX {
        return Value::Bytes(bytes);
    }
    parse_i64(bytes).map_or(Value::Bytes(bytes), Value::Int)
}

#[inline]
pub(in crate::commands) fn write_value(reply: &mut Reply<'_>, value: Value<'_>) {
    match value {
        Value::Int(int) => reply.bulk_int(int),
        value => reply.bulk(whole(value)),
    }
}

/// An element of a collection, as a bulk string.
#[inline]
pub(in crate::commands) fn write_element(reply: &mut Reply<'_>, element: Element<'_>) {
    match element {
        Element::Int(number) => reply.bulk_int(number),
        Element::Str(text) => reply.bulk(text),
    }
}

/// The bytes of a value; an integer is printed into `buffer`.
pub(in crate::commands) fn text<'a>(value: Value<'a>, buffer: &'a mut itoa::Buffer) -> &'a [u8] {
    match value {
        Value::Int(int) => buffer.format(int).as_bytes(),
        value => whole(value),
    }
}

/// The bytes of what is no integer. The doors of a handler let no other values through than strings that are here.
#[inline]
fn whole(value: Value<'_>) -> &[u8] {
    match value {
        Value::Bytes(bytes) => bytes,
        Value::Int(_) | Value::Tree(_) | Value::Written(_) | Value::AtOwner | Value::Absent(_) => {
            b""
        }
    }
}

pub(in crate::commands) fn text_len(value: Value<'_>) -> usize {
    text(value, &mut itoa::Buffer::new()).len()
}

/// The integer that a value is.
pub(in crate::commands) fn as_int(value: Value<'_>) -> Result<i64, CommandError> {
    match value {
        Value::Int(int) => Ok(int),
        value => int_argument(whole(value)),
    }
}

pub(in crate::commands) fn int_argument(argument: &[u8]) -> Result<i64, CommandError> {
    parse_i64(argument).ok_or(CommandError::NotAnInteger)
}

/// How many elements to choose by chance: negative for such that may come again.
pub(in crate::commands) fn random_count(argument: &[u8]) -> Result<i64, CommandError> {
    match int_argument(argument)? {
        i64::MIN => Err(CommandError::text(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        ))),
        count => Ok(count),
    }
}

/// A database, as SELECT, COPY and MOVE are told it.
///
/// # Errors
/// No number, or none of a database.
pub fn database_argument(argument: &[u8], databases: u8) -> Result<u8, CommandError> {
    let number = int_argument(argument)?;
    let number = i32::try_from(number).map_err(|_| {
        CommandError::Plain("value is out of range, value must between -2147483648 and 2147483647")
    })?;
    u8::try_from(number)
        .ok()
        .filter(|db| *db < databases)
        .ok_or(CommandError::DatabaseOutOfRange)
}

/// A positive time in milliseconds as the keyspace keeps it.
pub(in crate::commands) fn expire_at(milliseconds: i64) -> Millis {
    milliseconds.unsigned_abs().min(EXPIRE_AT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_become_integers() {
        for (text, int) in [
            (&b"0"[..], Some(0)),
            (b"-1", Some(-1)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"-9223372036854775808", Some(i64::MIN)),
            (b"9223372036854775808", None),
            (b"007", None),
            (b"+7", None),
            (b"-0", None),
            (b"7 ", None),
            (b"", None),
        ] {
            match int {
                Some(int) => assert_eq!(canonical(text), Value::Int(int)),
                None => assert_eq!(canonical(text), Value::Bytes(text)),
            }
            assert_eq!(text_len(canonical(text)), text.len());
        }
    }

    #[test]
    fn databases_are_checked() {
        assert_eq!(database_argument(b"15", 16), Ok(15));
        assert_eq!(
            database_argument(b"16", 16),
            Err(CommandError::DatabaseOutOfRange)
        );
        assert_eq!(
            database_argument(b"-1", 16),
            Err(CommandError::DatabaseOutOfRange)
        );
        assert_eq!(database_argument(b"a", 16), Err(CommandError::NotAnInteger));
        assert_eq!(
            database_argument(b"2147483648", 16)
                .unwrap_err()
                .to_string(),
            "ERR value is out of range, value must between -2147483648 and 2147483647"
        );
    }
}
