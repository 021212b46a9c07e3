//! Traces of requests, in the formats in which they are published.

use std::collections::HashSet;

use super::capture;

/// Longest line of a text trace.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Most blocks that one line of an ARC trace may name.
const BLOCKS_MAX: u64 = 1 << 20;
/// Reads of keys whose size is not known yet.
const PENDING_MAX: usize = 1 << 20;

/// How a trace is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A key a line; after a space or comma, its bytes.
    Keys,
    /// First block, number of blocks, and two fields more (Megiddo and Modha 2003).
    Arc,
    /// A block number a line; lines of `*` are separators (Jiang and Zhang 2002).
    Lirs,
    /// `timestamp,key,key size,value size,client,operation,ttl` (Yang, Yue, Rashmi 2020).
    Twitter,
    /// What a node wrote: see [`capture`].
    Capture,
}

impl Format {
    pub const NAMES: [(&str, Format); 5] = [
        ("keys", Format::Keys),
        ("arc", Format::Arc),
        ("lirs", Format::Lirs),
        ("twitter", Format::Twitter),
        ("capture", Format::Capture),
    ];

    /// The format that a trace with this beginning most probably has.
    pub fn detect(beginning: &[u8]) -> Format {
        if beginning.starts_with(&capture::MAGIC) {
            return Format::Capture;
        }
        let line = beginning.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
        let numbers = |fields: Vec<&[u8]>| fields.iter().all(|field| number(field).is_some());
        if line.split(|byte| *byte == b',').count() == 7 {
            Format::Twitter
        } else if fields(line).count() == 4 && numbers(fields(line).collect()) {
            Format::Arc
        } else {
            Format::Keys
        }
    }
}

/// What is wrong with a trace, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceError {
    /// From 1 on; of a capture, the record.
    pub line: u64,
    pub problem: String,
}

impl std::fmt::Display for TraceError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for TraceError {}

/// One step of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    pub hash: u64,
    pub cost: u64,
    /// Whether it is a read, whose hit or miss counts; otherwise a write.
    pub read: bool,
}

/// Reads a trace that arrives in pieces.
#[derive(Debug)]
pub struct Reader {
    format: Format,
    /// Bytes of an object whose size the trace does not give.
    object_bytes: u64,
    /// Bytes that every object takes beside its own.
    overhead: u64,
    rest: Vec<u8>,
    line: u64,
    header: Option<capture::Header>,
    pending: HashSet<u64>,
}

impl Reader {
    pub fn new(format: Format, object_bytes: u64, overhead: u64) -> Self {
        Self {
            format,
            object_bytes,
            overhead,
            rest: Vec::new(),
            line: 0,
            header: None,
            pending: HashSet::new(),
        }
    }

    /// One key in `2^shift` is in the trace. Known once its header was read.
    pub fn sample_shift(&self) -> u32 {
        self.header.map_or(0, |header| u32::from(header.shift))
    }

    /// Takes the next piece and appends its events.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TraceError> {
        self.rest.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.rest);
        let mut used = 0;
        loop {
            let taken = if self.format == Format::Capture {
                self.record(&buffer[used..], events)?
            } else {
                self.next_line(&buffer[used..], events)?
            };
            if taken == 0 {
                break;
            }
            used += taken;
        }
        self.rest.extend_from_slice(&buffer[used..]);
        Ok(())
    }

    /// Takes what is left at the end of the trace.
    pub fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), TraceError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        if self.format == Format::Capture {
            self.line += 1;
            return Err(self.error("the capture ends in the middle of a record".into()));
        }
        self.feed(b"\n", events)
    }

    fn next_line(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<usize, TraceError> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            if bytes.len() > LINE_BYTES_MAX {
                self.line += 1;
                return Err(self.error(format!("longer than {LINE_BYTES_MAX} bytes")));
            }
            return Ok(0);
        };
        self.line += 1;
        let line = bytes[..end].trim_ascii();
        if !line.is_empty() {
            match self.format {
                Format::Keys => self.key_line(line, events)?,
                Format::Arc => self.arc_line(line, events)?,
                Format::Lirs => self.lirs_line(line, events)?,
                Format::Twitter => self.twitter_line(line, events)?,
                Format::Capture => {}
            }
        }
        Ok(end + 1)
    }

    fn key_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), TraceError> {
        let mut fields = fields(line);
        let key = fields.next().unwrap_or(&[]);
        let bytes = match fields.next() {
            None => self.object_bytes,
            Some(field) => number(field)
                .ok_or_else(|| self.expected("a size in bytes after the key", field))?,
        };
        events.push(self.event(hash_bytes(key), bytes, true));
        Ok(())
    }

    fn arc_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), TraceError> {
        let mut fields = fields(line);
        let mut field = |what| {
            let field = fields.next().unwrap_or(&[]);
            number(field).ok_or_else(|| self.expected(what, field))
        };
        let first = field("the number of the first block")?;
        let count = field("the number of blocks after the first block")?;
        if count > BLOCKS_MAX {
            return Err(self.error(format!(
                "{count} blocks in one request; at most {BLOCKS_MAX} are allowed"
            )));
        }
        let bytes = self.object_bytes;
        events.extend(
            (0..count).map(|n| self.event(hash_number(first.wrapping_add(n)), bytes, true)),
        );
        Ok(())
    }

    fn lirs_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), TraceError> {
        if line == b"*" {
            return Ok(());
        }
        let block = number(line).ok_or_else(|| self.expected("a block number or *", line))?;
        events.push(self.event(hash_number(block), self.object_bytes, true));
        Ok(())
    }

    fn twitter_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), TraceError> {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b',').collect();
        // A key may hold commas; the fields after it may not.
        let Some(after) = fields.len().checked_sub(5).filter(|after| *after >= 2) else {
            return Err(self.expected(
                "timestamp,key,key size,value size,client,operation,ttl",
                line,
            ));
        };
        let size =
            |at: usize, what| number(fields[at]).ok_or_else(|| self.expected(what, fields[at]));
        let key_bytes = size(after, "the size of the key in the third field")?;
        let value_bytes = size(after + 1, "the size of the value in the fourth field")?;
        let start = fields[0].len() + 1;
        let length: usize = fields[1..after].iter().map(|field| field.len() + 1).sum();
        let hash = hash_bytes(&line[start..start + length - 1]);
        let bytes = key_bytes.saturating_add(value_bytes);
        match fields[after + 3] {
            b"get" | b"gets" if value_bytes == 0 => self.read_missing(hash),
            b"get" | b"gets" => events.push(self.event(hash, bytes, true)),
            b"delete" => {}
            _ => {
                let read = self.pending.remove(&hash);
                events.push(self.event(hash, bytes, read));
            }
        }
        Ok(())
    }

    fn record(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<usize, TraceError> {
        if self.header.is_none() {
            let header = capture::Header::read(bytes).map_err(|problem| self.error(problem))?;
            self.header = header;
            return Ok(header.map_or(0, |_| capture::HEADER_BYTES));
        }
        self.line += 1;
        let read = capture::Record::read(bytes).map_err(|problem| self.error(problem))?;
        let Some((record, taken)) = read else {
            self.line -= 1;
            return Ok(0);
        };
        match record.kind {
            capture::Kind::Read if record.bytes == 0 => self.read_missing(record.hash),
            capture::Kind::Read => events.push(self.event(record.hash, record.bytes, true)),
            capture::Kind::Write => {
                let read = self.pending.remove(&record.hash);
                events.push(self.event(record.hash, record.bytes, read));
            }
        }
        Ok(taken)
    }

    /// A read of a key that was not there counts when its value is written; what is never written nobody can keep.
    fn read_missing(&mut self, hash: u64) {
        if self.pending.len() >= PENDING_MAX {
            self.pending.clear();
        }
        self.pending.insert(hash);
    }

    fn event(&self, hash: u64, bytes: u64, read: bool) -> Event {
        Event {
            hash,
            cost: bytes.saturating_add(self.overhead).max(1),
            read,
        }
    }

    fn expected(&self, what: &str, found: &[u8]) -> TraceError {
        let shown = String::from_utf8_lossy(&found[..found.len().min(60)]);
        self.error(format!("expected {what}, found {shown:?}"))
    }

    fn error(&self, problem: String) -> TraceError {
        TraceError {
            line: self.line.max(1),
            problem,
        }
    }
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace() || *byte == b',')
        .filter(|field| !field.is_empty())
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// A hash of a block's number (the finalizer of splitmix64).
pub(super) fn hash_number(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

fn hash_bytes(key: &[u8]) -> u64 {
    key.chunks(8).fold(key.len() as u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash_number(hash ^ u64::from_le_bytes(word))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(format: Format, trace: &[u8]) -> Result<Vec<Event>, TraceError> {
        let mut reader = Reader::new(format, 100, 0);
        let mut events = Vec::new();
        reader.feed(trace, &mut events)?;
        reader.finish(&mut events)?;
        Ok(events)
    }

    fn costs(format: Format, trace: &[u8]) -> Vec<u64> {
        let events = read(format, trace).unwrap();
        events.iter().map(|event| event.cost).collect()
    }

    #[test]
    fn each_format_is_read() {
        assert_eq!(costs(Format::Keys, b"a\nb 7\r\nc,8\n\na"), [100, 7, 8, 100]);
        assert_eq!(costs(Format::Arc, b"10 3 0 1\n11 1 0 2\n"), [100; 4]);
        assert_eq!(costs(Format::Lirs, b"5\n*\n6\n5\n"), [100; 3]);
        let twitter = b"0,k,1,9,2,get,0\n1,k,y,3,10,2,set,60\n2,m,1,0,2,get,0\n3,m,1,5,2,set,0\n3,m,1,5,2,delete,0\n";
        let events = read(Format::Twitter, twitter).unwrap();
        let seen: Vec<_> = events
            .iter()
            .map(|event| (event.cost, event.read))
            .collect();
        assert_eq!(seen, [(10, true), (13, false), (6, true)]);
        let blocks = read(Format::Arc, b"10 3 0 1\n11 1 0 2\n").unwrap();
        assert_eq!(blocks[1], blocks[3]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let cases: [(Format, &[u8], &str); 5] = [
            (
                Format::Keys,
                b"a 1\nb x\n",
                "line 2: expected a size in bytes after the key, found \"x\"",
            ),
            (
                Format::Arc,
                b"1 2 3 4\nx 2 3 4\n",
                "line 2: expected the number of the first block, found \"x\"",
            ),
            (
                Format::Arc,
                b"1 99999999 0 0\n",
                "line 1: 99999999 blocks in one request; at most 1048576 are allowed",
            ),
            (
                Format::Lirs,
                b"1\n\n*\nz\n",
                "line 4: expected a block number or *, found \"z\"",
            ),
            (
                Format::Twitter,
                b"1,2,3\n",
                "line 1: expected timestamp,key,key size,value size,client,operation,ttl, found \"1,2,3\"",
            ),
        ];
        for (format, trace, message) in cases {
            assert_eq!(read(format, trace).unwrap_err().to_string(), message);
        }
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert!(read(Format::Keys, &long).is_err());
    }

    #[test]
    fn formats_are_told_from_their_first_line() {
        assert_eq!(Format::detect(b"0,k,1,9,2,get,0\n"), Format::Twitter);
        assert_eq!(Format::detect(b"10 3 0 1\n"), Format::Arc);
        assert_eq!(Format::detect(b"10\n*\n"), Format::Keys);
        assert_eq!(
            Format::detect(&capture::Header { shift: 3 }.write()),
            Format::Capture
        );
        assert_eq!(Format::detect(b""), Format::Keys);
    }

    proptest! {
        #[test]
        fn pieces_give_the_same_events(cuts in prop::collection::vec(0..80usize, 0..6)) {
            let trace = b"0,k,1,9,2,get,0\n1,k,1,10,2,set,60\n2,m,1,0,2,get,0\n3,m,1,5,2,set,0\n4,k,1,9,2,get,0";
            let whole = read(Format::Twitter, trace).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(trace.len())).collect();
            cuts.extend([0, trace.len()]);
            cuts.sort_unstable();
            let mut reader = Reader::new(Format::Twitter, 100, 0);
            let mut events = Vec::new();
            for cut in cuts.windows(2) {
                reader.feed(&trace[cut[0]..cut[1]], &mut events).unwrap();
            }
            reader.finish(&mut events).unwrap();
            prop_assert_eq!(events, whole);
        }

        #[test]
        fn garbage_is_an_error_at_worst(bytes in prop::collection::vec(any::<u8>(), 0..300), format in 0..5usize) {
            let _ = read(Format::NAMES[format].1, &bytes);
            let _ = Format::detect(&bytes);
        }
    }
}
