//! Leases: who looks at the run of a large value in place keeps its owner from using that memory for something else.
//!
//! A holder (a worker, or a process that reads from outside) has one [`LeasePage`], which it alone writes. Its
//! [`Holder`] names runs there; the owner of a shard asks all pages ([`Holders`]) before it uses the memory of a run
//! again. Only runs are leased: smaller values are copied. The orderings stand in [`crate::shm::lease`].
//!
//! A page also has a ring for each shard in which its holder reports what it has read. Nothing in a page is trusted:
//! whatever stands there, its holder harms nobody but itself, and holds up no more memory than its leases may.

mod holder;
mod holders;
mod page;
mod reports;

pub use holder::{Holder, RunLease};
pub use holders::{HolderId, Holders};
pub use page::{LeasePage, PageState, SLOTS_MAX};
