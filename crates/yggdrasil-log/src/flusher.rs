//! Making durable what is written: how far it has come, and the thread that does it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::disk::{Area, Disk, Syncer};

/// Waits so long before it tries again what the disk has refused.
const RETRY: Duration = Duration::from_millis(500);

/// A reason why a log takes nothing more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The disk has no room for another segment.
    #[error("no room for a segment of the log: {0}")]
    Room(String),
    /// Bytes that were written may not be on the disk.
    #[error("the disk failed to write the log: {0}")]
    Sync(String),
}

/// How far a log is written and how far it is durable. Shared by the worker, which writes, and the flusher.
pub struct Progress {
    /// Of the last record that is written.
    number: AtomicU64,
    position: AtomicU64,
    /// Of the last one that is durable.
    durable_number: AtomicU64,
    durable_position: AtomicU64,
    syncs: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The means to sync segments with bytes that are not durable, the last one being written to.
    unsynced: Vec<Arc<dyn Syncer>>,
    /// The directory has names that are not durable.
    is_directory_unsynced: bool,
    /// Somebody waits for this position.
    wanted: u64,
    /// Bytes of the segment that is to be prepared.
    to_prepare: u64,
    prepared: Option<Prepared>,
    failure: Option<Failure>,
    is_closing: bool,
}

/// A file that will be a segment.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub area: Box<dyn Area>,
    pub path: PathBuf,
}

impl fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Progress")
            .field("number", &self.number)
            .field("durable_number", &self.durable_number)
            .finish_non_exhaustive()
    }
}

impl Progress {
    pub(crate) fn new(number: u64, position: u64) -> Self {
        Self {
            number: AtomicU64::new(number),
            position: AtomicU64::new(position),
            durable_number: AtomicU64::new(number),
            durable_position: AtomicU64::new(position),
            syncs: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of the last change that is durable.
    #[inline]
    pub fn durable_number(&self) -> u64 {
        self.durable_number.load(Acquire)
    }

    /// Bytes of the log that are durable.
    #[inline]
    pub fn durable_position(&self) -> u64 {
        self.durable_position.load(Acquire)
    }

    /// Number of the last change that is written.
    #[inline]
    pub fn number(&self) -> u64 {
        self.number.load(Acquire)
    }

    /// Bytes of the log.
    #[inline]
    pub fn position(&self) -> u64 {
        self.position.load(Acquire)
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Relaxed)
    }

    /// The reason why nothing more is taken.
    pub fn failure(&self) -> Option<Failure> {
        self.lock().failure.clone()
    }

    /// Asks for a sync of all that is written, at once.
    pub fn demand(&self) {
        let position = self.position();
        let mut state = self.lock();
        if state.wanted < position {
            state.wanted = position;
            self.changed.notify_all();
        }
    }

    #[inline]
    pub(crate) fn wrote(&self, number: u64, position: u64) {
        self.number.store(number, Relaxed);
        self.position.store(position, Release);
    }

    /// Another segment is written to from now on.
    pub(crate) fn begin_segment(&self, syncer: Arc<dyn Syncer>, is_directory_unsynced: bool) {
        let mut state = self.lock();
        state.unsynced.push(syncer);
        state.is_directory_unsynced |= is_directory_unsynced;
    }

    /// Begins anew with a segment that has all that was written, durably.
    pub(crate) fn replace(&self, syncer: Arc<dyn Syncer>, number: u64, position: u64) {
        let mut state = self.lock();
        state.unsynced = vec![syncer];
        state.failure = None;
        self.wrote(number, position);
        self.durable_number.store(number, Release);
        self.durable_position.store(position, Release);
    }

    pub(crate) fn set_failure(&self, failure: Option<Failure>) {
        self.lock().failure = failure;
    }

    /// Asks for a file that can be the next segment.
    pub(crate) fn ask_to_prepare(&self, bytes: u64) {
        let mut state = self.lock();
        state.to_prepare = bytes;
        self.changed.notify_all();
    }

    pub(crate) fn take_prepared(&self) -> Option<Prepared> {
        self.lock().prepared.take()
    }

    /// Makes durable what is written. True when that has changed anything.
    ///
    /// # Errors
    /// The disk fails. What was written since the last sync counts as lost until it is written anew.
    pub fn flush(&self, disk: &dyn Disk, directory: &Path) -> io::Result<bool> {
        let (number, position) = (self.number(), self.position());
        // What the number stands for lies before the position, whatever is written meanwhile.
        let mut state = self.lock();
        if state
            .failure
            .as_ref()
            .is_some_and(|failure| matches!(failure, Failure::Sync(_)))
            || position <= self.durable_position()
        {
            return Ok(false);
        }
        let syncers = state.unsynced.clone();
        let names = std::mem::take(&mut state.is_directory_unsynced);
        drop(state);
        let mut outcome = if names {
            disk.sync_directory(directory)
        } else {
            Ok(())
        };
        for syncer in &syncers {
            outcome = outcome.and_then(|()| syncer.sync());
        }
        self.syncs.fetch_add(1, Relaxed);
        let mut state = self.lock();
        if let Err(error) = outcome {
            state.failure = Some(Failure::Sync(error.to_string()));
            return Err(error);
        }
        // The last one is written to still, and what has begun since stands behind it.
        state.unsynced.drain(..syncers.len().saturating_sub(1));
        self.durable_number.store(number, Release);
        self.durable_position.store(position, Release);
        Ok(true)
    }

    /// Makes the file for the next segment where that was asked for. True when that has changed anything.
    pub fn prepare(&self, disk: &dyn Disk, directory: &Path) -> bool {
        let bytes = self.lock().to_prepare;
        if bytes == 0 {
            return false;
        }
        let path = directory.join("next.new");
        let made = disk.create(&path, bytes);
        let mut state = self.lock();
        match made {
            Ok(area) => {
                state.to_prepare = 0;
                state.prepared = Some(Prepared { area, path });
                if matches!(state.failure, Some(Failure::Room(_))) {
                    state.failure = None;
                }
                true
            }
            // Nobody is refused before the segment in hand is full.
            Err(_) => false,
        }
    }
}

/// The thread that makes a log durable: now and then, and when it is asked to.
#[derive(Debug)]
pub struct Flusher {
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Starts it. `tell` is called when more is durable, and when something has failed.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(
        progress: Arc<Progress>,
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        interval: Duration,
        tell: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::clone(&progress);
        let thread = thread::Builder::new().name("log".into()).spawn(move || {
            run(&shared, &*disk, &directory, interval, &tell);
        })?;
        Ok(Self {
            progress,
            thread: Some(thread),
        })
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.progress.lock().is_closing = true;
        self.progress.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It ends with a last sync, and says by its progress whether that has failed.
            let _ = thread.join();
        }
    }
}

fn run(
    progress: &Progress,
    disk: &dyn Disk,
    directory: &Path,
    interval: Duration,
    tell: &dyn Fn(),
) {
    let mut due = Instant::now() + interval;
    let mut prepare_due = Instant::now();
    loop {
        let is_closing = wait(progress, due, prepare_due);
        if Instant::now() >= prepare_due {
            let asked = progress.lock().to_prepare != 0;
            if progress.prepare(disk, directory) {
                tell();
            } else if asked {
                prepare_due = Instant::now() + RETRY;
            }
        }
        match progress.flush(disk, directory) {
            Ok(true) | Err(_) => tell(),
            Ok(false) => {}
        }
        due = Instant::now() + interval;
        if is_closing {
            return;
        }
    }
}

/// Waits until there is something to do. True when it is the last.
fn wait(progress: &Progress, due: Instant, prepare_due: Instant) -> bool {
    let mut state = progress.lock();
    loop {
        let now = Instant::now();
        let is_failed = matches!(state.failure, Some(Failure::Sync(_)));
        let is_wanted = state.wanted > progress.durable_position() && !is_failed;
        let prepares = state.to_prepare != 0 && now >= prepare_due;
        if state.is_closing || is_wanted || prepares || now >= due {
            return state.is_closing;
        }
        let until = if state.to_prepare != 0 {
            due.min(prepare_due)
        } else {
            due
        };
        let (guard, _) = progress
            .changed
            .wait_timeout(state, until.saturating_duration_since(now))
            .unwrap_or_else(PoisonError::into_inner);
        state = guard;
    }
}
