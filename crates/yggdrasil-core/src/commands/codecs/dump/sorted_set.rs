//! Sorted sets.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::keyspace::Value;
use crate::keyspace::collection::Packing;
use crate::keyspace::collection::listpack::{Element, Listpack};
use crate::keyspace::collection::sorted_set::{SortedSetView, put_score};
use crate::resp::parse_double;

use super::reader::Reader;
use super::writer::{write_bytes, write_element, write_number};
use super::{types, ziplist};

// What stands for scores that have no text.
const NO_NUMBER: u8 = 253;
const HIGHEST: u8 = 254;
const LOWEST: u8 = 255;

/// A member and its score.
type Pair<'a> = (Cow<'a, [u8]>, f64);

pub(super) fn write(out: &mut Vec<u8>, value: Value<'_>) {
    if let Value::Bytes(packed) = value {
        out.push(types::SORTED_SET_LISTPACK);
        write_bytes(out, packed);
        return;
    }
    let view = SortedSetView::of(&value, &Packing::default());
    out.push(types::SORTED_SET);
    write_number(out, view.len());
    // The highest score comes first, so that Redis finds the place of each member at once.
    view.visit_back(&(0..view.len()), |member, score| {
        write_element(out, member);
        out.extend(score.to_le_bytes());
    });
}

/// The operations that make a sorted set.
pub(super) fn read(kind: u8, reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    match kind {
        types::SORTED_SET_LISTPACK => {
            let packed = reader.string()?;
            let elements: Vec<_> = Listpack::parse(&packed).ok()?.iter().collect();
            ops_of(packed_pairs(&elements)?)
        }
        types::SORTED_SET_ZIPLIST => {
            let packed = reader.string()?;
            ops_of(packed_pairs(&ziplist::parse(&packed)?)?)
        }
        types::SORTED_SET | types::SORTED_SET_TEXTS => {
            let mut pairs: Vec<Pair<'_>> = Vec::new();
            for _ in 0..reader.number()? {
                let member = reader.string()?;
                let score = if kind == types::SORTED_SET {
                    f64::from_le_bytes(reader.take()?)
                } else {
                    read_text(reader)?
                };
                pairs.push((member, score));
            }
            ops_of(pairs)
        }
        _ => None,
    }
}

fn packed_pairs<'a>(elements: &[Element<'a>]) -> Option<Vec<Pair<'a>>> {
    let pair = |pair: &[Element<'a>]| {
        let [member, score] = pair else {
            return None;
        };
        let member = match *member {
            Element::Str(text) => Cow::Borrowed(text),
            number @ Element::Int(_) => Cow::Owned(number.to_vec()),
        };
        let score = match score {
            Element::Int(number) => *number as f64,
            Element::Str(text) => parse_double(text)?,
        };
        Some((member, score))
    };
    elements.chunks(2).map(pair).collect()
}

/// A score as text behind its length.
fn read_text(reader: &mut Reader<'_>) -> Option<f64> {
    match reader.byte()? {
        NO_NUMBER => None,
        HIGHEST => Some(f64::INFINITY),
        LOWEST => Some(f64::NEG_INFINITY),
        len => parse_double(reader.bytes(usize::from(len))?),
    }
}

/// The operations that add members, of which each is there once and all have scores.
fn ops_of(mut pairs: Vec<Pair<'_>>) -> Option<Vec<u8>> {
    let mut seen = HashSet::new();
    let are_sound = pairs
        .iter()
        .all(|(member, score)| !score.is_nan() && seen.insert(&**member));
    if !are_sound {
        return None;
    }
    // What comes in its order is appended.
    let falls = |pair: &[Pair<'_>]| pair[0].1 > pair[1].1;
    if pairs.windows(2).next().is_some_and(falls) {
        pairs.reverse();
    }
    let mut ops = Vec::new();
    for (member, score) in &pairs {
        put_score(&mut ops, member, *score);
    }
    Some(ops)
}
