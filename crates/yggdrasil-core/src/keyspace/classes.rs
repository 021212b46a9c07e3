//! Size classes of entries: every multiple of 8 bytes up to 512, then 16 per doubling up to 16 KB (at most 6% waste).

use super::layout::BLOCK_BYTES;

/// Entries above this are runs of pages.
pub(super) const CLASS_BYTES_MAX: u64 = 16 * 1024;
/// Classes of entries; overflow buckets have the one after them.
pub(super) const CLASSES: usize = 144;
pub(super) const BUCKET_CLASS: u8 = CLASSES as u8;

const EXACT_WORDS: u64 = 64;
const STEPS: u64 = 16;

/// The class of an entry of 1 to 16,384 bytes.
#[inline(always)]
pub(super) fn class_of(bytes: u64) -> u8 {
    debug_assert!(bytes > 0 && bytes <= CLASS_BYTES_MAX);
    let last = (bytes - 1) / 8;
    if last < EXACT_WORDS {
        return last as u8;
    }
    let doubling = u64::from(last.ilog2() - EXACT_WORDS.ilog2());
    (EXACT_WORDS + doubling * STEPS + (last >> (doubling + 2)) - STEPS) as u8
}

/// Words of a slot of the class.
#[inline(always)]
pub(super) fn slot_words(class: u8) -> u64 {
    if class == BUCKET_CLASS {
        return super::layout::BUCKET_WORDS;
    }
    let class = u64::from(class);
    if class < EXACT_WORDS {
        return class + 1;
    }
    let (doubling, step) = ((class - EXACT_WORDS) / STEPS, (class - EXACT_WORDS) % STEPS);
    (STEPS + step + 1) << (doubling + 2)
}

/// Resident bytes that an entry of `bytes` takes.
pub(super) fn footprint(bytes: u64) -> u64 {
    if bytes <= CLASS_BYTES_MAX {
        slot_words(class_of(bytes)) * 8
    } else {
        bytes
            .checked_next_multiple_of(BLOCK_BYTES)
            .unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_the_smallest_that_fits() {
        for bytes in 1..=CLASS_BYTES_MAX {
            let class = class_of(bytes);
            let slot = slot_words(class) * 8;
            assert!(slot >= bytes);
            assert!(class == 0 || slot_words(class - 1) * 8 < bytes);
            assert!(slot - bytes <= 7 + bytes / 16);
        }
        assert_eq!(usize::from(class_of(CLASS_BYTES_MAX)), CLASSES - 1);
        assert_eq!(slot_words(class_of(CLASS_BYTES_MAX)) * 8, CLASS_BYTES_MAX);
    }
}
