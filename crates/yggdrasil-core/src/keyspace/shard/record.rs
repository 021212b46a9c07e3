//! Recording of what the shard is asked for.

use yggdrasil_admission::simulator::capture::Kind;

use crate::keyspace::recorder::{Recorded, Recorder, RecordingMark};
use crate::keyspace::types::{Key, Millis};

use super::Shard;

impl Shard {
    /// Gives what was recorded since the last call, and records one key in `2^shift` from now on; nothing more with
    /// `None`. Ends by itself when it is not called for ten seconds.
    pub fn record(&mut self, shift: Option<u8>, unix_us: fn() -> u64, now: Millis) -> Recorded {
        let recorder = self.recorder.as_mut();
        let recorded = recorder
            .filter(|recorder| shift.is_none_or(|shift| recorder.shift() == shift))
            .map(|recorder| recorder.take(now));
        if shift.is_none() || recorded.is_none() {
            self.recorder = shift.map(|shift| Box::new(Recorder::new(shift, unix_us, now)));
        }
        recorded.unwrap_or_else(|| Recorded {
            until_us: unix_us(),
            ..Recorded::default()
        })
    }

    /// Ends a recording that nobody asks for any more.
    pub fn end_forgotten_recording(&mut self, now: Millis) {
        self.recorder.take_if(|recorder| recorder.is_forgotten(now));
    }

    /// How much is recorded now, for [`Shard::forget_recorded`] in the same call of the engine.
    #[inline]
    pub fn recording_mark(&self) -> RecordingMark {
        let recorder = self.recorder.as_ref();
        recorder.map_or_else(RecordingMark::default, |recorder| recorder.mark())
    }

    /// Forgets what was recorded since, because it is done again.
    #[inline]
    pub fn forget_recorded(&mut self, since: RecordingMark) {
        if let Some(recorder) = &mut self.recorder {
            recorder.return_to(since);
        }
    }

    /// Notes a read of a key, perhaps of another shard, whose key and value have `bytes`; 0 for one that is not there.
    #[inline(always)]
    pub fn note_read(&mut self, key: &Key<'_>, bytes: u64) {
        if let Some(recorder) = &mut self.recorder {
            recorder.note(key, Kind::Read, bytes);
        }
    }

    #[inline(always)]
    pub(super) fn note_write(&mut self, key: &Key<'_>, value_bytes: u64) {
        if let Some(recorder) = &mut self.recorder {
            recorder.note(key, Kind::Write, key.bytes.len() as u64 + value_bytes);
        }
    }
}
