//! The arguments of searches.

use crate::commands::codecs::geohash::{Position, Search, Shape};
use crate::commands::families::geo::{position_argument, unit_argument};
use crate::commands::families::value::int_argument;
use crate::commands::table::error::CommandError;
use crate::keyspace::collection::sorted_set::SortedSetView;
use crate::resp::{Args, parse_double};

/// The kinds of searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Around a position, at the places from 2 on.
    Radius,
    /// Around a member, at place 2.
    RadiusByMember,
    /// As the options say.
    Search,
}

/// The order of what is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    None,
    Nearest,
    Farthest,
}

/// The key that gets what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Store<'a> {
    pub(super) key: &'a [u8],
    /// Distances are the scores, instead of positions.
    pub(super) distances: bool,
}

/// What is told of a member that was found, beside its name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// Meters of the unit of distances.
    pub(super) unit: f64,
    pub(super) distance: bool,
    pub(super) score: bool,
    pub(super) position: bool,
}

/// A search.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Query<'a> {
    center: Option<Position>,
    shape: Option<Shape>,
    pub(super) told: Told,
    /// A member is named, which is sought where the key is not there.
    is_from_member: bool,
    pub(super) order: Order,
    /// Members that are given at most; 0 for all.
    pub(super) count: u64,
    /// Any members do, not only the nearest.
    any: bool,
    pub(super) store: Option<Store<'a>>,
}

impl<'a> Query<'a> {
    /// Reads the arguments. Those behind `first` belong to the options; without a `view` the key is not there.
    pub(super) fn parse(
        args: &Args<'a>,
        form: Form,
        may_store: bool,
        view: Option<&SortedSetView<'_>>,
    ) -> Result<Self, CommandError> {
        let mut query = Self::default();
        let options_at = match form {
            Form::Radius => {
                query.center = Some(position_argument(args.at(2), args.at(3))?);
                query.parse_radius(args.at(4), args.at(5))?;
                6
            }
            Form::RadiusByMember => {
                if let Some(view) = view {
                    query.center = Some(position_of(view, args.at(2))?);
                    query.parse_radius(args.at(3), args.at(4))?;
                }
                5
            }
            Form::Search if may_store => {
                query.store = Some(Store {
                    key: args.at(1),
                    distances: false,
                });
                3
            }
            Form::Search => 2,
        };
        let mut place = options_at;
        while place < args.len() {
            place += query.parse_option(&args.from(place), form, may_store, view)?;
        }
        query.check(args.at(0), form)?;
        if query.count > 0 && query.order == Order::None && !query.any {
            query.order = Order::Nearest;
        }
        Ok(query)
    }

    /// Reads an option, and gives the number of its arguments.
    fn parse_option(
        &mut self,
        args: &Args<'a>,
        form: Form,
        may_store: bool,
        view: Option<&SortedSetView<'_>>,
    ) -> Result<usize, CommandError> {
        let is = |name: &str| args.at(0).eq_ignore_ascii_case(name.as_bytes());
        let has = |count: usize| args.len() > count;
        let is_search = form == Form::Search;
        if is("withdist") {
            self.told.distance = true;
        } else if is("withhash") {
            self.told.score = true;
        } else if is("withcoord") {
            self.told.position = true;
        } else if is("any") {
            self.any = true;
        } else if is("asc") {
            self.order = Order::Nearest;
        } else if is("desc") {
            self.order = Order::Farthest;
        } else if is("count") && has(1) {
            self.count = u64::try_from(int_argument(args.at(1))?)
                .ok()
                .filter(|count| *count > 0)
                .ok_or(CommandError::Plain("COUNT must be > 0"))?;
            return Ok(2);
        } else if (is("store") || is("storedist")) && has(1) && may_store && !is_search {
            self.store = Some(Store {
                key: args.at(1),
                distances: is("storedist"),
            });
            return Ok(2);
        } else if let Some(store) = self.store.as_mut().filter(|_| is("storedist") && is_search) {
            store.distances = true;
        } else {
            return self.parse_area(args, is_search, view);
        }
        Ok(1)
    }

    /// Reads an option that says where is searched.
    fn parse_area(
        &mut self,
        args: &Args<'a>,
        is_search: bool,
        view: Option<&SortedSetView<'_>>,
    ) -> Result<usize, CommandError> {
        let is = |name: &str| is_search && args.at(0).eq_ignore_ascii_case(name.as_bytes());
        let has = |count: usize| args.len() > count;
        let is_from_position = self.center.is_some() && !self.is_from_member;
        if is("frommember") && has(1) && !is_from_position {
            self.is_from_member = true;
            if let Some(view) = view {
                self.center = Some(position_of(view, args.at(1))?);
            }
            return Ok(2);
        }
        if is("fromlonlat") && has(2) && !self.is_from_member {
            self.center = Some(position_argument(args.at(1), args.at(2))?);
            return Ok(3);
        }
        if is("byradius") && has(2) && !matches!(self.shape, Some(Shape::Box { .. })) {
            self.parse_radius(args.at(1), args.at(2))?;
            return Ok(3);
        }
        if is("bybox") && has(3) && !matches!(self.shape, Some(Shape::Circle { .. })) {
            self.parse_box(args.at(1), args.at(2), args.at(3))?;
            return Ok(4);
        }
        Err(CommandError::Syntax)
    }

    fn parse_radius(&mut self, radius: &[u8], unit: &[u8]) -> Result<(), CommandError> {
        let radius = parse_double(radius).ok_or(CommandError::Plain("need numeric radius"))?;
        if radius < 0.0 {
            return Err(CommandError::Plain("radius cannot be negative"));
        }
        self.told.unit = unit_argument(unit)?;
        self.shape = Some(Shape::Circle {
            radius: radius * self.told.unit,
        });
        Ok(())
    }

    fn parse_box(&mut self, width: &[u8], height: &[u8], unit: &[u8]) -> Result<(), CommandError> {
        let width = parse_double(width).ok_or(CommandError::Plain("need numeric width"))?;
        let height = parse_double(height).ok_or(CommandError::Plain("need numeric height"))?;
        if width < 0.0 || height < 0.0 {
            return Err(CommandError::Plain("height or width cannot be negative"));
        }
        self.told.unit = unit_argument(unit)?;
        self.shape = Some(Shape::Box {
            width: width * self.told.unit,
            height: height * self.told.unit,
        });
        Ok(())
    }

    fn check(&self, name: &[u8], form: Form) -> Result<(), CommandError> {
        let is_search = form == Form::Search;
        if self.store.is_some() && (self.told.distance || self.told.score || self.told.position) {
            let subject = if is_search {
                "GEOSEARCHSTORE"
            } else {
                "STORE option in GEORADIUS"
            };
            return Err(CommandError::text(format!(
                "ERR {subject} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if is_search && self.center.is_none() && !self.is_from_member {
            return Err(one_of("FROMMEMBER or FROMLONLAT", name));
        }
        if is_search && self.shape.is_none() {
            return Err(one_of("BYRADIUS and BYBOX", name));
        }
        if self.any && self.count == 0 {
            return Err(CommandError::Plain(
                "the ANY argument requires COUNT argument",
            ));
        }
        Ok(())
    }

    /// The area, where the key is there.
    pub(super) fn search(&self) -> Option<Search> {
        let (center, shape) = self.center.zip(self.shape)?;
        Some(Search { center, shape })
    }

    /// The number of members at which the search ends; 0 for none.
    pub(super) fn enough(&self) -> u64 {
        if self.any { self.count } else { 0 }
    }
}

/// How many of so many members that were found are given, where there are at most so many, or 0 for all.
pub(super) fn given(found: usize, count: u64) -> usize {
    match usize::try_from(count) {
        Ok(most) if most > 0 => found.min(most),
        _ => found,
    }
}

fn one_of(options: &str, name: &[u8]) -> CommandError {
    let text = format!("ERR exactly one of {options} can be specified for ");
    CommandError::Text([text.as_bytes(), name].concat().into())
}

fn position_of(view: &SortedSetView<'_>, member: &[u8]) -> Result<Position, CommandError> {
    let score = view.score(member);
    score.map(Position::of_score).ok_or(CommandError::Plain(
        "could not decode requested zset member",
    ))
}
