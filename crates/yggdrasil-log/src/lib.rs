//! The log of a shard: each change as a record in segments, and the way back from there.
//!
//! `docs/formats.md` specifies the files byte by byte.

pub mod disk;
mod distinct;
mod flusher;
mod format;
mod parts;
mod pieces;
mod reader;
mod recovery;
mod shard_log;
mod writer;

pub use flusher::{Failure, FailureKind, Flusher, Progress};
pub use format::{
    Commit, Content, Decision, FORMAT_VERSION, FormatError, Frame, HEADER_BYTES, Outcome,
    RECORD_HEADER_BYTES, SegmentHeader, segment_name, sequence_of,
};
pub use parts::{Group, Remains, find_parts, whole_frames};
pub use pieces::Pieces;
pub use reader::{End, Entry, LogError, Place, Reader, first_needed};
pub use recovery::{Each, Found, Open, Outcomes, Recovery, RecoveryError, Target};
pub use shard_log::{LogListener, ShardLog, shard_directory};
pub use writer::{Given, Writer, WriterOptions};
