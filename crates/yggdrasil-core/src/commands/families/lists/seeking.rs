//! Searches for elements of long lists that are to be changed, made in steps.

use super::edit::{insert, removal_of, remove_all};
use super::list_of;
use crate::commands::families::removing;
use crate::commands::families::steps::STEP_NEXT;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{ShardContext, Work};
use crate::keyspace::collection::list::ListView;
use crate::keyspace::collection::listpack::Element;
use crate::resp::{Progress, Reply};

/// LINSERT under way: its pivot is sought.
#[derive(Debug)]
pub(super) struct Insertion {
    key: Vec<u8>,
    pivot: Vec<u8>,
    element: Vec<u8>,
    /// Positions from the pivot to the new element.
    behind: u64,
    /// The next position to be looked at.
    next: u64,
}

impl Insertion {
    /// The rest of an insertion whose first elements have been looked at.
    pub(super) fn new([key, pivot, element]: [&[u8]; 3], behind: u64, next: u64) -> Self {
        Self {
            key: key.to_vec(),
            pivot: pivot.to_vec(),
            element: element.to_vec(),
            behind,
            next,
        }
    }
}

impl Work for Insertion {
    fn go_on(
        &mut self,
        context: &mut ShardContext<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<Progress, CommandError> {
        let key = context.key(&self.key);
        let entry = context.shard.look(&key, context.now);
        let list = list_of(entry.as_ref());
        let (len, pivot) = (list.len(), Element::of(&self.pivot));
        let mut elements = list.from(self.next).take(STEP_NEXT as usize);
        let found = elements.position(|element| element == pivot);
        if let Some(found) = found {
            let position = self.next + found as u64 + self.behind;
            insert(context, &key, position, &self.element, reply, len)?;
            return Ok(Progress::Done);
        }
        self.next += STEP_NEXT;
        if self.next < len {
            return Ok(Progress::More);
        }
        // It may have expired meanwhile.
        reply.int(if len == 0 { 0 } else { -1 });
        Ok(Progress::Done)
    }
}

/// A search for equal elements: so many first ones, last ones, or all.
#[derive(Debug)]
pub(super) struct Search {
    sought: Vec<u8>,
    backwards: bool,
    wanted: usize,
    /// Positions that are not looked at yet.
    left: std::ops::Range<u64>,
    found: Vec<u64>,
}

impl Search {
    /// A search as LREM counts, in a list of so many elements.
    pub(super) fn new(sought: &[u8], count: i64, len: u64) -> Self {
        let wanted = match count {
            0 => usize::MAX,
            count => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
        };
        Self {
            sought: sought.to_vec(),
            backwards: count < 0,
            wanted,
            left: 0..len,
            found: Vec::new(),
        }
    }

    /// True when nothing is left to be looked at.
    pub(super) fn is_over(&self) -> bool {
        self.left.is_empty() || self.found.len() == self.wanted
    }

    /// Looks at so many more elements.
    pub(super) fn go_on(&mut self, list: &ListView<'_>, elements: u64) {
        let count = elements.min(self.left.end - self.left.start);
        let sought = Element::of(&self.sought);
        let is_it =
            |(position, element): (u64, Element<'_>)| (element == sought).then_some(position);
        let wanted = self.wanted - self.found.len();
        if count == 0 {
            return;
        }
        if self.backwards {
            let elements = list.back_from(self.left.end - 1).take(count as usize);
            let found = (0..self.left.end).rev().zip(elements).filter_map(is_it);
            self.found.extend(found.take(wanted));
            self.left.end -= count;
        } else {
            let elements = list.from(self.left.start).take(count as usize);
            let found = (self.left.start..).zip(elements).filter_map(is_it);
            self.found.extend(found.take(wanted));
            self.left.start += count;
        }
    }

    /// The positions that were found, the highest first.
    pub(super) fn into_positions(mut self) -> Vec<u64> {
        if !self.backwards {
            self.found.reverse();
        }
        self.found
    }
}

/// LREM under way: its elements are sought, then removed.
#[derive(Debug)]
pub(super) struct Clearing {
    key: Vec<u8>,
    search: Option<Search>,
    removal: Option<Box<dyn Work>>,
}

impl Clearing {
    /// The rest of a removal whose search has begun.
    pub(super) fn new(key: &[u8], search: Search) -> Self {
        Self {
            key: key.to_vec(),
            search: Some(search),
            removal: None,
        }
    }
}

impl Work for Clearing {
    fn go_on(
        &mut self,
        context: &mut ShardContext<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<Progress, CommandError> {
        if let Some(removal) = &mut self.removal {
            return removal.go_on(context, reply);
        }
        let key = context.key(&self.key);
        let entry = context.shard.look(&key, context.now);
        let list = list_of(entry.as_ref());
        let len = list.len();
        // It may have expired meanwhile.
        let search = self.search.as_mut().filter(|_| len > 0);
        if let Some(search) = search {
            search.go_on(&list, STEP_NEXT);
            if !search.is_over() {
                return Ok(Progress::More);
            }
        }
        let positions = match self.search.take() {
            Some(search) if len > 0 => search.into_positions(),
            _ => Vec::new(),
        };
        let count = positions.len() as u64;
        if count > 0 && count < len {
            self.removal = Some(removing::in_steps(context, &key, removal_of(positions))?);
        } else if count > 0 {
            remove_all(context, &key);
        }
        reply.count(count);
        Ok(match self.removal {
            Some(_) => Progress::More,
            None => Progress::Done,
        })
    }
}
