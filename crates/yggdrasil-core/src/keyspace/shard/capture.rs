//! Recording of what the shard is asked for.

use crate::keyspace::capture::{Capture, CaptureMark, Captured};
use crate::keyspace::types::{Key, Millis};

use super::Shard;

impl Shard {
    /// Gives what was captured since the last call, and records one key in `2^shift` from now on; nothing more with
    /// `None`. Ends by itself when it is not called for ten seconds.
    pub fn capture(&mut self, shift: Option<u8>, unix_us: fn() -> u64, now: Millis) -> Captured {
        let capture = self.journal.capture();
        let captured = capture
            .filter(|capture| shift.is_none_or(|shift| capture.shift() == shift))
            .map(|capture| capture.take(now));
        if shift.is_none() || captured.is_none() {
            let capture = shift.map(|shift| Box::new(Capture::new(shift, unix_us, now)));
            self.journal.set_capture(capture);
        }
        captured.unwrap_or_else(|| Captured {
            until_us: unix_us(),
            ..Captured::default()
        })
    }

    /// Ends a recording that nobody asks for any more.
    pub fn end_forgotten_capture(&mut self, now: Millis) {
        let capture = self.journal.capture();
        if capture.is_some_and(|capture| capture.is_forgotten(now)) {
            self.journal.set_capture(None);
        }
    }

    /// How much is captured now, for [`Shard::forget_captured`] in the same call of the engine.
    #[inline]
    pub fn capture_mark(&mut self) -> CaptureMark {
        let capture = self.journal.capture();
        capture.map_or_else(CaptureMark::default, |capture| capture.mark())
    }

    /// Forgets what was captured since, because it is done again.
    #[inline]
    pub fn forget_captured(&mut self, since: CaptureMark) {
        if let Some(capture) = self.journal.capture() {
            capture.return_to(since);
        }
    }

    /// Notes a read of a key, perhaps of another shard, whose key and value have `bytes`; 0 for one that is not there.
    #[inline(always)]
    pub fn note_read(&mut self, key: &Key<'_>, bytes: u64) {
        if let Some(capture) = self.journal.capture() {
            capture.note_read(key, bytes);
        }
    }
}
