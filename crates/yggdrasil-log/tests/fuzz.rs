//! The check of the fuzz target of logs without a fuzzer: on every input that is kept, and on many that are made of them.

#[path = "../../yggdrasil-core/fuzz/checks/log.rs"]
mod log_check;

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;
use yggdrasil_core::keyspace::{Effect, Kind, Record, Value};
use yggdrasil_log::{Commit, Content, Decision, Frame, Outcome};

/// The records that an input is made of: one of each kind, and numbers and runs that rise.
fn pieces() -> Vec<Vec<u8>> {
    let mut change = Vec::new();
    Record {
        db: 1,
        key: b"key",
        effect: Effect::Put {
            kind: Kind::String,
            value: Value::Bytes(b"value"),
            expire_at: None,
            pinned_until: None,
        },
    }
    .encode(&mut change);
    let (coordinator, tag, number, position) = (1, 7, 3, 300);
    let parts = vec![(0, 2), (1, 9)];
    let end = |outcome| Content::End {
        coordinator,
        tag,
        outcome,
    };
    let contents = [
        Content::Change(&change),
        Content::Commit(Commit { number, position }),
        Content::Begin { coordinator, tag },
        Content::Decision(Decision { tag, parts }),
        end(Outcome::Released),
        end(Outcome::Dropped),
        end(Outcome::Whole),
        Content::Sealed,
        Content::Settled,
    ];
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for (number, epoch) in [(1, 1), (2, 1), (5, 2)] {
        for content in &contents {
            let mut bytes = Vec::new();
            Frame {
                content: content.clone(),
                number,
                epoch,
                bytes: 0,
            }
            .encode(&mut bytes);
            pieces.push(bytes);
        }
    }
    pieces.push(log_check::SEPARATOR.to_vec());
    pieces.push(vec![0; 64]);
    pieces
}

fn kept() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../yggdrasil-core/fuzz/corpus/log");
    let files = std::fs::read_dir(folder).expect("the corpus is there");
    let mut inputs: Vec<_> = files
        .map(|file| std::fs::read(file.expect("a file").path()).expect("it is readable"))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    inputs
}

/// The input of records and what is done to them.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let records = prop::collection::vec(select(pieces()), 0..12);
    let changes = prop::collection::vec((any::<usize>(), any::<u8>()), 0..4);
    (any::<u8>(), records, changes).prop_map(|(flags, records, changes)| {
        let mut bytes = vec![flags];
        bytes.extend(records.concat());
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes
    })
}

#[test]
fn every_kept_input_passes() {
    kept().iter().for_each(|input| log_check::log(input));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn logs_of_any_records_pass(input in input()) {
        log_check::log(&input);
    }

    #[test]
    fn logs_of_any_bytes_pass(input in prop::collection::vec(any::<u8>(), 0..500)) {
        log_check::log(&input);
    }
}
