//! Inline requests: a line typed by a person, split as a shell would.

use super::args::Span;

/// A quote that does not end, or does not end its word.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnbalancedQuotes;

/// Splits `line` into words, appends their text to `unquoted` and their places, counted from where `unquoted`
/// ended before, to `spans`.
pub(super) fn split_line(
    line: &[u8],
    unquoted: &mut Vec<u8>,
    spans: &mut Vec<Span>,
) -> Result<(), UnbalancedQuotes> {
    let base = unquoted.len();
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(());
        }
        let start = unquoted.len();
        rest = take_word(rest, unquoted)?;
        spans.push(Span {
            start: start - base,
            len: unquoted.len() - start,
        });
    }
}

/// The words of a line as a shell would split it; None where a quote does not end.
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut unquoted, mut spans) = (Vec::new(), Vec::new());
    split_line(line, &mut unquoted, &mut spans).ok()?;
    let word = |span: &Span| unquoted[span.start..span.start + span.len].to_vec();
    Some(spans.iter().map(word).collect())
}

/// As C's isspace.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Copies one word and returns what follows it. Quotes may begin inside of a word, but must end it.
fn take_word<'a>(line: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    let mut rest = line;
    while let [byte, after @ ..] = rest {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' => return take_double_quoted(after, word).and_then(end_of_word),
            b'\'' => return take_single_quoted(after, word).and_then(end_of_word),
            _ => word.push(*byte),
        }
        rest = after;
    }
    Ok(rest)
}

fn end_of_word(rest: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match rest {
        [byte, ..] if !is_space(*byte) => Err(UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn take_double_quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex_digit(*high) << 4 | hex_digit(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        };
    }
}

fn take_single_quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        };
    }
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
        let mut unquoted = b"before".to_vec();
        let mut spans = Vec::new();
        split_line(line, &mut unquoted, &mut spans)?;
        let text = &unquoted[6..];
        Ok(spans
            .iter()
            .map(|span| text[span.start..span.start + span.len].to_vec())
            .collect())
    }

    #[test]
    fn words_are_split_at_blanks() {
        assert_eq!(words(b"  set  a\tb ").unwrap(), [&b"set"[..], b"a", b"b"]);
        assert_eq!(words(b" \t ").unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(words(b"a\rb").unwrap(), [b"a", b"b"]);
        assert_eq!(words(b"a\x0bb").unwrap(), [b"a\x0bb"]);
    }

    #[test]
    fn quotes_are_taken_off() {
        assert_eq!(words(br#""a b" ''"#).unwrap(), [&b"a b"[..], b""]);
        assert_eq!(
            words(br#""\x41\n\q\"" 'it\'s\n'"#).unwrap(),
            [&b"A\nq\""[..], b"it's\\n"]
        );
        assert_eq!(words(br#"ab"c d""#).unwrap(), [b"abc d"]);
        assert_eq!(words(br#""\xg1""#).unwrap(), [b"xg1"]);
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [&b"\"a"[..], b"'a", b"\"a\"b", b"'a'b", b"\"a\\\"", b"\"a\\"] {
            assert_eq!(words(line), Err(UnbalancedQuotes), "{line:?}");
        }
    }
}
