use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::keyspace::{Collection, Kind, Value};

#[derive(Clone, Debug)]
enum Change {
    Set(Vec<u8>, Vec<u8>, Option<Millis>),
    Remove(Vec<u8>),
    Expire(Vec<u8>, Option<Millis>),
}

impl Change {
    fn put(&self, ops: &mut Vec<u8>) {
        match self {
            Self::Set(field, value, at) => put_set(ops, field, value, *at),
            Self::Remove(field) => put_remove(ops, field),
            Self::Expire(field, at) => put_expire(ops, field, *at),
        }
    }
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<Millis>)>;

fn apply_to_model(model: &mut Model, change: &Change) {
    match change.clone() {
        Change::Set(field, value, at) => {
            model.insert(field, (value, at));
        }
        Change::Remove(field) => {
            model.remove(&field);
        }
        Change::Expire(field, at) => {
            if let Some(known) = model.get_mut(&field) {
                known.1 = at;
            }
        }
    }
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let number = (-9..300_i64).prop_map(|number| number.to_string().into_bytes());
    prop_oneof![6 => number, 1 => prop::collection::vec(any::<u8>(), 0..80)]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let time = prop::option::of(1..100_u64);
    let set = (texts(), texts(), time.clone()).prop_map(|(a, b, at)| Change::Set(a, b, at));
    let remove = texts().prop_map(Change::Remove);
    let expire = (texts(), time).prop_map(|(field, at)| Change::Expire(field, at));
    prop::collection::vec(prop_oneof![4 => set, 1 => remove, 1 => expire], 0..200)
}

fn seen(view: &HashView<'_>) -> Model {
    let rows = view.rows().map(|row| {
        let cell = row.cell;
        (row.field.to_vec(), (cell.value.to_vec(), cell.expire_at))
    });
    rows.collect()
}

fn assert_is(view: &HashView<'_>, model: &Model, now: Millis) {
    let lasts = |at: &Option<Millis>| at.is_none_or(|at| at > now);
    let live: Model = model
        .iter()
        .filter(|(_, (_, at))| lasts(at))
        .map(|(field, known)| (field.clone(), known.clone()))
        .collect();
    assert_eq!(seen(view), live);
    assert_eq!(view.len(), model.len() as u64);
    assert_eq!(view.live_len(), live.len() as u64);
    let times = model.values().filter_map(|(_, at)| *at);
    assert_eq!(view.next_expiry(), times.min());
    let mut expired = view.expired(usize::MAX);
    expired.sort();
    let model_expired = model.keys().filter(|field| !live.contains_key(*field));
    assert!(expired.iter().eq(model_expired));
    for (field, (value, at)) in model {
        let cell = view.get(field);
        assert_eq!(cell.is_some(), live.contains_key(field));
        if let Some(cell) = cell {
            assert_eq!((&cell.value.to_vec(), &cell.expire_at), (value, at));
        }
    }
    assert_eq!(view.get(b"never there"), None);
    let mut scanned = 0;
    let mut cursor = 0;
    loop {
        cursor = view.scan(cursor, 3, |_| scanned += 1);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(scanned, live.len());
    let at = (0..view.len()).map(|position| view.at(position).map(|row| row.field.to_vec()));
    let mut at: Vec<_> = at.flatten().collect();
    at.sort();
    assert!(at.iter().eq(model.keys()));
}

proptest! {
    #[test]
    fn every_form_has_the_same_fields(changes in changes(), entries in 0..50_usize, now in 0..100_u64) {
        let packing = Packing { hash_entries_max: entries, ..Packing::default() };
        let mut model = Model::new();
        let (mut packed, mut fits) = (Vec::new(), true);
        let mut hash = Hash::new(&packing);
        for change in &changes {
            apply_to_model(&mut model, change);
            let mut ops = Vec::new();
            change.put(&mut ops);
            prop_assert!(Hash::check(&ops));
            hash.apply(&ops, &packing);
            fits = fits && Hash::apply_packed(&mut packed, &ops, &packing) == Fit::Packed;
        }
        let mut ops = Vec::new();
        hash.write(&mut ops);
        let times = model.values().filter_map(|(_, at)| *at);
        prop_assert_eq!(earliest_of_ops(&ops), times.min());
        let collection = Collection::from(hash);
        let mut views = vec![
            HashView::of(&Value::Tree(&collection), &packing, now),
            HashView::of(&Value::Written(&ops), &packing, now),
        ];
        let unpacked = Collection::unpack(Kind::Hash, &packed, &packing).unwrap();
        if fits {
            views.push(HashView::of(&Value::Bytes(&packed), &packing, now));
            views.push(HashView::of(&Value::Tree(&unpacked), &packing, now));
        }
        for view in views {
            assert_is(&view, &model, now);
        }
        prop_assert_eq!(collection.kind(), Kind::Hash);
    }

    #[test]
    fn no_operations_are_too_strange_to_be_checked(ops: Vec<u8>, packed: Vec<u8>) {
        if Hash::check(&ops) {
            let packing = Packing::default();
            Hash::new(&packing).apply(&ops, &packing);
            Hash::apply_packed(&mut Vec::new(), &ops, &packing);
            Hash::apply_packed(&mut packed.clone(), &ops, &packing);
        }
        HashView::packed(&packed, 0).rows().count();
    }

    #[test]
    fn triples_stand_in_the_order_of_their_times(changes in changes()) {
        let packing = Packing { hash_value_bytes_max: 100, ..Packing::default() };
        let mut packed = Vec::new();
        for change in &changes {
            let mut ops = Vec::new();
            change.put(&mut ops);
            Hash::apply_packed(&mut packed, &ops, &packing);
        }
        let times = PackedHash::of(&packed).rows().map(|row| row.cell.expire_at);
        prop_assert!(times.is_sorted_by_key(|at| at.unwrap_or(Millis::MAX)));
    }
}

#[test]
fn a_hash_frees_all_that_it_counted() {
    let packing = Packing::default();
    let mut hash = Hash::new(&packing);
    for number in 0..5000_u64 {
        let mut ops = Vec::new();
        let field = number.to_string();
        put_set(&mut ops, field.as_bytes(), b"value", Some(number + 1));
        hash.apply(&ops, &packing);
    }
    let bytes = hash.heap_bytes();
    let mut wreck = hash.into_wreck();
    let mut freed = 0;
    loop {
        let (some, left) = wreck.free(100);
        freed += some;
        if left > 0 {
            break;
        }
    }
    assert_eq!(freed, bytes);
}
