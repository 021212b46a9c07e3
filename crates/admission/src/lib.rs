//! What a cache keeps: W-TinyLFU (Einziger, Friedman, Manes 2017) with a window that adapts.
//!
//! New entries come into the *window*. What falls out of it gets into the main part only if it was used more often
//! lately than what would have to go for it. The main part is a *probation* and a *protected* queue. What is different
//! from the papers is so because it was measured to be better; docs/admission.md has all of it, and this shapes the
//! code:
//!
//! - The queues are rings of six bytes a key without pointers. A hit writes into the entry and nothing else; promotion
//!   happens when the entry comes to the front (as CLOCK and S3-FIFO do).
//! - An entry counts its uses itself, exactly. The sketch (a doorkeeper and count-min counters) remembers only keys
//!   that are not there. So it gets along with four bytes a key, and a hit does not touch it.
//! - Window and admission are not found by climbing along the own hit ratio, but by miniature simulations of several
//!   arms side by side: they see what another one would have earned, at once and without moving anything.
//!
//! No I/O, no clock, no randomness: the same calls give the same decisions.

mod arms;
mod ghosts;
mod lines;
mod policy;
mod queues;
mod ring;
pub mod simulator;
mod sketch;
mod slot;
mod table;

pub use policy::{Counters, Policy};
pub use queues::{Entries, Found, Victim};
pub use slot::{Queue, Slot, Tag};
