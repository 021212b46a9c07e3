//! Kernels of Mithril: pure functions over byte slices that know nothing of storage or Python.
//!
//! Three families: of tensors, of documents ([`dedup`]), and of samples ([`tokens`], [`images`]). A tensor is cut into
//! *chunks*, and a chunk into *blocks*, each coded on its own. [`chunk`] is the way in: it frames the blocks, hashes them
//! and checks them.

mod bits;
pub mod block;
pub mod chunk;
pub mod dedup;
mod delta;
mod element;
mod error;
pub mod images;
mod model;
mod packed;
mod planes;
pub mod quantize;
mod rans;
mod simd;
pub mod tokens;
mod word;

pub use element::Element;
pub use error::{KernelError, Result};
pub use simd::Level;

/// The version of the kernels, which is that of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
