//! Packed collections of any bytes: sound ones are read the same from both ends, others at least do no harm.

use yggdrasil_core::keyspace::collection::intset::{Intset, IntsetBuf};
use yggdrasil_core::keyspace::collection::listpack::{Element, Listpack, ListpackBuf};

/// Looks at the bytes as each form, and changes them.
pub fn packed(data: &[u8]) {
    listpack(data);
    intset(data);
}

fn listpack(data: &[u8]) {
    let looked = Listpack::trusted(data);
    let (on, back) = (looked.iter().count(), looked.iter().rev().count());
    if let Ok(pack) = Listpack::parse(data) {
        let elements: Vec<_> = pack.iter().collect();
        assert_eq!((on, back), (elements.len(), elements.len()));
        assert_eq!(pack.len(), elements.len());
        assert!(pack.iter().rev().eq(elements.iter().rev().copied()));
        for (index, element) in elements.iter().enumerate() {
            assert_eq!(pack.get(index as i64), Some(*element));
            assert_eq!(
                pack.get(index as i64 - elements.len() as i64),
                Some(*element)
            );
        }
        let again: ListpackBuf = elements.iter().copied().collect();
        let again = Listpack::parse(again.bytes()).expect("what is written here is sound");
        assert!(again.iter().eq(elements));
    }
    change_listpack(data);
}

/// Changes a pack at places that its bytes name.
fn change_listpack(data: &[u8]) {
    let mut pack = ListpackBuf::trusted(data.to_vec());
    for step in data.iter().copied().take(8) {
        let place = pack.view().seek((step >> 3).into()).unwrap_or(step.into());
        match step & 7 {
            0 => pack.push_back(Element::of(data)),
            1 => pack.push_front(Element::Int(step.into())),
            2 => pack.insert(place, Element::of(b"text")),
            3 => pack.replace(place, Element::of(data)),
            4 => pack = pack.split_off(place),
            5 => pack.append(Listpack::trusted(data)),
            6 => pack.prepend(Listpack::trusted(data)),
            _ => assert!(pack.remove(place, usize::from(step >> 5)) <= usize::from(step >> 5)),
        }
    }
    let found = pack.view().find(Element::of(data), 0, 1);
    assert!(found.is_none_or(|at| pack.view().at(at) == Some(Element::of(data))));
}

fn intset(data: &[u8]) {
    let looked: Vec<_> = Intset::trusted(data).iter().collect();
    if let Ok(set) = Intset::parse(data) {
        assert!(looked.is_sorted());
        assert!(looked.iter().all(|number| set.contains(*number)));
        let again: IntsetBuf = set.iter().collect();
        assert!(again.view().iter().eq(looked));
    }
    let mut set = IntsetBuf::trusted(data.to_vec());
    for number in data
        .iter()
        .map(|byte| i64::from(*byte) << (byte & 31))
        .take(8)
    {
        set.insert(number);
        set.remove(number.wrapping_neg());
    }
}
