/// A reply of RESP2, borrowed from the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    Null,
    Array(Vec<Reply<'a>>),
}

/// Why no reply could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// The bytes end before the reply does.
    Incomplete,
    /// The bytes are not RESP2.
    Malformed,
}

const DEPTH_MAX: usize = 8;
const ARRAY_MAX: usize = 1 << 20;

/// Reads one reply from the front of `bytes` and says how long it is.
pub fn parse(bytes: &[u8]) -> Result<(Reply<'_>, usize), NoReply> {
    parse_nested(bytes, DEPTH_MAX)
}

fn parse_nested(bytes: &[u8], depth: usize) -> Result<(Reply<'_>, usize), NoReply> {
    let (line, after) = line(bytes)?;
    let (&kind, text) = line.split_first().ok_or(NoReply::Malformed)?;
    match kind {
        b'+' => Ok((Reply::Simple(text), after)),
        b'-' => Ok((Reply::Error(text), after)),
        b':' => Ok((Reply::Integer(number(text)?), after)),
        b'$' => bulk(bytes, number(text)?, after),
        b'*' if depth > 0 => array(bytes, number(text)?, after, depth),
        _ => Err(NoReply::Malformed),
    }
}

fn line(bytes: &[u8]) -> Result<(&[u8], usize), NoReply> {
    let end = bytes
        .windows(2)
        .position(|pair| pair == b"\r\n")
        .ok_or(NoReply::Incomplete)?;
    Ok((&bytes[..end], end + 2))
}

fn number(text: &[u8]) -> Result<i64, NoReply> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(NoReply::Malformed)
}

fn bulk(bytes: &[u8], length: i64, start: usize) -> Result<(Reply<'_>, usize), NoReply> {
    if length == -1 {
        return Ok((Reply::Null, start));
    }
    let length = usize::try_from(length).map_err(|_| NoReply::Malformed)?;
    let end = start.checked_add(length).ok_or(NoReply::Malformed)?;
    let after = end.checked_add(2).ok_or(NoReply::Malformed)?;
    let body = bytes.get(start..after).ok_or(NoReply::Incomplete)?;
    if !body.ends_with(b"\r\n") {
        return Err(NoReply::Malformed);
    }
    Ok((Reply::Bulk(&body[..length]), after))
}

fn array(
    bytes: &[u8],
    count: i64,
    start: usize,
    depth: usize,
) -> Result<(Reply<'_>, usize), NoReply> {
    if count == -1 {
        return Ok((Reply::Null, start));
    }
    let count = usize::try_from(count).map_err(|_| NoReply::Malformed)?;
    if count > ARRAY_MAX {
        return Err(NoReply::Malformed);
    }
    let mut items = Vec::new();
    let mut at = start;
    for _ in 0..count {
        let (item, length) = parse_nested(&bytes[at..], depth - 1)?;
        items.push(item);
        at += length;
    }
    Ok((Reply::Array(items), at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_with_its_length() {
        let bytes = b"*4\r\n+OK\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n-ERR no\r\n";
        let (array, length) = parse(bytes).unwrap();
        assert_eq!(
            array,
            Reply::Array(vec![
                Reply::Simple(b"OK"),
                Reply::Integer(-7),
                Reply::Bulk(b"a\r\n"),
                Reply::Null,
            ])
        );
        assert_eq!(
            parse(&bytes[length..]),
            Ok((Reply::Error(b"ERR no"), bytes.len() - length))
        );
    }

    #[test]
    fn every_cut_is_incomplete() {
        let bytes = b"*2\r\n$3\r\nabc\r\n:12\r\n";
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Err(NoReply::Incomplete));
        }
    }

    #[test]
    fn nonsense_is_malformed() {
        for bytes in [
            &b"?\r\n"[..],
            b"\r\n",
            b":x\r\n",
            b"$-2\r\n",
            b"$1\r\nabc\r\n",
        ] {
            assert_eq!(parse(bytes), Err(NoReply::Malformed));
        }
        let deep = b"*1\r\n".repeat(DEPTH_MAX + 1);
        assert_eq!(parse(&deep), Err(NoReply::Malformed));
    }
}
