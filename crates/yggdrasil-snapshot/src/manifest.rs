//! Manifests: what a snapshot consists of. A snapshot is there when its manifest is.
//!
//! ```text
//! one line of JSON
//! "blake3 " and the checksum of that line in 64 hexadecimal digits
//! ```

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::chunk::{OBJECT_BYTES_MAX, RAW_BYTES_MAX};
use crate::name::{ChunkName, is_id};

/// Version of the format. Version 1 has no `generation`.
pub const FORMAT: u32 = 2;
/// Most bytes of a manifest: enough for a few million chunks.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 30;
const CHECKSUM: &str = "blake3 ";

/// A fault of a manifest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ManifestFault {
    #[error("it does not end with a line that has its checksum")]
    Torn,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it is of format {0}, and this version reads up to {FORMAT}")]
    Format(u64),
    #[error("it makes no sense: {0}")]
    Json(String),
    #[error("it is that of snapshot {0}")]
    Name(String),
    #[error("it makes no sense: {0}")]
    Sense(&'static str),
}

/// A chunk as a manifest names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkRef {
    pub name: ChunkName,
    /// Bytes of its object.
    pub bytes: u64,
    /// Bytes before compression.
    pub raw: u64,
    /// Records that begin in it.
    pub records: u64,
    /// Lowest and highest number in it.
    pub low: u64,
    pub high: u64,
}

/// The result of one scan of a shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// All changes with lower numbers are in this layer or in those before it. A log goes on from here.
    pub start: u64,
    /// No change with a higher number is in it.
    pub end: u64,
    /// When the scan began, Unix time in milliseconds.
    pub began_ms: u64,
    /// The physical number of each logical database, and the number of the change under which the map is applied,
    /// before the chunks; 0 where nothing had changed before.
    pub map: Vec<u8>,
    pub map_number: u64,
    /// Chunks in the order in which they are applied.
    pub chunks: Vec<ChunkRef>,
}

impl Layer {
    /// Bytes of its objects.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.bytes).sum()
    }

    /// Records in it.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.records).sum()
    }
}

/// The part of a snapshot that is one shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardPart {
    pub shard: u32,
    /// Entries that the shard had.
    pub keys: u64,
    /// A whole scan, and then what had changed since the one before.
    pub layers: Vec<Layer>,
}

impl ShardPart {
    /// First number that a log has to have for the state to be exact.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.layers.last().map_or(0, |layer| layer.start)
    }

    /// Highest number that may be in it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.layers.iter().map(|layer| layer.end).max().unwrap_or(0)
    }

    /// All chunks in the order in which they are applied.
    pub fn chunks(&self) -> impl Iterator<Item = &ChunkRef> {
        self.layers.iter().flat_map(|layer| &layer.chunks)
    }

    /// Bytes of all objects.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(Layer::bytes).sum()
    }

    /// Bytes that a whole scan of so many keys would take, about. It is no less than the first scan has taken. A key
    /// counts as a record of that scan or as one of all, whichever is shorter: large values are many records.
    #[must_use]
    pub fn estimate_whole(&self, keys: u64) -> u64 {
        let Some(first) = self.layers.first() else {
            return 0;
        };
        let records = self.layers.iter().map(Layer::records).sum();
        let of_keys = |bytes: u64, records: u64| {
            let bytes = u128::from(bytes) * u128::from(keys);
            bytes.checked_div(u128::from(records))
        };
        let estimates = [
            of_keys(first.bytes(), first.records()),
            of_keys(self.bytes(), records),
        ];
        let estimate = estimates.into_iter().flatten().min().unwrap_or(0);
        first
            .bytes()
            .max(u64::try_from(estimate).unwrap_or(u64::MAX))
    }
}

/// The contents of a snapshot of all shards of a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    pub id: String,
    /// Name of the history of the node's data.
    pub node: String,
    /// When it was begun, Unix time in milliseconds.
    pub began_ms: u64,
    /// When it was complete.
    pub ended_ms: u64,
    /// The snapshot whose chunks it shares; none where it is full.
    pub base: Option<String>,
    /// Bytes that were written for it.
    pub new_bytes: u64,
    /// The generation of the logs that go on from it: another number of shards has another one. 0 where there were none.
    #[serde(default)]
    pub generation: u64,
    /// In the order of their numbers.
    pub shards: Vec<ShardPart>,
}

impl Manifest {
    /// All chunks of all shards.
    pub fn chunks(&self) -> impl Iterator<Item = &ChunkRef> {
        self.shards.iter().flat_map(ShardPart::chunks)
    }

    /// Entries of all shards.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.shards.iter().map(|part| part.keys).sum()
    }

    /// Bytes of all chunks, each counted once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let mut seen = HashSet::new();
        let once = self.chunks().filter(|chunk| seen.insert(chunk.name));
        once.map(|chunk| chunk.bytes).sum()
    }

    /// The part of a shard.
    #[must_use]
    pub fn shard(&self, shard: u32) -> Option<&ShardPart> {
        self.shards.iter().find(|part| part.shard == shard)
    }

    /// The bytes of its object.
    ///
    /// # Panics
    /// Never: all of it can be written as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(&serde_json::to_vec(self).expect("text and numbers are JSON"))
    }

    /// Reads what [`Manifest::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are those of no manifest, or of one of a later format.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestFault> {
        let body = checked(bytes)?;
        // A later format may have anything else in it.
        let format: Format = serde_json::from_slice(body).map_err(json)?;
        if !(1..=u64::from(FORMAT)).contains(&format.format) {
            return Err(ManifestFault::Format(format.format));
        }
        let manifest: Self = serde_json::from_slice(body).map_err(json)?;
        manifest.check().map_err(ManifestFault::Sense)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), &'static str> {
        if !is_id(&self.id) || self.base.as_deref().is_some_and(|base| !is_id(base)) {
            return Err("a snapshot has another name");
        }
        let numbers = self.shards.windows(2);
        if !numbers
            .into_iter()
            .all(|pair| pair[0].shard < pair[1].shard)
        {
            return Err("shards are not in order");
        }
        for part in &self.shards {
            if part.layers.is_empty() {
                return Err("a shard has no layer");
            }
            if part
                .layers
                .windows(2)
                .any(|pair| pair[0].start > pair[1].start)
            {
                return Err("layers are not in order");
            }
        }
        let is_possible = |chunk: &ChunkRef| {
            chunk.bytes <= OBJECT_BYTES_MAX
                && chunk.raw <= RAW_BYTES_MAX as u64
                && chunk.low <= chunk.high
        };
        if !self.chunks().all(is_possible) {
            return Err("a chunk is impossible");
        }
        Ok(())
    }
}

/// Puts the checksum of a line behind it.
#[must_use]
pub fn seal(line: &[u8]) -> Vec<u8> {
    let checksum = blake3::hash(line).to_hex();
    let ending = [b"\n", CHECKSUM.as_bytes(), checksum.as_bytes(), b"\n"].concat();
    [line, &ending].concat()
}

/// As much of a manifest as every format has.
#[derive(Deserialize)]
struct Format {
    format: u64,
}

fn json(error: serde_json::Error) -> ManifestFault {
    ManifestFault::Json(error.to_string())
}

/// The line of JSON, if the line behind it has its checksum.
fn checked(bytes: &[u8]) -> Result<&[u8], ManifestFault> {
    let torn = || ManifestFault::Torn;
    let lines = bytes.strip_suffix(b"\n").ok_or_else(torn)?;
    let end = lines
        .iter()
        .rposition(|byte| *byte == b'\n')
        .ok_or_else(torn)?;
    let (body, last) = (&lines[..end], &lines[end + 1..]);
    let checksum = last.strip_prefix(CHECKSUM.as_bytes()).ok_or_else(torn)?;
    if checksum != blake3::hash(body).to_hex().as_bytes() {
        return Err(ManifestFault::Checksum);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn sample() -> Manifest {
        let chunk = ChunkRef {
            name: "0".repeat(64).parse().unwrap(),
            bytes: 100,
            raw: 1_000,
            records: 7,
            low: 3,
            high: 9,
        };
        let layer = |start| Layer {
            start,
            end: start + 9,
            began_ms: 1_700_000_000_000,
            map: vec![1, 0],
            map_number: start,
            chunks: vec![chunk],
        };
        Manifest {
            format: FORMAT,
            id: "0001700000000000".to_owned(),
            node: "n".to_owned(),
            began_ms: 1_700_000_000_000,
            ended_ms: 1_700_000_000_500,
            base: None,
            new_bytes: 100,
            generation: 3,
            shards: vec![ShardPart {
                shard: 0,
                keys: 7,
                layers: vec![layer(1), layer(10)],
            }],
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let manifest = sample();
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
        assert_eq!((manifest.bytes(), manifest.keys()), (100, 7));
        let part = manifest.shard(0).unwrap();
        assert_eq!((part.start(), part.end()), (10, 19));
    }

    /// Estimates from layers of so many bytes and records, for so many keys.
    fn estimate(layers: &[(u64, u64)], keys: u64) -> u64 {
        let mut part = sample().shards.remove(0);
        let layer = part.layers[0].clone();
        let layers = layers.iter().map(|&(bytes, records)| {
            let mut layer = layer.clone();
            (layer.chunks[0].bytes, layer.chunks[0].records) = (bytes, records);
            layer
        });
        part.layers = layers.collect();
        part.estimate_whole(keys)
    }

    #[test]
    fn a_whole_scan_is_estimated_by_those_before() {
        assert_eq!(estimate(&[(1000, 10), (9000, 90)], 100), 10_000, "all new");
        assert_eq!(
            estimate(&[(1000, 10), (9000, 90)], 10),
            1000,
            "written over"
        );
        assert_eq!(estimate(&[(1000, 10), (10, 9)], 1), 1000, "removed");
        assert_eq!(estimate(&[(0, 0), (500, 5)], 5), 500, "begun empty");
        assert_eq!(estimate(&[(0, 0)], 5), 0);
        assert_eq!(estimate(&[], 5), 0);
        // A large value that is written again and again, beside keys that are not.
        let often = [(1000, 10), (9000, 1), (9000, 1), (9000, 1)];
        assert_eq!(estimate(&often, 11), 1100);
        // Small keys beside a large value that was there before them.
        assert_eq!(estimate(&[(9000, 1), (1000, 100)], 101), 10_000);
        assert_eq!(estimate(&[(u64::MAX / 2, 1)], u64::MAX), u64::MAX);
    }

    #[test]
    fn another_format_is_named() {
        let mut later = sample();
        later.format = 3;
        assert_eq!(
            Manifest::decode(&later.encode()),
            Err(ManifestFault::Format(3))
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let wrong: [fn(&mut Manifest); 5] = [
            |manifest| manifest.id = "../x".to_owned(),
            |manifest| manifest.shards[0].layers.reverse(),
            |manifest| manifest.shards[0].layers.clear(),
            |manifest| manifest.shards.push(manifest.shards[0].clone()),
            |manifest| manifest.shards[0].layers[0].chunks[0].raw = u64::MAX,
        ];
        for spoil in wrong {
            let mut manifest = sample();
            spoil(&mut manifest);
            let read = Manifest::decode(&manifest.encode());
            assert!(matches!(read, Err(ManifestFault::Sense(_))), "{read:?}");
        }
    }

    /// A manifest of the first format, as it was written. Later versions read it, too.
    #[test]
    fn the_first_format_stays_readable() {
        let golden = include_bytes!("../tests/golden/manifest-1.json");
        let expected = Manifest {
            format: 1,
            generation: 0,
            ..sample()
        };
        assert_eq!(Manifest::decode(golden), Ok(expected));
    }

    /// One of the second format, as it was written.
    #[test]
    fn the_second_format_stays_readable() {
        let golden = include_bytes!("../tests/golden/manifest-2.json");
        assert_eq!(Manifest::decode(golden), Ok(sample()));
    }

    proptest! {
        #[test]
        fn one_damaged_byte_is_noticed(place in any::<prop::sample::Index>(), flip in 1..=u8::MAX) {
            let mut bytes = sample().encode();
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            prop_assert!(Manifest::decode(&bytes).is_err());
            bytes.truncate(place);
            prop_assert!(Manifest::decode(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_a_manifest_or_a_fault(body in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::decode(&bytes);
            let _ = Manifest::decode(&seal(body.as_bytes()));
        }
    }
}
