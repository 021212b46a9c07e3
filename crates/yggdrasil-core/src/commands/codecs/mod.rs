//! Formats and algorithms that handlers use and that know nothing of commands' rows.

pub(in crate::commands) mod bits;
pub(in crate::commands) mod dump;
pub(super) mod geohash;
pub mod glob;
pub(in crate::commands) mod hyperloglog;
pub(in crate::commands) mod lcs;
pub mod libraries;
pub(in crate::commands) mod long_double;
pub(in crate::commands) mod lzf;
pub mod rdb;
pub(in crate::commands) mod sample;
pub(in crate::commands) mod timeout;
