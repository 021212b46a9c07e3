use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0..400_u16).prop_map(|number| number.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..3000),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop::collection::vec(any::<u8>(), 0..300);
    let step = prop_oneof![
        3 => (member(), value).prop_map(|(member, value)| Step::Insert(member, value)),
        2 => member().prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    #[test]
    fn a_table_is_a_map(steps in steps(), seed: u64) {
        let mut table = Table::new(seed);
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(member, value) => {
                    let is_new = !model.contains_key(&member);
                    prop_assert_eq!(table.insert(&member, &value), is_new);
                    model.insert(member, value);
                }
                Step::Remove(member) => {
                    let was_there = model.remove(&member).is_some();
                    prop_assert_eq!(table.remove(&member), was_there);
                }
            }
        }
        prop_assert_eq!(table.len(), model.len() as u64);
        for (member, value) in &model {
            prop_assert_eq!(table.get(member), Some(&value[..]));
            let ahead = table.look_ahead(member);
            ahead.ask_for_places();
            ahead.ask_for_row();
            prop_assert_eq!(ahead.get(member), Some(&value[..]));
        }
        let rows: BTreeMap<_, _> = table.rows().collect();
        prop_assert_eq!(rows.len(), model.len());
        for (position, row) in (0..).zip(table.rows()) {
            prop_assert_eq!(table.at(position), Some(row));
        }
        prop_assert_eq!(table.at(table.len()), None);
    }

    #[test]
    fn a_scan_visits_what_stays(count in 1..20_usize, removed in 0..500_u32) {
        let mut table = Table::new(7);
        let name = |number: u32| number.to_string().into_bytes();
        (0..500).for_each(|number| {
            table.insert(&name(number), b"");
        });
        let mut seen = std::collections::BTreeSet::new();
        let mut cursor = 0;
        let mut step = 0;
        loop {
            cursor = table.scan(cursor, count, |(member, _)| {
                seen.insert(member.to_vec());
            });
            table.remove(&name((removed + step) % 500));
            table.insert(&name(1000 + step), b"");
            step += 1;
            if cursor == 0 {
                break;
            }
        }
        let gone = |number: u32| (0..step).any(|step| (removed + step) % 500 == number);
        for number in (0..500).filter(|number| !gone(*number)) {
            prop_assert!(seen.contains(&name(number)), "{} was there all the time", number);
        }
    }
}
