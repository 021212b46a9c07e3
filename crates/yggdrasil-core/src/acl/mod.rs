//! Users and what they may do: rules as Redis writes them, and the check of a request against them.

mod error;
mod keys;
mod password;
mod selector;
mod sort;
#[cfg(test)]
mod tests;
mod user;
mod users;

pub use error::{RuleError, UsersError};
pub use keys::{KeyPattern, Permission};
pub use selector::{Denial, Selector};
pub use user::User;
pub use users::Users;

/// The categories of commands, in Redis's order.
pub const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// True for a text with blanks or zero bytes, which neither names nor patterns may have.
fn has_spaces(text: &[u8]) -> bool {
    text.iter()
        .any(|byte| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | 0))
}
