//! A disk in memory that loses what was not synced, as a power cut would.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::direct::{DirectArea, Lines, Store};
use super::simulated_lines::{CachedLines, Mistake};
use super::{Area, Contents, Disk, Persist, Source, Syncer};

/// What a power cut leaves of bytes that were written and not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// Nothing of them.
    Drop,
    /// All of them.
    Keep,
    /// Those up to some byte.
    TearAnywhere,
    /// Some of the sectors of so many bytes, in any order.
    Sectors(usize),
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default, Debug)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default, Debug)]
struct State {
    files: BTreeMap<PathBuf, SharedFile>,
    /// What a power cut may undo of the names, the last one last.
    unsynced: Vec<NameChange>,
    /// Bytes that new files may still take; `None` without a limit.
    room: Option<u64>,
    /// Syncs that succeed before the next one fails.
    syncs_before_failure: Option<u64>,
    syncs: u64,
    /// Files are persistent memory.
    is_memory: bool,
    /// What is always done wrong with persistent memory.
    mistake: Option<Mistake>,
}

/// A change of a name that no sync of its directory has made durable: what the name stood for before.
#[derive(Debug)]
struct NameChange {
    path: PathBuf,
    before: Option<SharedFile>,
}

type SharedFile = Arc<Mutex<SimulatedFile>>;

#[derive(Default, Debug)]
struct SimulatedFile {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// First and last changed byte since the last sync, the last one excluded.
    changed: Option<(usize, usize)>,
    /// The same where the file is persistent memory.
    cached: Option<CachedLines>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimulatedDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Persistent memory with nothing in it.
    #[must_use]
    pub fn persistent_memory() -> Self {
        let disk = Self::default();
        lock(&disk.state).is_memory = true;
        disk
    }

    /// Lets a mistake be made with persistent memory from now on.
    pub fn make_mistake(&self, mistake: Mistake) {
        lock(&self.state).mistake = Some(mistake);
    }

    /// Cuts the power. `draw(n)` gives a number below `n`, by which it is decided what is left.
    pub fn cut_power(&self, damage: Damage, draw: &mut dyn FnMut(u64) -> u64) {
        let mut state = lock(&self.state);
        // A directory is written in order.
        let kept = draw(state.unsynced.len() as u64 + 1) as usize;
        for change in state.unsynced.split_off(kept).into_iter().rev() {
            state.set(change.path, change.before);
        }
        state.unsynced.clear();
        for file in state.files.values() {
            lock(file).cut_power(damage, draw);
        }
        state.syncs_before_failure = None;
    }

    /// Lets the disk have room for so many more bytes of new files, or for any.
    pub fn set_room(&self, bytes: Option<u64>) {
        lock(&self.state).room = bytes;
    }

    /// Lets one sync fail after so many that succeed.
    pub fn fail_sync_after(&self, syncs: u64) {
        lock(&self.state).syncs_before_failure = Some(syncs);
    }

    /// Syncs so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        lock(&self.state).syncs
    }

    /// Changes the bytes of a file as a broken disk would.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(file) = lock(&self.state).files.get(path) {
            let mut file = lock(file);
            let SimulatedFile {
                current, durable, ..
            } = &mut *file;
            change(current);
            durable.clone_from(current);
        }
    }

    /// The area of a file that is new, or may have what was stored by somebody else.
    fn area(&self, file: SharedFile, is_new: bool) -> Box<dyn Area> {
        let disk = self.clone();
        if !lock(&self.state).is_memory {
            return Box::new(SimulatedArea { file, disk });
        }
        let bytes = lock(&file).current.len() as u64;
        let lines = SimulatedLines {
            file: Arc::clone(&file),
            disk,
        };
        Box::new(DirectArea::new(
            SimulatedMemory(file),
            bytes,
            if is_new { 0 } else { bytes },
            Box::new(lines),
        ))
    }

    fn file(&self, path: &Path) -> io::Result<SharedFile> {
        let state = lock(&self.state);
        let file = state.files.get(path);
        file.cloned()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl State {
    fn set(&mut self, path: PathBuf, file: Option<SharedFile>) {
        match file {
            Some(file) => self.files.insert(path, file),
            None => self.files.remove(&path),
        };
    }

    /// Lets a name stand for a file, or for none, until the power is cut or the directory synced.
    fn change(&mut self, path: &Path, file: Option<SharedFile>) {
        let before = self.files.get(path).cloned();
        self.unsynced.push(NameChange {
            path: path.to_path_buf(),
            before,
        });
        self.set(path.to_path_buf(), file);
    }
}

impl SimulatedFile {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(cached) = &mut self.cached {
            cached.store(&mut self.current, offset, bytes);
            return;
        }
        let end = offset + bytes.len();
        self.current[offset..end].copy_from_slice(bytes);
        let (first, last) = self.changed.unwrap_or((offset, end));
        self.changed = Some((first.min(offset), last.max(end)));
    }

    fn cut_power(&mut self, damage: Damage, draw: &mut dyn FnMut(u64) -> u64) {
        let (first, last) = self.changed.take().unwrap_or_default();
        let mut keep = |from: usize, to: usize| {
            self.durable[from..to].copy_from_slice(&self.current[from..to]);
        };
        match damage {
            Damage::Drop => {}
            Damage::Keep => keep(first, last),
            Damage::TearAnywhere => {
                let kept = draw((last - first) as u64 + 1) as usize;
                keep(first, first + kept);
            }
            Damage::Sectors(bytes) => {
                let mut from = first - first % bytes;
                while from < last {
                    let to = (from + bytes).min(last);
                    if draw(2) == 0 {
                        keep(from.max(first), to);
                    }
                    from += bytes;
                }
            }
        }
        if let Some(cached) = &mut self.cached {
            cached.cut_power(&mut self.durable, damage, draw);
        }
        self.current.clone_from(&self.durable);
    }
}

impl Disk for SimulatedDisk {
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = lock(&self.state);
        let paths = state.files.keys();
        let names = paths.filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            (path.parent() == Some(directory)).then_some(name)
        });
        Ok(names.collect())
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn Area>> {
        let mut state = lock(&self.state);
        if let Some(room) = &mut state.room {
            *room = room
                .checked_sub(bytes)
                .ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
        }
        let contents = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        let file = SimulatedFile {
            durable: contents.clone(),
            current: contents,
            changed: None,
            cached: state.is_memory.then(CachedLines::default),
        };
        let file = Arc::new(Mutex::new(file));
        state.change(path, Some(Arc::clone(&file)));
        drop(state);
        Ok(self.area(file, true))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.file(from)?;
        let mut state = lock(&self.state);
        state.change(to, Some(file));
        state.change(from, None);
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Area>> {
        Ok(self.area(self.file(path)?, false))
    }

    fn read(&self, path: &Path) -> io::Result<Contents> {
        let file = self.file(path)?;
        let bytes = lock(&file).current.clone();
        let length = bytes.len() as u64;
        Ok(Contents { bytes, length })
    }

    fn source(&self, path: &Path) -> io::Result<Box<dyn Source>> {
        let Contents { bytes, .. } = self.read(path)?;
        Ok(Box::new(SimulatedSource(bytes)))
    }

    fn read_head(&self, path: &Path, at_most: usize) -> io::Result<(Vec<u8>, u64)> {
        let file = self.file(path)?;
        let file = lock(&file);
        let head = &file.current[..at_most.min(file.current.len())];
        Ok((head.to_vec(), file.current.len() as u64))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let file = self.file(path)?;
        let mut state = lock(&self.state);
        if let Some(room) = &mut state.room {
            *room += lock(&file).current.len() as u64;
        }
        state.change(path, None);
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        let is_elsewhere = |change: &NameChange| change.path.parent() != Some(directory);
        state.unsynced.retain(is_elsewhere);
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedArea {
    file: SharedFile,
    disk: SimulatedDisk,
}

#[derive(Debug)]
struct SimulatedSyncer {
    file: SharedFile,
    disk: SimulatedDisk,
}

impl Area for SimulatedArea {
    fn bytes(&self) -> u64 {
        lock(&self.file).current.len() as u64
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        lock(&self.file).write(offset as usize, bytes);
    }

    fn syncer(&self) -> Arc<dyn Syncer> {
        Arc::new(SimulatedSyncer {
            file: Arc::clone(&self.file),
            disk: self.disk.clone(),
        })
    }
}

impl Syncer for SimulatedSyncer {
    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.disk.state);
        let fails = match &mut state.syncs_before_failure {
            Some(0) => {
                state.syncs_before_failure = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        state.syncs += 1;
        let mut file = lock(&self.file);
        let SimulatedFile {
            current,
            durable,
            changed,
            ..
        } = &mut *file;
        let Some((first, last)) = changed.take() else {
            return Ok(());
        };
        if fails {
            // As Linux does it: the pages count as clean, and are not on the disk.
            return Err(io::Error::other("the disk lost a write"));
        }
        durable[first..last].copy_from_slice(&current[first..last]);
        Ok(())
    }
}

/// Persistent memory as programs store to it.
#[derive(Debug)]
struct SimulatedMemory(SharedFile);

/// Its lines as programs write them back.
#[derive(Debug)]
struct SimulatedLines {
    file: SharedFile,
    disk: SimulatedDisk,
}

impl Store for SimulatedMemory {
    fn store(&mut self, offset: u64, bytes: &[u8]) {
        lock(&self.0).write(offset as usize, bytes);
    }
}

/// A file that is read in small parts, so that records go on from one to the next.
#[derive(Debug)]
struct SimulatedSource(Vec<u8>);

impl Source for SimulatedSource {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn data_end(&self) -> u64 {
        self.length()
    }

    fn read(&mut self, offset: u64, wanted: u64, out: &mut Vec<u8>) -> io::Result<()> {
        const AT_ONCE: u64 = 300;
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let bytes = rest.len().min(wanted.min(AT_ONCE) as usize);
        out.extend_from_slice(&rest[..bytes]);
        Ok(())
    }
}

impl SimulatedLines {
    /// Does something with the lines of the file, and perhaps a mistake.
    fn with(&self, act: impl FnOnce(&mut CachedLines, &mut [u8], Option<Mistake>)) {
        let state = lock(&self.disk.state);
        let mut file = lock(&self.file);
        let SimulatedFile {
            durable, cached, ..
        } = &mut *file;
        if let Some(cached) = cached {
            act(cached, durable, state.mistake);
        }
    }
}

impl Lines for SimulatedLines {
    fn write_back(&self, range: Range<u64>) {
        let range = range.start as usize..range.end as usize;
        self.with(|cached, _, mistake| cached.write_back(range, mistake));
    }

    fn fence(&self) {
        self.with(|cached, durable, mistake| cached.fence(durable, mistake));
    }

    fn persist(&self) -> Persist {
        Persist::Clwb
    }
}
