//! Chunks: some records of a shard, compressed, under a name that is their checksum.
//!
//! ```text
//! "YGCHUNK1" | raw_bytes: u32 | items: u32 | zstd frame of raw_bytes bytes
//! item:  number: varint | bytes * 2 + continues: varint | bytes of a record
//! ```
//! Fixed numbers are little-endian, a varint has 7 bits a byte, the lowest first. A record longer than a part goes on
//! in the first item of the next chunk.

use std::io;

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CParameter, InBuffer, OutBuffer, ResetDirective};

use crate::name::ChunkName;
use crate::turns::{TURN_BYTES, Turns};

/// Version of the format, which stands in the first bytes of each chunk.
pub const FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"YGCHUNK1";
const HEAD_BYTES: usize = 16;
/// Bytes before compression from which on a chunk is full.
pub const RAW_BYTES_TARGET: usize = 4 << 20;
/// Longest part of a record.
pub const PART_BYTES: usize = 4 << 20;
/// Bytes of the two numbers before a part at most.
const ITEM_HEAD_MAX: usize = 2 * VARINT_BYTES_MAX;
const VARINT_BYTES_MAX: usize = 10;
/// Most bytes that a chunk may have before compression.
pub const RAW_BYTES_MAX: usize = RAW_BYTES_TARGET + PART_BYTES + ITEM_HEAD_MAX;
/// Most bytes that the object of a chunk may have: what does not shrink grows by less than a hundredth.
pub(crate) const OBJECT_BYTES_MAX: u64 = (HEAD_BYTES + RAW_BYTES_MAX + RAW_BYTES_MAX / 100) as u64;
/// Numbers of changes have 48 bits.
const NUMBER_MAX: u64 = (1 << 48) - 1;

/// A fault of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChunkFault {
    #[error("it is not there")]
    Missing,
    #[error("it has {found} bytes instead of {expected}")]
    Length { expected: u64, found: u64 },
    #[error("its bytes have another checksum than its name")]
    Checksum,
    #[error("it does not begin as a chunk of format {FORMAT}")]
    Magic,
    #[error("its {0} bytes before compression are more than a chunk may have")]
    Raw(u64),
    #[error("it is compressed wrongly")]
    Compression,
    #[error("an item of it makes no sense at byte {0}")]
    Item(usize),
    #[error("it has {found} items instead of {expected}")]
    Items { expected: u32, found: u32 },
    #[error("a record goes on in it that began nowhere, or ends nowhere")]
    Torn,
    #[error("a record of it is none: {0}")]
    Record(yggdrasil_core::keyspace::EffectError),
    #[error("a record of more than {0} bytes goes on in it")]
    RecordTooLong(u64),
}

/// A part of a record, or a whole one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item<'a> {
    /// The number of the change.
    pub number: u64,
    pub bytes: &'a [u8],
    /// True where the record goes on in the next chunk.
    pub continues: bool,
}

/// The bytes of a chunk before compression, and what is in them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Piece {
    body: Vec<u8>,
    items: u32,
    /// Records that begin in it.
    pub records: u64,
    /// Lowest and highest number in it.
    pub low: u64,
    pub high: u64,
}

impl Piece {
    fn add(&mut self, item: &Item<'_>, begins: bool) {
        if self.items == 0 {
            // Twice the memory would be taken by doubling it.
            self.body.reserve_exact(RAW_BYTES_TARGET + TURN_BYTES);
        }
        put_varint(&mut self.body, item.number);
        let len = (item.bytes.len() as u64) << 1 | u64::from(item.continues);
        put_varint(&mut self.body, len);
        self.body.extend_from_slice(item.bytes);
        self.low = if self.items == 0 {
            item.number
        } else {
            self.low.min(item.number)
        };
        self.high = self.high.max(item.number);
        self.items += 1;
        self.records += u64::from(begins);
    }

    /// Bytes before compression.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.body.len() as u64
    }
}

/// Makes the bytes of chunks; its memory is used again.
pub struct Encoder {
    context: zstd::zstd_safe::CCtx<'static>,
    bytes: Vec<u8>,
}

impl Encoder {
    /// An encoder for a level of zstd.
    ///
    /// # Errors
    /// There is no such level.
    pub fn new(level: i32) -> io::Result<Self> {
        let mut context = zstd::zstd_safe::CCtx::create();
        context
            .set_parameter(CParameter::CompressionLevel(level))
            .map_err(of_zstd)?;
        Ok(Self {
            context,
            bytes: Vec::new(),
        })
    }

    /// The bytes of the chunk, and its name.
    ///
    /// # Errors
    /// There is no memory to compress it.
    pub fn encode(&mut self, piece: &Piece) -> io::Result<(ChunkName, &[u8])> {
        let raw = piece.body.len();
        self.bytes.clear();
        self.bytes
            .reserve(HEAD_BYTES + zstd::zstd_safe::compress_bound(raw));
        self.bytes.extend_from_slice(MAGIC);
        self.bytes.extend((raw as u32).to_le_bytes());
        self.bytes.extend(piece.items.to_le_bytes());
        self.context
            .reset(ResetDirective::SessionOnly)
            .map_err(of_zstd)?;
        self.context
            .set_pledged_src_size(Some(raw as u64))
            .map_err(of_zstd)?;
        let mut turns = Turns::begin();
        let mut frame = OutBuffer::around_pos(&mut self.bytes, HEAD_BYTES);
        for part in piece.body.chunks(TURN_BYTES) {
            let mut part = InBuffer::around(part);
            while part.pos() < part.src.len() {
                self.context
                    .compress_stream2(&mut frame, &mut part, ZSTD_EndDirective::ZSTD_e_continue)
                    .map_err(of_zstd)?;
            }
            turns.pause();
        }
        let mut nothing = InBuffer::around(&[]);
        while self
            .context
            .compress_stream2(&mut frame, &mut nothing, ZSTD_EndDirective::ZSTD_e_end)
            .map_err(of_zstd)?
            > 0
        {}
        Ok((ChunkName::of(&self.bytes), &self.bytes))
    }
}

fn of_zstd(code: usize) -> io::Error {
    io::Error::other(zstd::zstd_safe::get_error_name(code))
}

/// Cuts records into chunks.
#[derive(Debug, Default)]
pub struct ChunkWriter {
    piece: Piece,
}

impl ChunkWriter {
    /// Adds a record; each chunk that is full is handed on.
    ///
    /// # Errors
    /// What `full` returned.
    pub fn add<E>(
        &mut self,
        number: u64,
        record: &[u8],
        full: &mut dyn FnMut(Piece) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut parts = record.chunks(PART_BYTES).peekable();
        let mut begins = true;
        while let Some(bytes) = parts.next() {
            let continues = parts.peek().is_some();
            let item = Item {
                number,
                bytes,
                continues,
            };
            self.piece.add(&item, begins);
            begins = false;
            if continues || self.piece.body.len() >= RAW_BYTES_TARGET {
                full(std::mem::take(&mut self.piece))?;
            }
        }
        Ok(())
    }

    /// Hands on what is left.
    ///
    /// # Errors
    /// What `full` returned.
    pub fn finish<E>(self, full: &mut dyn FnMut(Piece) -> Result<(), E>) -> Result<(), E> {
        if self.piece.items == 0 {
            return Ok(());
        }
        full(self.piece)
    }
}

/// A chunk that was checked and unpacked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decoded {
    body: Vec<u8>,
}

impl Decoded {
    /// The items, in the order in which they were written.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let mut rest = &self.body[..];
        std::iter::from_fn(move || {
            let (item, after) = item(rest)?;
            rest = after;
            Some(item)
        })
    }

    /// Bytes before compression.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.body.len() as u64
    }

    /// The memory of the items.
    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
    }
}

/// Checks the structure of a chunk and unpacks it. Its name is not looked at.
///
/// # Errors
/// The bytes are those of no chunk.
pub fn decode(bytes: &[u8]) -> Result<Decoded, ChunkFault> {
    decode_with(bytes, &mut |frame, raw| zstd::bulk::decompress(frame, raw))
}

/// Unpacks a frame of zstd that is to have so many bytes then.
type Unpack<'u> = dyn FnMut(&[u8], usize) -> std::io::Result<Vec<u8>> + 'u;

/// The same by a given way to unpack.
pub(crate) fn decode_with(bytes: &[u8], unpack: &mut Unpack<'_>) -> Result<Decoded, ChunkFault> {
    let (head, frame) = bytes
        .split_first_chunk::<HEAD_BYTES>()
        .ok_or(ChunkFault::Magic)?;
    let [magic @ .., r0, r1, r2, r3, i0, i1, i2, i3] = *head;
    if magic != *MAGIC {
        return Err(ChunkFault::Magic);
    }
    let raw = u32::from_le_bytes([r0, r1, r2, r3]) as usize;
    let expected = u32::from_le_bytes([i0, i1, i2, i3]);
    if raw > RAW_BYTES_MAX {
        return Err(ChunkFault::Raw(raw as u64));
    }
    let body = unpack(frame, raw).map_err(|_| ChunkFault::Compression)?;
    if body.len() != raw {
        return Err(ChunkFault::Compression);
    }
    let (mut rest, mut found) = (&body[..], 0_u32);
    while !rest.is_empty() {
        let (_, after) = item(rest).ok_or(ChunkFault::Item(body.len() - rest.len()))?;
        rest = after;
        found += 1;
    }
    if found != expected {
        return Err(ChunkFault::Items { expected, found });
    }
    Ok(Decoded { body })
}

fn item(bytes: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let (number, rest) = varint(bytes)?;
    let (len, rest) = varint(rest)?;
    let bytes = usize::try_from(len >> 1).ok()?;
    if bytes > PART_BYTES || number > NUMBER_MAX {
        return None;
    }
    let (bytes, rest) = rest.split_at_checked(bytes)?;
    let continues = len & 1 == 1;
    let item = Item {
        number,
        bytes,
        continues,
    };
    Some((item, rest))
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (place, byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * place as u32;
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some((number, &bytes[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(records: &[(u64, Vec<u8>)]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut writer = ChunkWriter::default();
        let mut full = |piece| {
            pieces.push(piece);
            Ok::<(), ()>(())
        };
        for (number, record) in records {
            writer.add(*number, record, &mut full).unwrap();
        }
        writer.finish(&mut full).unwrap();
        pieces
    }

    #[test]
    fn long_records_are_cut_and_short_ones_share_a_chunk() {
        let long = vec![7; 2 * PART_BYTES + 5];
        let records = [(1, vec![1; 10]), (2, long.clone()), (3, vec![3; 10])];
        let pieces = cut(&records);
        let told: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.records, piece.low, piece.high))
            .collect();
        assert_eq!(told, [(2, 1, 2), (0, 2, 2), (1, 2, 3)]);
        let mut joined = Vec::new();
        let mut encoder = Encoder::new(1).unwrap();
        for piece in &pieces {
            let (name, bytes) = encoder.encode(piece).unwrap();
            assert_eq!(name, ChunkName::of(bytes));
            assert!(bytes.len() as u64 <= OBJECT_BYTES_MAX);
            let decoded = decode(bytes).unwrap();
            for item in decoded.items().filter(|item| item.number == 2) {
                joined.extend_from_slice(item.bytes);
            }
        }
        assert_eq!(joined, long);
    }

    #[test]
    fn a_number_beyond_64_bits_is_none() {
        let mut largest = Vec::new();
        put_varint(&mut largest, u64::MAX);
        assert_eq!(varint(&largest), Some((u64::MAX, &[][..])));
        assert_eq!(varint(&[0xff; 9]), None);
        assert_eq!(
            varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
            None
        );
    }

    /// A chunk of the first format, as it was written. Later versions read it, too.
    #[test]
    fn the_first_format_stays_readable() {
        let golden = include_bytes!("../tests/golden/chunk-1");
        let decoded = decode(golden).unwrap();
        let items: Vec<_> = decoded
            .items()
            .map(|item| (item.number, item.bytes, item.continues))
            .collect();
        let expected: [(u64, &[u8], bool); 2] = [
            (300, b"\0\x01\0\0\0k\x01\0\0\0value", false),
            (301, b"\0\x01\0\0\0l\x04", false),
        ];
        assert_eq!(items, expected);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            records in prop::collection::vec((0..=NUMBER_MAX, prop::collection::vec(any::<u8>(), 1..200)), 1..50),
        ) {
            let pieces = cut(&records);
            prop_assert_eq!(pieces.len(), 1);
            let mut encoder = Encoder::new(3).unwrap();
            let (_, bytes) = encoder.encode(&pieces[0]).unwrap();
            let decoded = decode(bytes).unwrap();
            let read: Vec<_> = decoded.items().map(|item| (item.number, item.bytes.to_vec())).collect();
            prop_assert_eq!(read, records);
        }

        #[test]
        fn any_bytes_are_a_chunk_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
            let mut begun = MAGIC.to_vec();
            begun.extend(300_u32.to_le_bytes());
            begun.extend(&bytes);
            let _ = decode(&begun);
        }

        #[test]
        fn any_body_is_items_or_a_fault(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend((body.len() as u32).to_le_bytes());
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(zstd::bulk::compress(&body, 1).unwrap());
            if let Ok(decoded) = decode(&bytes) {
                prop_assert_eq!(decoded.items().count(), 1);
            }
        }
    }
}
