//! What commands do with their keys, under the names that COMMAND INFO has for it.

use crate::acl::Permission;
use crate::resp::Args;

/// The use of a key: whether it is read, changed, overwritten or removed, and what that means for its value.
pub type KeyUse = &'static [&'static str];

/// What a use needs of the rules of its user. Only looking whether a key is there needs neither reading nor writing.
pub fn permission(key_use: KeyUse) -> Permission {
    let needed = key_use.iter().map(|word| match *word {
        "access" => Permission::READ,
        "insert" | "update" | "delete" => Permission::WRITE,
        _ => Permission::NONE,
    });
    needed.fold(Permission::NONE, Permission::with)
}

/// The use that the arguments of a request make of its key, where [`BY_OPTIONS`] stands in the row.
pub fn by_options(name: &str, args: &Args<'_>) -> KeyUse {
    if name == "bitfield" {
        return if only_gets(args) { READ } else { CHANGE };
    }
    let mut options = args.iter().skip(3);
    if options.any(|option| option.eq_ignore_ascii_case(b"GET")) {
        CHANGE
    } else {
        OVERWRITE
    }
}

/// True for a BITFIELD that changes nothing.
fn only_gets(args: &Args<'_>) -> bool {
    let mut place = 2;
    while let Some(operation) = args.get(place) {
        let end = match operation.to_ascii_lowercase().as_slice() {
            b"get" => place + 3,
            b"overflow" => place + 2,
            _ => return false,
        };
        if end > args.len() {
            return false;
        }
        place = end;
    }
    true
}

/// The value is read.
pub const READ: KeyUse = &["RO", "access"];
/// The values are read; not all keys are found by this rule alone.
pub const READ_SOME: KeyUse = &["RO", "access", "incomplete"];
/// Only what is known of the key is read.
pub const LOOK: KeyUse = &["RO"];
/// The value is read, and another one takes its place.
pub const CHANGE: KeyUse = &["RW", "access", "update"];
/// The value is read, and what was found out of it may be kept there.
pub const READ_AND_KEEP: KeyUse = &["RW", "access"];
/// The value is read, and something is added to it.
pub const READ_AND_INSERT: KeyUse = &["RW", "access", "insert"];
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
