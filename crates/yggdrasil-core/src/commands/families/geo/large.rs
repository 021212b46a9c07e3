//! Searches among so many members that they are made in steps.

use std::cmp::Ordering;
use std::ops::Range;

use crate::commands::codecs::geohash::{Position, Search};
use crate::commands::families::geo::query::{Order, Query, Store, Told, given};
use crate::commands::families::geo::search::{Point, spans_of, write_point};
use crate::commands::families::merging::{Row, Runs, key_of};
use crate::commands::families::sorted_sets::store::transient_packing;
use crate::commands::families::steps::{AT_ONCE_MAX, STEP_BYTES, STEP_SOUGHT, hold};
use crate::commands::families::storing::{Making, Storing};
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::PlanContext;
use crate::keyspace::collection::Held;
use crate::keyspace::collection::sorted_set::{SortedSetView, put_score};
use crate::keyspace::{Collection, EntryView, KeyEvent, Kind, Packing, Value};
use crate::resp::{Progress, Protocol, Reply, Rest};

/// What a member that was found is ordered by, and what is known of it.
#[derive(Clone, Copy, Debug)]
struct Near {
    key: u64,
    score: f64,
    distance: f64,
}

impl Row for Near {
    fn compare(&self, _: &[u8], other: &Self, _: &[u8]) -> Ordering {
        self.key.cmp(&other.key)
    }
}

/// A search under way.
#[derive(Debug)]
struct Searching {
    held: Held,
    search: Search,
    /// Positions that are not looked at yet, the last first.
    spans: Vec<Range<u64>>,
    order: Order,
    /// Members at which the search ends; 0 for none.
    enough: u64,
    runs: Runs<Near>,
    found: usize,
}

impl Searching {
    /// A search that has much to look at.
    fn of(entry: &EntryView<'_>, view: &SortedSetView<'_>, query: &Query<'_>) -> Option<Self> {
        let search = query.search()?;
        if view.len() <= AT_ONCE_MAX {
            return None;
        }
        let mut spans = spans_of(view, &search);
        let many: u64 = spans.iter().map(|span| span.end - span.start).sum();
        if many <= AT_ONCE_MAX {
            return None;
        }
        spans.reverse();
        Some(Self {
            held: Held::new(hold(entry)?),
            search,
            spans,
            order: query.order,
            enough: query.enough(),
            runs: Runs::default(),
            found: 0,
        })
    }

    /// Looks at some members. False when all have been looked at, or enough were found.
    fn look_at_some(&mut self) -> bool {
        let Some(span) = self.spans.last_mut() else {
            return false;
        };
        let end = span.end.min(span.start + STEP_SOUGHT);
        let positions = span.start..end;
        span.start = end;
        if span.is_empty() {
            self.spans.pop();
        }
        let (mut bytes, mut rows) = (Vec::new(), Vec::new());
        let value = Value::Tree(&self.held);
        let view = SortedSetView::of(&value, &Packing::default());
        let mut buffer = itoa::Buffer::new();
        view.visit(&positions, |member, score| {
            let distance = self.search.distance(Position::of_score(score));
            if let Some(distance) = distance.filter(|_| !self.is_enough(rows.len())) {
                let start = bytes.len();
                bytes.extend_from_slice(member.text(&mut buffer));
                let key = match self.order {
                    Order::None => 0,
                    Order::Nearest => key_of(distance),
                    Order::Farthest => !key_of(distance),
                };
                let near = Near {
                    key,
                    score,
                    distance,
                };
                rows.push((near, start..bytes.len()));
            }
        });
        self.found += rows.len();
        if !rows.is_empty() {
            self.runs.add(bytes, rows);
        }
        if self.is_enough(0) {
            self.spans.clear();
        }
        true
    }

    /// True when enough are found, with so many more.
    fn is_enough(&self, more: usize) -> bool {
        self.enough > 0 && (self.found + more) as u64 >= self.enough
    }

    fn take(&mut self) -> Option<Point> {
        let (near, member) = self.runs.take()?;
        Some(Point {
            member,
            score: near.score,
            distance: near.distance,
        })
    }
}

/// A reply under way.
#[derive(Debug)]
struct Giving {
    searching: Searching,
    count: u64,
    told: Told,
    protocol: Protocol,
    /// Members that are still to be given; `None` before their number was.
    left: Option<usize>,
}

/// Ends a reply by what a query finds, if there is much to look at; false where it is to be made at once.
pub(super) fn give_in_steps(
    entry: Option<&EntryView<'_>>,
    view: &SortedSetView<'_>,
    query: &Query<'_>,
    reply: &mut Reply<'_>,
) -> bool {
    let Some(searching) = entry.and_then(|entry| Searching::of(entry, view, query)) else {
        return false;
    };
    reply.end_in_steps(Box::new(Giving {
        searching,
        count: query.count,
        told: query.told,
        protocol: reply.protocol(),
        left: None,
    }));
    true
}

impl Rest for Giving {
    fn go_on(&mut self, out: &mut Vec<u8>) -> Progress {
        if self.searching.look_at_some() {
            return Progress::More;
        }
        let mut reply = Reply::new(out, self.protocol);
        let left = self.left.get_or_insert_with(|| {
            let left = given(self.searching.found, self.count);
            reply.array(left);
            left
        });
        let start = reply.position();
        for _ in 0..STEP_SOUGHT {
            let Some(point) = self.searching.take().filter(|_| *left > 0) else {
                return Progress::Done;
            };
            write_point(&mut reply, self.told, &point);
            *left -= 1;
            if reply.position() - start > STEP_BYTES {
                break;
            }
        }
        match *left {
            0 => Progress::Done,
            _ => Progress::More,
        }
    }
}

/// A sorted set in the making.
#[derive(Debug)]
struct Gathering {
    searching: Searching,
    count: u64,
    /// Meters of the unit of distances, where these are the scores.
    unit: Option<f64>,
    packing: Packing,
    result: Held,
    left: Option<usize>,
}

/// Leaves what a query finds to be stored in steps, if there is much to look at; false where it is to be done at once.
pub(super) fn store_in_steps(
    plan: &PlanContext<'_>,
    entry: &EntryView<'_>,
    view: &SortedSetView<'_>,
    query: &Query<'_>,
    (store, event): (Store<'_>, KeyEvent),
) -> bool {
    if !plan.may_work_in_steps() {
        return false;
    }
    let packing = transient_packing();
    let result = Collection::new(Kind::SortedSet, &packing);
    let Some((searching, result)) = Searching::of(entry, view, query).zip(result) else {
        return false;
    };
    let unit = store.distances.then_some(query.told.unit);
    plan.work_in_steps(|| {
        Box::new(Storing::new(
            Gathering {
                searching,
                count: query.count,
                unit,
                packing,
                result: Held::new(result),
                left: None,
            },
            store.key.to_vec(),
            event,
        ))
    });
    true
}

impl Making for Gathering {
    fn go_on(&mut self) -> Result<bool, CommandError> {
        if self.searching.look_at_some() {
            return Ok(true);
        }
        let found = self.searching.found;
        let left = self.left.get_or_insert_with(|| given(found, self.count));
        let mut ops = Vec::new();
        for _ in 0..STEP_SOUGHT.min(*left as u64) {
            let Some(point) = self.searching.take() else {
                break;
            };
            let distance = self.unit.map(|unit| point.distance / unit);
            put_score(&mut ops, &point.member, distance.unwrap_or(point.score));
            *left -= 1;
        }
        self.result.apply(&ops, &self.packing);
        Ok(*left > 0)
    }

    fn result(&self) -> &Collection {
        &self.result
    }

    /// A member that was found twice counts twice, as in Redis.
    fn count(&self) -> u64 {
        given(self.searching.found, self.count) as u64
    }
}
