//! Collections: the values that have elements.

pub mod tree;
