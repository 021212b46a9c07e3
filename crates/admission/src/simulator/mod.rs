//! Policies against each other on traces.

pub mod capture;
pub mod policies;
mod run;
mod trace;

pub use run::{Outcome, POLICIES, Simulation};
pub use trace::{Event, Format, Reader, TraceError};

/// A cache under simulation.
pub trait Cache {
    /// A request for a key, by its hash, of an object that takes `cost` bytes. Tells whether it was there; it is now,
    /// unless it is larger than the cache.
    fn request(&mut self, hash: u64, cost: u64) -> bool;
}
