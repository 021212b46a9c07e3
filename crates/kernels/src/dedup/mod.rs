//! Kernels of deduplication: normal forms, shingles, MinHash signatures, bands, true similarity, clusters.
//!
//! [`Signer`] takes documents from text to what is compared; [`Links`] finds the pairs worth comparing; [`Sets`]
//! compares them; [`Clusters`] joins those that are alike. [`Anchors`] and [`Repeats`] find runs of bytes that stand in
//! other texts; [`Ngrams`] finds texts that share a run of words with given ones.

mod anchors;
mod ascii;
mod border;
mod clusters;
mod equal;
mod links;
mod minhash;
mod ngrams;
mod plan;
mod repeats;
mod rolling;
mod sets;
mod shingles;
mod signer;
mod text;
mod words;

pub use anchors::Anchors;
pub use border::Border;
pub use clusters::{Clusters, first_equal};
pub use links::Links;
pub use minhash::MinHash;
pub use ngrams::{Ngrams, ngrams};
pub use plan::{Plan, collision_probability};
pub use repeats::{Repeats, TEXT_BYTES_MAX};
pub use sets::Sets;
pub use shingles::{Shingler, Unit};
pub use signer::{Document, Signer};
pub use text::Form;

/// The largest number of documents of one run: they are numbered in 32 bits.
pub const DOCUMENTS_MAX: u64 = u32::MAX as u64;

/// A bijection of 64 bits in which every output bit depends on every input bit (the finalizer of SplitMix64).
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
