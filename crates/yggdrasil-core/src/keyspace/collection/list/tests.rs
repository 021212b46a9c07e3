use proptest::prelude::*;

use super::*;
use crate::keyspace::{Collection, Kind, Value};

#[derive(Clone, Debug)]
enum Change {
    Push(bool, Vec<u8>),
    Pop(bool, u64),
    Set(u64, Vec<u8>),
    Insert(u64, Vec<u8>),
    Remove(u64, u64),
    Append(Vec<Vec<u8>>),
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..20),
        4 => any::<i32>().prop_map(|number| number.to_string().into_bytes()),
        1 => (0..300_usize).prop_map(|len| vec![b'x'; len]),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (any::<bool>(), element()).prop_map(|(front, element)| Change::Push(front, element)),
        2 => (any::<bool>(), 0..4_u64).prop_map(|(front, count)| Change::Pop(front, count)),
        2 => (0..200_u64, element()).prop_map(|(position, element)| Change::Set(position, element)),
        3 => (0..200_u64, element()).prop_map(|(position, element)| Change::Insert(position, element)),
        1 => (0..200_u64, 0..30_u64).prop_map(|(position, count)| Change::Remove(position, count)),
        1 => prop::collection::vec(element(), 0..5).prop_map(Change::Append),
    ]
}

fn side(front: bool) -> Side {
    if front { Side::Front } else { Side::Back }
}

/// Writes a change as operations, and makes it in the model.
fn make(change: &Change, model: &mut Vec<Vec<u8>>) -> Vec<u8> {
    let mut ops = Vec::new();
    let len = model.len();
    match change {
        Change::Push(front, element) => {
            put_push(&mut ops, side(*front), element);
            model.insert(if *front { 0 } else { len }, element.clone());
        }
        Change::Pop(front, count) => {
            put_pop(&mut ops, side(*front), *count);
            let count = len.min(*count as usize);
            let gone = if *front { 0..count } else { len - count..len };
            model.drain(gone);
        }
        Change::Set(position, element) => {
            put_set(&mut ops, *position, element);
            if let Some(old) = model.get_mut(*position as usize) {
                *old = element.clone();
            }
        }
        Change::Insert(position, element) => {
            put_insert(&mut ops, *position, element);
            if *position as usize <= len {
                model.insert(*position as usize, element.clone());
            }
        }
        Change::Remove(position, count) => {
            put_remove(&mut ops, *position, *count);
            let from = len.min(*position as usize);
            model.drain(from..len.min(from + *count as usize));
        }
        Change::Append(elements) => {
            let pack: ListpackBuf = elements.iter().map(|text| Element::of(text)).collect();
            put_append(&mut ops, pack.view());
            model.extend(elements.iter().cloned());
        }
    }
    ops
}

fn check_view(view: &ListView<'_>, model: &[Vec<u8>]) {
    assert_eq!(view.len(), model.len() as u64);
    let texts = |elements: &mut dyn Iterator<Item = Element<'_>>| -> Vec<Vec<u8>> {
        elements.map(Element::to_vec).collect()
    };
    for from in 0..=model.len() {
        assert_eq!(
            texts(&mut view.from(from as u64).take(9)),
            model[from..model.len().min(from + 9)]
        );
        let mut back: Vec<_> =
            model[(from + 1).saturating_sub(9)..(from + 1).min(model.len())].to_vec();
        back.reverse();
        if from < model.len() {
            assert_eq!(texts(&mut view.back_from(from as u64).take(9)), back);
        }
        assert_eq!(
            view.at(from as u64).map(Element::to_vec).as_ref(),
            model.get(from)
        );
    }
    assert_eq!(texts(&mut view.from(0)), model);
    assert_eq!(
        view.end(Side::Back).map(Element::to_vec).as_ref(),
        model.last()
    );
}

/// The limit, as small as tests want it.
fn limits() -> impl Strategy<Value = ListNode> {
    prop_oneof![
        (60..400_usize).prop_map(ListNode::Bytes),
        (1..40_usize).prop_map(ListNode::Entries),
    ]
}

proptest! {
    #[test]
    fn every_form_has_the_same_elements(changes in prop::collection::vec(change(), 0..200), list_node in limits()) {
        let packing = Packing { list_node, ..Packing::default() };
        let mut model = Vec::new();
        let mut list = List::new(&packing);
        let (mut packed, mut fits) = (Vec::new(), true);
        for change in &changes {
            let ops = make(change, &mut model);
            prop_assert!(List::check(&ops));
            list.apply(&ops, &packing);
            fits = fits && List::apply_packed(&mut packed, &ops, &packing) == Fit::Packed;
            prop_assert_eq!(list.len(), model.len() as u64);
        }
        for found in list.tree.walk_all() {
            if let leaf::Part::Pack(pack) = &found.leaf.part {
                prop_assert!(Listpack::parse(pack.bytes()).is_ok());
            }
        }
        let mut ops = Vec::new();
        list.write(&mut ops);
        prop_assert!(List::check(&ops));
        let before = list.clone();
        let collection = Collection::from(list);
        prop_assert_eq!(collection.kind(), Kind::List);
        check_view(&ListView::of(&Value::Tree(&collection), &packing), &model);
        check_view(&ListView::of(&Value::Written(&ops), &packing), &model);
        if fits {
            check_view(&ListView::of(&Value::Bytes(&packed), &packing), &model);
            prop_assert_eq!(packed.is_empty(), model.is_empty());
            check_view(&ListView::Tree(&List::unpack(&packed, &packing)), &model);
        }
        for (side, count) in [(Side::Front, 3), (Side::Back, 3), (Side::Back, 1000)] {
            let ops = ListView::Tree(&before).written_end(side, count);
            let kept = model.len().min(count as usize);
            let expected = match side {
                Side::Front => &model[..kept],
                Side::Back => &model[model.len() - kept..],
            };
            check_view(&ListView::of(&Value::Written(&ops), &packing), expected);
        }
    }

    #[test]
    fn no_operations_are_too_strange_to_be_checked(ops in prop::collection::vec(0..12_u8, 0..60)) {
        if List::check(&ops) {
            let packing = Packing::default();
            List::new(&packing).apply(&ops, &packing);
            List::apply_packed(&mut Vec::new(), &ops, &packing);
        }
    }
}

/// Whoever only pushes at one end gets full nodes.
#[test]
fn nodes_are_full() {
    let packing = Packing::default();
    for side in [Side::Front, Side::Back] {
        let mut list = List::new(&packing);
        let mut ops = Vec::new();
        for number in 0..100_000_u64 {
            ops.clear();
            put_push(&mut ops, side, format!("element {number:012}").as_bytes());
            list.apply(&ops, &packing);
        }
        let per_element = (list.heap_bytes() - 20 * list.len()) as f64 / list.len() as f64;
        assert!(per_element <= 2.5, "{per_element} bytes beside the element");
        assert!(list.into_wreck().free(usize::MAX).0 > 0);
    }
}
