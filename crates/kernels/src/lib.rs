//! Kernels of Mithril: pure functions over byte slices that know nothing of storage or Python.

/// The version of the kernels, which is that of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
