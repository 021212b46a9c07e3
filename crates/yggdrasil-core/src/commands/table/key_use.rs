//! What commands do with their keys, under the names that COMMAND INFO has for it.

/// The use of a key: whether it is read, changed, overwritten or removed, and what that means for its value.
pub type KeyUse = &'static [&'static str];

/// The value is read.
pub const READ: KeyUse = &["RO", "access"];
/// Only what is known of the key is read.
pub const LOOK: KeyUse = &["RO"];
/// The value is read, and another one takes its place.
pub const CHANGE: KeyUse = &["RW", "access", "update"];
/// A part of the value, or what is known of the key, is changed and not read.
pub const TOUCH_UP: KeyUse = &["RW", "update"];
/// Something is added to the value.
pub const INSERT: KeyUse = &["RW", "insert"];
/// A part of the value is removed and not read.
pub const TAKE_OUT: KeyUse = &["RW", "delete"];
/// The value is overwritten, whatever it was.
pub const OVERWRITE: KeyUse = &["OW", "update"];
/// The key is written where there was none.
pub const CREATE: KeyUse = &["OW", "insert"];
/// The key is removed.
pub const REMOVE: KeyUse = &["RM", "delete"];
/// The value is read, and the key removed.
pub const MOVE_AWAY: KeyUse = &["RW", "access", "delete"];
/// The arguments say whether the value is read before it is overwritten.
pub const BY_OPTIONS: KeyUse = &["RW", "access", "update", "variable_flags"];
/// What looks like a key is none.
pub const NO_KEY: KeyUse = &["not_key"];
