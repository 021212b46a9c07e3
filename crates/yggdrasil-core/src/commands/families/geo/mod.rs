//! Positions on the earth, in sorted sets.

mod large;
pub(in crate::commands) mod positions;
mod query;
pub(in crate::commands) mod search;
pub(in crate::commands) mod stores;

use crate::commands::codecs::geohash::Position;
use crate::commands::families::sorted_sets::score_argument;
use crate::commands::table::error::CommandError;
use crate::resp::Reply;

/// Digits behind the point of a distance.
const DISTANCE_SCALE: f64 = 10_000.0;

/// The position of two arguments.
fn position_argument(longitude: &[u8], latitude: &[u8]) -> Result<Position, CommandError> {
    let position = Position {
        longitude: score_argument(longitude)?,
        latitude: score_argument(latitude)?,
    };
    if position.is_possible() {
        return Ok(position);
    }
    Err(CommandError::text(format!(
        "ERR invalid longitude,latitude pair {:.6},{:.6}",
        position.longitude, position.latitude
    )))
}

/// Meters of a unit.
fn unit_argument(unit: &[u8]) -> Result<f64, CommandError> {
    const UNITS: [(&[u8], f64); 4] = [
        (b"m", 1.0),
        (b"km", 1000.0),
        (b"ft", 0.3048),
        (b"mi", 1609.34),
    ];
    let mut units = UNITS.iter();
    let known = units.find(|(name, _)| unit.eq_ignore_ascii_case(name));
    known.map(|(_, meters)| *meters).ok_or(CommandError::Plain(
        "unsupported unit provided. please use M, KM, FT, MI",
    ))
}

fn write_distance(reply: &mut Reply<'_>, distance: f64) {
    let scaled = (distance * DISTANCE_SCALE).round_ties_even() as i64;
    let scale = DISTANCE_SCALE as i64;
    let text = format!("{}.{:04}", scaled / scale, scaled % scale);
    reply.bulk(text.as_bytes());
}
