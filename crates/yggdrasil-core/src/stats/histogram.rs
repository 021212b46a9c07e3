//! Buckets of the latency histograms: powers of two of a microsecond.

/// Buckets of one histogram; the last has no upper bound.
pub const HISTOGRAM_BUCKETS: usize = 24;

/// The bucket of a duration: bucket `i` holds what takes less than 2^i us, and not less than the bucket before.
#[inline]
#[must_use]
pub fn bucket_of_ns(nanoseconds: u64) -> usize {
    let micros = nanoseconds / 1000;
    let bits = 64 - micros.leading_zeros() as usize;
    bits.min(HISTOGRAM_BUCKETS - 1)
}

/// Upper bound of a bucket in microseconds, exclusive; `None` for the last.
#[must_use]
pub fn bucket_upper_bound_us(bucket: usize) -> Option<u64> {
    (bucket + 1 < HISTOGRAM_BUCKETS).then_some(1 << bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_within_the_bound_of_its_bucket() {
        for micros in [0_u64, 1, 2, 3, 4, 7, 8, 1000, 1 << 21, 1 << 40] {
            let bucket = bucket_of_ns(micros * 1000);
            if let Some(bound) = bucket_upper_bound_us(bucket) {
                assert!(micros < bound, "{micros} us in a bucket below {bound} us");
            }
            if bucket > 0 {
                assert!(micros >= bucket_upper_bound_us(bucket - 1).unwrap());
            }
        }
    }
}
