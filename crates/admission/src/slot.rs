//! What a ring knows of an entry, and what an entry knows of its place in the rings.

const LOW_BITS: u32 = 28;
const HASH_BITS: u32 = LOW_BITS + 8;
const HASH_MASK: u64 = (1 << HASH_BITS) - 1;
const GENERATION_SHIFT: u32 = HASH_BITS;
const DB_SHIFT: u32 = GENERATION_SHIFT + 4;

/// Generations that tell the newest slot of a key from older ones.
pub(crate) const GENERATIONS: u8 = 16;

/// Names an entry in 48 bits: 28 low and 8 high bits of its key's hash, database, generation.
///
/// It is looked up when it comes to the front of its ring; when no entry has that hash and generation the slot is stale
/// and dropped. So moves, overwrites and deletions of entries cost the rings nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(u64);

impl Slot {
    /// The slot of a key, with generation 0.
    #[inline]
    pub(crate) fn new(hash: u64, db: u8) -> Self {
        Self(hash_bits(hash) | u64::from(db) << DB_SHIFT)
    }

    /// The low 28 bits of the hash: where an index by low bits finds the bucket.
    #[inline]
    pub fn low_bits(self) -> u64 {
        self.0 & ((1 << LOW_BITS) - 1)
    }

    /// The high 8 bits of the hash: the fingerprint in the index.
    #[inline]
    pub fn high_bits(self) -> u8 {
        (self.0 >> LOW_BITS) as u8
    }

    #[inline]
    pub fn db(self) -> u8 {
        (self.0 >> DB_SHIFT) as u8
    }

    /// Whether the slot can be that of an entry with this tag.
    #[inline]
    pub fn has_generation(self, tag: Tag) -> bool {
        self.0 >> GENERATION_SHIFT & 15 == u64::from(tag.generation())
    }

    /// Whether the slot can be that of a key with this hash.
    #[inline]
    pub fn has_hash(self, hash: u64) -> bool {
        self.0 & HASH_MASK == hash_bits(hash)
    }

    pub(crate) fn from_key(key: u64) -> Self {
        Self(key)
    }

    /// All but the generation: what the policy knows of the key.
    #[inline]
    pub(crate) fn key(self) -> u64 {
        self.0 & !(15 << GENERATION_SHIFT)
    }

    #[inline]
    pub(crate) fn with_generation(self, generation: u8) -> Self {
        Self(self.key() | u64::from(generation & 15) << GENERATION_SHIFT)
    }

    #[inline]
    pub(crate) fn from_bytes(bytes: [u8; 6]) -> Self {
        let mut word = [0; 8];
        word[..6].copy_from_slice(&bytes);
        Self(u64::from_le_bytes(word))
    }

    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; 6] {
        let [a, b, c, d, e, f, ..] = self.0.to_le_bytes();
        [a, b, c, d, e, f]
    }
}

#[inline]
fn hash_bits(hash: u64) -> u64 {
    hash & ((1 << LOW_BITS) - 1) | hash >> 56 << LOW_BITS
}

/// Where an entry is queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queue {
    /// Nowhere: it was stored while another policy was in force.
    None = 0,
    Window = 1,
    Probation = 2,
    Protected = 3,
}

/// Twenty bits that the entry store keeps with an entry, zero for what is not queued:
///
/// ```text
/// queue:2 | touched:2 | generation:4 | uses:4 | epoch:8
/// ```
/// Fields are named from the low bits up. `uses` counts lately, as of `epoch`: each later epoch halves it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tag(u32);

impl Tag {
    pub const BITS: u32 = 20;
    /// Of what is not queued.
    pub const NONE: Tag = Tag(0);

    const TOUCHED_SHIFT: u32 = 2;
    const TOUCHED_MAX: u32 = 3;
    const GENERATION_SHIFT: u32 = 4;
    const USES_SHIFT: u32 = 8;
    pub(crate) const USES_MAX: u32 = 15;
    const EPOCH_SHIFT: u32 = 12;

    #[inline]
    pub(crate) fn new(queue: Queue, generation: u8, uses: u32, epoch: u8) -> Self {
        Self(
            queue as u32
                | u32::from(generation) << Self::GENERATION_SHIFT
                | uses.min(Self::USES_MAX) << Self::USES_SHIFT
                | u32::from(epoch) << Self::EPOCH_SHIFT,
        )
    }

    #[inline]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }

    #[inline]
    pub fn bits(self) -> u32 {
        self.0
    }

    #[inline]
    pub fn queue(self) -> Queue {
        match self.0 & 3 {
            1 => Queue::Window,
            2 => Queue::Probation,
            3 => Queue::Protected,
            _ => Queue::None,
        }
    }

    /// Uses since the entry was last at the front of its ring, up to three.
    #[inline]
    pub fn touched(self) -> u32 {
        self.0 >> Self::TOUCHED_SHIFT & Self::TOUCHED_MAX
    }

    #[inline]
    pub(crate) fn generation(self) -> u8 {
        (self.0 >> Self::GENERATION_SHIFT & 15) as u8
    }

    /// Uses lately, as they count in an epoch.
    #[inline]
    pub(crate) fn uses(self, epoch: u8) -> u32 {
        let passed = epoch.wrapping_sub((self.0 >> Self::EPOCH_SHIFT) as u8);
        (self.0 >> Self::USES_SHIFT & Self::USES_MAX) >> passed.min(4)
    }

    /// The tag after one more use.
    #[inline]
    pub(crate) fn after_use(self, epoch: u8) -> Self {
        let used = Self::new(self.queue(), self.generation(), self.uses(epoch) + 1, epoch);
        let touched = (self.touched() + 1).min(Self::TOUCHED_MAX);
        Self(used.0 | touched << Self::TOUCHED_SHIFT)
    }

    /// The tag in another place of the rings.
    #[inline]
    pub(crate) fn queued(self, queue: Queue, generation: u8, touched: u32) -> Self {
        let kept = self.0 >> Self::USES_SHIFT << Self::USES_SHIFT;
        Self(
            kept | queue as u32
                | touched << Self::TOUCHED_SHIFT
                | u32::from(generation) << Self::GENERATION_SHIFT,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_fit_into_six_bytes() {
        let hash = 0xabcd_ef01_2345_6789;
        let slot = Slot::new(hash, 0xfe).with_generation(13);
        assert_eq!(Slot::from_bytes(slot.to_bytes()), slot);
        assert_eq!(
            (slot.low_bits(), slot.high_bits(), slot.db()),
            (hash & 0xfff_ffff, 0xab, 0xfe)
        );
        assert!(slot.has_hash(hash));
        assert!(!slot.has_hash(hash ^ 1));
        assert!(slot.has_generation(Tag::new(Queue::Window, 13, 1, 0)));
        assert!(!slot.has_generation(Tag::new(Queue::Window, 12, 1, 0)));
    }

    #[test]
    fn tags_count_uses_and_forget_them() {
        let mut tag = Tag::new(Queue::Probation, 9, 1, 250);
        for (touched, uses) in [(0, 1), (1, 2), (2, 3), (3, 4), (3, 5)] {
            assert_eq!((tag.queue(), tag.generation()), (Queue::Probation, 9));
            assert_eq!((tag.touched(), tag.uses(250)), (touched, uses));
            assert_eq!(Tag::from_bits(tag.bits()), tag);
            tag = tag.after_use(250);
        }
        assert_eq!((tag.uses(251), tag.uses(252), tag.uses(2)), (3, 1, 0));
        assert_eq!(tag.after_use(251).uses(251), 4);
        let moved = tag.queued(Queue::Protected, 3, 0);
        assert_eq!((moved.queue(), moved.generation()), (Queue::Protected, 3));
        assert_eq!((moved.touched(), moved.uses(250)), (0, 6));
        assert_eq!(
            (0..40).fold(tag, |tag, _| tag.after_use(251)).uses(251),
            Tag::USES_MAX
        );
        assert_eq!(Tag::default().queue(), Queue::None);
    }
}
