//! Patterns of keys, each with what it permits.

use super::{RuleError, has_spaces};
use crate::commands::glob;

/// What may be done with a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permission(u8);

impl Permission {
    pub const NONE: Self = Self(0);
    pub const READ: Self = Self(1);
    pub const WRITE: Self = Self(2);
    pub const ALL: Self = Self(3);

    /// True when all of `other` is permitted.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A pattern of keys with what may be done with the keys that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    pub pattern: Box<[u8]>,
    pub permission: Permission,
}

impl KeyPattern {
    /// Reads a rule: `~pattern`, `%R~pattern`, `%W~pattern` or `%RW~pattern`.
    pub(super) fn parse(rule: &[u8]) -> Result<Self, RuleError> {
        let (permission, pattern) = match rule {
            [b'~', pattern @ ..] => (Permission::ALL, pattern),
            [b'%', rest @ ..] => permission_and_pattern(rest)?,
            _ => return Err(RuleError::Syntax),
        };
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        Ok(Self {
            pattern: pattern.into(),
            permission,
        })
    }

    /// True when it permits this with this key.
    pub fn permits(&self, key: &[u8], wanted: Permission) -> bool {
        self.permission.has(wanted) && glob::matches(&self.pattern, key)
    }

    /// Appends it as a rule.
    pub(super) fn describe(&self, into: &mut Vec<u8>) {
        let mark: &[u8] = match self.permission {
            Permission::READ => b"%R~",
            Permission::WRITE => b"%W~",
            _ => b"~",
        };
        into.extend_from_slice(mark);
        into.extend_from_slice(&self.pattern);
    }
}

/// The letters before a tilde, each at most once, and what stands behind it.
fn permission_and_pattern(rest: &[u8]) -> Result<(Permission, &[u8]), RuleError> {
    let mut permission = Permission::NONE;
    for (place, byte) in rest.iter().enumerate() {
        let letter = match byte.to_ascii_uppercase() {
            b'R' => Permission::READ,
            b'W' => Permission::WRITE,
            b'~' if permission != Permission::NONE => return Ok((permission, &rest[place + 1..])),
            _ => return Err(RuleError::Syntax),
        };
        if permission.has(letter) {
            return Err(RuleError::Syntax);
        }
        permission = permission.with(letter);
    }
    match permission {
        Permission::NONE => Err(RuleError::Syntax),
        // Redis takes a missing tilde for an empty pattern.
        permission => Ok((permission, &[])),
    }
}
