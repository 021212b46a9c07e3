//! Sorted sets: members that come, go, and get other scores.

use std::collections::HashMap;

use crate::commands::families::sorted_sets::{docs, score_argument, view_of};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Outcome, Run, ShardContext};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Group, Route};
use crate::keyspace::collection::sorted_set::{SortedSetView, put_remove, put_score};
use crate::keyspace::{Key, KeyEvent, Kind};
use crate::resp::{Args, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "zadd",
        arity: AtLeast(4),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::SortedSet,
        needs: None,
        route: Route::Key,
        run: Run::Shard(zadd),
        docs: docs(
            "Adds members, or changes their scores.",
            "1.2.0",
            "O(log N) for each member, in a sorted set of N",
            "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
            &[key_use::TOUCH_UP],
        ),
    },
    CommandSpec {
        name: "zincrby",
        arity: Exact(4),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::SortedSet,
        needs: None,
        route: Route::Key,
        run: Run::Shard(zincrby),
        docs: docs(
            "Adds to the score of a member, which begins at 0.",
            "1.2.0",
            "O(log N) for N members",
            "key increment member",
            &[],
        ),
    },
    CommandSpec {
        name: "zrem",
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::SortedSet,
        needs: None,
        route: Route::Key,
        run: Run::Shard(zrem),
        docs: docs(
            "Removes members and gives the number of those that were there.",
            "1.2.0",
            "O(M * log N) for M of N members",
            "key member [member ...]",
            &[key_use::TAKE_OUT],
        ),
    },
];

/// What becomes of members that are there already, or not, and what the reply tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::commands::families) struct AddOptions {
    pub(in crate::commands::families) only_new: bool,
    pub(in crate::commands::families) only_old: bool,
    pub(in crate::commands::families) only_greater: bool,
    pub(in crate::commands::families) only_less: bool,
    pub(in crate::commands::families) counts_changes: bool,
    pub(in crate::commands::families) increments: bool,
}

impl AddOptions {
    /// Reads the options, and gives the place of the first score.
    fn parse(args: &Args<'_>) -> Result<(Self, usize), CommandError> {
        let mut parsed = Self::default();
        let mut place = 2;
        while let Some(option) = args.get(place) {
            let flag = match option {
                _ if option.eq_ignore_ascii_case(b"nx") => &mut parsed.only_new,
                _ if option.eq_ignore_ascii_case(b"xx") => &mut parsed.only_old,
                _ if option.eq_ignore_ascii_case(b"gt") => &mut parsed.only_greater,
                _ if option.eq_ignore_ascii_case(b"lt") => &mut parsed.only_less,
                _ if option.eq_ignore_ascii_case(b"ch") => &mut parsed.counts_changes,
                _ if option.eq_ignore_ascii_case(b"incr") => &mut parsed.increments,
                _ => break,
            };
            *flag = true;
            place += 1;
        }
        let left = args.len() - place;
        if left == 0 || !left.is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        parsed.check(left / 2)?;
        Ok((parsed, place))
    }

    fn check(self, pairs: usize) -> Outcome {
        if self.only_new && self.only_old {
            return Err(CommandError::Plain(
                "XX and NX options at the same time are not compatible",
            ));
        }
        let orders = [self.only_greater, self.only_less, self.only_new];
        if orders.into_iter().filter(|is_set| *is_set).count() > 1 {
            return Err(CommandError::Plain(
                "GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.increments && pairs > 1 {
            return Err(CommandError::Plain(
                "INCR option supports a single increment-element pair",
            ));
        }
        Ok(())
    }

    /// The score that a member gets; `None` where it stays as it is, or away.
    fn decide(self, before: Option<f64>, given: f64) -> Result<Option<f64>, CommandError> {
        let Some(before) = before else {
            return Ok((!self.only_old).then_some(given));
        };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.increments {
            before + given
        } else {
            given
        };
        if score.is_nan() {
            return Err(CommandError::Plain("resulting score is not a number (NaN)"));
        }
        let is_held_back =
            (self.only_less && score >= before) || (self.only_greater && score <= before);
        Ok((!is_held_back).then_some(score))
    }
}

/// The operations of an addition, and what they do.
#[derive(Debug, Default)]
struct Addition {
    ops: Vec<u8>,
    added: u64,
    updated: u64,
    /// The score of the last member that was neither held back nor kept away.
    score: Option<f64>,
}

impl Addition {
    fn of(
        view: &SortedSetView<'_>,
        options: AddOptions,
        pairs: &[(f64, &[u8])],
        ops: Vec<u8>,
    ) -> Result<Self, CommandError> {
        let mut addition = Self {
            ops,
            ..Self::default()
        };
        // A member may be named again: then what was decided before counts.
        let mut decided = HashMap::new();
        for (given, member) in pairs {
            let before = decided.get(member).copied();
            let before = before.or_else(|| view.score(member));
            let Some(score) = options.decide(before, *given)? else {
                continue;
            };
            let score = score + 0.0;
            addition.score = Some(score);
            if before == Some(score) {
                continue;
            }
            match before {
                Some(_) => addition.updated += 1,
                None => addition.added += 1,
            }
            if pairs.len() > 1 {
                decided.insert(*member, score);
            }
            put_score(&mut addition.ops, member, score);
        }
        Ok(addition)
    }
}

fn zadd(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (options, first) = AddOptions::parse(args)?;
    let mut pairs = Vec::with_capacity((args.len() - first) / 2);
    for place in (first..args.len()).step_by(2) {
        pairs.push((score_argument(args.at(place))?, args.at(place + 1)));
    }
    add(context, args, options, &pairs, reply)
}

fn zincrby(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = AddOptions {
        increments: true,
        ..AddOptions::default()
    };
    let pair = (score_argument(args.at(2))?, args.at(3));
    add(context, args, options, &[pair], reply)
}

pub(in crate::commands::families) fn add(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    options: AddOptions,
    pairs: &[(f64, &[u8])],
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.first_key(args.at(1));
    let ops = context.ops_of(args);
    let (found, at) = context.to_change(Kind::SortedSet, &key)?;
    let addition = Addition::of(&view_of(found.as_ref())?, options, pairs, ops)?;
    if addition.ops.is_empty() {
        context.keep_ops(addition.ops);
    } else {
        context.change_at(at, &key, Kind::SortedSet, addition.ops)?;
        let event = match options.increments {
            true => KeyEvent::ZIncr,
            false => KeyEvent::ZAdd,
        };
        context.notify(event, &key);
    }
    match (options.increments, addition.score) {
        (true, Some(score)) => reply.double(score),
        (true, None) => reply.null(),
        (false, _) if options.counts_changes => reply.count(addition.added + addition.updated),
        (false, _) => reply.count(addition.added),
    }
    Ok(())
}

fn zrem(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = context.first_key(args.at(1));
    let mut ops = context.ops_of(args);
    let (found, at) = context.to_change(Kind::SortedSet, &key)?;
    let view = view_of(found.as_ref())?;
    let members = || args.iter().skip(2);
    let mut there: Vec<&[u8]> = members()
        .filter(|member| view.score(member).is_some())
        .collect();
    if there.len() > 1 {
        there.sort_unstable();
        there.dedup();
    }
    for member in &there {
        put_remove(&mut ops, member);
    }
    let is_emptied = view.len() == there.len() as u64;
    if !there.is_empty() {
        context.reduce_at(at, &key, Kind::SortedSet, ops)?;
        notify_removal(context, KeyEvent::ZRem, &key, is_emptied);
    }
    reply.count(there.len() as u64);
    Ok(())
}

/// Publishes that members are removed, and that the key is gone with the last.
pub(super) fn notify_removal(
    context: &mut ShardContext<'_>,
    event: KeyEvent,
    key: &Key<'_>,
    is_emptied: bool,
) {
    context.notify(event, key);
    if is_emptied {
        context.notify(KeyEvent::Del, key);
    }
}
