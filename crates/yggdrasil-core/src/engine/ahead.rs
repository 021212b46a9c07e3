//! Elements of large collections that a batch is going to look for: their memory is asked for first, as that of keys is.

use super::Engine;
use super::dispatch::Plan;
use crate::keyspace::Key;
use crate::keyspace::collection::table::{Ahead, Table};
use crate::resp::Requests;

/// Elements that are looked for together: what is asked for must still be in the cache when it is used.
const AT_ONCE: usize = 32;

impl Engine {
    /// Asks for the elements that planned requests name. Their entries have been asked for.
    #[inline(never)]
    pub(super) fn prefetch_elements(&self, input: &[u8], requests: &Requests, plans: &[Plan]) {
        for first in (0..plans.len()).step_by(AT_ONCE) {
            let plans = &plans[first..plans.len().min(first + AT_ONCE)];
            self.prefetch_some_elements(input, requests, plans, first);
        }
    }

    fn prefetch_some_elements(
        &self,
        input: &[u8],
        requests: &Requests,
        plans: &[Plan],
        first: usize,
    ) {
        let mut all: [Option<Ahead<'_>>; AT_ONCE] = [None; AT_ONCE];
        let mut last: Option<(&[u8], u8, Option<&Table>)> = None;
        for ((request, plan), ahead) in (first..).zip(plans).zip(&mut all) {
            if plan.element_at == 0 || plan.home == 0 || self.readers[plan.shard].is_some() {
                continue;
            }
            let args = requests.args(request, input);
            let key = args.at(plan.key_at);
            // Requests of one batch often have one key.
            let table = match last {
                Some((same, db, table)) if same == key && db == plan.db => table,
                _ => self.shard.table_of(&Key {
                    db: plan.db,
                    hash: plan.hash,
                    bytes: key,
                }),
            };
            last = Some((key, plan.db, table));
            let member = args.get(usize::from(plan.element_at));
            *ahead = table
                .zip(member)
                .map(|(table, member)| table.look_ahead(member));
        }
        all.iter().flatten().for_each(Ahead::ask_for_places);
        all.iter().flatten().for_each(Ahead::ask_for_row);
    }
}
