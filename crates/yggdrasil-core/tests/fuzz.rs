//! The checks of the fuzz targets without a fuzzer: on every input that is kept, and on thousands that are made of them.

#[path = "../fuzz/checks/effect.rs"]
mod effect_check;
#[path = "../fuzz/checks/packed.rs"]
mod packed_check;
#[path = "../fuzz/checks/resp.rs"]
mod resp_check;
#[path = "../fuzz/checks/restored.rs"]
mod restored_check;

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;

/// Pieces of requests, so that inputs are often nearly right.
const PIECES: &[&[u8]] = &[
    b"*1\r\n",
    b"*2\r\n",
    b"*3\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*41\r\n",
    b"*01\r\n",
    b"*\r\n",
    b"$0\r\n",
    b"$1\r\n",
    b"$3\r\n",
    b"$4096\r\n",
    b"$4097\r\n",
    b"$-1\r\n",
    b"$1x\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"GET",
    b"k",
    b" ",
    b"\"",
    b"\\x0",
    b"'",
    b"\0",
    b"\xff",
    b"PING\r\n",
    b"$3\r\nGET\r\n",
    b"99999999999999999999\r\n",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(folder).unwrap();
    let mut inputs: Vec<_> = files
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    inputs
}

/// A change of an input: bytes from a place on are taken out, and others put in.
fn changes() -> impl Strategy<Value = Vec<(usize, usize, Vec<u8>)>> {
    let other = prop_oneof![
        select(PIECES).prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..8),
        (select(PIECES), 0..300_usize).prop_map(|(piece, times)| piece.repeat(times)),
    ];
    prop::collection::vec((any::<usize>(), 0..6_usize, other), 0..8)
}

fn change(input: &mut Vec<u8>, changes: Vec<(usize, usize, Vec<u8>)>) {
    for (at, gone, other) in changes {
        let at = at % (input.len() + 1);
        let end = input.len().min(at + gone);
        input.splice(at..end, other);
    }
}

#[test]
fn every_kept_input_passes() {
    corpus("resp")
        .iter()
        .for_each(|input| resp_check::resp(input));
    corpus("effect")
        .iter()
        .for_each(|input| effect_check::effect(input));
    corpus("packed")
        .iter()
        .for_each(|input| packed_check::packed(input));
    corpus("restored")
        .iter()
        .for_each(|input| restored_check::restored(input));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn every_change_of_a_kept_input_passes(mut input in select(corpus("resp")), changes in changes()) {
        change(&mut input, changes);
        resp_check::resp(&input);
    }

    #[test]
    fn every_change_of_a_kept_effect_passes(mut input in select(corpus("effect")), changes in changes()) {
        change(&mut input, changes);
        effect_check::effect(&input);
    }

    #[test]
    fn every_change_of_a_kept_pack_passes(mut input in select(corpus("packed")), changes in changes()) {
        change(&mut input, changes);
        packed_check::packed(&input);
    }
}
