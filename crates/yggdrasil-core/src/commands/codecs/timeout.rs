//! How long a request may wait, in Redis's words.

use crate::commands::codecs::long_double::LongDouble;
use crate::commands::table::error::CommandError;
use crate::keyspace::Millis;

const OUT_OF_RANGE: CommandError = CommandError::Plain("timeout is out of range");
const NEGATIVE: CommandError = CommandError::Plain("timeout is negative");

/// The end of a wait of so many seconds, which need not be whole; `None` for 0, which is without end.
pub(in crate::commands) fn until_in_seconds(
    text: &[u8],
    now: Millis,
) -> Result<Option<Millis>, CommandError> {
    let seconds = LongDouble::parse(text).ok_or(CommandError::Plain(
        "timeout is not a float or out of range",
    ))?;
    let milliseconds = (seconds.to_f64() * 1000.0).ceil();
    if milliseconds >= i64::MAX as f64 {
        return Err(OUT_OF_RANGE);
    }
    until(milliseconds as i64, now)
}

fn until(milliseconds: i64, now: Millis) -> Result<Option<Millis>, CommandError> {
    let most = i64::MAX.saturating_sub_unsigned(now);
    match milliseconds {
        ..0 => Err(NEGATIVE),
        0 => Ok(None),
        time if time > most => Err(OUT_OF_RANGE),
        time => Ok(Some(now + time.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_redis_reads_them() {
        let now = 1_700_000_000_000;
        for (text, expected) in [
            ("0", Ok(None)),
            ("0.0", Ok(None)),
            ("1", Ok(Some(now + 1000))),
            ("0.1", Ok(Some(now + 100))),
            ("0.0001", Ok(Some(now + 1))),
            ("0x0.8", Ok(Some(now + 500))),
            ("-1", Err(NEGATIVE)),
            ("-inf", Err(NEGATIVE)),
            ("inf", Err(OUT_OF_RANGE)),
            ("1e400", Err(OUT_OF_RANGE)),
            ("9223372036854775", Err(OUT_OF_RANGE)),
        ] {
            assert_eq!(until_in_seconds(text.as_bytes(), now), expected, "{text}");
        }
        for text in ["", "x", " 1", "1 ", "nan"] {
            assert!(until_in_seconds(text.as_bytes(), now).is_err(), "{text}");
        }
    }
}
