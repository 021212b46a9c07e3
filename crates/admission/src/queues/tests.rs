use super::*;
use crate::ring::BLOCK_SMALL;
use crate::table::Table;

const SHARES: Shares = Shares {
    window: 102,
    protected: 0,
    held_against: Tag::USES_MAX,
    margin: 0,
    direct: false,
    ghosts: false,
};

struct Cache {
    queues: Queues<BLOCK_SMALL>,
    table: Table,
}

impl Cache {
    /// A hundred keys that were used so often.
    fn full(shares: Shares, uses: u32) -> Self {
        let (queues, table) = (Queues::new(shares), Table::default());
        let mut cache = Self { queues, table };
        (0..100).for_each(|key| cache.insert(key, uses));
        cache
    }

    fn insert(&mut self, key: u64, uses: u32) {
        let slot = Slot::from_key(key);
        let tag = self.queues.insert(slot, 1, uses, 0);
        self.table.insert(slot, tag, 1);
        self.queues.fill(&mut self.table);
    }

    fn insert_with_room(&mut self, key: u64, uses: u32) {
        while self.queues.keys() >= 100 {
            if let Some(victim) = self.queues.evict(&mut self.table, 0) {
                self.table.remove(victim.place);
            }
        }
        self.insert(key, uses);
    }

    fn hit(&mut self, key: u64) {
        if let Some(place) = self.table.position(Slot::from_key(key)) {
            let (tag, cost) = self.table.entry(place);
            self.table.update(place, tag.after_use(0), cost);
        }
    }

    fn queue(&self, key: u64) -> Option<Queue> {
        let place = self.table.position(Slot::from_key(key))?;
        Some(self.table.entry(place).0.queue())
    }

    /// Lets so many newcomers with so many uses come to a full cache. How many of the old are left.
    fn left_after(&mut self, newcomers: u64, uses: u32) -> usize {
        (1_000..1_000 + newcomers).for_each(|key| self.insert_with_room(key, uses));
        (0..100).filter(|key| self.queue(*key).is_some()).count()
    }
}

#[test]
fn who_gets_in_must_have_been_used_more_by_the_margin() {
    let with = |margin| Shares { margin, ..SHARES };
    for (margin, uses, stay) in [(0, 2, true), (0, 3, false), (1, 3, true), (1, 4, false)] {
        let left = Cache::full(with(margin), 2).left_after(200, uses);
        assert_eq!(left >= 85, stay, "margin {margin}, {uses} uses: {left}");
    }
}

#[test]
fn a_key_that_is_remembered_comes_into_the_main_part_at_once() {
    for (direct, uses, queue) in [
        (false, 2, Queue::Window),
        (true, 1, Queue::Window),
        (true, 2, Queue::Probation),
    ] {
        let mut cache = Cache::full(Shares { direct, ..SHARES }, 1);
        cache.left_after(1, uses);
        assert_eq!(cache.queue(1_000), Some(queue), "{direct}, {uses} uses");
    }
}

#[test]
fn by_the_rule_of_s3_fifo_two_uses_in_the_window_are_enough() {
    let shares = Shares {
        ghosts: true,
        ..SHARES
    };
    for (used, queue) in [(0, None), (1, None), (2, Some(Queue::Probation))] {
        // However often the others were used before, as long as they are not now.
        let mut cache = Cache::full(shares, 15);
        cache.left_after(1, 1);
        (0..used).for_each(|_| cache.hit(1_000));
        for key in 2_000..2_020 {
            cache.insert_with_room(key, 1);
        }
        assert_eq!(cache.queue(1_000), queue, "{used} uses");
    }
}

#[test]
fn who_left_the_window_lately_comes_into_the_main_part_at_once() {
    for (ghosts, queue) in [(false, Queue::Window), (true, Queue::Probation)] {
        let mut cache = Cache::full(Shares { ghosts, ..SHARES }, 15);
        cache.left_after(30, 1);
        assert_eq!(cache.queue(1_000), None);
        cache.insert_with_room(1_000, 1);
        assert_eq!(cache.queue(1_000), Some(queue), "{ghosts}");
        cache.insert_with_room(5_000, 15);
        assert_eq!(cache.queue(5_000), Some(Queue::Window), "{ghosts}");
    }
}

#[test]
fn ghosts_are_given_back_when_another_rule_comes_into_force() {
    let with = |ghosts| Shares { ghosts, ..SHARES };
    let mut cache = Cache::full(with(true), 1);
    cache.left_after(50, 1);
    let before = cache.queues.ghosts.memory();
    cache.queues.set_shares(with(false));
    cache.left_after(50, 1);
    assert!(cache.queues.ghosts.memory() < before);
}

#[test]
fn a_small_main_part_takes_in_nothing_at_once() {
    let clock = Shares {
        window: ALL,
        ..SHARES
    };
    let mut cache = Cache::full(clock, 1);
    cache.queues.set_shares(Shares {
        direct: true,
        ..SHARES
    });
    cache.left_after(1, 2);
    assert_eq!(cache.queue(1_000), Some(Queue::Window));
}
