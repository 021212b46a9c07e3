//! Time as a parameter of the engine.

/// Where the engine reads the time; a simulation passes its own functions.
#[derive(Clone, Copy)]
pub struct Clock {
    /// Unix time in milliseconds.
    pub unix_ms: fn() -> u64,
    /// Unix time in microseconds.
    pub unix_us: fn() -> u64,
    /// A counter that only grows, for durations.
    pub ticks: fn() -> u64,
    /// Nanoseconds of a tick, times 2^32.
    pub ns_per_tick: u64,
}

impl Clock {
    /// Nanoseconds of so many ticks.
    #[inline]
    #[must_use]
    pub fn nanoseconds(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.ns_per_tick)) >> 32) as u64
    }
}
