//! A directory that goes with its test, and values of one key as a log has them.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use yggdrasil_core::keyspace::{Effect, Kind, Record, Value};
use yggdrasil_log::disk::Disk;
use yggdrasil_log::{Content, End, Reader};

/// A directory that goes with the test.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The change of a key to a value.
pub fn put(value: &[u8]) -> Record<'_> {
    let effect = Effect::Put {
        kind: Kind::String,
        value: Value::Bytes(value),
        expire_at: None,
        pinned_until: None,
    };
    Record {
        db: 0,
        key: b"a key",
        effect,
    }
}

/// All changes of a log, and its end.
pub fn read(disk: Arc<dyn Disk>, directory: &Path) -> (Vec<(u64, Vec<u8>)>, End) {
    let mut reader = Reader::open(disk, directory).expect("the log is there");
    let mut found = Vec::new();
    while let Some(entry) = reader.read().expect("nothing that was durable is damaged") {
        if let Content::Change(bytes) = entry.frame.content {
            let record = Record::decode(bytes).expect("a record");
            let Effect::Put {
                value: Value::Bytes(value),
                ..
            } = record.effect
            else {
                panic!("only values were written");
            };
            found.push((entry.frame.number, value.to_vec()));
        }
    }
    (found, reader.end())
}
