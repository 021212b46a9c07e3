//! Sorted sets: members that are chosen by chance, and walks over all of them.

use crate::commands::codecs::sample::{distinct, draws, is_many, one_of};
use crate::commands::families::scan::{Scanned, scan_elements};
use crate::commands::families::sorted_sets::{begin_pairs, docs, view_of, write_pair};
use crate::commands::families::steps::{STEP_SOUGHT, hold, write_held};
use crate::commands::families::value::{int_argument, write_element};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Outcome, ReadContext, Run, ShardContext};
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{self, AtLeast};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::collection::listpack::Element;
use crate::keyspace::collection::sorted_set::SortedSetView;
use crate::keyspace::{EntryView, Kind, Packing, Value};
use crate::random::Random;
use crate::resp::{Args, Reply, write_double};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    read(
        "zrandmember",
        AtLeast(2),
        Run::Shard(zrandmember),
        docs(
            "Gives members that are chosen by chance, each once or, for a negative count, any number of times.",
            "6.2.0",
            "O(N * log M) for N of M members",
            "key [count [WITHSCORES]]",
            &[],
        ),
    ),
    read(
        "zscan",
        AtLeast(3),
        Run::Read(zscan),
        docs(
            "Gives some of the members with their scores, and the cursor for the next ones; cursor 0 begins and ends.",
            "2.8.0",
            "O(N) for a count of N, O(M) for all M members",
            "key cursor [MATCH pattern] [COUNT count]",
            &[],
        ),
    ),
];

const fn read(name: &'static str, arity: Arity, run: Run, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::SortedSet,
        needs: None,
        route: Route::Key,
        run,
        docs: Docs {
            tips: &["nondeterministic_output"],
            ..docs
        },
    }
}

/// How many members are chosen: negative where they may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    count: i64,
    with_scores: bool,
}

impl Sample {
    /// Reads the arguments behind the key; `None` for a single member.
    fn parse(args: &Args<'_>) -> Result<Option<Self>, CommandError> {
        let Some(count) = args.get(2) else {
            return Ok(None);
        };
        let count = int_argument(count)?;
        if count == i64::MIN {
            return Err(CommandError::Plain(
                "value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ));
        }
        let with_scores = args.get(3);
        let is_wrong = |option: &[u8]| !option.eq_ignore_ascii_case(b"withscores");
        if args.len() > 4 || with_scores.is_some_and(is_wrong) {
            return Err(CommandError::Syntax);
        }
        let with_scores = with_scores.is_some();
        if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(CommandError::Plain("value is out of range"));
        }
        Ok(Some(Self { count, with_scores }))
    }

    fn positions(self, len: u64, random: &mut Random) -> Vec<u64> {
        let count = self.count.unsigned_abs();
        if self.count >= 0 {
            return distinct(len, count, random);
        }
        (0..count).map(|_| one_of(len, random)).collect()
    }
}

fn zrandmember(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let sample = Sample::parse(args)?;
    let mut random = Random::new(context.random.draw());
    let key = context.first_key(args.at(1));
    let found = context.of_kind(Kind::SortedSet, &key)?;
    let view = view_of(found.as_ref())?;
    let Some(sample) = sample else {
        match view.at(one_of(view.len(), &mut random)) {
            Some((member, _)) => write_element(reply, member),
            None => reply.null(),
        }
        return Ok(());
    };
    if view.is_empty() {
        reply.array(0);
        return Ok(());
    }
    if is_many(sample.count, view.len()) {
        write_drawn(reply, found.as_ref(), sample, &mut random);
        return Ok(());
    }
    let positions = sample.positions(view.len(), &mut random);
    if sample.with_scores {
        begin_pairs(reply, positions.len() as u64);
    } else {
        reply.array(positions.len());
    }
    each_at(&view, &positions, |member, score| {
        if sample.with_scores {
            write_pair(reply, member, score);
        } else {
            write_element(reply, member);
        }
    });
    Ok(())
}

/// Gives members that are drawn, in steps.
fn write_drawn(
    reply: &mut Reply<'_>,
    found: Option<&EntryView<'_>>,
    sample: Sample,
    random: &mut Random,
) {
    let Some(set) = found.and_then(hold) else {
        return;
    };
    let (number, mut draws) = draws(sample.count, set.len(), random);
    if sample.with_scores {
        begin_pairs(reply, number);
    } else {
        reply.array(number as usize);
    }
    write_held(
        reply,
        set,
        0..number,
        STEP_SOUGHT,
        move |tree, part, reply| {
            let view = SortedSetView::of(&Value::Tree(tree), &Packing::default());
            for _ in part {
                match view.at(draws.draw()) {
                    Some((member, score)) if sample.with_scores => write_pair(reply, member, score),
                    Some((member, _)) => write_element(reply, member),
                    None => {}
                }
            }
        },
    );
}

/// Visits the members of some positions.
fn each_at(view: &SortedSetView<'_>, positions: &[u64], mut visit: impl FnMut(Element<'_>, f64)) {
    for position in positions {
        if let Some((member, score)) = view.at(*position) {
            visit(member, score);
        }
    }
}

fn zscan(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let scanned = (Kind::SortedSet, Scanned::Members);
    scan_elements(
        scanned,
        found,
        args,
        reply,
        |entry, cursor, count, visit| {
            let view = SortedSetView::of(&entry.value, &Packing::default());
            let (mut buffer, mut text) = (itoa::Buffer::new(), Vec::new());
            view.scan(cursor, count, |member, score| {
                text.clear();
                write_double(&mut text, score);
                visit(member.text(&mut buffer), Some(&text));
            })
        },
    )
}
