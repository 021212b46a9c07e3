//! RESP2 and RESP3 as a server speaks them: requests in, replies out, no I/O.

mod args;
mod double;
mod inline;
mod integer;
mod parser;
mod reply;

pub use args::{Args, ArgsBuffer, Span};
pub use double::{Double, parse_double, write_double};
pub use inline::split_words;
pub use integer::{parse_i64, parse_u64};
pub use parser::{Arriving, Limits, Parsed, Parser, ProtocolError, Requests};
pub use reply::{Lend, Progress, Protocol, Reply, Rest, finish_at_once};
