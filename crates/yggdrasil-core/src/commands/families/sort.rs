//! SORT: the elements of a list, a set or a sorted set in order, by what other keys have, with what other keys have.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::commands::families::sorting::{Manner, Weight, sort_in_steps, store_in_steps};
use crate::commands::families::steps::AT_ONCE_MAX;
use crate::commands::families::value::{int_argument, text};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Change, Found, Look, Outcome, PlanContext, Run, Together};
use crate::commands::table::key_use::{self, KeyUse};
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::AtLeast;
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::collection::Packing;
use crate::keyspace::collection::hash::HashView;
use crate::keyspace::collection::list::{ListView, Side, put_push};
use crate::keyspace::collection::listpack::Element;
use crate::keyspace::collection::set::SetView;
use crate::keyspace::collection::sorted_set::SortedSetView;
use crate::keyspace::{Collection, Effect, EntryView, KeyEvent, Kind, Millis, Value};
use crate::resp::{Args, Double, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "sort",
        arity: AtLeast(2),
        flags: Flags::of(&[
            Flags::WRITE,
            Flags::DENYOOM,
            Flags::MOVABLE_KEYS,
            Flags::DANGEROUS,
            Flags::SEVERAL_TYPES,
        ]),
        keys: Keys::Sort,
        group: Group::Generic,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together { look, decide: sort }),
        docs: Docs {
            summary: "Gives or stores the elements of a list, a set or a sorted set in order.",
            since: "1.0.0",
            complexity: "O(N+M*log(M)) for N elements, of which M are given",
            syntax: "key [BY by-pattern] [LIMIT offset count] [GET get-pattern [GET get-pattern ...]] \
                [ASC | DESC] [ALPHA] [STORE destination]",
            tips: &[],
            key_uses: SORT_USES,
        },
    },
    CommandSpec {
        name: "sort_ro",
        arity: AtLeast(2),
        flags: Flags::of(&[
            Flags::READONLY,
            Flags::MOVABLE_KEYS,
            Flags::DANGEROUS,
            Flags::SEVERAL_TYPES,
        ]),
        keys: Keys::Sort,
        group: Group::Generic,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together {
            look,
            decide: sort_ro,
        }),
        docs: Docs {
            summary: "Gives the elements of a list, a set or a sorted set in order.",
            since: "7.0.0",
            complexity: "O(N+M*log(M)) for N elements, of which M are given",
            syntax: "key [BY by-pattern] [LIMIT offset count] [GET get-pattern [GET get-pattern ...]] \
                [ASC | DESC] [ALPHA]",
            tips: &[],
            key_uses: &[],
        },
    },
];

const SORT_USES: &[KeyUse] = &[key_use::READ, key_use::OVERWRITE];

/// Options of a request.
#[derive(Clone, Debug, Default)]
struct Options<'a> {
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    limit: Option<(i64, i64)>,
    descending: bool,
    alpha: bool,
    destination: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(args: &Args<'a>, may_store: bool) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        let mut rest = args.iter().skip(2);
        while let Some(option) = rest.next() {
            let mut next = || rest.next().ok_or(CommandError::Syntax);
            match option.to_ascii_lowercase().as_slice() {
                b"asc" => parsed.descending = false,
                b"desc" => parsed.descending = true,
                b"alpha" => parsed.alpha = true,
                b"limit" => {
                    let (offset, count) = (next()?, next()?);
                    parsed.limit = Some((int_argument(offset)?, int_argument(count)?));
                }
                b"store" if may_store => parsed.destination = Some(next()?),
                b"by" => parsed.by = Some(next()?),
                b"get" => parsed.get.push(next()?),
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(parsed)
    }

    /// The pattern to sort by; `None` for the elements themselves, and where nothing is sorted.
    fn weights(&self) -> Option<&'a [u8]> {
        self.by.filter(|by| by.contains(&b'*'))
    }

    /// The part of so many elements that is given.
    fn part(&self, len: usize) -> std::ops::Range<usize> {
        let Some((offset, count)) = self.limit else {
            return 0..len;
        };
        let start = usize::try_from(offset.max(0))
            .unwrap_or(usize::MAX)
            .min(len);
        let count = usize::try_from(count).unwrap_or(len);
        start..start.saturating_add(count).min(len)
    }
}

/// The key, and the field of its hash if any, that a pattern names with an element in place of its star.
fn place(pattern: &[u8], element: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let star = pattern.iter().position(|byte| *byte == b'*')?;
    let (before, behind) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = behind.windows(2).position(|pair| pair == b"->");
    let arrow = arrow.filter(|at| at + 2 < behind.len());
    let (behind, field) = match arrow {
        Some(at) => (&behind[..at], Some(behind[at + 2..].to_vec())),
        None => (behind, None),
    };
    Some(([before, element, behind].concat(), field))
}

/// What other keys have for the elements.
struct Others<'f> {
    by_key: HashMap<Vec<u8>, Found<'f>>,
    now: Millis,
}

impl Others<'_> {
    /// What a pattern names; `None` where that is nothing, or no string.
    fn value(&self, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
        if pattern == b"#" {
            return Some(element.to_vec());
        }
        let (key, field) = place(pattern, element)?;
        let entry = (*self.by_key.get(&key)?)?;
        match (entry.kind, field) {
            (Kind::String, None) => Some(text(entry.value, &mut itoa::Buffer::new()).to_vec()),
            (Kind::Hash, Some(field)) => {
                let hash = HashView::of(&entry.value, &Packing::default(), self.now);
                hash.get(&field).map(|cell| cell.value.to_vec())
            }
            _ => None,
        }
    }
}

fn look<'a>(context: &PlanContext<'_>, args: &Args<'a>, looks: &mut Vec<Look<'a>>) -> Outcome {
    let may_store = !args.at(0).eq_ignore_ascii_case(b"sort_ro");
    let options = Options::parse(args, may_store)?;
    looks.push(context.look(args.at(1), true));
    looks.extend(options.destination.map(|key| context.look(key, false)));
    Ok(())
}

fn sort<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    run(context, Options::parse(args, true)?, found, changes, reply)
}

fn sort_ro<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    run(context, Options::parse(args, false)?, found, changes, reply)
}

fn run<'a>(
    context: &PlanContext<'a>,
    mut options: Options<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let entry = found[0];
    let is_set = entry.is_some_and(|entry| entry.kind == Kind::Set);
    let mut sorts = options.by.is_none() || options.weights().is_some();
    if !sorts && is_set && options.destination.is_some() {
        // A set has no order to keep: what is stored shall not depend on how it is packed.
        (sorts, options.alpha, options.by) = (true, true, None);
    }
    if options.weights().is_none()
        && options.get.is_empty()
        && let Some(large) = large(entry.as_ref())
    {
        let manner = Manner {
            weight: match (sorts, options.alpha) {
                (false, _) => Weight::Place,
                (true, false) => Weight::Number,
                (true, true) => Weight::Text,
            },
            // The members of a set have no order to be turned.
            descending: options.descending && (sorts || !is_set),
        };
        let part = options.part(large.len() as usize);
        let Some(destination) = options.destination else {
            sort_in_steps(reply, large, manner, &part);
            return Ok(());
        };
        if store_in_steps(context, large, manner, &part, destination) {
            return Ok(());
        }
    }
    let mut elements = elements(entry.as_ref(), !sorts && options.descending)?;
    let first_other = 1 + usize::from(options.destination.is_some());
    let keys = other_keys(&options, &elements, sorts);
    if !keys.is_empty() && found.len() == first_other {
        context.further.ask(keys);
        return Ok(());
    }
    let others = Others {
        by_key: keys
            .into_iter()
            .zip(found[first_other..].iter().copied())
            .collect(),
        now: context.now,
    };
    if sorts {
        elements = sorted(elements, &options, &others)?;
    }
    let part = options.part(elements.len());
    let output = elements[part].iter().flat_map(|element| {
        let own = options.get.is_empty().then(|| Some(element.clone()));
        let of_patterns = options.get.iter().map(|get| others.value(get, element));
        own.into_iter().chain(of_patterns)
    });
    let output: Vec<_> = output.collect();
    if let Some(destination) = options.destination {
        store((context, destination), found[1], &output, changes);
        reply.count(output.len() as u64);
        return Ok(());
    }
    reply.array(output.len());
    for value in &output {
        match value {
            Some(value) => reply.bulk(value),
            None => reply.null(),
        }
    }
    Ok(())
}

/// A clone of what is sorted, where that is so much that it takes steps.
fn large(entry: Option<&EntryView<'_>>) -> Option<Collection> {
    let entry = entry?;
    let Value::Tree(tree) = entry.value else {
        return None;
    };
    let has_elements = matches!(entry.kind, Kind::List | Kind::Set | Kind::SortedSet);
    (has_elements && tree.len() > AT_ONCE_MAX).then(|| tree.clone())
}

/// The elements, in the order that they have, which is turned on request.
fn elements(entry: Option<&EntryView<'_>>, back: bool) -> Result<Vec<Vec<u8>>, CommandError> {
    let Some(entry) = entry else {
        return Ok(Vec::new());
    };
    let packing = Packing::default();
    if matches!(entry.value, Value::Absent(_)) {
        return Err(CommandError::NotInMemory);
    }
    match entry.kind {
        Kind::List => {
            let list = ListView::of(&entry.value, &packing);
            let mut elements: Vec<_> = list.from(0).map(Element::to_vec).collect();
            if back {
                elements.reverse();
            }
            Ok(elements)
        }
        Kind::Set => {
            let set = SetView::of(&entry.value, &packing);
            Ok(set.members().map(Element::to_vec).collect())
        }
        Kind::SortedSet => {
            let set = SortedSetView::of(&entry.value, &packing);
            let mut members = Vec::new();
            set.visit(&(0..set.len()), |member, _| members.push(member.to_vec()));
            if back {
                members.reverse();
            }
            Ok(members)
        }
        _ => Err(CommandError::WrongType),
    }
}

/// The keys that patterns name, each once.
fn other_keys(options: &Options<'_>, elements: &[Vec<u8>], sorts: bool) -> Vec<Vec<u8>> {
    let by = options.weights().filter(|_| sorts);
    let patterns = by.into_iter().chain(options.get.iter().copied());
    let mut keys: Vec<Vec<u8>> = patterns
        .flat_map(|pattern| {
            elements
                .iter()
                .filter_map(|element| place(pattern, element))
        })
        .map(|(key, _)| key)
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn sorted(
    elements: Vec<Vec<u8>>,
    options: &Options<'_>,
    others: &Others<'_>,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let weights = options.weights();
    let weight = |element: &Vec<u8>| match weights {
        Some(pattern) => others.value(pattern, element),
        None => Some(element.clone()),
    };
    let in_order = |order: Ordering| match options.descending {
        true => order.reverse(),
        false => order,
    };
    if options.alpha {
        let mut weighed: Vec<_> = elements.into_iter().map(|e| (weight(&e), e)).collect();
        weighed.sort_by(|(one, _), (other, _)| in_order(one.cmp(other)));
        return Ok(weighed.into_iter().map(|(_, element)| element).collect());
    }
    let mut weighed = Vec::with_capacity(elements.len());
    for element in elements {
        let number = match weight(&element) {
            None => 0.0,
            Some(text) => number(&text).ok_or(CommandError::Plain(
                "One or more scores can't be converted into double",
            ))?,
        };
        weighed.push((number, element));
    }
    weighed.sort_by(|(one, a), (other, b)| in_order(one.total_cmp(other).then_with(|| a.cmp(b))));
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

/// The decimal number that a text is: nothing is 0, and what is too large is infinite.
pub(super) fn number(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    let is_hexadecimal = text.iter().any(|byte| matches!(byte, b'x' | b'X'));
    let double = Double::parse(text).filter(|_| !is_hexadecimal)?;
    // 0 and -0 are equal.
    Some(double.value + 0.0)
}

/// Puts a list of values in place of what the destination has; none of them remove it.
fn store<'a>(
    (context, key): (&PlanContext<'a>, &'a [u8]),
    before: Found<'a>,
    output: &[Option<Vec<u8>>],
    changes: &mut Vec<Change<'a>>,
) {
    let (effect, events): (_, &[KeyEvent]) = if output.is_empty() {
        if before.is_none() {
            return;
        }
        (Effect::Remove, &[KeyEvent::Del])
    } else {
        let mut ops = Vec::new();
        for value in output {
            put_push(&mut ops, Side::Back, value.as_deref().unwrap_or(b""));
        }
        let effect = Effect::Put {
            kind: Kind::List,
            value: Value::Written(context.made.keep(ops)),
            expire_at: None,
            pinned_until: None,
        };
        (effect, &[KeyEvent::SortStore])
    };
    changes.push(Change {
        db: context.db,
        key,
        effect,
        events,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_a_key_and_a_field() {
        let named = |pattern: &[u8]| place(pattern, b"x");
        let key = |key: &[u8]| Some((key.to_vec(), None));
        assert_eq!(named(b"w_*"), key(b"w_x"));
        assert_eq!(named(b"*"), key(b"x"));
        assert_eq!(named(b"a*b*"), key(b"axb*"));
        assert_eq!(named(b"none"), None);
        assert_eq!(named(b"w_*->"), key(b"w_x->"));
        let in_hash = Some((b"w_x_".to_vec(), Some(b"f->g".to_vec())));
        assert_eq!(named(b"w_*_->f->g"), in_hash);
        assert_eq!(named(b"a->b*"), key(b"a->bx"));
    }
}
