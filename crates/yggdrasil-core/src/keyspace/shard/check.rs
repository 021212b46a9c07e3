//! Everything that is believed about a shard, checked.

use std::collections::HashMap;

use crate::keyspace::arena::PageUse;
use crate::keyspace::classes::{CLASS_BYTES_MAX, class_of, slot_words};
use crate::keyspace::entry::ExpiryWords;
use crate::keyspace::kind::Value;
use crate::keyspace::layout::{BLOCK_BYTES, PAGE_WORDS, State};
use crate::keyspace::slot::key_slot;

use super::Shard;

impl Shard {
    /// Walks everything and panics on a broken belief.
    pub fn check_invariants(&self) {
        self.arena.check_invariants();
        self.wheel.check_invariants(&self.arena.mapping);
        let mut refs = Vec::new();
        for (physical, database) in self.databases.iter().enumerate() {
            let own = self.check_buckets(physical as u8, database);
            self.check_counts(physical as u8, &own);
            refs.extend(own);
        }
        self.check_map();
        self.check_pins(&refs);
        let linked = self.check_entries(&refs);
        let waiting = self.cleared_refs();
        let waiting_linked = self.check_entries(&waiting);
        assert_eq!(linked + waiting_linked, self.wheel.linked());
        refs.extend(waiting);
        let live: u64 = refs.iter().map(|at| self.header(*at).total_bytes()).sum();
        assert_eq!(live + self.draft_bytes, self.arena.live_bytes);
        self.check_trees(&refs);
        self.check_slots_in_use(&refs);
    }

    fn check_counts(&self, physical: u8, refs: &[u64]) {
        let database = &self.databases[usize::from(physical)];
        assert_eq!(database.keys, refs.len() as u64);
        assert_eq!(
            self.arena.mapping.load(self.arena.layout.keys(physical)),
            database.keys
        );
        let expiring = refs
            .iter()
            .filter(|at| self.expire_at(**at, &self.header(**at)).is_some())
            .count();
        assert_eq!(database.expiring, expiring as u64);
        let mut slots: HashMap<u16, u32> = HashMap::new();
        let mut keys = HashMap::new();
        for at in refs {
            let key = self.key_bytes(*at, &self.header(*at));
            *slots.entry(key_slot(key)).or_default() += 1;
            assert_eq!(keys.insert(key, at), None, "a key stands in the index once");
        }
        let counted = database.slot_counts.iter().flatten();
        for (slot, count) in (0..).zip(counted) {
            assert_eq!(*count, slots.get(&slot).copied().unwrap_or(0));
        }
        let state = State(self.arena.mapping.load(self.arena.layout.state(physical)));
        assert_eq!(
            (state.buckets(), state.shrinks()),
            (database.buckets(), self.shrinks[usize::from(physical)])
        );
        for (index, page) in (0..).zip(&database.pages) {
            let (word, shift) = self.arena.layout.directory(physical, index);
            assert_eq!((self.arena.mapping.load(word) >> shift) as u32, *page);
            assert_eq!(self.arena.page(*page).purpose, PageUse::Index);
        }
    }

    fn check_map(&self) {
        let mut seen = vec![false; self.databases.len()];
        for (logical, physical) in self.map.iter().take(self.databases.len()).enumerate() {
            let word = self
                .arena
                .mapping
                .load(self.arena.layout.map(logical as u8));
            assert_eq!(word & 0xffff, u64::from(*physical));
            assert!(
                !std::mem::replace(&mut seen[usize::from(*physical)], true),
                "databases are mapped one to one"
            );
        }
    }

    /// Checks single entries and returns how many of them are linked in the wheel.
    fn check_entries(&self, refs: &[u64]) -> u64 {
        let mut linked = 0;
        for at in refs {
            let header = self.header(*at);
            let kind = header.kind().expect("an entry has a kind");
            let offset = at * 8 + header.value_offset();
            let bytes = self.arena.mapping.slice(offset, header.value_bytes());
            assert!(Value::from_stored(kind, header.encoding(), bytes).is_some());
            let large = header.total_bytes() > CLASS_BYTES_MAX;
            assert!(header.has_expiry() || !large);
            if header.has_expiry() {
                let words = ExpiryWords(self.arena.mapping.load_line(at + header.expiry_word()));
                linked += u64::from(!words.is_far() && words.previous() != 0);
            }
        }
        linked
    }

    /// Checks that pages know exactly the entries that the index names.
    fn check_slots_in_use(&self, refs: &[u64]) {
        let mut used: HashMap<u32, u16> = HashMap::new();
        let mut places = std::collections::HashSet::new();
        for at in refs {
            assert!(places.insert(at), "an entry is named once");
            let number = (at / PAGE_WORDS) as u32;
            let page = self.arena.page(number);
            let bytes = self.header(*at).total_bytes();
            if bytes > CLASS_BYTES_MAX {
                assert_eq!(page.purpose, PageUse::Run);
                assert_eq!(at % PAGE_WORDS, 0);
                assert!(bytes <= u64::from(page.blocks) * BLOCK_BYTES);
                assert!(bytes <= u64::from(self.arena.run_pages(number)) * PAGE_WORDS * 8);
                continue;
            }
            let class = class_of(bytes);
            assert_eq!(page.purpose, PageUse::Slots(class));
            let slot = at % PAGE_WORDS / slot_words(class);
            assert_eq!(at % PAGE_WORDS % slot_words(class), 0);
            assert!(slot < u64::from(page.bump));
            *used.entry(number).or_default() += 1;
        }
        for (number, count) in used {
            assert_eq!(self.arena.page(number).used, count);
        }
    }
}
