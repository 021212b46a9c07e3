//! A folder as a store.
//!
//! An object is written under another name and renamed when it is durable, so it is whole or not there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Store, Stored, too_long};
use crate::archive::{SEGMENTS, TAILS, TIMES};
use crate::name::{CHUNKS, MANIFESTS};
use crate::turns::{TURN_BYTES, Turns};

/// Beginning of the names of what is not whole yet.
const DRAFT: &str = ".draft-";

/// The folders of all objects.
const PARTS: [&str; 5] = [CHUNKS, SEGMENTS, TAILS, TIMES, MANIFESTS];

/// A folder as a store.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    drafts: AtomicU64,
}

impl Folder {
    /// Opens a folder, which is made at the first write. Nothing is touched.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            drafts: AtomicU64::new(0),
        }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes what earlier writers have left unfinished. Nobody may be writing.
    ///
    /// # Errors
    /// The folder cannot be read or changed.
    pub fn remove_drafts(&self) -> io::Result<u64> {
        let mut removed = 0;
        for part in PARTS {
            for entry in entries(&self.root.join(part))? {
                if entry
                    .file_name()
                    .as_encoded_bytes()
                    .starts_with(DRAFT.as_bytes())
                {
                    fs::remove_file(entry.path())?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = match options.open(draft) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = draft.parent().unwrap_or(draft);
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(folder)?;
                options.open(draft)?
            }
            other => other?,
        };
        let mut turns = Turns::begin();
        for part in bytes.chunks(TURN_BYTES) {
            file.write_all(part)?;
            turns.pause();
        }
        file.sync_data()
    }
}

impl Store for Folder {
    fn get(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut contents = Vec::new();
        self.get_into(name, limit, &mut contents)?;
        Ok(contents)
    }

    fn get_into(&self, name: &str, limit: u64, contents: &mut Vec<u8>) -> io::Result<()> {
        contents.clear();
        let file = File::open(self.root.join(name))?;
        let bytes = file.metadata()?.len();
        if bytes > limit {
            return Err(too_long(limit));
        }
        contents.reserve_exact(bytes as usize);
        file.take(limit + 1).read_to_end(contents)?;
        if contents.len() as u64 > limit {
            return Err(too_long(limit));
        }
        Ok(())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(name);
        let serial = self.drafts.fetch_add(1, Ordering::Relaxed);
        let draft = path.with_file_name(format!("{DRAFT}{}-{serial}", std::process::id()));
        let written = Self::write_draft(&draft, bytes).and_then(|()| fs::rename(&draft, &path));
        if written.is_err() {
            // What is left is removed by the next writer if this fails, too.
            let _ = fs::remove_file(&draft);
        }
        written
    }

    fn settle(&self) -> io::Result<()> {
        let parts = PARTS.iter().map(|part| self.root.join(part));
        for folder in parts.chain([self.root.clone()]) {
            match File::open(&folder) {
                Ok(opened) => opened.sync_all()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        // A folder that was made just now stands in the one above.
        match self.root.parent() {
            Some(above) if !above.as_os_str().is_empty() => File::open(above)?.sync_all(),
            _ => Ok(()),
        }
    }

    fn list(&self, part: &str) -> io::Result<Vec<Stored>> {
        let mut found = Vec::new();
        for entry in entries(&self.root.join(part))? {
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str().filter(|name| !name.starts_with('.')) else {
                continue;
            };
            // It may have been removed meanwhile.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_file() {
                let written = metadata.modified().ok();
                found.push(Stored {
                    name: format!("{part}{file_name}"),
                    bytes: metadata.len(),
                    age: written.and_then(|at| at.elapsed().ok()),
                });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.root.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// The entries of a folder; none where there is no folder.
fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
