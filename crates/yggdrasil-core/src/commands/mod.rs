//! The one command table: rows and handlers, by family.

mod counters;
mod databases;
mod dump;
pub mod error;
mod expiry;
pub mod glob;
mod keys;
mod lcs;
mod long_double;
mod lzf;
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
pub use session::SessionCommand;
pub use spec::{
    Action, Arity, Change, CommandSpec, Docs, EachHandler, Flags, Group, Join, KeyLimits, Keys,
    Look, Outcome, PlanContext, ReadContext, ReadHandler, Route, Run, ShardContext, ShardHandler,
    Together,
};
pub use table::{CommandId, FAMILIES, NewCommand, RegistrationError, Registry};
pub use value::{EXPIRE_AT_MAX, database_argument};
