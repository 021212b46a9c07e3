//! Areas of persistent memory: what is stored is durable when its lines were written back, without a system call.

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Area, Persist, Syncer};

/// Memory that is written by stores.
pub(super) trait Store: Send + Debug {
    /// Copies bytes there.
    ///
    /// # Panics
    /// They do not lie in the memory.
    fn store(&mut self, offset: u64, bytes: &[u8]);
}

/// The lines of a memory, as processors write them back.
pub(super) trait Lines: Send + Sync + Debug {
    /// Begins to write back the lines of a range.
    fn write_back(&self, range: Range<u64>);

    /// Waits until all lines that this thread has begun to write back are durable.
    fn fence(&self);

    /// The instruction by which it is done.
    fn persist(&self) -> Persist;
}

/// An area of persistent memory.
#[derive(Debug)]
pub(super) struct DirectArea<S> {
    memory: S,
    bytes: u64,
    syncer: Arc<DirectSyncer>,
}

#[derive(Debug)]
struct DirectSyncer {
    lines: Box<dyn Lines>,
    /// From the first to the last byte that was stored since the last sync.
    stored: Mutex<Option<Range<u64>>>,
}

impl<S: Store> DirectArea<S> {
    /// An area of so many bytes, of which somebody else may have stored those up to `stored`.
    pub fn new(memory: S, bytes: u64, stored: u64, lines: Box<dyn Lines>) -> Self {
        let stored = Mutex::new((stored > 0).then_some(0..stored));
        Self {
            memory,
            bytes,
            syncer: Arc::new(DirectSyncer { lines, stored }),
        }
    }
}

impl<S: Store> Area for DirectArea<S> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    #[inline]
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.memory.store(offset, bytes);
        self.syncer.note(offset..offset + bytes.len() as u64);
    }

    fn syncer(&self) -> Arc<dyn Syncer> {
        Arc::clone(&self.syncer) as Arc<dyn Syncer>
    }
}

impl DirectSyncer {
    fn lock(&self) -> MutexGuard<'_, Option<Range<u64>>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn note(&self, range: Range<u64>) {
        let mut stored = self.lock();
        *stored = Some(match stored.take() {
            None => range,
            Some(before) => before.start.min(range.start)..before.end.max(range.end),
        });
    }
}

impl Syncer for DirectSyncer {
    fn sync(&self) -> io::Result<()> {
        // What is stored meanwhile is noted again.
        let stored = self.lock().take();
        if let Some(range) = stored {
            self.lines.write_back(range);
            self.lines.fence();
        }
        Ok(())
    }

    fn persist(&self) -> Persist {
        self.lines.persist()
    }
}
