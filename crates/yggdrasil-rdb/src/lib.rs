//! Files of Redis (RDB), read and written as streams.
//!
//! ```text
//! "REDIS" | version in four digits | { opcode or type of an entry ... } | 0xff | crc64: u64 LE over all before
//! entry    { 0xfc ms: i64 LE or 0xfd s: i32 LE or 0xf8 idle: length or 0xf9 freq: u8 } type: u8 | key: string | value
//! ```
//!
//! A value is handed on as the payload of DUMP: its bytes as they stand in the file, a version and a checksum. So RESTORE
//! checks it like one from anywhere else.

mod error;
mod opcode;
mod reader;
mod source;
mod value;
mod writer;

pub use error::{Fault, RdbError};
pub use reader::{Entry, Item, Limits, Reader, Skipped};
pub use writer::{Header, Writer};
