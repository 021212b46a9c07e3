//! Policies to compare with, as their authors describe them.

mod adaptive;
mod lfu;
mod linked;
mod lru;
mod s3fifo;
mod sampled;
mod tinylfu;

pub use adaptive::Adaptive;
pub use lfu::Lfu;
pub use lru::Lru;
pub use s3fifo::S3Fifo;
pub use sampled::{Sampled, Sampling};
pub use tinylfu::WTinyLfu;
