//! The request parser: bytes in, ranges of arguments out.
//!
//! It is given a slice and the place where the next request begins in it. Nothing is copied (inline requests
//! excepted, whose quotes must come off) and nothing is allocated but what [`Requests`] keeps between batches.
//! "More bytes, please" is a value. A request that has come only in part is parsed again from its beginning when
//! it is short; of a long one the parser remembers how far it was.

use std::ops::Range;

use super::args::{Args, Span};
use super::inline;
use super::integer::parse_i64;

/// Longest inline request, and longest line that holds a length.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// A partial request at least this long is not parsed again from its beginning.
const RESUME_BYTES_MIN: usize = 1024;

/// What a client may send; other limits hold before it has authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub arguments_max: usize,
    pub bulk_bytes_max: usize,
    pub authenticated: bool,
}

impl Limits {
    /// Redis counts arguments in a C int.
    pub const ARGUMENTS_MAX: usize = i32::MAX as usize;
    pub const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;

    /// For clients that still have to authenticate.
    pub const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;
    pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;
}

impl Limits {
    /// Up to these it does not matter who sends them.
    #[inline]
    fn quick_arguments_max(&self) -> usize {
        self.arguments_max.min(Self::UNAUTHENTICATED_ARGUMENTS_MAX)
    }

    #[inline]
    fn quick_bulk_bytes_max(&self) -> usize {
        self.bulk_bytes_max
            .min(Self::UNAUTHENTICATED_BULK_BYTES_MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            arguments_max: Self::ARGUMENTS_MAX,
            bulk_bytes_max: Self::BULK_BYTES_MAX,
            authenticated: true,
        }
    }
}

/// The client broke the protocol. The text is the whole reply; the connection is closed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("ERR Protocol error: too big inline request")]
    InlineTooLong,
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    #[error("ERR Protocol error: too big mbulk count string")]
    ArgumentCountTooLong,
    #[error("ERR Protocol error: invalid multibulk length")]
    ArgumentCount,
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    ArgumentCountUnauthenticated,
    #[error("ERR Protocol error: too big bulk count string")]
    BulkLengthTooLong,
    #[error("ERR Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    #[error("ERR Protocol error: invalid bulk length")]
    BulkLength,
    #[error("ERR Protocol error: unauthenticated bulk length")]
    BulkLengthUnauthenticated,
}

/// What [`Parser::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// One more request is in the batch.
    Request,
    /// The next request is not complete: at least so many bytes have to be added to the input. While a bulk string
    /// of known length is arriving, this is all that is missing of it.
    Incomplete { wanted: usize },
}

/// The requests of one batch. Kept and cleared by the caller, so that its memory is reused.
#[derive(Default)]
pub struct Requests {
    spans: Vec<Span>,
    unquoted: Vec<u8>,
    heads: Vec<Head>,
}

/// Where a request lies in the input, and its arguments among the spans.
struct Head {
    start: usize,
    end: usize,
    first_span: usize,
    text: Text,
}

/// What the spans of a request refer to.
#[derive(Clone, Copy)]
enum Text {
    Wire,
    /// An inline request whose text begins there in `unquoted`.
    Unquoted(usize),
}

impl Requests {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn clear(&mut self) {
        self.spans.clear();
        self.unquoted.clear();
        self.heads.clear();
    }

    /// Drops all but the first requests.
    pub fn truncate(&mut self, len: usize) {
        let Some(first) = self.heads.get(len) else {
            return;
        };
        self.spans.truncate(first.first_span);
        self.heads.truncate(len);
    }

    pub fn len(&self) -> usize {
        self.heads.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The arguments of a request; `input` is what it was parsed from.
    #[inline]
    pub fn args<'a>(&'a self, index: usize, input: &'a [u8]) -> Args<'a> {
        let head = &self.heads[index];
        let bytes = match head.text {
            Text::Wire => &input[head.start..head.end],
            Text::Unquoted(start) => &self.unquoted[start..],
        };
        let next = self.heads.get(index + 1);
        let end = next.map_or(self.spans.len(), |next| next.first_span);
        Args::new(bytes, &self.spans[head.first_span..end])
    }

    /// Where a request lies in the input.
    pub fn wire(&self, index: usize) -> Range<usize> {
        let Head { start, end, .. } = self.heads[index];
        start..end
    }
}

/// The state of one client's input: nothing but a pointer while no long request is under way.
#[derive(Debug, Default)]
pub struct Parser {
    partial: Option<Box<Partial>>,
}

/// How far a request has been parsed. Positions count from its first byte.
#[derive(Debug, Default)]
struct Partial {
    /// Arguments still to come; `None` until the first line is complete.
    missing: Option<usize>,
    /// Start of the line or bulk string that comes next.
    position: usize,
    /// Length of the bulk string at `position`, if its own line has been read.
    bulk: Option<usize>,
    /// No end of line lies before this.
    searched: usize,
    spans: Vec<Span>,
}

/// A bulk string that has come in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arriving<'a> {
    /// The arguments before it.
    pub before: &'a [Span],
    /// Where it begins, counted from the first byte of its request.
    pub position: usize,
    /// Its whole length.
    pub len: usize,
    /// Arguments behind it.
    pub behind: usize,
}

/// Why a request does not go on.
enum Stop {
    Incomplete { wanted: usize },
    Error(ProtocolError),
}

impl Stop {
    fn parsed(self) -> Result<Parsed, ProtocolError> {
        match self {
            Self::Incomplete { wanted } => Ok(Parsed::Incomplete { wanted }),
            Self::Error(error) => Err(error),
        }
    }
}

impl From<ProtocolError> for Stop {
    fn from(error: ProtocolError) -> Self {
        Self::Error(error)
    }
}

type Step<T> = Result<T, Stop>;

impl Parser {
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the request that begins at `input[*start]`, adds it to the batch and moves `start` behind it. Empty
    /// requests are passed over. When the request is incomplete, the next call must get the same bytes and more, with
    /// `start` at the same byte, wherever that lies then.
    #[inline(always)]
    pub fn next(
        &mut self,
        input: &[u8],
        start: &mut usize,
        limits: &Limits,
        requests: &mut Requests,
    ) -> Result<Parsed, ProtocolError> {
        loop {
            let first_span = requests.spans.len();
            let request = &input[*start..];
            let text = match request.first() {
                Some(b'*') => Text::Wire,
                Some(_) => Text::Unquoted(requests.unquoted.len()),
                None => return Ok(Parsed::Incomplete { wanted: 1 }),
            };
            let step = match text {
                Text::Wire => self.array(request, limits, &mut requests.spans),
                Text::Unquoted(_) => self.inline(request, requests),
            };
            let end = match step {
                Ok(len) => *start + len,
                Err(stop) => {
                    requests.spans.truncate(first_span);
                    return stop.parsed();
                }
            };
            let head = Head {
                start: std::mem::replace(start, end),
                end,
                first_span,
                text,
            };
            if requests.spans.len() > first_span {
                requests.heads.push(head);
                return Ok(Parsed::Request);
            }
        }
    }

    /// The bulk string that is arriving, once its length is known and if it is not short.
    pub fn arriving(&self) -> Option<Arriving<'_>> {
        let partial = self.partial.as_ref()?;
        let len = partial.bulk?;
        Some(Arriving {
            before: &partial.spans,
            position: partial.position,
            len,
            behind: partial.missing?.checked_sub(1)?,
        })
    }

    /// Bytes held for a request under way.
    pub fn memory_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            size_of::<Partial>() + partial.spans.capacity() * size_of::<Span>()
        })
    }

    /// Returns the length of the request.
    #[inline(always)]
    fn array(&mut self, request: &[u8], limits: &Limits, spans: &mut Vec<Span>) -> Step<usize> {
        if self.partial.is_none()
            && let Some(len) = whole_array(request, limits, spans)
        {
            return Ok(len);
        }
        self.careful_array(request, limits, spans)
    }

    #[inline(never)]
    fn careful_array(
        &mut self,
        request: &[u8],
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Step<usize> {
        if self.partial.is_some() {
            return self.resumed_array(request, limits, spans);
        }
        let first_span = spans.len();
        let mut state = Partial::default();
        let step = parse_array(request, limits, &mut state, spans);
        if matches!(step, Err(Stop::Incomplete { .. }))
            && (request.len() >= RESUME_BYTES_MIN
                || state.bulk.is_some_and(|len| len >= RESUME_BYTES_MIN))
        {
            state.spans = spans.split_off(first_span);
            self.partial = Some(Box::new(state));
        }
        step
    }

    #[cold]
    fn resumed_array(
        &mut self,
        request: &[u8],
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Step<usize> {
        let mut state = self.partial.take().unwrap_or_default();
        let mut own = std::mem::take(&mut state.spans);
        let step = parse_array(request, limits, &mut state, &mut own);
        if let Err(Stop::Incomplete { .. }) = step {
            state.spans = own;
            self.partial = Some(state);
        } else {
            spans.append(&mut own);
        }
        step
    }

    fn inline(&mut self, request: &[u8], requests: &mut Requests) -> Step<usize> {
        let searched = self.partial.take().map_or(0, |partial| partial.searched);
        let window = &request[..request.len().min(LINE_BYTES_MAX + 1)];
        let Some(found) = memchr::memchr(b'\n', &window[searched..]) else {
            if window.len() > LINE_BYTES_MAX {
                return Err(ProtocolError::InlineTooLong.into());
            }
            if window.len() >= RESUME_BYTES_MIN {
                self.partial = Some(Box::new(Partial {
                    searched: window.len(),
                    ..Partial::default()
                }));
            }
            return Err(Stop::Incomplete { wanted: 1 });
        };
        let end = searched + found;
        let line = &request[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        inline::split_line(line, &mut requests.unquoted, &mut requests.spans)
            .map_err(|_| ProtocolError::UnbalancedQuotes)?;
        Ok(end + 1)
    }
}

/// Takes a whole request of few and short arguments, as nearly all are. Gives its length; `None` for anything else, which
/// is looked at with more care.
#[inline(always)]
fn whole_array(request: &[u8], limits: &Limits, spans: &mut Vec<Span>) -> Option<usize> {
    let (count, mut position) = quick_length(request, 0, b'*')?;
    if count > limits.quick_arguments_max() {
        return None;
    }
    let (first_span, bytes_max) = (spans.len(), limits.quick_bulk_bytes_max());
    for _ in 0..count {
        let span = quick_length(request, position, b'$').filter(|(len, start)| {
            // No overflow: the length has three digits, and the position lies in the input.
            *len <= bytes_max && start + len + 2 <= request.len()
        });
        let Some((len, start)) = span else {
            spans.truncate(first_span);
            return None;
        };
        spans.push(Span { start, len });
        position = start + len + 2;
    }
    Some(position)
}

/// Goes on with an array of bulk strings as far as the bytes reach. Returns the length of the request.
#[inline]
fn parse_array(
    request: &[u8],
    limits: &Limits,
    state: &mut Partial,
    spans: &mut Vec<Span>,
) -> Step<usize> {
    let mut missing = match state.missing {
        Some(missing) => missing,
        None => argument_count(request, limits, state)?,
    };
    let mut position = state.position;
    let mut bulk = state.bulk.take();
    while missing > 0 {
        let len = match bulk.take() {
            Some(len) => len,
            None => match quick_length(request, position, b'$') {
                Some((len, start)) if len <= limits.quick_bulk_bytes_max() => {
                    position = start;
                    len
                }
                _ => {
                    (state.missing, state.position) = (Some(missing), position);
                    let len = bulk_length(request, limits, state)?;
                    position = state.position;
                    len
                }
            },
        };
        // No overflow: a bulk length is at most `bulk_bytes_max`, and the position lies in the input.
        let end = position + len + 2;
        if end > request.len() {
            (state.missing, state.position, state.bulk) = (Some(missing), position, Some(len));
            let wanted = end - request.len();
            return Err(Stop::Incomplete { wanted });
        }
        spans.push(Span {
            start: position,
            len,
        });
        position = end;
        missing -= 1;
    }
    Ok(position)
}

/// Reads the first line; `state.position` is behind it then.
#[inline]
fn argument_count(request: &[u8], limits: &Limits, state: &mut Partial) -> Step<usize> {
    match quick_length(request, 0, b'*') {
        Some((count, end)) if count <= limits.quick_arguments_max() => {
            state.position = end;
            Ok(count)
        }
        _ => careful_argument_count(request, limits, state),
    }
}

#[cold]
fn careful_argument_count(request: &[u8], limits: &Limits, state: &mut Partial) -> Step<usize> {
    let line = take_line(request, state, ProtocolError::ArgumentCountTooLong)?;
    let count = parse_i64(&line[1..]).ok_or(ProtocolError::ArgumentCount)?;
    let count = usize::try_from(count.max(0)).map_err(|_| ProtocolError::ArgumentCount)?;
    if count > limits.arguments_max {
        return Err(ProtocolError::ArgumentCount.into());
    }
    if count > Limits::UNAUTHENTICATED_ARGUMENTS_MAX && !limits.authenticated {
        return Err(ProtocolError::ArgumentCountUnauthenticated.into());
    }
    Ok(count)
}

#[cold]
fn bulk_length(request: &[u8], limits: &Limits, state: &mut Partial) -> Step<usize> {
    let line = take_line(request, state, ProtocolError::BulkLengthTooLong)?;
    let Some((b'$', digits)) = line.split_first() else {
        // An empty line ends where its carriage return is found.
        let found = line.first().copied().unwrap_or(b'\r');
        return Err(ProtocolError::ExpectedBulk(found).into());
    };
    let len = parse_i64(digits).ok_or(ProtocolError::BulkLength)?;
    let len = usize::try_from(len).map_err(|_| ProtocolError::BulkLength)?;
    if len > limits.bulk_bytes_max {
        return Err(ProtocolError::BulkLength.into());
    }
    if len > Limits::UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
        return Err(ProtocolError::BulkLengthUnauthenticated.into());
    }
    Ok(len)
}

/// The number in a complete line of up to three digits, and where the line ends; `None` for anything else, which is
/// then looked at with more care. As in Redis, what stands in the place of the line feed does not matter.
#[inline]
fn quick_length(request: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    const END: usize = b'\r'.wrapping_sub(b'0') as usize;
    // Six bytes are always there in a complete request: the line end of the argument follows its shortest line.
    let line: &[u8; 6] = request.get(at..)?.first_chunk()?;
    if line[0] != kind {
        return None;
    }
    let [_, a, b, c, d, _] = line.map(|byte| usize::from(byte.wrapping_sub(b'0')));
    if b == END {
        return (a <= 9).then_some((a, at + 4));
    }
    if !(1..=9).contains(&a) || b > 9 {
        return None;
    }
    if c == END {
        return Some((a * 10 + b, at + 5));
    }
    (c <= 9 && d == END).then_some((a * 100 + b * 10 + c, at + 6))
}

/// The line at `state.position` without its end, once it is complete; the position moves behind it.
#[cold]
fn take_line<'a>(
    request: &'a [u8],
    state: &mut Partial,
    too_long: ProtocolError,
) -> Step<&'a [u8]> {
    let start = state.position;
    let window_end = request.len().min(start + LINE_BYTES_MAX + 1);
    let from = state.searched.clamp(start, window_end);
    let Some(found) = memchr::memchr(b'\r', &request[from..window_end]) else {
        if window_end - start > LINE_BYTES_MAX {
            return Err(too_long.into());
        }
        state.searched = window_end;
        return Err(Stop::Incomplete { wanted: 1 });
    };
    let end = from + found;
    if end + 2 > request.len() {
        state.searched = end;
        return Err(Stop::Incomplete { wanted: 1 });
    }
    state.position = end + 2;
    Ok(&request[start..end])
}

#[cfg(test)]
mod tests;
