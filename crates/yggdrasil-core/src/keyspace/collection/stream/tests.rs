use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::keyspace::Collection;

#[derive(Clone, Debug)]
enum Step {
    Add(u64, Vec<(u8, Vec<u8>)>),
    Delete(usize),
    Trim(u64),
    Deliver(u8, u8, usize),
    Acknowledge(u8, usize),
    RemoveConsumer(u8, u8),
    Clone,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![
        any::<i32>().prop_map(|number| number.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let pairs = prop::collection::vec((0..3_u8, value), 1..4);
    let step = prop_oneof![
        8 => (0..3_u64, pairs).prop_map(|(later, pairs)| Step::Add(later, pairs)),
        3 => (0..200_usize).prop_map(Step::Delete),
        1 => (0..30_u64).prop_map(Step::Trim),
        4 => (0..2_u8, 0..3_u8, 0..200_usize).prop_map(|(group, consumer, id)| Step::Deliver(group, consumer, id)),
        2 => (0..2_u8, 0..200_usize).prop_map(|(group, id)| Step::Acknowledge(group, id)),
        1 => (0..2_u8, 0..3_u8).prop_map(|(group, consumer)| Step::RemoveConsumer(group, consumer)),
        1 => Just(Step::Clone),
    ];
    prop::collection::vec(step, 0..200)
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Clone, Default, Debug)]
struct Model {
    entries: BTreeMap<StreamId, Pairs>,
    last: StreamId,
    added: u64,
    pending: BTreeMap<(u8, StreamId), u8>,
    consumers: BTreeSet<(u8, u8)>,
}

impl Model {
    fn id(&self, index: usize) -> Option<StreamId> {
        self.entries
            .keys()
            .nth(index % self.entries.len().max(1))
            .copied()
    }
}

fn pairs_of(entry: &StreamEntry<'_>) -> Pairs {
    entry
        .pairs()
        .map(|(field, value)| (field.to_vec(), value.to_vec()))
        .collect()
}

fn take(step: &Step, model: &mut Model) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut ops = StreamOps::new(&mut bytes);
    match step {
        Step::Add(later, pairs) => {
            let id = match later {
                0 => model.last.next().unwrap(),
                later => StreamId::new(model.last.milliseconds + later, 0),
            };
            let pairs: Pairs = pairs
                .iter()
                .map(|(field, value)| (vec![b'a' + field], value.clone()))
                .collect();
            let flat: Vec<&[u8]> = pairs
                .iter()
                .flat_map(|(field, value)| [&field[..], value])
                .collect();
            ops.add(id, flat.into_iter());
            model.entries.insert(id, pairs);
            model.last = id;
            model.added += 1;
        }
        Step::Delete(index) => {
            if let Some(id) = model.id(*index) {
                ops.delete(id);
                model.entries.remove(&id);
            }
        }
        Step::Trim(count) => {
            ops.trim(*count);
            for _ in 0..*count {
                model.entries.pop_first();
            }
        }
        Step::Deliver(group, consumer, index) => {
            if let Some(id) = model.id(*index) {
                let name = [*consumer];
                ops.group(&[*group], id, None);
                ops.consumer(&[*group], &name, 5, Some(6));
                let pending = Pending {
                    consumer: Name::from(&name[..]),
                    delivered_at: 7,
                    deliveries: 1,
                };
                ops.deliver(&[*group], id, &pending);
                model.pending.insert((*group, id), *consumer);
                model.consumers.insert((*group, *consumer));
            }
        }
        Step::Acknowledge(group, index) => {
            if let Some(id) = model.id(*index) {
                ops.acknowledge(&[*group], id);
                model.pending.remove(&(*group, id));
            }
        }
        Step::RemoveConsumer(group, consumer) => {
            ops.remove_consumer(&[*group], &[*consumer]);
            model.consumers.remove(&(*group, *consumer));
            model
                .pending
                .retain(|(of, _), by| of != group || by != consumer);
        }
        Step::Clone => {}
    }
    bytes
}

fn check(stream: &Stream, model: &Model) {
    assert_eq!(stream.entries(), model.entries.len() as u64);
    assert_eq!(
        (stream.last_id(), stream.entries_added()),
        (model.last, model.added)
    );
    let all: Vec<_> = model.entries.clone().into_iter().collect();
    for (direction, backwards) in [(Direction::Forward, false), (Direction::Back, true)] {
        let mut seen: Vec<_> = stream
            .range(StreamId::MIN, StreamId::MAX, direction)
            .map(|entry| (entry.id, pairs_of(&entry)))
            .collect();
        if backwards {
            seen.reverse();
        }
        assert_eq!(seen, all);
    }
    let mut pending = BTreeMap::new();
    let mut consumers = BTreeSet::new();
    for (name, group) in stream.groups().iter() {
        for (id, one) in group.pending.iter() {
            pending.insert((name[0], *id), one.consumer[0]);
        }
        for (consumer, state) in group.consumers.iter() {
            consumers.insert((name[0], consumer[0]));
            let own: Vec<_> = state.pending.iter().map(|(id, ())| *id).collect();
            let expected = model
                .pending
                .iter()
                .filter(|((of, _), by)| *of == name[0] && **by == consumer[0]);
            assert_eq!(own, expected.map(|((_, id), _)| *id).collect::<Vec<_>>());
        }
    }
    assert_eq!(
        (pending, consumers),
        (model.pending.clone(), model.consumers.clone())
    );
}

proptest! {
    #[test]
    fn a_stream_is_a_list_of_entries_and_its_clones_stay(steps in steps(), bytes in 100..600_usize, entries in 0..20_usize) {
        let packing = Packing {
            stream_node_bytes_max: bytes,
            stream_node_entries_max: entries,
            ..Packing::default()
        };
        let (mut stream, mut model) = (Stream::new(&packing), Model::default());
        let mut kept = Vec::new();
        for step in &steps {
            let ops = take(step, &mut model);
            prop_assert!(Stream::check(&ops));
            stream.apply(&ops, &packing);
            if matches!(step, Step::Clone) {
                kept.push((stream.clone(), model.clone()));
            }
        }
        let mut ops = Vec::new();
        stream.write(&mut ops);
        let mut again = Stream::new(&packing);
        again.apply(&ops, &packing);
        prop_assert_eq!(Collection::from(again.clone()), Collection::from(stream.clone()));
        kept.push((again, model.clone()));
        kept.push((stream.clone(), model));
        for (stream, model) in &kept {
            check(stream, model);
        }
        for node in stream.nodes() {
            let parsed = StreamNode::parse(node.id(), node.bytes()).expect("a node of ours is one");
            prop_assert!(parsed.entries().map(|entry| pairs_of(&entry)).eq(node.entries().map(|entry| pairs_of(&entry))));
        }
        let total = stream.heap_bytes();
        let mut wreck = stream.into_wreck();
        let mut freed = 0;
        while {
            let (bytes, left) = wreck.free(3);
            freed += bytes;
            left == 0
        } {}
        prop_assert_eq!(freed, total);
    }

    #[test]
    fn trimming_about_right_leaves_enough(count in 0..300_u64, length in 0..300_u64, from in 0..300_u64) {
        let packing = Packing { stream_node_entries_max: 10, ..Packing::default() };
        let mut stream = Stream::new(&packing);
        let mut bytes = Vec::new();
        for number in 0..count {
            StreamOps::new(&mut bytes).add(StreamId::new(number + 1, 0), [&b"f"[..], b"v"].into_iter());
        }
        stream.apply(&bytes, &packing);
        let exact = stream.excess(Trim::Length(length), false, None);
        prop_assert_eq!(exact, count.saturating_sub(length));
        let about = stream.excess(Trim::Length(length), true, None);
        prop_assert!(about <= exact && exact - about < 10);
        let from = StreamId::new(from + 1, 0);
        let exact = stream.excess(Trim::From(from), false, None);
        prop_assert_eq!(exact, count.min(from.milliseconds - 1));
        let about = stream.excess(Trim::From(from), true, Some(50));
        prop_assert!(about <= exact && about <= 50);
    }

    #[test]
    fn no_bytes_are_too_strange_to_be_read(bytes: Vec<u8>) {
        if Stream::check(&bytes) {
            let packing = Packing::default();
            Stream::new(&packing).apply(&bytes, &packing);
        }
        prop_assert!(StreamNode::parse(StreamId::MIN, &bytes).is_none());
    }
}
