use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::keyspace::collection::Collection;
use crate::keyspace::{Kind, Value};

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, f64),
    Remove(Vec<u8>),
    RemoveSpan(u64, u64),
}

type Model = BTreeMap<Vec<u8>, f64>;

fn scores() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-5..5_i32).prop_map(f64::from),
        2 => (-50..50_i32).prop_map(|number| f64::from(number) / 8.0),
        1 => any::<f64>().prop_filter("scores are numbers", |score| !score.is_nan()),
        1 => Just(f64::INFINITY),
        1 => Just(-0.0),
    ]
}

fn members() -> impl Strategy<Value = Vec<u8>> {
    let number = (-20..600_i64).prop_map(|number| number.to_string().into_bytes());
    prop_oneof![6 => number, 1 => prop::collection::vec(any::<u8>(), 0..80)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (members(), scores()).prop_map(|(member, score)| Step::Put(member, score)),
        4 => members().prop_map(Step::Remove),
        1 => (0..300_u64, 0..60_u64).prop_map(|(start, count)| Step::RemoveSpan(start, count)),
    ];
    prop::collection::vec(step, 0..500)
}

fn ordered(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model
        .iter()
        .map(|(member, score)| (member.clone(), *score))
        .collect();
    all.sort_by(|one, other| one.1.total_cmp(&other.1).then_with(|| one.0.cmp(&other.0)));
    all
}

fn take(model: &mut Model, step: &Step) -> Vec<u8> {
    let mut ops = Vec::new();
    match step {
        Step::Put(member, score) => {
            put_score(&mut ops, member, *score);
            model.insert(member.clone(), score + 0.0);
        }
        Step::Remove(member) => {
            put_remove(&mut ops, member);
            model.remove(member);
        }
        Step::RemoveSpan(start, count) => {
            put_remove_span(&mut ops, &(*start..start + count));
            let span = ordered(model).into_iter().skip(*start as usize);
            for (member, _) in span.take(*count as usize) {
                model.remove(&member);
            }
        }
    }
    ops
}

fn span_of(all: &[(Vec<u8>, f64)], holds: impl Fn(&(Vec<u8>, f64)) -> bool) -> Vec<u64> {
    let places = (0..).zip(all).filter(|(_, pair)| holds(pair));
    places.map(|(place, _)| place).collect()
}

fn check(view: &SortedSetView<'_>, model: &Model, range: &ScoreRange) {
    let all = ordered(model);
    assert_eq!(view.len(), all.len() as u64);
    let mut seen = Vec::new();
    view.visit(&(0..view.len()), |member, score| {
        seen.push((member.to_vec(), score))
    });
    assert_eq!(seen, all);
    seen.clear();
    view.visit_back(&(0..view.len()), |member, score| {
        seen.push((member.to_vec(), score))
    });
    seen.reverse();
    assert_eq!(seen, all);
    for (place, (member, score)) in (0..).zip(&all) {
        assert_eq!(view.rank(member), Some((place, *score)));
        assert_eq!(view.score(member), Some(*score));
        let found = view
            .at(place)
            .map(|(member, score)| (member.to_vec(), score));
        assert_eq!(found, Some((member.clone(), *score)));
    }
    assert_eq!(view.at(view.len()), None);
    assert_eq!(view.rank(b"never there"), None);
    let span: Vec<u64> = view.span_of_scores(range).collect();
    let inside = |pair: &(Vec<u8>, f64)| !range.is_above(pair.1) && range.reaches(pair.1);
    assert_eq!(span, span_of(&all, inside));
    let (from, to) = (all.len() as u64 / 3, all.len() as u64 * 2 / 3);
    let third = &all[from as usize..to as usize];
    seen.clear();
    view.visit(&(from..to), |member, score| {
        seen.push((member.to_vec(), score))
    });
    assert_eq!(seen, third);
    seen.clear();
    view.visit_back(&(from..to), |member, score| {
        seen.push((member.to_vec(), score))
    });
    seen.reverse();
    assert_eq!(seen, third);
    let (mut scanned, mut cursor) = (Model::new(), 0);
    loop {
        cursor = view.scan(cursor, 10, |member, score| {
            scanned.insert(member.to_vec(), score);
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(&scanned, model);
}

/// All forms of a sorted set that some steps make.
fn with_forms(steps: &[Step], entries_max: usize, check: impl Fn(&SortedSetView<'_>, &Model)) {
    let packing = Packing {
        sorted_set_entries_max: entries_max,
        ..Packing::default()
    };
    let (mut model, mut set) = (Model::new(), SortedSet::new(&packing));
    let (mut packed, mut fits) = (Vec::new(), true);
    for step in steps {
        let ops = take(&mut model, step);
        assert!(SortedSet::check(&ops));
        set.apply(&ops, &packing);
        fits = fits && SortedSet::apply_packed(&mut packed, &ops, &packing) == Fit::Packed;
        if fits && packed.len() > 7 {
            crate::keyspace::collection::listpack::Listpack::parse(&packed).unwrap();
        }
    }
    let mut ops = Vec::new();
    set.write(&mut ops);
    let collection = Collection::from(set);
    assert_eq!(collection.kind(), Kind::SortedSet);
    check(
        &SortedSetView::of(&Value::Tree(&collection), &packing),
        &model,
    );
    check(&SortedSetView::of(&Value::Written(&ops), &packing), &model);
    if fits {
        check(&SortedSetView::of(&Value::Bytes(&packed), &packing), &model);
        let unpacked = Collection::from(SortedSet::unpack(&packed, &packing));
        assert_eq!(unpacked, collection);
    }
    let bytes = collection.heap_bytes();
    let (mut wreck, mut freed) = (collection.into_wreck(), 0);
    loop {
        let (more, left) = wreck.free(3);
        freed += more;
        if left > 0 {
            break;
        }
    }
    assert_eq!(freed, bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_form_has_the_same_order(
        steps in steps(), entries in 0..200_usize, ends in (scores(), any::<bool>(), scores(), any::<bool>())
    ) {
        let range = ScoreRange {
            min: ScoreEnd { score: ends.0, is_open: ends.1 },
            max: ScoreEnd { score: ends.2, is_open: ends.3 },
        };
        with_forms(&steps, entries, |view, model| check(view, model, &range));
    }

    #[test]
    fn members_of_one_score_have_ranges(
        all in prop::collection::btree_set(members(), 0..300), from in members(), to in members(), opens: (bool, bool)
    ) {
        let steps: Vec<_> = all.iter().map(|member| Step::Put(member.clone(), 7.0)).collect();
        let end = |member, is_open| MemberEnd::At { member, is_open };
        let lowest = MemberRange { min: MemberEnd::Lowest, max: end(&to, opens.1) };
        let between = MemberRange { min: end(&from, opens.0), max: end(&to, opens.1) };
        let highest = MemberRange { min: end(&from, opens.0), max: MemberEnd::Highest };
        let none = MemberRange { min: MemberEnd::Highest, max: MemberEnd::Lowest };
        with_forms(&steps, 128, |view, model| {
            for range in [lowest, between, highest, none] {
                let span: Vec<u64> = view.span_of_members(&range).collect();
                let inside = |pair: &(Vec<u8>, f64)| !range.is_above(&pair.0) && range.reaches(&pair.0);
                assert_eq!(span, span_of(&ordered(model), inside));
            }
        });
    }

    #[test]
    fn no_operations_are_too_strange_to_be_checked(ops: Vec<u8>) {
        if SortedSet::check(&ops) {
            let packing = Packing::default();
            SortedSet::new(&packing).apply(&ops, &packing);
            SortedSet::apply_packed(&mut Vec::new(), &ops, &packing);
        }
    }

    #[test]
    fn no_bytes_are_too_strange_to_be_read(bytes: Vec<u8>) {
        let view = SortedSetView::of(&Value::Bytes(&bytes), &Packing::default());
        view.visit(&(0..view.len()), |_, _| {});
        view.visit_back(&(1..view.len()), |_, _| {});
        assert_eq!(view.rank(b"a member that is not there, and far too long for it"), None);
        assert!(view.at(u64::MAX).is_none());
        SortedSet::unpack(&bytes, &Packing::default());
    }
}
