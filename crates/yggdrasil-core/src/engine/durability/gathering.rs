//! How long those gather who share a sync.
//!
//! A sync costs as much for one as for fifty, and clients that have just been answered ask again. So the next sync is
//! asked for when three quarters of those wait for it who have waited lately: the last quarter is served while the disk
//! works. One who waits alone is never kept.

/// Who waits for the next sync.
#[derive(Default, Debug)]
pub(super) struct Gathering {
    /// Those who came since the last sync was asked for.
    new: usize,
    /// The most who have waited at once, of late.
    usual: usize,
}

impl Gathering {
    /// One more waits.
    pub fn add(&mut self) {
        self.new += 1;
    }

    /// True where a sync is to be asked for, while so many wait for this one and the one under way.
    pub fn is_enough(&mut self, waiting: usize) -> bool {
        if self.new * 4 < self.usual * 3 {
            return false;
        }
        self.new = 0;
        self.usual = waiting.max(self.usual - self.usual.div_ceil(8));
        true
    }

    /// A sync is over, behind which so many wait. Where all are answered for whom none was asked, too few have come.
    pub fn synced(&mut self, waiting: usize) {
        if self.new > 0 && waiting == 0 {
            self.usual /= 2;
        }
        self.new = self.new.min(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_waits_alone_is_never_kept() {
        let mut gathering = Gathering::default();
        for _ in 0..5 {
            gathering.add();
            assert!(gathering.is_enough(1));
        }
    }

    #[test]
    fn three_quarters_of_the_usual_share_a_sync() {
        let mut gathering = Gathering::default();
        for _ in 0..50 {
            gathering.add();
        }
        assert!(gathering.is_enough(50));
        for waiting in 13..50 {
            gathering.add();
            assert!(!gathering.is_enough(waiting));
        }
        gathering.add();
        assert!(gathering.is_enough(50));
    }

    #[test]
    fn fewer_become_usual_when_fewer_come() {
        let mut gathering = Gathering::default();
        for _ in 0..50 {
            gathering.add();
        }
        assert!(gathering.is_enough(50));
        let mut syncs = 0;
        for _ in 0..600 {
            gathering.add();
            syncs += u32::from(gathering.is_enough(1));
        }
        assert!(syncs > 300, "{syncs}");
    }

    #[test]
    fn those_who_do_not_come_again_are_not_waited_for() {
        let mut gathering = Gathering::default();
        for _ in 0..50 {
            gathering.add();
        }
        assert!(gathering.is_enough(50));
        let kept = (0..20).filter(|_| {
            gathering.add();
            let is_kept = !gathering.is_enough(1);
            gathering.synced(0);
            is_kept
        });
        assert_eq!(kept.count(), 5);
        gathering.synced(7);
        gathering.add();
        assert!(gathering.is_enough(1));
    }
}
