//! Huge pages for what is already there.
//!
//! The kernel gives new shared memory huge pages only where the whole machine is set to that, which it is not by
//! default. It does turn memory into huge pages on request (`MADV_COLLAPSE`, Linux 6.1). That takes some milliseconds
//! for each, so a thread asks, which runs when nobody else wants to.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::region::{Access, HUGE_PAGE_BYTES, Region};

/// Ranges that wait at a time.
const WAITING_MAX: usize = 4;
const NICEST: i32 = 19;

/// The thread that asks for huge pages in one segment, for as long as this lives.
#[derive(Debug)]
pub struct HugePages {
    orders: SyncSender<u64>,
    answers: Receiver<Answer>,
}

/// The outcome of a request: the offset of the range, and whether it lies in a huge page now.
pub type Answer = (u64, std::io::Result<()>);

impl HugePages {
    /// Bytes of a huge page; ranges begin at multiples of it.
    pub const BYTES: u64 = HUGE_PAGE_BYTES as u64;

    pub(super) fn start(file: OwnedFd, bytes: u64) -> std::io::Result<Self> {
        // A mapping of its own, in which nothing is ever read.
        let region = Region::map(file.as_fd(), bytes, Access::ReadOnly)?;
        let (orders, ordered) = sync_channel(WAITING_MAX);
        let (answer, answers) = sync_channel(2 * WAITING_MAX);
        let work = move || {
            // Not being nice is no reason not to work.
            let _ = rustix::process::setpriority_process(None, NICEST);
            for offset in ordered {
                if answer.send((offset, region.collapse(offset))).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("huge-pages".into())
            .spawn(work)?;
        Ok(Self { orders, answers })
    }

    /// Asks for the range at `offset`. False when too many wait.
    pub fn ask(&self, offset: u64) -> bool {
        !matches!(self.orders.try_send(offset), Err(TrySendError::Full(_)))
    }

    /// The next answer, if there is one.
    pub fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}
