//! Shared memory: segments (memfd), three ways to map one, and nothing else in this crate touches raw memory.
//!
//! | mapping | who | access |
//! |---|---|---|
//! | [`Mapping`] | the one owner | reads and writes; a lock on the segment keeps a second owner out |
//! | [`ReadOnlyMapping`] | anyone | copies out, trusts nothing |
//! | [`SharedMapping`] | everyone | atomics and byte copies at agreed offsets (rings, counters) |
//!
//! A segment is sealed against resizing, so that a checked offset stays inside for as long as it is mapped.
//! Memory that another process may write meanwhile is never borrowed as a slice, but read by relaxed atomic words.

mod copy;
mod fork;
mod huge;
pub mod lease;
#[cfg(all(test, loom))]
mod lease_model;
mod mapping;
mod processor;
mod region;
mod segment;
pub mod sequence;
#[cfg(all(test, loom))]
mod sequence_model;

pub use fork::ForkMark;
pub use huge::HugePages;
pub use mapping::{Exposed, Mapping, ReadOnlyMapping, SharedMapping};
pub use processor::{equal_bytes, prefetch_slice};
pub use segment::{Segment, ShmError};

#[cfg(target_endian = "big")]
compile_error!("the layout of shared memory is little-endian");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("arenas are larger than a 32-bit address space");

/// Bytes of a word: the unit in which racing memory is read and written.
pub const WORD: u64 = 8;
