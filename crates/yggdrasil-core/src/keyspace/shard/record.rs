//! Recording of what the shard is asked for.

use crate::keyspace::recorder::{Recorded, Recorder, RecordingMark};
use crate::keyspace::types::{Key, Millis};

use super::Shard;

impl Shard {
    /// Gives what was recorded since the last call, and records one key in `2^shift` from now on; nothing more with
    /// `None`. Ends by itself when it is not called for ten seconds.
    pub fn record(&mut self, shift: Option<u8>, unix_us: fn() -> u64, now: Millis) -> Recorded {
        let recorder = self.journal.recorder();
        let recorded = recorder
            .filter(|recorder| shift.is_none_or(|shift| recorder.shift() == shift))
            .map(|recorder| recorder.take(now));
        if shift.is_none() || recorded.is_none() {
            let recorder = shift.map(|shift| Box::new(Recorder::new(shift, unix_us, now)));
            self.journal.set_recorder(recorder);
        }
        recorded.unwrap_or_else(|| Recorded {
            until_us: unix_us(),
            ..Recorded::default()
        })
    }

    /// Ends a recording that nobody asks for any more.
    pub fn end_forgotten_recording(&mut self, now: Millis) {
        let recorder = self.journal.recorder();
        if recorder.is_some_and(|recorder| recorder.is_forgotten(now)) {
            self.journal.set_recorder(None);
        }
    }

    /// How much is recorded now, for [`Shard::forget_recorded`] in the same call of the engine.
    #[inline]
    pub fn recording_mark(&mut self) -> RecordingMark {
        let recorder = self.journal.recorder();
        recorder.map_or_else(RecordingMark::default, |recorder| recorder.mark())
    }

    /// Forgets what was recorded since, because it is done again.
    #[inline]
    pub fn forget_recorded(&mut self, since: RecordingMark) {
        if let Some(recorder) = self.journal.recorder() {
            recorder.return_to(since);
        }
    }

    /// Notes a read of a key, perhaps of another shard, whose key and value have `bytes`; 0 for one that is not there.
    #[inline(always)]
    pub fn note_read(&mut self, key: &Key<'_>, bytes: u64) {
        if let Some(recorder) = self.journal.recorder() {
            recorder.note_read(key, bytes);
        }
    }
}
