use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const SPARSE_BYTES_MAX: usize = 3000;

fn sketch_of(elements: impl Iterator<Item = u64>, sparse_bytes_max: usize) -> Sketch<'static> {
    let mut sketch = Sketch::new();
    for element in elements {
        let (index, value) = place_of(&element.to_le_bytes());
        sketch.raise(index, value, sparse_bytes_max).unwrap();
    }
    sketch
}

#[test]
fn one_without_elements_counts_none() {
    let sketch = Sketch::new();
    assert_eq!(sketch.bytes().len(), HEADER_BYTES + 2);
    assert_eq!((sketch.cached(), sketch.count()), (Some(0), Ok(0)));
}

#[test]
fn the_hash_is_murmur() {
    // Of the reference implementation.
    assert_eq!(murmur64a(b"", 0), 0);
    assert_eq!(murmur64a(b"a", 0), 0x0717_17d2_d36b_6b11);
    assert_eq!(murmur64a(b"hello", 0), 0x1e68_d17c_457b_f117);
}

#[test]
fn both_encodings_count_the_same_and_are_near() {
    for count in [1, 10, 100, 1000, 10_000, 100_000] {
        let sparse = sketch_of(0..count, SPARSE_BYTES_MAX);
        let dense = sketch_of(0..count, 0);
        assert_eq!(dense.encoding(), Encoding::Dense);
        assert_eq!(sparse.count(), dense.count());
        let off = sparse.count().unwrap().abs_diff(count);
        assert!(off * 20 <= count, "{count} is off by {off}");
    }
}

#[test]
fn bytes_of_other_strings_are_refused() {
    let mut dense = sketch_of(0..5, 0).into_bytes();
    assert!(Sketch::of(&dense).is_ok());
    dense.pop();
    let sketch = Sketch::new().into_bytes();
    for foreign in [&b""[..], b"HYLL", &dense, &sketch[1..]] {
        assert_eq!(Sketch::of(foreign).err(), Some(Invalid::Foreign));
    }
    let mut short = Sketch::new().into_bytes();
    short.pop();
    let short = Sketch::of(&short).unwrap();
    assert_eq!(short.count(), Err(Invalid::Corrupt));
    assert_eq!(short.clone().raise(5, 1, 3000), Err(Invalid::Corrupt));
    assert_eq!(short.clone().make_dense(), Err(Invalid::Corrupt));
}

proptest! {
    #[test]
    fn registers_are_what_they_were_raised_to(
        raises in prop::collection::vec((0..REGISTERS, 1_u8..=51), 0..300),
        near in any::<bool>(),
        sparse_bytes_max in prop_oneof![Just(0_usize), Just(60), Just(SPARSE_BYTES_MAX)],
    ) {
        let mut sketch = Sketch::new();
        let mut expected: HashMap<usize, u8> = HashMap::new();
        for (index, value) in raises {
            // Neighbours have their runs joined and cut.
            let (index, value) = if near { (index % 40, value % 3 + 1) } else { (index, value) };
            let known = expected.entry(index).or_default();
            let raised = sketch.raise(index, value, sparse_bytes_max);
            prop_assert_eq!(raised, Ok(*known < value));
            *known = value.max(*known);
        }
        let registers = sketch.registers().unwrap();
        for (index, value) in registers.iter().enumerate() {
            prop_assert_eq!(*value, expected.get(&index).copied().unwrap_or(0));
        }
        let count = sketch.count();
        prop_assert_eq!(count, Ok(estimate(&histogram(&registers))));
        sketch.make_dense().unwrap();
        prop_assert_eq!(sketch.registers().unwrap(), registers);
        prop_assert_eq!(sketch.count(), count);
    }

    #[test]
    fn no_bytes_are_too_strange(
        rest in prop::collection::vec(any::<u8>(), 0..200), index in 0..REGISTERS, value in 1_u8..=51,
    ) {
        let mut bytes = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80".to_vec();
        bytes.extend(rest);
        let mut sketch = Sketch::of(&bytes).unwrap();
        let _ = sketch.count();
        let _ = sketch.registers();
        let _ = sketch.raise(index, value, SPARSE_BYTES_MAX);
        let _ = sketch.make_dense();
    }
}
