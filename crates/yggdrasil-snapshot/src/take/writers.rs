//! Threads that compress and write chunks while the shard is scanned.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use crate::chunk::Piece;
use crate::error::SnapshotError;
use crate::manifest::ChunkRef;
use crate::turns::be_nice;

use super::Taking;

/// The way to threads that compress and write.
pub(super) struct Writers {
    sender: SyncSender<(usize, Piece)>,
    handed_on: usize,
}

/// The state of the threads.
#[derive(Default)]
struct Written {
    chunks: Vec<(usize, ChunkRef)>,
    failure: Option<SnapshotError>,
}

impl Writers {
    /// Does some work whose pieces become chunks, and gives them in their order.
    pub(super) fn run<T>(
        taking: &Taking<'_>,
        work: impl FnOnce(&mut Self) -> Result<T, SnapshotError>,
    ) -> Result<(Vec<ChunkRef>, T), SnapshotError> {
        let threads = taking.options.threads.max(1);
        let (sender, receiver) = sync_channel(1);
        let receiver = Mutex::new(Some(receiver));
        let written = Mutex::new(Written::default());
        let outcome = std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| serve(taking, &receiver, &written));
            }
            work(&mut Self {
                sender,
                handed_on: 0,
            })
        });
        let written = written.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = written.failure {
            return Err(failure);
        }
        let mut chunks = written.chunks;
        chunks.sort_by_key(|(place, _)| *place);
        Ok((
            chunks.into_iter().map(|(_, chunk)| chunk).collect(),
            outcome?,
        ))
    }

    /// Gives a piece to a thread; waits where all are busy.
    pub(super) fn hand_on(&mut self, piece: Piece) -> Result<(), SnapshotError> {
        let place = self.handed_on;
        self.handed_on += 1;
        // Nobody receives any more where writing has failed, and that failure is told instead of this one.
        self.sender
            .send((place, piece))
            .map_err(|_| SnapshotError::Cancelled)
    }
}

/// Compresses and writes until there is nothing more.
fn serve(
    taking: &Taking<'_>,
    receiver: &Mutex<Option<Receiver<(usize, Piece)>>>,
    written: &Mutex<Written>,
) {
    be_nice();
    let mut encoder = None;
    loop {
        let next = {
            let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
            receiver.as_ref().and_then(|receiver| receiver.recv().ok())
        };
        let Some((place, piece)) = next else {
            return;
        };
        let outcome = taking.write(&mut encoder, &piece);
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(chunk) => written.chunks.push((place, chunk)),
            Err(error) => {
                written.failure.get_or_insert(error);
                // Without a receiver the scan ends.
                drop(written);
                drop(
                    receiver
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .take(),
                );
                return;
            }
        }
    }
}
