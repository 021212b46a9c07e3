//! Lists that grow and shrink: their elements, and their forms.

use std::rc::Rc;

use proptest::prelude::*;

use super::collections::Log;
use super::{Rig, key};
use crate::keyspace::collection::list::{
    ListView, Side, put_insert, put_pop, put_push, put_remove, put_set,
};
use crate::keyspace::collection::listpack::Element;
use crate::keyspace::collection::{ListNode, Packing};
use crate::keyspace::{Kind, Record, Value};

const NOW: u64 = 1_000;
/// The elements of a node, and so of a packed list.
const NODE: usize = 8;

#[derive(Clone, Debug)]
enum Step {
    Push(Side, usize),
    Pop(Side, u64),
    Set(usize),
    Insert(usize),
    Remove(usize, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let side = || prop_oneof![Just(Side::Front), Just(Side::Back)];
    let step = prop_oneof![
        3 => (side(), 1..6_usize).prop_map(|(side, count)| Step::Push(side, count)),
        3 => (side(), 1..6_u64).prop_map(|(side, count)| Step::Pop(side, count)),
        1 => (0..30_usize).prop_map(Step::Set),
        1 => (0..30_usize).prop_map(Step::Insert),
        1 => (0..30_usize, 1..6_u64).prop_map(|(at, count)| Step::Remove(at, count)),
    ];
    prop::collection::vec(step, 1..40)
}

/// Changes a model as a step says, and gives the operations; no element is like another.
fn take(model: &mut Vec<String>, step: &Step, made: &mut usize) -> Vec<u8> {
    let mut ops = Vec::new();
    let mut new = || {
        *made += 1;
        format!("element {made}")
    };
    match *step {
        Step::Push(side, count) => {
            for _ in 0..count {
                let element = new();
                put_push(&mut ops, side, element.as_bytes());
                match side {
                    Side::Front => model.insert(0, element),
                    Side::Back => model.push(element),
                }
            }
        }
        Step::Pop(side, count) => {
            put_pop(&mut ops, side, count);
            let count = (count as usize).min(model.len());
            match side {
                Side::Front => drop(model.drain(..count)),
                Side::Back => model.truncate(model.len() - count),
            }
        }
        Step::Set(at) if at < model.len() => {
            model[at] = new();
            put_set(&mut ops, at as u64, model[at].as_bytes());
        }
        Step::Insert(at) if at <= model.len() => {
            model.insert(at, new());
            put_insert(&mut ops, at as u64, model[at].as_bytes());
        }
        Step::Remove(at, count) => {
            put_remove(&mut ops, at as u64, count);
            let at = at.min(model.len());
            model.drain(at..model.len().min(at + count as usize));
        }
        Step::Set(_) | Step::Insert(_) => {}
    }
    ops
}

/// The elements, and whether they are packed.
fn seen(rig: &Rig) -> (Vec<String>, bool) {
    let Some(found) = rig.shard.look(&key(0, b"list"), NOW) else {
        return (Vec::new(), false);
    };
    let list = ListView::of(&found.value, rig.shard.packing());
    let text = |element: Element<'_>| String::from_utf8(element.to_vec()).unwrap();
    let is_packed = matches!(found.value, Value::Bytes(_));
    (list.from(0).map(text).collect(), is_packed)
}

fn rig() -> Rig {
    let mut rig = Rig::roomy();
    rig.shard.set_packing(Packing {
        list_node: ListNode::Entries(NODE),
        ..Packing::default()
    });
    rig
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn lists_of_all_forms_are_lists(steps in steps()) {
        let (mut rig, mut model, mut made) = (rig(), Vec::new(), 0);
        let log = Log::default();
        let records = Rc::clone(&log.0);
        rig.shard.set_listener(Some(Box::new(log)));
        for step in &steps {
            let ops = take(&mut model, step, &mut made);
            rig.shard.change(&key(0, b"list"), Kind::List, &ops, NOW).unwrap();
            rig.shard.check_invariants();
            prop_assert_eq!(&seen(&rig).0, &model);
        }
        let mut follower = self::rig();
        for (number, bytes) in records.borrow().iter() {
            follower.shard.apply(&Record::decode(bytes).unwrap(), *number).unwrap();
        }
        follower.shard.check_invariants();
        prop_assert_eq!(seen(&follower), seen(&rig));
        prop_assert_eq!(follower.shard.number(), rig.shard.number());
    }
}

#[test]
fn a_list_is_packed_again_at_half_of_what_it_may_have() {
    let (mut rig, mut model, mut made) = (rig(), Vec::new(), 0);
    let mut form_after = |step: Step| {
        let ops = take(&mut model, &step, &mut made);
        rig.shard
            .change(&key(0, b"list"), Kind::List, &ops, NOW)
            .unwrap();
        let (elements, is_packed) = seen(&rig);
        assert_eq!(elements, model);
        is_packed
    };
    assert!(form_after(Step::Push(Side::Back, NODE)));
    assert!(!form_after(Step::Push(Side::Back, 1)));
    assert!(!form_after(Step::Pop(Side::Back, 4)));
    assert!(form_after(Step::Pop(Side::Back, 1)));
    // It may grow to its whole length.
    assert!(form_after(Step::Push(Side::Front, 4)));
    assert!(!form_after(Step::Push(Side::Front, 1)));
    assert!(!form_after(Step::Remove(0, 4)));
    assert!(form_after(Step::Remove(0, 1)));
}
