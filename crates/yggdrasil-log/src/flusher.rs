//! Making durable what is written: how far it has come, and the thread that does it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::disk::{Area, Disk, Persist, Syncer};

/// Waits so long for more to be written that shares a sync.
const GATHER: Duration = Duration::from_micros(500);
/// Waits so long before it tries again what the disk has refused.
const RETRY: Duration = Duration::from_millis(500);

/// A reason why a log takes nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what}: {}", io::Error::from_raw_os_error(*errno))]
pub struct Failure {
    pub what: FailureKind,
    /// The error of the operating system.
    pub errno: i32,
}

/// The two ways in which a disk fails a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FailureKind {
    /// There is no other segment.
    #[error("no segment of the log could be made")]
    Room,
    /// Bytes that were written may not be on the disk.
    #[error("the log could not be made durable")]
    Sync,
}

impl Failure {
    pub(crate) fn new(what: FailureKind, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(match error.kind() {
            io::ErrorKind::StorageFull => NO_SPACE,
            _ => INPUT_OUTPUT,
        });
        Self { what, errno }
    }
}

/// ENOSPC and EIO.
const NO_SPACE: i32 = 28;
const INPUT_OUTPUT: i32 = 5;

/// How far a log is written and how far it is durable. Shared by the worker, which writes, and the flusher.
pub struct Progress {
    /// Of the last record that is written.
    number: AtomicU64,
    position: AtomicU64,
    /// Of the last one that is durable.
    durable_number: AtomicU64,
    durable_position: AtomicU64,
    syncs: AtomicU64,
    has_failed: AtomicBool,
    /// The next segment was asked for, and nothing is known of it.
    is_preparing: AtomicBool,
    /// Somebody waits for this position, and more is to come before.
    wanted_soon: AtomicU64,
    /// The flusher looks at that from time to time.
    is_alert: AtomicBool,
    /// Held by whoever makes something durable: one at a time says how far it has come.
    flushing: Mutex<()>,
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
    /// Segments that are not written to any more. Their mappings take long to end.
    retired: Vec<Box<dyn Area>>,
    failure: Option<Failure>,
    is_closing: bool,
}

/// A file that will be a segment.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub area: Box<dyn Area>,
    pub path: PathBuf,
}

impl State {
    /// True where a sync has failed.
    fn has_lost(&self) -> bool {
        let kind = self.failure.map(|failure| failure.what);
        kind == Some(FailureKind::Sync)
    }
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
            has_failed: AtomicBool::new(false),
            is_preparing: AtomicBool::new(false),
            wanted_soon: AtomicU64::new(0),
            is_alert: AtomicBool::new(false),
            flushing: Mutex::default(),
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
        self.lock().failure
    }

    /// True while nothing more is taken.
    #[inline]
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Relaxed)
    }

    /// True where what was written has to be written anew.
    pub fn must_heal(&self) -> bool {
        self.lock().has_lost()
    }

    /// The way in which what is being written becomes durable.
    pub fn persist(&self) -> Persist {
        let state = self.lock();
        state
            .unsynced
            .last()
            .map_or(Persist::Dsync, |last| last.persist())
    }

    /// Asks for a sync of all that is written, at once.
    pub fn demand(&self) {
        let position = self.position();
        let mut state = self.lock();
        if state.wanted < position {
            state.wanted = position;
            // Who is woken does not find the lock taken.
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Asks for a sync of all that is written, in a moment: more of it will come. Mostly without a system call.
    pub fn demand_soon(&self) {
        self.wanted_soon.store(self.position(), SeqCst);
        if !self.is_alert.load(SeqCst) {
            self.demand();
        }
    }

    fn is_wanted_soon(&self) -> bool {
        self.wanted_soon.load(SeqCst) > self.durable_position()
    }

    #[inline]
    pub(crate) fn wrote(&self, number: u64, position: u64) {
        // Who sees the number sees the record too: a flush reads the number first.
        self.number.store(number, Release);
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
        self.fail(&mut state, None);
        self.wrote(number, position);
        self.durable_number.store(number, Release);
        self.durable_position.store(position, Release);
    }

    /// Says why nothing more is taken. A sync that has failed stays one that has, whatever fails behind it.
    pub(crate) fn set_failure(&self, failure: Failure) {
        let mut state = self.lock();
        let what = if state.has_lost() {
            FailureKind::Sync
        } else {
            failure.what
        };
        self.fail(&mut state, Some(Failure { what, ..failure }));
    }

    fn fail(&self, state: &mut State, failure: Option<Failure>) {
        state.failure = failure;
        self.has_failed.store(failure.is_some(), Relaxed);
    }

    /// Asks for a file that can be the next segment.
    pub(crate) fn ask_to_prepare(&self, bytes: u64) {
        let mut state = self.lock();
        state.to_prepare = bytes;
        if state.prepared.is_none() {
            self.is_preparing.store(true, Relaxed);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// True from when the next segment is asked for until it is there, or the disk has refused it.
    #[inline]
    pub(crate) fn is_preparing(&self) -> bool {
        self.is_preparing.load(Relaxed)
    }

    /// Leaves it to the flusher to end the mapping of a segment.
    pub(crate) fn retire(&self, area: Box<dyn Area>) {
        self.lock().retired.push(area);
    }

    pub(crate) fn take_prepared(&self) -> Option<Prepared> {
        self.lock().prepared.take()
    }

    /// Makes durable what is written. True when that has changed anything.
    ///
    /// # Errors
    /// The disk fails. What was written since the last sync counts as lost until it is written anew.
    pub fn flush(&self, disk: &dyn Disk, directory: &Path) -> io::Result<bool> {
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, position) = (self.number(), self.position());
        // What the number stands for lies before the position, whatever is written meanwhile.
        let mut state = self.lock();
        if state.has_lost() || position <= self.durable_position() {
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
            let failure = Failure::new(FailureKind::Sync, &error);
            self.fail(&mut state, Some(failure));
            return Err(error);
        }
        // The last one is written to still, and what has begun since stands behind it.
        state.unsynced.drain(..syncers.len().saturating_sub(1));
        self.durable_number.store(number, Release);
        self.durable_position.store(position, Release);
        Ok(true)
    }

    /// Has the segment in hand made ready for more syncs.
    fn prepare_syncs(&self) {
        let last = self.lock().unsynced.last().cloned();
        if let Some(syncer) = last {
            syncer.prepare();
        }
    }

    /// Makes the file for the next segment where that was asked for. True when that has changed anything.
    pub fn prepare(&self, disk: &dyn Disk, directory: &Path) -> bool {
        let mut state = self.lock();
        if state.prepared.is_some() {
            state.to_prepare = 0;
        }
        let bytes = state.to_prepare;
        let retired = std::mem::take(&mut state.retired);
        drop(state);
        drop(retired);
        if bytes == 0 {
            self.is_preparing.store(false, Relaxed);
            return false;
        }
        let path = directory.join("next.new");
        let made = disk.create(&path, bytes);
        let mut state = self.lock();
        self.is_preparing.store(false, Relaxed);
        match made {
            Ok(area) => {
                state.to_prepare = 0;
                state.prepared = Some(Prepared { area, path });
                if !state.has_lost() {
                    self.fail(&mut state, None);
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
        let (is_closing, is_due) = wait(progress, due, prepare_due);
        if Instant::now() >= prepare_due {
            let asked = progress.lock().to_prepare != 0;
            if progress.prepare(disk, directory) {
                tell();
            } else if asked {
                prepare_due = Instant::now() + RETRY;
            }
        }
        if !is_due {
            continue;
        }
        match progress.flush(disk, directory) {
            Ok(true) => {
                tell();
                // Those who are answered now will ask again.
                progress.is_alert.store(true, SeqCst);
                progress.prepare_syncs();
            }
            Err(_) => tell(),
            Ok(false) => {}
        }
        due = Instant::now() + interval;
        if is_closing {
            return;
        }
    }
}

/// Waits until there is something to do: whether it is the last, and whether it is a flush.
fn wait(progress: &Progress, due: Instant, prepare_due: Instant) -> (bool, bool) {
    let mut gathered = Instant::now() + GATHER;
    let mut state = progress.lock();
    loop {
        let now = Instant::now();
        let mut is_wanted = state.wanted > progress.durable_position();
        let mut is_alert = progress.is_alert.load(SeqCst);
        if is_alert && now >= gathered {
            is_wanted |= progress.is_wanted_soon();
            // Nobody has come: who comes next wakes this thread. One who has come just now is seen.
            is_alert = false;
            progress.is_alert.store(false, SeqCst);
            is_wanted |= progress.is_wanted_soon();
        }
        let prepares = state.to_prepare != 0 && now >= prepare_due;
        let flushes = state.is_closing || is_wanted && !state.has_lost() || now >= due;
        if flushes || prepares {
            return (state.is_closing, flushes);
        }
        let mut until = due;
        if state.to_prepare != 0 {
            until = until.min(prepare_due);
        }
        if is_alert {
            until = until.min(gathered);
        } else {
            gathered = due;
        }
        let (guard, _) = progress
            .changed
            .wait_timeout(state, until.saturating_duration_since(now))
            .unwrap_or_else(PoisonError::into_inner);
        state = guard;
    }
}
