//! Replies in RESP to values and back.

use super::stack::{Kind, ROOM, Stack};
use crate::resp::{Protocol, Reply, parse_i64};

/// Bytes of a reply, about: a table that is in many places can be written as more than there is memory.
const REPLY_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Pushes the value of a reply of the engine; true for an error.
pub fn push_reply(stack: Stack, reply: &[u8]) -> bool {
    let mut reader = Reader { rest: reply };
    reader.value(stack);
    reply.first() == Some(&b'-')
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> (u8, &'a [u8]) {
        let end = memchr::memchr(b'\n', self.rest).map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        line.split_first()
            .map_or((b'_', line), |(kind, text)| (*kind, text))
    }

    fn blob(&mut self, length: i64) -> &'a [u8] {
        let length = usize::try_from(length).unwrap_or(0).min(self.rest.len());
        let (blob, rest) = self.rest.split_at(length);
        self.rest = rest.get(2..).unwrap_or_default();
        blob
    }

    /// Pushes the next value, or false where nothing can be read.
    fn value(&mut self, stack: Stack) {
        if self.rest.is_empty() || !stack.has_room(ROOM) {
            self.rest = &[];
            stack.push_boolean(false);
            return;
        }
        let (kind, text) = self.line();
        let number = || parse_i64(text).unwrap_or(-1);
        match kind {
            b':' => stack.push_number(number() as f64),
            b'$' if number() >= 0 => stack.push_text(self.blob(number())),
            b'+' => push_field(stack, "ok", |stack| stack.push_text(text)),
            b'-' => push_error(stack, text),
            b'*' | b'>' if number() >= 0 => self.array(stack, number()),
            b'%' => self.pairs(stack, number()),
            b'~' => self.members(stack, number()),
            b'_' => stack.push_nil(),
            b'#' => stack.push_boolean(text == b"t"),
            b',' => {
                let number = std::str::from_utf8(text)
                    .ok()
                    .and_then(|text| text.parse().ok());
                push_field(stack, "double", |stack| {
                    stack.push_number(number.unwrap_or(f64::NAN));
                });
            }
            b'(' => push_field(stack, "big_number", |stack| stack.push_text(text)),
            b'=' => {
                let blob = self.blob(number());
                let (format, string) = blob.split_at(blob.len().min(4));
                push_field(stack, "verbatim_string", |stack| {
                    stack.push_table(0, 2);
                    stack.push_text(string);
                    stack.set_field("string");
                    stack.push_text(format.get(..3).unwrap_or_default());
                    stack.set_field("format");
                });
            }
            _ => stack.push_boolean(false),
        }
    }

    fn array(&mut self, stack: Stack, length: i64) {
        stack.push_table(usize::try_from(length).unwrap_or(0), 0);
        for place in 1..=length {
            if self.rest.is_empty() {
                break;
            }
            self.value(stack);
            stack.raw_set_at(-2, place as i32);
        }
    }

    fn pairs(&mut self, stack: Stack, length: i64) {
        stack.push_table(0, 1);
        stack.push_table(0, usize::try_from(length).unwrap_or(0));
        for _ in 0..length {
            if self.rest.is_empty() {
                break;
            }
            self.value(stack);
            self.value(stack);
            set_pair(stack);
        }
        stack.set_field("map");
    }

    fn members(&mut self, stack: Stack, length: i64) {
        stack.push_table(0, 1);
        stack.push_table(0, usize::try_from(length).unwrap_or(0));
        for _ in 0..length {
            if self.rest.is_empty() {
                break;
            }
            self.value(stack);
            stack.push_boolean(true);
            set_pair(stack);
        }
        stack.set_field("set");
    }
}

/// Sets the value under the key, both of which are on the top; a table has no key nil.
fn set_pair(stack: Stack) {
    if stack.kind(-2) == Kind::Nil {
        stack.pop(2);
    } else {
        stack.raw_set(-3);
    }
}

fn push_field(stack: Stack, name: &str, push: impl FnOnce(Stack)) {
    stack.push_table(0, 1);
    push(stack);
    stack.set_field(name);
}

/// Pushes the table of an error, whose text has its prefix.
pub fn push_error(stack: Stack, text: &[u8]) {
    stack.push_table(0, 2);
    stack.push_text(text);
    stack.set_field("err");
    stack.push_boolean(true);
    stack.set_field("ignore_error_stats_update");
}

/// The text of an error that a script makes: "-CODE message", or a message, which gets the prefix ERR.
pub fn error_text(given: &[u8]) -> Vec<u8> {
    let Some(coded) = given.strip_prefix(b"-") else {
        return [b"ERR ", trimmed(given)].concat();
    };
    match memchr::memchr(b' ', coded) {
        Some(blank) => [&coded[..=blank], trimmed(&coded[blank + 1..])].concat(),
        None => [b"ERR ", trimmed(coded)].concat(),
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = text.iter().position(|byte| !is_end(byte));
    let end = text.iter().rposition(|byte| !is_end(byte));
    match (start, end) {
        (Some(start), Some(end)) => &text[start..=end],
        _ => &[],
    }
}

/// Writes the value on the top as the reply of a script, and takes it from there.
///
/// `script` is the protocol that the script chose, and decides about booleans.
pub fn write_value(stack: Stack, out: &mut Vec<u8>, client: Protocol, script: Protocol) {
    if !stack.has_room(ROOM) || out.len() > REPLY_BYTES_MAX {
        Reply::new(out, client).error("ERR reached lua stack limit");
        stack.pop(1);
        return;
    }
    let mut reply = Reply::new(out, client);
    match stack.kind(-1) {
        Kind::Text => reply.bulk(stack.text(-1).unwrap_or_default()),
        Kind::Number => reply.int(integer_of(stack.number(-1))),
        Kind::Boolean if script == Protocol::Resp3 => reply.boolean(stack.boolean(-1)),
        Kind::Boolean if stack.boolean(-1) => reply.int(1),
        Kind::Table => write_table(stack, out, client, script),
        _ => reply.null(),
    }
    stack.pop(1);
}

/// A number without its decimals; the lowest integer stands for what has no other.
fn integer_of(number: f64) -> i64 {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&number) {
        number as i64
    } else {
        i64::MIN
    }
}

/// Bytes with blanks in the place of line ends.
fn on_one_line(text: &[u8]) -> Vec<u8> {
    let blank = |byte: &u8| match byte {
        b'\r' | b'\n' => b' ',
        byte => *byte,
    };
    text.iter().map(blank).collect()
}

/// A field of the table on the top if it is of this kind; it is pushed then.
fn has_field(stack: Stack, name: &str, kind: Kind) -> bool {
    stack.raw_field(-1, name);
    let has = stack.kind(-1) == kind;
    if !has {
        stack.pop(1);
    }
    has
}

fn write_table(stack: Stack, out: &mut Vec<u8>, client: Protocol, script: Protocol) {
    let mut reply = Reply::new(out, client);
    if has_field(stack, "err", Kind::Text) {
        reply.error_bytes(stack.text(-1).unwrap_or_default());
        stack.pop(1);
    } else if has_field(stack, "ok", Kind::Text) {
        // As a string of C ends.
        let text = stack.text(-1).unwrap_or_default();
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        let line = on_one_line(&text[..end]);
        reply.simple_bytes(&line);
        stack.pop(1);
    } else if has_field(stack, "double", Kind::Number) {
        reply.double(stack.number(-1));
        stack.pop(1);
    } else if has_field(stack, "big_number", Kind::Text) {
        let line = on_one_line(stack.text(-1).unwrap_or_default());
        reply.big_number_bytes(&line);
        stack.pop(1);
    } else if write_verbatim(stack, &mut reply) {
    } else if has_field(stack, "map", Kind::Table) {
        write_pairs(stack, out, client, script, true);
        stack.pop(1);
    } else if has_field(stack, "set", Kind::Table) {
        write_pairs(stack, out, client, script, false);
        stack.pop(1);
    } else {
        write_array(stack, out, client, script);
    }
}

fn write_verbatim(stack: Stack, reply: &mut Reply<'_>) -> bool {
    if !has_field(stack, "verbatim_string", Kind::Table) {
        return false;
    }
    stack.raw_field(-1, "format");
    stack.raw_field(-2, "string");
    let fits = stack.kind(-2) == Kind::Text && stack.kind(-1) == Kind::Text;
    if fits {
        let mut format = *b"   ";
        let given = stack.text(-2).unwrap_or_default();
        let length = given.len().min(3);
        format[..length].copy_from_slice(&given[..length]);
        reply.verbatim(format, stack.text(-1).unwrap_or_default());
    }
    stack.pop(3);
    fits
}

/// Puts the header of a reply of known length before what was written behind `start`.
fn put_header(out: &mut Vec<u8>, start: usize, write: impl FnOnce(&mut Vec<u8>)) {
    let end = out.len();
    write(out);
    let header = out.len() - end;
    out[start..].rotate_right(header);
}

fn write_array(stack: Stack, out: &mut Vec<u8>, client: Protocol, script: Protocol) {
    let start = out.len();
    let mut length = 0;
    loop {
        stack.raw_get_at(-1, length + 1);
        if stack.kind(-1) == Kind::Nil {
            stack.pop(1);
            break;
        }
        write_value(stack, out, client, script);
        length += 1;
    }
    put_header(out, start, |out| {
        Reply::new(out, client).array(length as usize);
    });
}

/// Writes the keys of the table on the top, with their values if it is a map.
fn write_pairs(stack: Stack, out: &mut Vec<u8>, client: Protocol, script: Protocol, is_map: bool) {
    let start = out.len();
    let mut length = 0;
    stack.push_nil();
    while stack.next(-2) {
        stack.push_copy(-2);
        write_value(stack, out, client, script);
        if is_map {
            write_value(stack, out, client, script);
        } else {
            stack.pop(1);
        }
        length += 1;
    }
    put_header(out, start, |out| {
        let mut reply = Reply::new(out, client);
        if is_map {
            reply.map(length);
        } else {
            reply.set(length);
        }
    });
}
