//! Work in short turns, between which whoever serves requests on the same core goes on.
//!
//! A thread that computes is interrupted by a tick of the kernel at best, after 4 ms at 250 Hz, however low its
//! priority. What waits meanwhile is a request.

use std::time::{Duration, Instant};

/// Time for which a thread computes at a time.
const TURN: Duration = Duration::from_micros(200);
/// Bytes that are compressed, hashed or written within a turn.
pub(crate) const TURN_BYTES: usize = 64 << 10;
/// Priority of the threads that compress and write: a tenth of a core where others want all of it.
const NICE: i32 = 10;

/// The turns of a thread.
pub(crate) struct Turns {
    began: Instant,
}

impl Turns {
    pub(crate) fn begin() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// Lets others go on, if the turn is over.
    pub(crate) fn pause(&mut self) {
        if self.began.elapsed() >= TURN {
            std::thread::yield_now();
            self.began = Instant::now();
        }
    }
}

/// Lowers the priority of this thread, for good.
pub(crate) fn be_nice() {
    // Not being nice is no reason not to work.
    let _ = rustix::process::setpriority_process(None, NICE);
}
