//! Where a key's line is in a table that grows and shrinks by one line at a time: linear hashing (Litwin 1980).

/// The line of a key among so many; `mixed` are its bits, spread by [`spread`].
#[inline]
pub(crate) fn line_of(mixed: u64, lines: usize) -> usize {
    let mask = lines.next_power_of_two() - 1;
    let number = mixed as usize & mask;
    if number < lines {
        number
    } else {
        number & (mask >> 1)
    }
}

/// The line that another one was split from.
#[inline]
pub(crate) fn parent(line: usize) -> usize {
    line ^ (1 << line.ilog2())
}

/// Spreads the bits of a hash over 64 (the finalizer of splitmix64).
#[inline]
pub(crate) fn spread(hash: u64) -> u64 {
    let mut x = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}
