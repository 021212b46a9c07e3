//! Ranges of scores and of members.

/// An end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreEnd {
    pub score: f64,
    /// True where the score itself is outside.
    pub is_open: bool,
}

/// The members whose scores lie between two ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: ScoreEnd,
    pub max: ScoreEnd,
}

impl ScoreRange {
    /// True for a score that is too low for the range.
    #[inline]
    #[must_use]
    pub fn is_above(&self, score: f64) -> bool {
        score < self.min.score || (self.min.is_open && score <= self.min.score)
    }

    /// True for a score that is not too high for the range.
    #[inline]
    #[must_use]
    pub fn reaches(&self, score: f64) -> bool {
        score < self.max.score || (!self.max.is_open && score <= self.max.score)
    }
}

/// An end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberEnd<'a> {
    Lowest,
    Highest,
    At {
        member: &'a [u8],
        /// True where the member itself is outside.
        is_open: bool,
    },
}

/// The members of one score that lie between two ends in the order of their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRange<'a> {
    pub min: MemberEnd<'a>,
    pub max: MemberEnd<'a>,
}

impl MemberRange<'_> {
    /// True for a member that comes too early for the range.
    #[must_use]
    pub fn is_above(&self, member: &[u8]) -> bool {
        match self.min {
            MemberEnd::Lowest => false,
            MemberEnd::Highest => true,
            MemberEnd::At { member: end, .. } if member == end => self.min.is_open(),
            MemberEnd::At { member: end, .. } => member < end,
        }
    }

    /// True for a member that does not come too late for the range.
    #[must_use]
    pub fn reaches(&self, member: &[u8]) -> bool {
        match self.max {
            MemberEnd::Lowest => false,
            MemberEnd::Highest => true,
            MemberEnd::At { member: end, .. } if member == end => !self.max.is_open(),
            MemberEnd::At { member: end, .. } => member < end,
        }
    }
}

impl MemberEnd<'_> {
    fn is_open(self) -> bool {
        matches!(self, Self::At { is_open: true, .. })
    }
}
