//! Collections: values of many elements.

pub mod intset;
pub mod listpack;
