//! Sorted sets: unions, intersections and differences, of sets, too.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::commands::families::sorted_sets::combining::{combine_in_steps, store_in_steps};
use crate::commands::families::sorted_sets::store::{Row, store, transient_packing};
use crate::commands::families::sorted_sets::{begin_pairs, docs, score_argument, write_pair};
use crate::commands::families::value::int_argument;
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::DecideHandler;
use crate::commands::table::handler::{
    Change, Found, Look, LookHandler, Outcome, PlanContext, Run, Together, check_kind,
};
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::AtLeast;
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::collection::listpack::Element;
use crate::keyspace::collection::set::SetView;
use crate::keyspace::collection::sorted_set::{SortedSetView, order_of};
use crate::keyspace::{KeyEvent, Kind};
use crate::resp::{Args, Reply};

const READ_SYNTAX: &str = "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]";
const STORE_SYNTAX: &str =
    "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]";
const UNION: &str = "O(N + M * log M) for N members in all and M in the result";
const INTER: &str =
    "O(N * K + M * log M) for N members in the smallest of K inputs and M in the result";
const DIFF: &str =
    "O(N * K + M * log M) for N members in the first of K inputs and M in the result";

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    read(
        "zunion",
        zunion,
        docs(
            "Gives the members of all inputs, with the scores of equal ones put together.",
            "6.2.0",
            UNION,
            READ_SYNTAX,
            &[],
        ),
    ),
    read(
        "zinter",
        zinter,
        docs(
            "Gives the members that are in every input, with their scores put together.",
            "6.2.0",
            INTER,
            READ_SYNTAX,
            &[],
        ),
    ),
    read(
        "zdiff",
        zdiff,
        docs(
            "Gives the members of the first input that are in none of the others.",
            "6.2.0",
            DIFF,
            "numkeys key [key ...] [WITHSCORES]",
            &[],
        ),
    ),
    read(
        "zintercard",
        zintercard,
        docs(
            "Gives the number of members that are in every input.",
            "7.0.0",
            "O(N * K) for N members in the smallest of K inputs",
            "numkeys key [key ...] [LIMIT limit]",
            &[],
        ),
    ),
    storing(
        "zunionstore",
        zunionstore,
        docs(
            "Stores the members of all inputs and gives their number.",
            "2.0.0",
            UNION,
            STORE_SYNTAX,
            &[],
        ),
    ),
    storing(
        "zinterstore",
        zinterstore,
        docs(
            "Stores the members that are in every input and gives their number.",
            "2.0.0",
            INTER,
            STORE_SYNTAX,
            &[],
        ),
    ),
    storing(
        "zdiffstore",
        zdiffstore,
        docs(
            "Stores the members of the first input that are in none of the others and gives their number.",
            "6.2.0",
            DIFF,
            "destination numkeys key [key ...]",
            &[],
        ),
    ),
];

const fn combination(
    name: &'static str,
    look: LookHandler,
    decide: DecideHandler,
    docs: Docs,
) -> CommandSpec {
    CommandSpec {
        name,
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::READONLY, Flags::MOVABLE_KEYS]),
        keys: Keys::Counted {
            count_at: 1,
            destination: None,
        },
        group: Group::SortedSet,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together { look, decide }),
        docs,
    }
}

const fn read(name: &'static str, decide: DecideHandler, docs: Docs) -> CommandSpec {
    combination(name, look_inputs, decide, docs)
}

const fn storing(name: &'static str, decide: DecideHandler, docs: Docs) -> CommandSpec {
    CommandSpec {
        arity: AtLeast(4),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::MOVABLE_KEYS]),
        keys: Keys::Counted {
            count_at: 2,
            destination: Some(1),
        },
        ..combination(name, look_all, decide, docs)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Union,
    Inter,
    Diff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn named(name: &[u8]) -> Option<Self> {
        const NAMES: [(&[u8], Aggregate); 3] = [
            (b"sum", Aggregate::Sum),
            (b"min", Aggregate::Min),
            (b"max", Aggregate::Max),
        ];
        let mut names = NAMES.iter();
        let named = names.find(|(known, _)| name.eq_ignore_ascii_case(known));
        named.map(|(_, aggregate)| *aggregate)
    }

    /// Two scores put together. Infinities that cancel each other out give 0.
    pub(super) fn put_together(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Sum => number_or_zero(one + other),
            Self::Min if other < one => other,
            Self::Max if other > one => other,
            Self::Min | Self::Max => one,
        }
    }
}

pub(super) fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// The place of the first key, and the number of keys.
fn counted(name: &str, args: &Args<'_>, count_at: usize) -> Result<(usize, usize), CommandError> {
    let count = int_argument(args.at(count_at))?;
    if count < 1 {
        return Err(CommandError::text(format!(
            "ERR at least 1 input key is needed for '{name}' command"
        )));
    }
    let most = args.len() - count_at - 1;
    let count = usize::try_from(count).ok().filter(|count| *count <= most);
    Ok((count_at + 1, count.ok_or(CommandError::Syntax)?))
}

/// The name of a command, from how it was sent.
fn name_of(args: &Args<'_>) -> String {
    String::from_utf8_lossy(args.at(0)).to_ascii_lowercase()
}

fn look_inputs<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    let (first, count) = counted(&name_of(args), args, 1)?;
    let keys = first..first + count;
    looks.extend(keys.map(|place| context.look(args.at(place), true)));
    Ok(())
}

fn look_all<'a>(context: &PlanContext<'_>, args: &Args<'a>, looks: &mut Vec<Look<'a>>) -> Outcome {
    let (first, count) = counted(&name_of(args), args, 2)?;
    looks.push(context.look(args.at(1), false));
    let keys = first..first + count;
    looks.extend(keys.map(|place| context.look(args.at(place), true)));
    Ok(())
}

/// What an input adds to the result.
enum Members<'a> {
    None,
    Set(SetView<'a>),
    Sorted(SortedSetView<'a>),
}

pub(super) struct Input<'a> {
    /// What has them.
    pub(super) entry: Found<'a>,
    members: Members<'a>,
    pub(super) weight: f64,
}

impl<'a> Input<'a> {
    fn of(found: &Found<'a>) -> Result<Self, CommandError> {
        let packing = transient_packing();
        let members = match found {
            None => Members::None,
            Some(entry) if entry.kind == Kind::Set => {
                check_kind(Some(Kind::Set), Some(entry))?;
                Members::Set(SetView::of(&entry.value, &packing))
            }
            Some(entry) => {
                check_kind(Some(Kind::SortedSet), Some(entry))?;
                Members::Sorted(SortedSetView::of(&entry.value, &packing))
            }
        };
        Ok(Self {
            entry: *found,
            members,
            weight: 1.0,
        })
    }

    pub(super) fn len(&self) -> u64 {
        match &self.members {
            Members::None => 0,
            Members::Set(set) => set.len(),
            Members::Sorted(set) => set.len(),
        }
    }

    /// The score of a member; all members of a set have the score 1.
    fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.members {
            Members::None => None,
            Members::Set(set) => set.contains(member).then_some(1.0),
            Members::Sorted(set) => set.score(member),
        }
    }

    fn visit(&self, mut visit: impl FnMut(&[u8], f64)) {
        let mut buffer = itoa::Buffer::new();
        match &self.members {
            Members::None => {}
            Members::Set(set) => set
                .members()
                .for_each(|member| visit(member.text(&mut buffer), 1.0)),
            Members::Sorted(set) => set.visit(&(0..set.len()), |member, score| {
                visit(member.text(&mut buffer), score);
            }),
        }
    }
}

/// A union, an intersection or a difference.
pub(super) struct Combination<'a> {
    pub(super) operation: Operation,
    pub(super) inputs: Vec<Input<'a>>,
    pub(super) aggregate: Aggregate,
    pub(super) with_scores: bool,
    /// Members that are counted at most; 0 for all.
    limit: u64,
}

/// What the arguments behind the keys may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Reads,
    Stores,
    Counts,
}

impl<'a> Combination<'a> {
    fn parse(
        operation: Operation,
        form: Form,
        args: &Args<'_>,
        found: &[Found<'a>],
    ) -> Result<Self, CommandError> {
        let count_at = if form == Form::Stores { 2 } else { 1 };
        let (first, count) = counted(&name_of(args), args, count_at)?;
        let inputs = found.iter().map(Input::of).collect::<Result<_, _>>()?;
        let mut parsed = Self {
            operation,
            inputs,
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        let mut place = first + count;
        while place < args.len() {
            place += parsed.parse_option(form, &args.from(place))?;
        }
        if operation != Operation::Diff {
            parsed.inputs.sort_by_key(Input::len);
        }
        Ok(parsed)
    }

    /// Reads an option, and gives the number of its arguments.
    fn parse_option(&mut self, form: Form, args: &Args<'_>) -> Result<usize, CommandError> {
        let is = |name: &str| args.at(0).eq_ignore_ascii_case(name.as_bytes());
        let has_scores = self.operation != Operation::Diff && form != Form::Counts;
        if has_scores && is("weights") && args.len() > self.inputs.len() {
            for (input, weight) in self.inputs.iter_mut().zip(args.iter().skip(1)) {
                input.weight = score_argument(weight)
                    .map_err(|_| CommandError::Plain("weight value is not a float"))?;
            }
            return Ok(self.inputs.len() + 1);
        }
        if has_scores && is("aggregate") && args.len() > 1 {
            self.aggregate = Aggregate::named(args.at(1)).ok_or(CommandError::Syntax)?;
            return Ok(2);
        }
        if form == Form::Reads && is("withscores") {
            self.with_scores = true;
            return Ok(1);
        }
        if form == Form::Counts && is("limit") && args.len() > 1 {
            let limit = int_argument(args.at(1)).ok();
            let limit = limit.and_then(|limit| u64::try_from(limit).ok());
            self.limit = limit.ok_or(CommandError::Plain("LIMIT can't be negative"))?;
            return Ok(2);
        }
        Err(CommandError::Syntax)
    }

    /// The members of the result in their order.
    fn rows(&self) -> Vec<Row> {
        let mut rows = match self.operation {
            Operation::Union => self.union(),
            Operation::Inter => self.intersection(),
            Operation::Diff => self.difference(),
        };
        rows.sort_unstable_by(|one, other| order_of((one.1, &one.0), (other.1, &other.0)));
        rows
    }

    fn union(&self) -> Vec<Row> {
        let mut all: HashMap<Vec<u8>, f64> = HashMap::new();
        for input in &self.inputs {
            input.visit(|member, score| {
                let score = number_or_zero(input.weight * score);
                match all.entry(member.to_vec()) {
                    Entry::Vacant(place) => {
                        place.insert(score);
                    }
                    Entry::Occupied(mut place) => {
                        let together = self.aggregate.put_together(*place.get(), score);
                        place.insert(together);
                    }
                }
            });
        }
        all.into_iter().collect()
    }

    fn intersection(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let Some((least, others)) = self.inputs.split_first() else {
            return rows;
        };
        least.visit(|member, score| {
            let mut score = number_or_zero(least.weight * score);
            for other in others {
                let Some(other_score) = other.score(member) else {
                    return;
                };
                score = self
                    .aggregate
                    .put_together(score, other_score * other.weight);
            }
            rows.push((member.to_vec(), score));
        });
        rows
    }

    fn difference(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        if let Some((first, others)) = self.inputs.split_first() {
            first.visit(|member, score| {
                if others.iter().all(|other| other.score(member).is_none()) {
                    rows.push((member.to_vec(), score));
                }
            });
        }
        rows
    }

    /// The number of members of the intersection, up to the limit.
    fn count(&self) -> u64 {
        let mut count = 0;
        if let Some((least, others)) = self.inputs.split_first() {
            least.visit(|member, _| {
                let is_full = self.limit > 0 && count >= self.limit;
                if !is_full && others.iter().all(|other| other.score(member).is_some()) {
                    count += 1;
                }
            });
        }
        count
    }
}

fn zunion<'a>(
    _: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    _: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write(Operation::Union, args, found, reply)
}

fn zinter<'a>(
    _: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    _: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write(Operation::Inter, args, found, reply)
}

fn zdiff<'a>(
    _: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    _: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write(Operation::Diff, args, found, reply)
}

fn write(
    operation: Operation,
    args: &Args<'_>,
    found: &[Found<'_>],
    reply: &mut Reply<'_>,
) -> Outcome {
    let combination = Combination::parse(operation, Form::Reads, args, found)?;
    if combine_in_steps(&combination, reply) {
        return Ok(());
    }
    let rows = combination.rows();
    if combination.with_scores {
        begin_pairs(reply, rows.len() as u64);
        for (member, score) in &rows {
            write_pair(reply, Element::Str(member), *score);
        }
    } else {
        reply.array(rows.len());
        rows.iter().for_each(|(member, _)| reply.bulk(member));
    }
    Ok(())
}

fn zintercard<'a>(
    _: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    _: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let combination = Combination::parse(Operation::Inter, Form::Counts, args, found)?;
    reply.count(combination.count());
    Ok(())
}

fn zunionstore<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let stored = (Operation::Union, &[KeyEvent::ZUnionStore][..]);
    store_result(context, stored, args, found, changes, reply)
}

fn zinterstore<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let stored = (Operation::Inter, &[KeyEvent::ZInterStore][..]);
    store_result(context, stored, args, found, changes, reply)
}

fn zdiffstore<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let stored = (Operation::Diff, &[KeyEvent::ZDiffStore][..]);
    store_result(context, stored, args, found, changes, reply)
}

fn store_result<'a>(
    context: &PlanContext<'a>,
    (operation, events): (Operation, &'static [KeyEvent]),
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let Some((destination, inputs)) = found.split_first() else {
        return Err(CommandError::Syntax);
    };
    let combination = Combination::parse(operation, Form::Stores, args, inputs)?;
    if let [event] = events
        && store_in_steps(&combination, context, args.at(1), *event)
    {
        return Ok(());
    }
    let rows = combination.rows();
    reply.count(rows.len() as u64);
    store(context, (args.at(1), destination), &rows, events, changes);
    Ok(())
}
