//! A limit to bytes a second.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A limit to bytes a second, shared by threads. What is due is waited for after it was done.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: u64,
    /// When all that was done so far is paid for.
    paid_at: Mutex<Instant>,
}

impl Pace {
    /// A limit; 0 for none.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            paid_at: Mutex::new(Instant::now()),
        }
    }

    /// The time to wait after so many bytes.
    fn due(&self, bytes: u64, now: Instant) -> Duration {
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut paid_at = match self.paid_at.lock() {
            Ok(paid_at) => paid_at,
            Err(poisoned) => poisoned.into_inner(),
        };
        *paid_at = (*paid_at).max(now) + cost;
        paid_at.saturating_duration_since(now)
    }

    /// Waits as long as these bytes take.
    pub fn spend(&self, bytes: u64) {
        let due = self.due(bytes, Instant::now());
        if !due.is_zero() {
            std::thread::sleep(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time_and_idle_time_is_not_saved() {
        let pace = Pace::new(1_000);
        let start = Instant::now() + Duration::from_secs(1);
        assert_eq!(pace.due(500, start), Duration::from_millis(500));
        assert_eq!(pace.due(500, start), Duration::from_secs(1));
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.due(1_000, later), Duration::from_secs(1));
        assert_eq!(Pace::new(0).due(u64::MAX, start), Duration::ZERO);
    }
}
