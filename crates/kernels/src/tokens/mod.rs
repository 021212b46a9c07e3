//! Kernels of the pipeline for text: byte-level byte pair encoding, as GPT-2 and its kin have it.

mod encoder;
mod merges;
mod split;

pub use encoder::Encoder;
pub use merges::Merges;
