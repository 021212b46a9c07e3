//! The reply writer: straight into the output, in the words of the client's protocol version.

use std::fmt;
use std::io::Write;

use super::double::write_double;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

impl Protocol {
    /// The number that HELLO knows it by.
    pub fn version(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Sends long bulk strings from where they lie, without a copy in the output.
pub trait Lend {
    /// True when `bytes` will be sent at `position` of the output: then they are not appended to it.
    fn lend(&mut self, position: usize, bytes: &[u8]) -> bool;

    /// Forgets what was lent, or kept, for places from `position` on.
    fn take_back(&mut self, position: usize);

    /// Keeps the rest of a reply that goes on at `position`, to make it later; given back where that cannot be.
    fn keep(&mut self, _position: usize, rest: Box<dyn Rest>) -> Option<Box<dyn Rest>> {
        Some(rest)
    }
}

/// The rest of a reply that is too long to be made at once. It stands on nothing that may change.
pub trait Rest: fmt::Debug {
    /// Does a bounded part of what is left, and appends what came of it, which may be nothing yet.
    fn go_on(&mut self, out: &mut Vec<u8>) -> Progress;
}

/// Makes all of a rest, where it cannot be made in steps.
pub fn finish_at_once(mut rest: Box<dyn Rest>, out: &mut Vec<u8>) {
    while rest.go_on(out) == Progress::More {}
}

/// How far the rest of a reply has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// More is to be made.
    More,
    /// The reply is complete.
    Done,
}

/// Bulk strings from here on are worth more than a copy.
const LEND_BYTES_MIN: usize = 16 * 1024;

/// Bytes of the longest reply that is a double.
const DOUBLE_BYTES_MAX: usize = 40;

/// Appends replies to an output buffer.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
    lend: Option<&'a mut dyn Lend>,
}

impl<'a> Reply<'a> {
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self {
            out,
            protocol,
            lend: None,
        }
    }

    /// A writer that need not copy what `lend` takes.
    pub fn lending(out: &'a mut Vec<u8>, protocol: Protocol, lend: &'a mut dyn Lend) -> Self {
        Self {
            out,
            protocol,
            lend: Some(lend),
        }
    }

    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Bytes of the output so far, to come back to with [`Reply::rewind`].
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// Takes back everything written since `position`.
    pub fn rewind(&mut self, position: usize) {
        self.out.truncate(position);
        if let Some(lend) = &mut self.lend {
            lend.take_back(position);
        }
    }

    /// Ends the reply by what is made in steps; at once where nobody makes it later.
    pub fn end_in_steps(&mut self, rest: Box<dyn Rest>) {
        let position = self.out.len();
        let rest = match &mut self.lend {
            Some(lend) => match lend.keep(position, rest) {
                Some(rest) => rest,
                None => return,
            },
            None => rest,
        };
        finish_at_once(rest, self.out);
    }

    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// A simple string of any bytes but line ends.
    pub fn simple_bytes(&mut self, text: &[u8]) {
        self.line(b'+', text);
    }

    /// `error` is the whole text with its prefix; line ends in it become blanks.
    pub fn error(&mut self, error: &(impl fmt::Display + ?Sized)) {
        self.out.push(b'-');
        let start = self.out.len();
        // Writing to a vector does not fail.
        let written = write!(self.out, "{error}");
        debug_assert!(written.is_ok());
        self.end_error(start);
    }

    /// An error that quotes bytes of the client.
    pub fn error_bytes(&mut self, error: &[u8]) {
        self.out.push(b'-');
        let start = self.out.len();
        self.out.extend_from_slice(error);
        self.end_error(start);
    }

    fn end_error(&mut self, start: usize) {
        for byte in &mut self.out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.end();
    }

    #[inline]
    pub fn int(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// A count; what does not fit an i64 does not exist.
    #[inline]
    pub fn count(&mut self, value: u64) {
        self.header(b':', value);
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.blob(b'$', bytes);
    }

    /// An integer as a bulk string.
    #[inline]
    pub fn bulk_int(&mut self, value: i64) {
        let mut buffer = itoa::Buffer::new();
        self.blob(b'$', buffer.format(value).as_bytes());
    }

    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The null that stands for an array: what EXEC says after a WATCH that was broken.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.protocol, value) {
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
        });
    }

    pub fn double(&mut self, value: f64) {
        self.out.reserve(DOUBLE_BYTES_MAX);
        match self.protocol {
            Protocol::Resp2 => {
                let start = self.out.len();
                write_double(self.out, value);
                let text_end = self.out.len();
                self.header(b'$', text_end - start);
                // The header comes first.
                let header_len = self.out.len() - text_end;
                self.out[start..].rotate_right(header_len);
            }
            Protocol::Resp3 => {
                self.out.push(b',');
                write_double(self.out, value);
            }
        }
        self.end();
    }

    /// An integer of any size, as decimal digits.
    pub fn big_number(&mut self, digits: &str) {
        self.big_number_bytes(digits.as_bytes());
    }

    /// What somebody else calls an integer of any size; it has no line ends.
    pub fn big_number_bytes(&mut self, digits: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits),
            Protocol::Resp3 => self.line(b'(', digits),
        }
    }

    /// Text for people; `format` is "txt" or "mkd".
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() + 4);
                self.out.extend_from_slice(&format);
                self.out.push(b':');
                self.out.extend_from_slice(text);
                self.end();
            }
        }
    }

    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// `len` pairs follow, each a key and a value.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len * 2),
            Protocol::Resp3 => self.header(b'%', len),
        }
    }

    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len),
            Protocol::Resp3 => self.header(b'~', len),
        }
    }

    /// A message that answers no request.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len),
            Protocol::Resp3 => self.header(b'>', len),
        }
    }

    /// Bytes that are a reply already, or a part of one.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    fn blob(&mut self, kind: u8, bytes: &[u8]) {
        // Most have a length of one or two digits.
        let len = match u8::try_from(bytes.len()) {
            Ok(len @ 0..=99) => len,
            _ => return self.long_blob(kind, bytes),
        };
        let digits = [b'0' + len / 10, b'0' + len % 10];
        let header = [kind, digits[0], digits[1], b'\r', b'\n'];
        self.out.reserve(bytes.len() + header.len() + 2);
        match len {
            0..=9 => self.out.extend_from_slice(&[kind, digits[1], b'\r', b'\n']),
            _ => self.out.extend_from_slice(&header),
        }
        self.out.extend_from_slice(bytes);
        self.end();
    }

    #[inline(never)]
    fn long_blob(&mut self, kind: u8, bytes: &[u8]) {
        if bytes.len() > LEND_BYTES_MIN && self.lend.is_some() {
            return self.lent_blob(kind, bytes);
        }
        // The longest header, the bytes, and their line end at once.
        self.out.reserve(bytes.len() + 24);
        self.header(kind, bytes.len());
        self.out.extend_from_slice(bytes);
        self.end();
    }

    #[cold]
    fn lent_blob(&mut self, kind: u8, bytes: &[u8]) {
        self.header(kind, bytes.len());
        let position = self.out.len();
        let is_lent = self
            .lend
            .as_mut()
            .is_some_and(|lend| lend.lend(position, bytes));
        if !is_lent {
            self.out.extend_from_slice(bytes);
        }
        self.end();
    }

    /// A line that holds a number.
    #[inline(always)]
    fn header<N: itoa::Integer + Copy>(&mut self, kind: u8, value: N)
    where
        u8: TryFrom<N>,
    {
        // Most are small: all of the line at once.
        match u8::try_from(value) {
            Ok(digit @ 0..=9) => self
                .out
                .extend_from_slice(&[kind, b'0' + digit, b'\r', b'\n']),
            Ok(two @ 10..=99) => {
                let digits = [b'0' + two / 10, b'0' + two % 10];
                self.out
                    .extend_from_slice(&[kind, digits[0], digits[1], b'\r', b'\n']);
            }
            _ => self.long_header(kind, value),
        }
    }

    #[inline(never)]
    fn long_header<N: itoa::Integer>(&mut self, kind: u8, value: N) {
        let mut buffer = itoa::Buffer::new();
        self.line(kind, buffer.format(value).as_bytes());
    }

    #[inline]
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(kind);
        self.out.extend_from_slice(text);
        self.end();
    }

    #[inline]
    fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(write: impl Fn(&mut Reply<'_>)) -> (String, String) {
        let text = |protocol| {
            let mut out = Vec::new();
            write(&mut Reply::new(&mut out, protocol));
            String::from_utf8(out).unwrap()
        };
        (text(Protocol::Resp2), text(Protocol::Resp3))
    }

    fn same(text: &str) -> (String, String) {
        (text.into(), text.into())
    }

    fn apart(resp2: &str, resp3: &str) -> (String, String) {
        (resp2.into(), resp3.into())
    }

    #[test]
    fn what_both_protocols_share() {
        assert_eq!(both(|reply| reply.ok()), same("+OK\r\n"));
        assert_eq!(both(|reply| reply.simple("QUEUED")), same("+QUEUED\r\n"));
        assert_eq!(
            both(|reply| reply.int(i64::MIN)),
            same(":-9223372036854775808\r\n")
        );
        assert_eq!(
            both(|reply| reply.bulk(b"a\r\nb")),
            same("$4\r\na\r\nb\r\n")
        );
        assert_eq!(both(|reply| reply.bulk(b"")), same("$0\r\n\r\n"));
        assert_eq!(both(|reply| reply.bulk_int(-12)), same("$3\r\n-12\r\n"));
        assert_eq!(both(|reply| reply.array(0)), same("*0\r\n"));
        assert_eq!(
            both(|reply| reply.error("ERR a\r\nb")),
            same("-ERR a  b\r\n")
        );
    }

    #[test]
    fn what_resp3_says_otherwise() {
        assert_eq!(both(|reply| reply.null()), apart("$-1\r\n", "_\r\n"));
        assert_eq!(both(|reply| reply.null_array()), apart("*-1\r\n", "_\r\n"));
        assert_eq!(both(|reply| reply.boolean(true)), apart(":1\r\n", "#t\r\n"));
        assert_eq!(
            both(|reply| reply.boolean(false)),
            apart(":0\r\n", "#f\r\n")
        );
        assert_eq!(
            both(|reply| reply.double(2.5)),
            apart("$3\r\n2.5\r\n", ",2.5\r\n")
        );
        assert_eq!(both(|reply| reply.map(2)), apart("*4\r\n", "%2\r\n"));
        assert_eq!(both(|reply| reply.set(2)), apart("*2\r\n", "~2\r\n"));
        assert_eq!(both(|reply| reply.push(3)), apart("*3\r\n", ">3\r\n"));
        assert_eq!(
            both(|reply| reply.big_number("99")),
            apart("$2\r\n99\r\n", "(99\r\n")
        );
        let verbatim = both(|reply| reply.verbatim(*b"txt", b"hi"));
        assert_eq!(verbatim, apart("$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"));
    }

    #[test]
    fn a_reply_can_be_taken_back() {
        let mut out = b"+OK\r\n".to_vec();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        let position = reply.position();
        reply.array(3);
        reply.rewind(position);
        reply.null();
        assert_eq!(out, b"+OK\r\n$-1\r\n");
    }
}
