//! Positions on the earth as scores of sorted sets, with Redis's constants: 26 bits of latitude and longitude each, in
//! turns, of which the first is one of longitude.
//!
//! A cell is what has the same first bits. A search covers its area by up to nine cells, and so by as many ranges of
//! scores.

use std::ops::Range;

pub(in crate::commands) const LONGITUDE_MAX: f64 = 180.0;
/// The limit of Web Mercator maps.
pub(in crate::commands) const LATITUDE_MAX: f64 = 85.051_128_78;

const STEP_MAX: u32 = 26;
const EARTH_RADIUS_METERS: f64 = 6_372_797.560_856;
/// The largest radius in meters for which a search needs more than the coarsest cells.
const RADIUS_METERS_MAX: f64 = 20_037_726.37;
const RADIANS: f64 = std::f64::consts::PI / 180.0;
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
/// Characters of the text of a position.
const TEXT_BYTES: usize = 11;

/// A position in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::commands) struct Position {
    pub(in crate::commands) longitude: f64,
    pub(in crate::commands) latitude: f64,
}

impl Position {
    /// True for a position that has a score.
    pub(in crate::commands) fn is_possible(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    pub(in crate::commands) fn to_score(self) -> f64 {
        Cell::of(self, LATITUDE_MAX, STEP_MAX).bits() as f64
    }

    /// The middle of what has a score.
    pub(in crate::commands) fn of_score(score: f64) -> Self {
        let (latitude, longitude) = separated(score as u64);
        let area = Cell {
            longitude,
            latitude,
            step: STEP_MAX,
        }
        .area();
        let middle =
            |range: Range<f64>, most: f64| f64::midpoint(range.start, range.end).clamp(-most, most);
        Self {
            longitude: middle(area.longitude, LONGITUDE_MAX),
            latitude: middle(area.latitude, LATITUDE_MAX),
        }
    }

    /// The standard text of a position, whose last character is always 0: there are no bits for it.
    pub(in crate::commands) fn text(self) -> [u8; TEXT_BYTES] {
        let bits = Cell::of(self, 90.0, STEP_MAX).bits();
        let mut text = [ALPHABET[0]; TEXT_BYTES];
        for (place, letter) in text.iter_mut().take(TEXT_BYTES - 1).enumerate() {
            let shift = 2 * STEP_MAX as usize - 5 * (place + 1);
            *letter = ALPHABET[(bits >> shift) as usize & 31];
        }
        text
    }

    /// The distance in meters along a great circle.
    pub(in crate::commands) fn distance(self, other: Self) -> f64 {
        let (longitude, other_longitude) = (self.longitude * RADIANS, other.longitude * RADIANS);
        let east = ((other_longitude - longitude) / 2.0).sin();
        if east == 0.0 {
            return self.distance_north(other);
        }
        let (latitude, other_latitude) = (self.latitude * RADIANS, other.latitude * RADIANS);
        let north = ((other_latitude - latitude) / 2.0).sin();
        let chord = north * north + latitude.cos() * other_latitude.cos() * east * east;
        2.0 * EARTH_RADIUS_METERS * chord.sqrt().asin()
    }

    /// The distance in meters to the latitude of another position.
    fn distance_north(self, other: Self) -> f64 {
        EARTH_RADIUS_METERS * (other.latitude * RADIANS - self.latitude * RADIANS).abs()
    }
}

/// A part of the map between two degrees each.
#[derive(Clone, Debug, PartialEq)]
struct Area {
    longitude: Range<f64>,
    latitude: Range<f64>,
}

/// All positions whose numbers begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    longitude: u32,
    latitude: u32,
    /// Bits of both.
    step: u32,
}

impl Cell {
    fn of(position: Position, latitude_max: f64, step: u32) -> Self {
        let part = |degrees: f64, most: f64| {
            let offset = (degrees + most) / (most + most);
            (offset * f64::from(1_u32 << step)) as u32
        };
        Self {
            longitude: part(position.longitude, LONGITUDE_MAX),
            latitude: part(position.latitude, latitude_max),
            step,
        }
    }

    /// The bits in turns.
    fn bits(self) -> u64 {
        spread(self.latitude) | spread(self.longitude) << 1
    }

    fn area(self) -> Area {
        let size = f64::from(1_u32 << self.step);
        let part = |number: u32, most: f64| {
            let number = u64::from(number);
            let at = |number: u64| -most + (number as f64 / size) * (most + most);
            at(number)..at(number + 1)
        };
        Area {
            longitude: part(self.longitude, LONGITUDE_MAX),
            latitude: part(self.latitude, LATITUDE_MAX),
        }
    }

    /// The cell so many cells to the east and to the north, around the map. A number beyond the last, which the limits of
    /// the map have, is kept where nothing is added to it: positions there have such scores.
    fn beside(self, (east, north): (i32, i32)) -> Self {
        let most = (1_u32 << self.step) - 1;
        let moved = |number: u32, cells: i32| match cells {
            0 => number,
            _ => number.wrapping_add_signed(cells) & most,
        };
        Self {
            longitude: moved(self.longitude, east),
            latitude: moved(self.latitude, north),
            ..self
        }
    }

    /// The scores of its positions; the last is outside.
    fn scores(self) -> Range<f64> {
        let shift = 2 * (STEP_MAX - self.step);
        let first = self.bits();
        (first << shift) as f64..((first + 1) << shift) as f64
    }
}

/// Puts a zero between each two bits.
fn spread(bits: u32) -> u64 {
    const STEPS: [(u32, u64); 5] = [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ];
    STEPS.iter().fold(u64::from(bits), |wide, (shift, mask)| {
        (wide | wide << shift) & mask
    })
}

/// Takes every second bit, from the lowest on.
fn gathered(bits: u64) -> u32 {
    const STEPS: [(u32, u64); 5] = [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ];
    let even = bits & 0x5555_5555_5555_5555;
    STEPS
        .iter()
        .fold(even, |wide, (shift, mask)| (wide | wide >> shift) & mask) as u32
}

/// Latitude and longitude of bits in turns.
fn separated(bits: u64) -> (u32, u32) {
    (gathered(bits), gathered(bits >> 1))
}

/// A shape around a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::commands) enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

/// An area that is searched, in meters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::commands) struct Search {
    pub(in crate::commands) center: Position,
    pub(in crate::commands) shape: Shape,
}

impl Search {
    /// The distance of a position from the center, if it is inside.
    pub(in crate::commands) fn distance(&self, position: Position) -> Option<f64> {
        match self.shape {
            Shape::Circle { radius } => {
                let distance = self.center.distance(position);
                (distance <= radius).then_some(distance)
            }
            Shape::Box { width, height } => {
                let beside = Position {
                    longitude: self.center.longitude,
                    ..position
                };
                let is_inside = position.distance_north(self.center) <= height / 2.0
                    && position.distance(beside) <= width / 2.0;
                is_inside.then(|| self.center.distance(position))
            }
        }
    }

    /// Ranges of scores in which all positions inside are, in the order in which Redis goes through them. Around the
    /// whole map some may come twice.
    pub(in crate::commands) fn scores(&self) -> Vec<Range<f64>> {
        let bounds = self.bounds();
        let mut step = self.step();
        let mut middle = Cell::of(self.center, LATITUDE_MAX, step);
        if step > 1 && !reaches(middle, &bounds) {
            step -= 1;
            middle = Cell::of(self.center, LATITUDE_MAX, step);
        }
        let area = middle.area();
        let is_needless = |(east, north): (i32, i32)| {
            step >= 2
                && ((north < 0 && area.latitude.start < bounds.latitude.start)
                    || (north > 0 && area.latitude.end > bounds.latitude.end)
                    || (east < 0 && area.longitude.start < bounds.longitude.start)
                    || (east > 0 && area.longitude.end > bounds.longitude.end))
        };
        let ways = [NORTH, SOUTH, EAST, WEST, (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let mut last = None;
        let mut ranges = vec![middle.scores()];
        for way in ways.into_iter().filter(|way| !is_needless(*way)) {
            let cell = middle.beside(way);
            if last != Some(cell) {
                ranges.push(cell.scores());
            }
            last = Some(cell);
        }
        ranges
    }

    /// Half of the extents in meters, to the east and to the north.
    fn extents(&self) -> (f64, f64) {
        match self.shape {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        }
    }

    /// The part of the map that the shape lies in: towards the poles degrees of longitude become shorter.
    fn bounds(&self) -> Area {
        let Position {
            longitude,
            latitude,
        } = self.center;
        let (east, north) = self.extents();
        let north = north / EARTH_RADIUS_METERS / RADIANS;
        let outer = if latitude < 0.0 {
            latitude - north
        } else {
            latitude + north
        };
        let east = east / EARTH_RADIUS_METERS / (outer * RADIANS).cos() / RADIANS;
        Area {
            longitude: longitude - east..longitude + east,
            latitude: latitude - north..latitude + north,
        }
    }

    /// The bits of cells that are about as large as the shape.
    fn step(&self) -> u32 {
        let mut radius = match self.shape {
            Shape::Circle { radius } => radius,
            Shape::Box { .. } => {
                let (east, north) = self.extents();
                (east * east + north * north).sqrt()
            }
        };
        if radius == 0.0 {
            return STEP_MAX;
        }
        let mut step: i32 = -1;
        while radius < RADIUS_METERS_MAX {
            radius *= 2.0;
            step += 1;
        }
        let latitude = self.center.latitude.abs();
        step -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        step.clamp(1, STEP_MAX as i32) as u32
    }
}

const NORTH: (i32, i32) = (0, 1);
const SOUTH: (i32, i32) = (0, -1);
const EAST: (i32, i32) = (1, 0);
const WEST: (i32, i32) = (-1, 0);

/// True when a cell and those around it cover the bounds.
fn reaches(middle: Cell, bounds: &Area) -> bool {
    let beside = |way| middle.beside(way).area();
    beside(NORTH).latitude.end >= bounds.latitude.end
        && beside(SOUTH).latitude.start <= bounds.latitude.start
        && beside(EAST).longitude.end >= bounds.longitude.end
        && beside(WEST).longitude.start <= bounds.longitude.start
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn positions() -> impl Strategy<Value = Position> {
        (-180.0..180.0_f64, -85.0..85.0_f64).prop_map(|(longitude, latitude)| Position {
            longitude,
            latitude,
        })
    }

    #[test]
    fn a_known_place_has_its_score_and_text() {
        let palermo = Position {
            longitude: 13.361389,
            latitude: 38.115556,
        };
        assert_eq!(palermo.to_score(), 3_479_099_956_230_698.0);
        assert_eq!(
            &Position::of_score(palermo.to_score()).text(),
            b"sqc8b49rny0"
        );
    }

    proptest! {
        #[test]
        fn a_score_leads_back_to_its_place(position in positions()) {
            let back = Position::of_score(position.to_score());
            prop_assert!(position.distance(back) < 1.0);
            prop_assert_eq!(back.to_score(), position.to_score());
        }

        #[test]
        fn no_score_is_too_strange(score: f64) {
            prop_assert!(Position::of_score(score).is_possible());
        }

        #[test]
        fn what_is_near_lies_in_a_range(center in positions(), meters in 1.0..100_000.0_f64, east in -1.0..1.0_f64, north in -1.0..1.0_f64) {
            prop_assume!(center.latitude.abs() < 80.0);
            let search = Search { center, shape: Shape::Circle { radius: meters } };
            let scale = meters / EARTH_RADIUS_METERS / RADIANS;
            let position = Position {
                longitude: (center.longitude + east * scale).clamp(-179.9, 179.9),
                latitude: center.latitude + north * scale,
            };
            if search.distance(position).is_some() {
                let score = position.to_score();
                prop_assert!(search.scores().iter().any(|range| range.contains(&score)));
            }
        }
    }
}
