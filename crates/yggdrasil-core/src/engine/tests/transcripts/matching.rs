//! Replies of transcripts against bytes.

use super::notation::Expected;
use crate::resp::Protocol;

impl Expected {
    /// The bytes behind this reply, if it is what they begin with.
    pub fn taken_off<'a>(&self, bytes: &'a [u8], protocol: Protocol) -> Option<&'a [u8]> {
        let is_old = protocol == Protocol::Resp2;
        match self {
            Self::Nothing => Some(bytes),
            Self::Anything => after_any(bytes),
            Self::Range(low, high) => {
                let (number, rest) = line(bytes.strip_prefix(b":")?)?;
                let number: i64 = std::str::from_utf8(number).ok()?.parse().ok()?;
                (*low..=*high).contains(&number).then_some(rest)
            }
            Self::AnyOrder(items) => {
                let kinds: &[u8] = if is_old { b"*" } else { b"*~" };
                let (kind, rest) = bytes.split_first()?;
                let (count, rest) = line(rest)?;
                let is_count = count == items.len().to_string().as_bytes();
                let fits = kinds.contains(kind) && is_count;
                fits.then(|| any_order(items, rest, protocol))?
            }
            Self::Array(items) => in_order(b'*', items, 1, bytes, protocol),
            Self::Set(items) => {
                in_order(if is_old { b'*' } else { b'~' }, items, 1, bytes, protocol)
            }
            Self::Push(items) => {
                in_order(if is_old { b'*' } else { b'>' }, items, 1, bytes, protocol)
            }
            Self::Map(items) if is_old => in_order(b'*', items, 1, bytes, protocol),
            Self::Map(items) => in_order(b'%', items, 2, bytes, protocol),
            Self::Apart(resp2, resp3) => {
                let this = if is_old { resp2 } else { resp3 };
                this.taken_off(bytes, protocol)
            }
            _ => bytes.strip_prefix(self.scalar(is_old)?.as_slice()),
        }
    }

    /// The bytes of a reply that is no aggregate and has only one form.
    fn scalar(&self, is_old: bool) -> Option<Vec<u8>> {
        let null_of_resp3 = || b"_\r\n".to_vec();
        Some(match self {
            Self::Simple(text) => one_line(b'+', text),
            Self::Error(text) => one_line(b'-', text),
            Self::Int(number) => one_line(b':', &number.to_string()),
            Self::Bulk(data) => bulk(b'$', data),
            Self::Null if is_old => b"$-1\r\n".to_vec(),
            Self::NullArray if is_old => b"*-1\r\n".to_vec(),
            Self::Null | Self::NullArray => null_of_resp3(),
            Self::Double(text) | Self::Big(text) if is_old => bulk(b'$', text.as_bytes()),
            Self::Double(text) => one_line(b',', text),
            Self::Big(text) => one_line(b'(', text),
            Self::Boolean(value) if is_old => one_line(b':', if *value { "1" } else { "0" }),
            Self::Boolean(value) => one_line(b'#', if *value { "t" } else { "f" }),
            Self::Text(text) if is_old => bulk(b'$', text),
            Self::Text(text) => bulk(b'=', &[b"txt:", text.as_slice()].concat()),
            _ => return None,
        })
    }

    /// An example of this reply, for people.
    pub fn example(&self, protocol: Protocol) -> Vec<u8> {
        let bytes = self.scalar(protocol == Protocol::Resp2);
        bytes.unwrap_or_else(|| format!("{self:?}").into_bytes())
    }
}

fn one_line(kind: u8, text: &str) -> Vec<u8> {
    [&[kind], text.as_bytes(), b"\r\n"].concat()
}

fn bulk(kind: u8, data: &[u8]) -> Vec<u8> {
    let length = one_line(kind, &data.len().to_string());
    [&length, data, b"\r\n"].concat()
}

/// A line and the bytes behind it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

/// The bytes behind an aggregate whose items are these; `each` of them count as one in its header.
fn in_order<'a>(
    kind: u8,
    items: &[Expected],
    each: usize,
    bytes: &'a [u8],
    protocol: Protocol,
) -> Option<&'a [u8]> {
    let header = one_line(kind, &(items.len() / each).to_string());
    let rest = bytes.strip_prefix(header.as_slice())?;
    items
        .iter()
        .try_fold(rest, |rest, item| item.taken_off(rest, protocol))
}

/// The bytes behind the items, each of which fits another one of what is expected.
fn any_order<'a>(items: &[Expected], bytes: &'a [u8], protocol: Protocol) -> Option<&'a [u8]> {
    let mut left: Vec<&Expected> = items.iter().collect();
    let mut rest = bytes;
    while !left.is_empty() {
        let mut fitting = left.iter().enumerate();
        let (index, after) =
            fitting.find_map(|(i, item)| Some((i, item.taken_off(rest, protocol)?)))?;
        left.remove(index);
        rest = after;
    }
    Some(rest)
}

/// The bytes behind a reply of any kind.
fn after_any(bytes: &[u8]) -> Option<&[u8]> {
    let (kind, rest) = bytes.split_first()?;
    let (header, rest) = line(rest)?;
    let count = || std::str::from_utf8(header).ok()?.parse::<i64>().ok();
    match kind {
        b'$' | b'=' | b'!' => match usize::try_from(count()?) {
            Ok(length) => rest.get(length + 2..),
            Err(_) => Some(rest),
        },
        b'*' | b'~' | b'>' => (0..count()?).try_fold(rest, |rest, _| after_any(rest)),
        b'%' => (0..count()? * 2).try_fold(rest, |rest, _| after_any(rest)),
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Some(rest),
        _ => None,
    }
}
