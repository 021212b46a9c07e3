//! The one command table: rows and handlers, by family.

mod codecs;
mod families;
mod table;
#[cfg(test)]
mod tests;

pub use codecs::{glob, libraries, rdb};
pub use families::functions::{meet_changes, unusable};
pub use families::object::encoding_name;
pub use families::scripting::ScriptingQuery;
pub use families::session::SessionCommand;
pub use families::value::{EXPIRE_AT_MAX, database_argument};
pub use families::{parts, scan, session};
pub use table::elements::ElementPlaces;
pub use table::error::CommandError;
pub use table::flags::Flags;
pub use table::handler::{
    CalledBy, Change, EachHandler, Further, InSteps, KeyLimits, Look, MayWait, Outcome,
    PlanContext, ReadContext, ReadHandler, Run, ScriptCall, ShardContext, ShardHandler, Together,
    Waits, Work, check_kind,
};
pub use table::key_use::KeyUse;
pub use table::keys::Keys;
pub use table::made::Made;
pub use table::registry::{CommandId, FAMILIES, NewCommand, RegistrationError, Registry};
pub use table::spec::{Arity, CommandSpec, Docs, Group, Join, Route};
pub use table::{error, handler, spec, syntax, together};
