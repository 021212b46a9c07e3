//! Collections: the values that have elements.

pub mod table;
pub mod tree;
pub mod wire;
