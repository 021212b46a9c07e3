//! Hash slots, as Redis Cluster defines them.

use crc::{CRC_16_XMODEM, Crc, Table};

/// Number of hash slots.
pub const SLOTS: u16 = 16_384;

const CRC16: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_XMODEM);
static CRC16_TABLE: Crc<u16, Table<16>> = CRC16;

/// The slot of a key: CRC16 of the key, or of its hash tag where it has one.
#[inline]
pub fn key_slot(key: &[u8]) -> u16 {
    CRC16_TABLE.checksum(hash_tag(key)) % SLOTS
}

/// The shard of a slot, of so many: equal contiguous ranges.
#[inline]
#[must_use]
pub fn shard_of_slot(slot: u16, shards: usize) -> usize {
    usize::from(slot) * shards / usize::from(SLOTS)
}

/// The bytes between the first `{` and the next `}`, or the whole key where there are none.
#[inline]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else {
        return key;
    };
    let inner = &key[open + 1..];
    match memchr::memchr(b'}', inner) {
        None | Some(0) => key,
        Some(close) => &inner[..close],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(CRC16_TABLE.checksum(b"123456789"), 0x31c3);
        assert_eq!(key_slot(b"foo"), 12_182);
        assert_eq!(key_slot(b""), 0);
        assert_eq!(key_slot(b"somekey"), 11_058);
    }

    #[test]
    fn a_hash_tag_stands_for_its_key() {
        assert_eq!(key_slot(b"foo{hash_tag}"), 2_515);
        assert_eq!(key_slot(b"bar{hash_tag}"), 2_515);
        assert_eq!(hash_tag(b"{user1000}.following"), b"user1000");
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"}foo{bar"), b"}foo{bar");
    }
}
