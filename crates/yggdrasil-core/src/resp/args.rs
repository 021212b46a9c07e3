//! The arguments of one request: ranges into bytes that lie somewhere else.

use std::ops::{Index, Range};

/// Where one argument lies, counted from the start of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub len: usize,
}

/// Arguments as handlers see them; index 0 is the command's name as it was sent.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// `spans` may be any selection of arguments of one request, in any order.
    pub fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// As indexing, with the lifetime of the bytes themselves.
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        &self.bytes[span.start..span.start + span.len]
    }

    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.spans.len()).then(|| self.at(index))
    }

    pub fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + Clone + use<'a> {
        let bytes = self.bytes;
        self.spans
            .iter()
            .map(move |span| &bytes[span.start..span.start + span.len])
    }

    /// The arguments from `first` on.
    pub fn from(&self, first: usize) -> Args<'a> {
        Args {
            bytes: self.bytes,
            spans: &self.spans[first..],
        }
    }

    /// The arguments at some places.
    pub fn slice(&self, places: Range<usize>) -> Args<'a> {
        Args {
            bytes: self.bytes,
            spans: &self.spans[places],
        }
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn spans(&self) -> &'a [Span] {
        self.spans
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.at(index)
    }
}

/// Arguments that own their bytes: queued by MULTI, kept while a session is suspended, or put together for a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArgsBuffer {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl ArgsBuffer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    pub fn push(&mut self, argument: &[u8]) {
        self.spans.push(Span {
            start: self.bytes.len(),
            len: argument.len(),
        });
        self.bytes.extend_from_slice(argument);
    }

    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans)
    }

    /// Bytes held, for accounting.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

impl<'a> From<Args<'a>> for ArgsBuffer {
    fn from(args: Args<'a>) -> Self {
        args.iter().collect()
    }
}

impl<'a> FromIterator<&'a [u8]> for ArgsBuffer {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(arguments: I) -> Self {
        let mut buffer = Self::default();
        for argument in arguments {
            buffer.push(argument);
        }
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_gives_back_what_was_pushed() {
        let buffer: ArgsBuffer = [&b"set"[..], b"", b"value"].into_iter().collect();
        let args = buffer.as_args();
        assert_eq!(args.len(), 3);
        assert_eq!(&args[0], b"set");
        assert_eq!(args.get(1), Some(&b""[..]));
        assert_eq!(args.get(3), None);
        assert_eq!(
            args.from(1).iter().collect::<Vec<_>>(),
            [&b""[..], b"value"]
        );
        assert_eq!(ArgsBuffer::from(args), buffer);
    }
}
