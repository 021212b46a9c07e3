//! The layout of an entry.
//!
//! ```text
//! word 0   version:48 | form:8 | db:8         form = kind:3 | pinned:1 | encoding:2 | has_expiry:1 | wide:1
//! word 1   value_len:32 | key_len:8 | access:24
//! [wide]     key_len:32 | value_len_high:32
//! [expiry]   two words: expire_at_ms:48 | wheel links: 2 x 40 bit
//! key bytes, value bytes
//! ```
//! Fields are named from the low bits up. `db` is the physical database. Entries too large for a size class always
//! have the expiry words, so that a change of expiry never moves them.
//!
//! No bit of word 0 is left. What an entry has to say beyond it takes the one [`Kind`] that is not given yet, and a
//! word of its own that tells which kind it really is.

use super::classes::CLASS_BYTES_MAX;
use super::kind::{Encoding, Kind, Stored};
use super::layout::{REF_BITS, REF_MASK};
use super::types::Millis;

const VERSION_BITS: u32 = 48;
pub(super) const VERSION_MASK: u64 = (1 << VERSION_BITS) - 1;
pub(super) const ACCESS_MASK: u32 = 0xff_ffff;
/// Key length that says: look into the wide word.
const KEY_LEN_WIDE: u64 = 255;
pub(super) const KEY_BYTES_MAX: u64 = u32::MAX as u64;
pub(super) const VALUE_BYTES_MAX: u64 = 1 << 40;

const KIND_SHIFT: u32 = VERSION_BITS;
const KIND_MASK: u64 = 7 << KIND_SHIFT;
const PINNED: u64 = 1 << (VERSION_BITS + 3);
const ENCODING_SHIFT: u32 = VERSION_BITS + 4;
const ENCODING_MASK: u64 = 3 << ENCODING_SHIFT;
const HAS_EXPIRY: u64 = 1 << (VERSION_BITS + 6);
const WIDE: u64 = 1 << (VERSION_BITS + 7);
const DB_SHIFT: u32 = VERSION_BITS + 8;
const LAYOUT_BITS: u64 = HAS_EXPIRY | WIDE;

/// Bytes that room for an expiry takes.
pub(super) const EXPIRY_BYTES: u64 = 16;

/// The kind of a value, and how its bytes are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Form {
    pub(super) kind: Kind,
    pub(super) encoding: Encoding,
}

impl Form {
    /// The bytes of a string.
    pub(super) const STRING: Form = Form {
        kind: Kind::String,
        encoding: Encoding::Raw,
    };

    #[inline(always)]
    pub(super) fn of(stored: &Stored<'_>) -> Self {
        Self {
            kind: stored.kind,
            encoding: stored.encoding,
        }
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        (self.kind as u64) << KIND_SHIFT | (self.encoding as u64) << ENCODING_SHIFT
    }
}

/// Size of an entry and where its parts begin, known before it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    pub(super) key_bytes: u64,
    pub(super) value_bytes: u64,
    has_expiry: bool,
    wide: bool,
}

impl Extent {
    #[inline(always)]
    pub(super) fn new(key_bytes: u64, value_bytes: u64, expires: bool) -> Self {
        let plain = Self {
            key_bytes,
            value_bytes,
            has_expiry: true,
            wide: key_bytes >= KEY_LEN_WIDE || value_bytes > u64::from(u32::MAX),
        };
        let has_expiry = expires || plain.total_bytes() > CLASS_BYTES_MAX;
        Self {
            has_expiry,
            ..plain
        }
    }

    /// The same with the wide word, whether it is needed or not: the value then begins at the same place however long
    /// it becomes.
    pub(super) fn widened(self) -> Self {
        Self { wide: true, ..self }
    }

    /// The same, with the wide word if `header` has it.
    pub(super) fn as_wide_as(self, header: &Header) -> Self {
        Self {
            wide: self.wide || header.is_wide(),
            ..self
        }
    }

    pub(super) fn is_wide(&self) -> bool {
        self.wide
    }

    #[inline(always)]
    pub(super) fn key_word(&self) -> u64 {
        2 + u64::from(self.wide) + 2 * u64::from(self.has_expiry)
    }

    /// Byte of the entry in which the value begins.
    pub(super) fn value_offset(&self) -> u64 {
        self.key_word() * 8 + self.key_bytes
    }

    #[inline(always)]
    pub(super) fn total_bytes(&self) -> u64 {
        self.key_word() * 8 + self.key_bytes + self.value_bytes
    }
}

/// The header words of an entry. Read from outside they may be anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) word0: u64,
    pub(super) word1: u64,
    wide: u64,
}

impl Header {
    #[inline(always)]
    pub(super) fn new(extent: &Extent, db: u8, form: Form, version: u64, access: u32) -> Self {
        let wide = extent.wide;
        let word0 = version & VERSION_MASK
            | form.bits()
            | if extent.has_expiry { HAS_EXPIRY } else { 0 }
            | if wide { WIDE } else { 0 }
            | u64::from(db) << DB_SHIFT;
        let word1 = extent.value_bytes & u64::from(u32::MAX)
            | extent.key_bytes.min(KEY_LEN_WIDE) << 32
            | u64::from(access & ACCESS_MASK) << 40;
        // A key below 255 bytes is wide only for its value; its length then stands in the wide word too.
        let word1 = if wide {
            word1 | KEY_LEN_WIDE << 32
        } else {
            word1
        };
        Self {
            word0,
            word1,
            wide: extent.key_bytes | (extent.value_bytes >> 32) << 32,
        }
    }

    /// Reads a header with the given way to load word `n` of the entry.
    #[inline(always)]
    pub(super) fn load<E>(mut word: impl FnMut(u64) -> Result<u64, E>) -> Result<Self, E> {
        let (word0, word1) = (word(0)?, word(1)?);
        let wide = if word0 & WIDE != 0 {
            word(2)?
        } else {
            word1 >> 32 & 0xff
        };
        Ok(Self { word0, word1, wide })
    }

    #[inline(always)]
    pub(super) fn version(&self) -> u64 {
        self.word0 & VERSION_MASK
    }

    /// `None` for the number that no kind has.
    #[inline(always)]
    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::numbered(((self.word0 & KIND_MASK) >> KIND_SHIFT) as u8)
    }

    #[inline(always)]
    pub(super) fn encoding(&self) -> Encoding {
        match (self.word0 & ENCODING_MASK) >> ENCODING_SHIFT {
            0 => Encoding::Raw,
            1 => Encoding::Int,
            2 => Encoding::Tree,
            _ => Encoding::Absent,
        }
    }

    /// True for a value that lies here whole, whatever its kind.
    #[inline(always)]
    pub(super) fn is_here(&self) -> bool {
        const ELSEWHERE: u64 = 2 << ENCODING_SHIFT;
        self.word0 & ELSEWHERE == 0
    }

    /// True for a string that lies here as bytes.
    #[inline(always)]
    pub(super) fn is_raw_string(&self) -> bool {
        self.word0 & (KIND_MASK | ENCODING_MASK) == 0
    }

    /// True for a string that lies here whole, as nearly all do.
    #[inline(always)]
    pub(super) fn is_string_here(&self) -> bool {
        const HERE: u64 = 1 << ENCODING_SHIFT;
        self.word0 & (KIND_MASK | ENCODING_MASK) & !HERE == 0
    }

    /// True when it is neither evicted nor moved to a lower tier.
    #[inline(always)]
    pub(super) fn is_pinned(&self) -> bool {
        self.word0 & PINNED != 0
    }

    /// The same entry, pinned or not.
    #[inline(always)]
    pub(super) fn with_pin(&self, pinned: bool) -> Self {
        Self {
            word0: self.word0 & !PINNED | if pinned { PINNED } else { 0 },
            ..*self
        }
    }

    /// True when the words for an expiry are there; they may say that it never comes.
    #[inline(always)]
    pub(super) fn has_expiry(&self) -> bool {
        self.word0 & HAS_EXPIRY != 0
    }

    #[inline(always)]
    pub(super) fn is_wide(&self) -> bool {
        self.word0 & WIDE != 0
    }

    /// True when key and value begin at the same places as in `other`.
    #[inline(always)]
    pub(super) fn same_layout(&self, other: &Self) -> bool {
        (self.word0 ^ other.word0) & LAYOUT_BITS == 0
    }

    #[inline(always)]
    pub(super) fn db(&self) -> u8 {
        (self.word0 >> DB_SHIFT) as u8
    }

    #[inline(always)]
    pub(super) fn access(&self) -> u32 {
        (self.word1 >> 40) as u32
    }

    #[inline(always)]
    pub(super) fn with_access(&self, access: u32) -> u64 {
        self.word1 & !(u64::from(ACCESS_MASK) << 40) | u64::from(access) << 40
    }

    #[inline(always)]
    pub(super) fn set_access(&mut self, access: u32) {
        self.word1 = self.with_access(access);
    }

    /// The same plain entry with another value: neither expiry nor wide fields, before and after.
    #[inline(always)]
    pub(super) fn rewritten(
        &self,
        value_bytes: u64,
        form: Form,
        version: u64,
        access: u32,
    ) -> Option<Self> {
        if self.word0 & LAYOUT_BITS != 0 || value_bytes > CLASS_BYTES_MAX {
            return None;
        }
        let kept = self.word0 & !(VERSION_MASK | KIND_MASK | ENCODING_MASK);
        let word0 = kept | version & VERSION_MASK | form.bits();
        let word1 = value_bytes | self.word1 & KEY_LEN_WIDE << 32 | u64::from(access) << 40;
        Some(Self {
            word0,
            word1,
            ..*self
        })
    }

    /// The same entry in another version, with or without room for an expiry.
    #[inline(always)]
    pub(super) fn changed(&self, version: u64, has_expiry: bool) -> Self {
        let kept = self.word0 & !(VERSION_MASK | HAS_EXPIRY);
        Self {
            word0: kept | version & VERSION_MASK | if has_expiry { HAS_EXPIRY } else { 0 },
            ..*self
        }
    }

    #[inline(always)]
    pub(super) fn key_bytes(&self) -> u64 {
        self.wide & u64::from(u32::MAX)
    }

    #[inline(always)]
    pub(super) fn value_bytes(&self) -> u64 {
        self.word1 & u64::from(u32::MAX) | (self.wide >> 32) << 32
    }

    #[inline(always)]
    pub(super) fn wide_word(&self) -> u64 {
        self.wide
    }

    /// Word of the entry in which the expiry begins, if it has the place for one.
    #[inline(always)]
    pub(super) fn expiry_word(&self) -> u64 {
        2 + u64::from(self.is_wide())
    }

    /// Word of the entry in which the key begins.
    #[inline(always)]
    pub(super) fn key_word(&self) -> u64 {
        self.expiry_word() + 2 * u64::from(self.has_expiry())
    }

    /// Byte of the entry in which the value begins.
    #[inline(always)]
    pub(super) fn value_offset(&self) -> u64 {
        self.key_word() * 8 + self.key_bytes()
    }

    #[inline(always)]
    pub(super) fn total_bytes(&self) -> u64 {
        self.value_offset() + self.value_bytes()
    }
}

/// The two expiry words: the time, and the links to the neighbours in the timing wheel.
///
/// Times from 2^48 - 1 on do not take part in the wheel; their second word holds the exact time instead of links, and
/// the largest of them means never.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ExpiryWords(pub(super) [u64; 2]);

impl ExpiryWords {
    const TIME_BITS: u32 = 48;
    /// Times from here on are far.
    pub(super) const FAR: Millis = (1 << Self::TIME_BITS) - 1;
    pub(super) const NEVER: Millis = Millis::MAX;

    pub(super) fn unlinked(expire_at: Option<Millis>) -> Self {
        let at = expire_at.unwrap_or(Self::NEVER);
        if at >= Self::FAR {
            Self([Self::FAR, at])
        } else {
            Self([at, 0])
        }
    }

    #[inline(always)]
    pub(super) fn is_far(&self) -> bool {
        self.0[0] & Self::FAR == Self::FAR
    }

    #[inline(always)]
    pub(super) fn expire_at(&self) -> Option<Millis> {
        let near = self.0[0] & Self::FAR;
        if near != Self::FAR {
            return Some(near);
        }
        (self.0[1] != Self::NEVER).then_some(self.0[1])
    }

    #[inline(always)]
    pub(super) fn next(&self) -> u64 {
        self.0[1] & REF_MASK
    }

    #[inline(always)]
    pub(super) fn previous(&self) -> u64 {
        self.0[1] >> REF_BITS | self.0[0] >> Self::TIME_BITS << (64 - REF_BITS)
    }

    /// The same time with other links. The time is not far.
    #[inline(always)]
    pub(super) fn linked(&self, previous: u64, next: u64) -> Self {
        debug_assert!(!self.is_far());
        let high = previous >> (64 - REF_BITS) << Self::TIME_BITS;
        Self([self.0[0] & Self::FAR | high, next | previous << REF_BITS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form = Form {
        kind: Kind::Vector,
        encoding: Encoding::Tree,
    };

    #[test]
    fn a_rewritten_entry_has_the_form_of_its_new_value() {
        let extent = Extent::new(3, 8, false);
        for kind in Kind::ALL {
            for encoding in (0..4).filter_map(Encoding::numbered) {
                let form = Form { kind, encoding };
                let before = Header::new(&extent, 1, FORM, 7, 0).with_pin(true);
                let after = before.rewritten(5, form, 8, 1).unwrap();
                let expected = Extent::new(3, 5, false);
                let expected = Header::new(&expected, 1, form, 8, 1).with_pin(true);
                assert_eq!(after, expected);
                assert_eq!((after.kind(), after.encoding()), (Some(kind), encoding));
                let is_here = matches!(encoding, Encoding::Raw | Encoding::Int);
                assert_eq!(after.is_string_here(), kind == Kind::String && is_here);
            }
        }
    }

    fn round_trip(key_bytes: u64, value_bytes: u64, expires: bool) -> Header {
        let extent = Extent::new(key_bytes, value_bytes, expires);
        let header = Header::new(&extent, 9, FORM, 0x1234_5678_9abc, 0xabcdef);
        let words = [header.word0, header.word1, header.wide_word()];
        let read = Header::load(|n| Ok::<_, ()>(words[n as usize])).unwrap();
        assert_eq!(read, header);
        assert_eq!(read.total_bytes(), extent.total_bytes());
        assert_eq!(read.key_word(), extent.key_word());
        assert_eq!(
            (read.key_bytes(), read.value_bytes()),
            (key_bytes, value_bytes)
        );
        assert_eq!(
            (read.version(), read.access(), read.db()),
            (0x1234_5678_9abc, 0xabcdef, 9)
        );
        assert_eq!(
            (read.kind(), read.encoding()),
            (Some(FORM.kind), FORM.encoding)
        );
        read
    }

    #[test]
    fn headers_keep_what_they_are_given() {
        assert_eq!(round_trip(16, 200, false).total_bytes(), 16 + 16 + 200);
        assert_eq!(round_trip(16, 200, true).total_bytes(), 16 + 16 + 16 + 200);
        assert_eq!(round_trip(0, 0, false).total_bytes(), 16);
        assert!(!round_trip(254, 1, false).is_wide());
        assert!(round_trip(255, 1, false).is_wide());
        assert!(round_trip(u64::from(u32::MAX), 1, true).is_wide());
        assert!(round_trip(3, u64::from(u32::MAX) + 5, true).is_wide());
        assert!(round_trip(255, (1 << 40) - 1, true).is_wide());
    }

    #[test]
    fn large_entries_always_have_room_for_an_expiry() {
        let limit = CLASS_BYTES_MAX - 16 - 16 - 10;
        assert!(!round_trip(10, limit, false).has_expiry());
        assert!(round_trip(10, limit + 1, false).has_expiry());
    }

    #[test]
    fn expiry_and_links_share_two_words() {
        let words = ExpiryWords::unlinked(Some(0x1234_5678_9abc));
        let linked = words.linked(0xff_0123_4567, 0xee_89ab_cdef);
        assert_eq!(linked.expire_at(), Some(0x1234_5678_9abc));
        assert_eq!(
            (linked.previous(), linked.next()),
            (0xff_0123_4567, 0xee_89ab_cdef)
        );
        assert_eq!(linked.linked(0, 0), words);
    }

    #[test]
    fn far_times_are_exact() {
        for at in [ExpiryWords::FAR, ExpiryWords::FAR + 1, u64::MAX - 1] {
            let words = ExpiryWords::unlinked(Some(at));
            assert!(words.is_far());
            assert_eq!(words.expire_at(), Some(at));
        }
        assert!(!ExpiryWords::unlinked(Some(ExpiryWords::FAR - 1)).is_far());
        assert_eq!(ExpiryWords::unlinked(None).expire_at(), None);
    }
}
