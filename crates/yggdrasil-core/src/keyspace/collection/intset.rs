//! Intsets: sets of integers in one piece of memory, sorted, in Redis's format.
//!
//! ```text
//! bytes of an integer: u32 (2, 4 or 8) | integers: u32 | integers
//! ```
//! Numbers are little-endian. The width is that of the widest integer that the set has ever had.

const HEADER_BYTES: usize = 8;

/// A fault in the bytes of an intset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IntsetError {
    #[error("{0} bytes are no set of integers")]
    Short(usize),
    #[error("a set has no integers of {0} bytes")]
    Width(u32),
    #[error("a set of integers says that there are {0}, which is wrong")]
    Count(u32),
    #[error("integer {0} of a set is not above the one before it")]
    Order(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl Width {
    fn of(number: i64) -> Self {
        if i16::try_from(number).is_ok() {
            Self::Two
        } else if i32::try_from(number).is_ok() {
            Self::Four
        } else {
            Self::Eight
        }
    }

    fn numbered(bytes: u32) -> Option<Self> {
        match bytes {
            2 => Some(Self::Two),
            4 => Some(Self::Four),
            8 => Some(Self::Eight),
            _ => None,
        }
    }

    #[inline]
    fn bytes(self) -> usize {
        self as usize
    }
}

/// A view of an intset. Whatever its bytes are, it holds no more integers than there is room for.
#[derive(Clone, Copy, Debug)]
pub struct Intset<'a> {
    width: Width,
    numbers: &'a [u8],
}

impl<'a> Intset<'a> {
    /// A view of bytes that were made here, or checked before.
    #[inline]
    pub fn trusted(bytes: &'a [u8]) -> Self {
        let width = bytes.first().map_or(2, |first| u32::from(*first));
        let width = Width::numbered(width).unwrap_or(Width::Two);
        Self {
            width,
            numbers: bytes.get(HEADER_BYTES..).unwrap_or(&[]),
        }
    }

    /// A view of any bytes, all of which are checked.
    ///
    /// # Errors
    /// The bytes are no intset.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, IntsetError> {
        let short = IntsetError::Short(bytes.len());
        let (width, rest) = bytes.split_first_chunk().ok_or(short)?;
        let (count, numbers) = rest.split_first_chunk().ok_or(short)?;
        let (width, count) = (u32::from_le_bytes(*width), u32::from_le_bytes(*count));
        let set = Self {
            width: Width::numbered(width).ok_or(IntsetError::Width(width))?,
            numbers,
        };
        if (count as usize).checked_mul(set.width.bytes()) != Some(numbers.len()) {
            return Err(IntsetError::Count(count));
        }
        let pairs = set.iter().zip(set.iter().skip(1));
        let order = pairs.enumerate().find(|(_, (one, next))| one >= next);
        match order {
            Some((index, _)) => Err(IntsetError::Order(index + 1)),
            None => Ok(set),
        }
    }

    #[inline]
    pub fn len(self) -> usize {
        self.numbers.len() / self.width.bytes()
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// An integer by its rank.
    #[inline]
    pub fn get(self, index: usize) -> Option<i64> {
        let start = index.checked_mul(self.width.bytes())?;
        let bytes = self.numbers.get(start..)?;
        match self.width {
            Width::Two => bytes
                .first_chunk()
                .map(|&bytes| i16::from_le_bytes(bytes).into()),
            Width::Four => bytes
                .first_chunk()
                .map(|&bytes| i32::from_le_bytes(bytes).into()),
            Width::Eight => bytes.first_chunk().map(|&bytes| i64::from_le_bytes(bytes)),
        }
    }

    /// The rank of an integer; the one that it would have where it is missing.
    pub fn search(self, sought: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle) {
                Some(number) if number == sought => return Ok(middle),
                Some(number) if number < sought => low = middle + 1,
                _ => high = middle,
            }
        }
        Err(low)
    }

    #[inline]
    pub fn contains(self, sought: i64) -> bool {
        self.search(sought).is_ok()
    }

    /// The integers in their order.
    #[inline]
    pub fn iter(self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + use<'a> {
        (0..self.len()).map(move |index| self.get(index).unwrap_or_default())
    }
}

/// An intset that can be changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IntsetBuf {
    bytes: Vec<u8>,
}

impl Default for IntsetBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl IntsetBuf {
    pub fn new() -> Self {
        Self {
            bytes: vec![Width::Two as u8, 0, 0, 0, 0, 0, 0, 0],
        }
    }

    /// The set of bytes that were made here, or checked before.
    pub fn trusted(mut bytes: Vec<u8>) -> Self {
        if bytes.len() < HEADER_BYTES {
            return Self::new();
        }
        let set = Intset::trusted(&bytes);
        let (width, len) = (set.width, set.len());
        bytes.truncate(HEADER_BYTES + len * width.bytes());
        Self { bytes }
    }

    #[inline]
    pub fn view(&self) -> Intset<'_> {
        Intset::trusted(&self.bytes)
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds an integer, and tells whether it was missing.
    pub fn insert(&mut self, number: i64) -> bool {
        if Width::of(number) > self.view().width {
            self.widen(Width::of(number));
        }
        let Err(rank) = self.view().search(number) else {
            return false;
        };
        let width = self.view().width.bytes();
        let at = HEADER_BYTES + rank * width;
        let len = self.bytes.len();
        self.bytes.resize(len + width, 0);
        self.bytes.copy_within(at..len, at + width);
        self.bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
        self.write_len();
        true
    }

    /// Removes an integer, and tells whether it was there.
    pub fn remove(&mut self, number: i64) -> bool {
        let Ok(rank) = self.view().search(number) else {
            return false;
        };
        let width = self.view().width.bytes();
        let at = HEADER_BYTES + rank * width;
        self.bytes.drain(at..at + width);
        self.write_len();
        true
    }

    fn widen(&mut self, width: Width) {
        let old = self.view();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + (old.len() + 1) * width.bytes());
        bytes.extend((width as u32).to_le_bytes());
        bytes.extend_from_slice(&self.bytes[4..HEADER_BYTES]);
        for number in old.iter() {
            bytes.extend_from_slice(&number.to_le_bytes()[..width.bytes()]);
        }
        self.bytes = bytes;
    }

    fn write_len(&mut self) {
        let len = u32::try_from(self.view().len()).unwrap_or(u32::MAX);
        self.bytes[4..HEADER_BYTES].copy_from_slice(&len.to_le_bytes());
    }
}

impl FromIterator<i64> for IntsetBuf {
    fn from_iter<T: IntoIterator<Item = i64>>(numbers: T) -> Self {
        let mut set = Self::new();
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What `OBJECT ENCODING` calls an intset of 1, 2 and 70,000, as Redis stores it.
    #[test]
    fn the_format_is_that_of_redis() {
        let mut set = IntsetBuf::new();
        assert!(set.insert(2) && set.insert(1) && !set.insert(2));
        assert_eq!(set.bytes(), b"\x02\0\0\0\x02\0\0\0\x01\0\x02\0");
        assert!(set.insert(70_000));
        let wide = b"\x04\0\0\0\x03\0\0\0\x01\0\0\0\x02\0\0\0\x70\x11\x01\0";
        assert_eq!(set.bytes(), wide);
        assert!(Intset::parse(wide).is_ok());
        // What is widened stays so.
        assert!(set.remove(70_000) && !set.remove(70_000));
        assert_eq!(
            set.bytes(),
            &[b"\x04\0\0\0\x02\0\0\0", &wide[8..16]].concat()
        );
    }

    #[test]
    fn damaged_sets_are_refused() {
        for (bytes, error) in [
            (&b""[..], IntsetError::Short(0)),
            (b"\x02\0\0\0\0\0\0", IntsetError::Short(7)),
            (b"\x03\0\0\0\0\0\0\0", IntsetError::Width(3)),
            (b"\x02\0\0\0\x01\0\0\0", IntsetError::Count(1)),
            (b"\x02\0\0\0\x01\0\0\0\x01\0\x02", IntsetError::Count(1)),
            (
                b"\x08\0\0\0\xff\xff\xff\xff\x01",
                IntsetError::Count(u32::MAX),
            ),
            (b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0", IntsetError::Order(1)),
            (b"\x02\0\0\0\x02\0\0\0\x02\0\x02\0", IntsetError::Order(1)),
        ] {
            assert_eq!(
                Intset::parse(bytes).map(Intset::len),
                Err(error),
                "{bytes:?}"
            );
        }
    }

    fn numbers() -> impl Strategy<Value = i64> {
        prop_oneof![
            -20..20_i64,
            any::<i16>().prop_map(i64::from),
            any::<i32>().prop_map(i64::from),
            any::<i64>(),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_set(changes in prop::collection::vec((any::<bool>(), numbers()), 0..100)) {
            let (mut set, mut model) = (IntsetBuf::new(), BTreeSet::new());
            for (add, number) in changes {
                if add {
                    prop_assert_eq!(set.insert(number), model.insert(number));
                } else {
                    prop_assert_eq!(set.remove(number), model.remove(&number));
                }
                let view = Intset::parse(set.bytes()).unwrap();
                prop_assert!(view.iter().eq(model.iter().copied()));
                prop_assert_eq!(view.contains(number), model.contains(&number));
                prop_assert_eq!(view.get(view.len()), None);
            }
        }

        #[test]
        fn any_bytes_can_be_looked_at(bytes: Vec<u8>, width in 0..10_u8, number in numbers()) {
            let bytes = [vec![width, 0, 0, 0], bytes].concat();
            let mut set = IntsetBuf::trusted(bytes.clone());
            prop_assert!(Intset::trusted(&bytes).iter().count() <= bytes.len() / 2);
            set.insert(number);
            set.remove(number);
            if let Ok(set) = Intset::parse(&bytes) {
                prop_assert!(set.iter().is_sorted());
            }
        }
    }
}
