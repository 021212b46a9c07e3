//! Rows and handlers, by family.

pub(in crate::commands) mod bitfield;
pub(in crate::commands) mod bitmap;
pub(in crate::commands) mod counters;
pub(in crate::commands) mod databases;
pub(in crate::commands) mod expiry;
pub(in crate::commands) mod geo;
pub(in crate::commands) mod hashes;
pub(in crate::commands) mod hyperloglog;
pub(in crate::commands) mod keys;
pub(in crate::commands) mod lists;
pub(in crate::commands) mod object;
pub mod parts;
pub(in crate::commands) mod pins;
pub(in crate::commands) mod removing;
pub mod scan;
pub mod scripting;
pub mod session;
pub(in crate::commands) mod set;
pub(in crate::commands) mod sets;
pub(in crate::commands) mod sort;
pub(in crate::commands) mod sorted_sets;
pub(in crate::commands) mod sorting;
pub(in crate::commands) mod steps;
pub(in crate::commands) mod storing;
pub(in crate::commands) mod streams;
pub(in crate::commands) mod strings;
pub(in crate::commands) mod value;
