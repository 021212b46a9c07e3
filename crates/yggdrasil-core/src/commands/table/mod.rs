//! The command table: what stands in a row, where rows are found, and how they are run.

pub mod elements;
pub mod error;
pub mod flags;
pub mod handler;
mod help;
pub mod key_use;
pub mod keys;
pub mod made;
mod name_key;
pub mod registry;
pub mod spec;
pub mod syntax;
pub mod together;
