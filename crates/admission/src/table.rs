//! A hash table of small entries, the store behind miniature caches and the simulator.

use crate::queues::{Entries, Found};
use crate::slot::{Slot, Tag};

#[derive(Clone, Copy, Debug)]
struct Cell {
    /// [`Slot::key`] plus one; 0 is an empty cell.
    key: u64,
    cost: u32,
    tag: Tag,
}

const EMPTY: Cell = Cell {
    key: 0,
    cost: 0,
    tag: Tag::NONE,
};

const CELLS_MIN: usize = 64;

/// Open addressing with linear probing; removal closes the gap.
#[derive(Debug)]
pub(crate) struct Table {
    cells: Vec<Cell>,
    len: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            cells: vec![EMPTY; CELLS_MIN],
            len: 0,
        }
    }
}

impl Table {
    pub(crate) const COST_MAX: u64 = u32::MAX as u64;

    pub(crate) fn memory(&self) -> usize {
        self.cells.len() * size_of::<Cell>()
    }

    #[inline]
    fn home(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as usize & (self.cells.len() - 1)
    }

    /// Where a key is.
    #[inline]
    pub(crate) fn position(&self, slot: Slot) -> Option<usize> {
        let key = slot.key() + 1;
        let mut at = self.home(key);
        loop {
            if self.cells[at].key == key {
                return Some(at);
            }
            if self.cells[at].key == 0 {
                return None;
            }
            at = (at + 1) & (self.cells.len() - 1);
        }
    }

    #[inline]
    pub(crate) fn entry(&self, at: usize) -> (Tag, u64) {
        (self.cells[at].tag, u64::from(self.cells[at].cost))
    }

    #[inline]
    pub(crate) fn update(&mut self, at: usize, tag: Tag, cost: u64) {
        let cell = &mut self.cells[at];
        (cell.tag, cell.cost) = (tag, cost.min(Self::COST_MAX) as u32);
    }

    /// Adds a key that is not there.
    pub(crate) fn insert(&mut self, slot: Slot, tag: Tag, cost: u64) {
        if (self.len + 1) * 4 > self.cells.len() * 3 {
            self.grow();
        }
        self.len += 1;
        self.place(Cell {
            key: slot.key() + 1,
            cost: cost.min(Self::COST_MAX) as u32,
            tag,
        });
    }

    pub(crate) fn remove(&mut self, at: usize) {
        let mask = self.cells.len() - 1;
        self.len -= 1;
        let mut gap = at;
        let mut next = (gap + 1) & mask;
        while self.cells[next].key != 0 {
            let home = self.home(self.cells[next].key);
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(gap) & mask) {
                self.cells[gap] = self.cells[next];
                gap = next;
            }
            next = (next + 1) & mask;
        }
        self.cells[gap] = EMPTY;
    }

    /// Drops entries, telling about each that is dropped.
    pub(crate) fn retain(
        &mut self,
        keep: impl Fn(Slot) -> bool,
        mut dropped: impl FnMut(Tag, u64),
    ) {
        let old = std::mem::replace(&mut self.cells, vec![EMPTY; CELLS_MIN]);
        self.len = 0;
        for cell in old.into_iter().filter(|cell| cell.key != 0) {
            let slot = Slot::from_key(cell.key - 1);
            if keep(slot) {
                self.insert(slot, cell.tag, u64::from(cell.cost));
            } else {
                dropped(cell.tag, u64::from(cell.cost));
            }
        }
    }

    fn grow(&mut self) {
        let doubled = vec![EMPTY; self.cells.len() * 2];
        let old = std::mem::replace(&mut self.cells, doubled);
        for cell in old.into_iter().filter(|cell| cell.key != 0) {
            self.place(cell);
        }
    }

    fn place(&mut self, cell: Cell) {
        let mut at = self.home(cell.key);
        while self.cells[at].key != 0 {
            at = (at + 1) & (self.cells.len() - 1);
        }
        self.cells[at] = cell;
    }
}

impl Entries for Table {
    type Place = usize;

    fn find(&self, slot: Slot) -> Option<Found<usize>> {
        let at = self.position(slot)?;
        let cell = &self.cells[at];
        slot.has_generation(cell.tag).then_some(Found {
            place: at,
            tag: cell.tag,
            cost: u64::from(cell.cost),
            pinned: false,
        })
    }

    fn set_tag(&mut self, place: usize, tag: Tag) {
        self.cells[place].tag = tag;
    }
}
