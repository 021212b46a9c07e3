//! Names of the objects of a store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::turns::{TURN_BYTES, Turns};

/// Prefix of the names of chunks.
pub(crate) const CHUNKS: &str = "chunks/";
/// Prefix of the names of manifests.
pub(crate) const MANIFESTS: &str = "manifests/";
/// Ending of the names of manifests.
const MANIFEST_ENDING: &str = ".json";
const ID_BYTES_MAX: usize = 64;

/// The name of a chunk: the BLAKE3 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkName([u8; 32]);

impl ChunkName {
    /// The name that bytes have.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (mut hasher, mut turns) = (blake3::Hasher::new(), Turns::begin());
        for part in bytes.chunks(TURN_BYTES) {
            hasher.update(part);
            turns.pause();
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The name of the object that holds it.
    #[must_use]
    pub fn object(&self) -> String {
        format!("{CHUNKS}{self}")
    }

    /// The chunk that an object of a store holds.
    #[must_use]
    pub fn of_object(object: &str) -> Option<Self> {
        object.strip_prefix(CHUNKS)?.parse().ok()
    }
}

impl fmt::Display for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no name of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the name of a chunk has 64 lower-case hexadecimal digits")]
pub struct BadName;

impl FromStr for ChunkName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        // One chunk has one name, so that comparing names compares chunks.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(BadName);
        }
        blake3::Hash::from_hex(text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| BadName)
    }
}

impl Serialize for ChunkName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChunkName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The object that holds the manifest of a snapshot.
pub(crate) fn manifest_object(id: &str) -> String {
    format!("{MANIFESTS}{id}{MANIFEST_ENDING}")
}

/// The snapshot whose manifest an object holds.
pub(crate) fn id_of_object(object: &str) -> Option<&str> {
    let id = object
        .strip_prefix(MANIFESTS)?
        .strip_suffix(MANIFEST_ENDING)?;
    is_id(id).then_some(id)
}

/// True for what may name a snapshot: nothing that leads out of a folder.
pub(crate) fn is_id(id: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_named_by_its_bytes() {
        let name = ChunkName::of(b"abc");
        assert_eq!(ChunkName::of_object(&name.object()), Some(name));
        assert_eq!(name.to_string().parse(), Ok(name));
        let upper = name.to_string().to_uppercase();
        for wrong in [upper.as_str(), "", "ab", "zz"] {
            assert_eq!(wrong.parse::<ChunkName>(), Err(BadName), "{wrong}");
        }
    }

    #[test]
    fn an_id_stays_in_its_folder() {
        assert_eq!(id_of_object("manifests/0017-ab.json"), Some("0017-ab"));
        for wrong in [
            "manifests/../x.json",
            "manifests/.json",
            "manifests/a/b.json",
            "chunks/a.json",
        ] {
            assert_eq!(id_of_object(wrong), None, "{wrong}");
        }
    }
}
