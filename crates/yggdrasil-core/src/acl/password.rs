//! Passwords, of which nothing but their SHA-256 is kept.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::RuleError;

/// Hexadecimal digits of a hash.
const DIGITS: usize = 64;

/// The SHA-256 of a password, in lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    pub fn of(password: &[u8]) -> Self {
        let mut digits = String::with_capacity(DIGITS);
        for byte in Sha256::digest(password) {
            // Writing to a string cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        Self(digits)
    }

    /// Reads the digits of a hash.
    pub fn parse(digits: &[u8]) -> Result<Self, RuleError> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != DIGITS || !digits.iter().all(is_digit) {
            return Err(RuleError::BadHash);
        }
        Ok(Self(digits.iter().map(|&byte| char::from(byte)).collect()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the hash of the same password. Every digit is looked at, so that the time tells nothing about the first
    /// wrong one.
    pub fn is(&self, other: &Self) -> bool {
        let pairs = self.0.bytes().zip(other.0.bytes());
        pairs.fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}
