//! Names of archived objects.

use super::object::Kind;

/// Prefix of the names of segments that are not written to any more.
pub(crate) const SEGMENTS: &str = "segments/";
/// Prefix of the names of segments that were written to when they were archived.
pub(crate) const TAILS: &str = "tails/";
/// Prefix of the names of what tells when changes were made.
pub(crate) const TIMES: &str = "times/";

/// The place of a segment among all of a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SegmentName {
    pub node: String,
    /// The generation of the logs: another number of shards has another one.
    pub generation: u64,
    pub shard: u32,
    pub sequence: u64,
    /// Number of the last change before it.
    pub number: u64,
    /// The first segment that a reader needs to read from this one on.
    pub needs: u64,
}

impl SegmentName {
    /// The object that holds it.
    pub fn object(&self, is_cut: bool) -> String {
        let Self {
            node,
            generation,
            shard,
            sequence,
            number,
            needs,
        } = self;
        let part = if is_cut { SEGMENTS } else { TAILS };
        format!(
            "{part}{node}-{generation:08x}-{shard:04x}-{sequence:016x}-{number:012x}-{needs:016x}"
        )
    }

    /// The segment that an object holds, and whether nothing is written to it any more.
    pub fn of_object(object: &str) -> Option<(Self, bool)> {
        let (rest, is_cut) = match object.strip_prefix(SEGMENTS) {
            Some(rest) => (rest, true),
            None => (object.strip_prefix(TAILS)?, false),
        };
        let mut parts = rest.rsplitn(6, '-');
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (needs, last, sequence) = (number()?, number()?, number()?);
        let (shard, generation) = (number()?, number()?);
        let name = Self {
            node: parts.next()?.to_owned(),
            generation,
            shard: u32::try_from(shard).ok()?,
            sequence,
            number: last,
            needs,
        };
        (name.object(is_cut) == object).then_some((name, is_cut))
    }
}

/// The times of an hour.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TimesName {
    pub node: String,
    pub generation: u64,
    /// Hours since the epoch of Unix.
    pub hour: u64,
}

impl TimesName {
    /// The object that holds them.
    pub fn object(&self) -> String {
        let Self {
            node,
            generation,
            hour,
        } = self;
        format!("{TIMES}{node}-{generation:08x}-{hour:012x}")
    }

    /// The times that an object holds.
    pub fn of_object(object: &str) -> Option<Self> {
        let mut parts = object.strip_prefix(TIMES)?.rsplitn(3, '-');
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (hour, generation) = (number()?, number()?);
        let name = Self {
            node: parts.next()?.to_owned(),
            generation,
            hour,
        };
        (name.object() == object).then_some(name)
    }
}

/// The kind of what an object holds, by its name.
pub fn kind_of(object: &str) -> Option<Kind> {
    if TimesName::of_object(object).is_some() {
        return Some(Kind::Times);
    }
    SegmentName::of_object(object).map(|_| Kind::Segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_an_object_holds() {
        let segment = SegmentName {
            node: "a-b".to_owned(),
            generation: 3,
            shard: 12,
            sequence: 255,
            number: 1 << 40,
            needs: 254,
        };
        for is_cut in [true, false] {
            let object = segment.object(is_cut);
            assert_eq!(
                SegmentName::of_object(&object),
                Some((segment.clone(), is_cut))
            );
        }
        let times = TimesName {
            node: "a-b".to_owned(),
            generation: 3,
            hour: 500_000,
        };
        assert_eq!(TimesName::of_object(&times.object()), Some(times));
        for other in [
            "",
            "segments/",
            "tails/a-b-c",
            "segments/n-1-1-1-1-1",
            "times/x",
            "chunks/a",
        ] {
            assert_eq!(kind_of(other), None, "{other}");
        }
    }
}
