//! The keys of a running node as a file of Redis.

use std::fs::File;
use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use yggdrasil_core::keyspace::{Effect, Record, ShardReader};
use yggdrasil_rdb::{Header, Writer};
use yggdrasil_snapshot::{Progress, SnapshotError, entries};

use super::owner::OwnerProcess;
use super::{Snapshotter, now_ms};
use crate::errors::to_python;

/// The result of an export: entries, those left out because Redis has no form for them, and bytes.
type Exported = (u64, u64, u64);

#[pymethods]
impl Snapshotter {
    /// Writes all keys to a file of Redis, each as it is at some moment, and libraries of functions in the form of
    /// FUNCTION DUMP without its last ten bytes. Gives entries, those for which Redis has no form, and bytes.
    fn export(
        &self,
        py: Python<'_>,
        file: PathBuf,
        version: &str,
        libraries: &[u8],
        with_keys: bool,
    ) -> PyResult<Exported> {
        let libraries = libraries.to_vec();
        let version = version.to_owned();
        py.detach(|| self.write_export(&file, &version, &libraries, with_keys))
            .map_err(to_python)
    }
}

impl Snapshotter {
    fn write_export(
        &self,
        path: &Path,
        version: &str,
        libraries: &[u8],
        with_keys: bool,
    ) -> Result<Exported, SnapshotError> {
        let failed = |source| SnapshotError::Store {
            action: "written",
            name: path.display().to_string(),
            source,
        };
        let header = Header {
            version,
            created: now_ms() / 1000,
        };
        let file = File::create(path).map_err(failed)?;
        let mut writer = Writer::begin(file, &header).map_err(failed)?;
        writer.libraries(libraries).map_err(failed)?;
        let mut skipped = 0;
        if with_keys {
            self.expect(&mut writer).map_err(failed)?;
            for (shard, reader) in self.readers.iter().enumerate() {
                skipped += self.export_shard(shard as u32, reader, &mut writer, &failed)?;
            }
        }
        let written = writer.entries();
        let bytes = writer.end().map_err(failed)?;
        Ok((written, skipped, bytes))
    }

    fn expect(&self, writer: &mut Writer<File>) -> std::io::Result<()> {
        let databases = self.readers.first().map_or(0, |reader| reader.map().len());
        for db in 0..databases {
            let keys = self.readers.iter().map(|reader| reader.len(db as u8)).sum();
            if keys > 0 {
                writer.expect(db as u8, keys)?;
            }
        }
        Ok(())
    }

    fn export_shard(
        &self,
        shard: u32,
        reader: &ShardReader,
        writer: &mut Writer<File>,
        failed: &dyn Fn(std::io::Error) -> SnapshotError,
    ) -> Result<u64, SnapshotError> {
        let map = reader.map();
        let mut owner = OwnerProcess::new(&self.owners, shard, map.len());
        let mut skipped = 0;
        let progress = Progress::default();
        let seed = self.hash_seed;
        entries(shard, reader, seed, &mut owner, &progress, &mut |change| {
            let record = Record::decode(change.record);
            let Ok(Record {
                db,
                key,
                effect:
                    Effect::Put {
                        kind,
                        value,
                        expire_at,
                        ..
                    },
            }) = record
            else {
                return Ok(());
            };
            let logical = map.iter().position(|physical| *physical == db);
            let Some(logical) = logical.filter(|_| expire_at.is_none_or(|at| at > now_ms())) else {
                return Ok(());
            };
            let written = writer.entry(logical as u8, key, kind, value, expire_at);
            skipped += u64::from(!written.map_err(failed)?);
            Ok(())
        })?;
        Ok(skipped)
    }
}
