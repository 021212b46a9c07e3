//! The one command table: rows and handlers, by family.

mod counters;
mod databases;
mod dump;
pub mod error;
mod expiry;
mod flags;
pub mod glob;
pub mod handler;
mod help;
mod key_places;
mod keys;
mod lcs;
mod long_double;
mod lzf;
mod name_key;
mod object;
mod pins;
pub mod scan;
pub mod session;
mod set;
pub mod spec;
pub mod streams;
mod strings;
pub mod syntax;
mod table;
#[cfg(test)]
mod tests;
pub mod together;
mod value;

pub use error::CommandError;
pub use flags::Flags;
pub use handler::{
    Change, EachHandler, KeyLimits, Look, Outcome, PlanContext, ReadContext, ReadHandler, Run,
    ShardContext, ShardHandler, Together, check_kind,
};
pub use key_places::Keys;
pub use object::encoding_name;
pub use session::SessionCommand;
pub use spec::{Arity, CommandSpec, Docs, Group, Join, Route};
pub use table::{CommandId, FAMILIES, NewCommand, RegistrationError, Registry};
pub use value::{EXPIRE_AT_MAX, database_argument};
