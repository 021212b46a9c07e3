//! The arguments that name elements of collections, so that their memory can be asked for before they are looked at.

use crate::commands::table::keys::Keys;
use crate::commands::table::registry::{CommandId, Registry};
use crate::commands::table::spec::{CommandSpec, Route};

/// Names of such arguments in the line that describes a command.
const NAMES: [&str; 2] = ["member", "field"];

/// The place of the first element among the arguments of each command of a registry.
#[derive(Debug)]
pub struct ElementPlaces(Box<[u8]>);

impl ElementPlaces {
    /// The places in the rows that a registry has now.
    #[must_use]
    pub fn of(registry: &Registry) -> Self {
        Self(registry.iter().map(|(_, row)| place_in(row)).collect())
    }

    /// The place of the first element that a request names; 0 where it names none.
    #[inline(always)]
    #[must_use]
    pub fn at(&self, command: CommandId) -> u8 {
        self.0.get(command.index()).copied().unwrap_or(0)
    }
}

/// The place in a request without options: what may be left out does not count.
fn place_in(row: &CommandSpec) -> u8 {
    if row.keys != Keys::FIRST || row.route != Route::Key {
        return 0;
    }
    let mut depth = 0;
    let words = row.docs.syntax.split_whitespace().filter(|word| {
        let outside = depth == 0;
        depth += word.matches(['[', '<']).count();
        depth = depth.saturating_sub(word.matches([']', '>']).count());
        outside && !word.starts_with(['[', '<'])
    });
    let place = words.zip(1_u8..).find(|(word, _)| NAMES.contains(word));
    place.map_or(0, |(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stand_where_the_line_says_that_they_do() {
        let registry = Registry::new();
        let places = ElementPlaces::of(&registry);
        for (name, place) in [
            ("sismember", 2),
            ("hset", 2),
            ("hget", 2),
            ("zadd", 3),
            ("zincrby", 3),
            ("hexpire", 5),
            ("get", 0),
            ("lpush", 0),
            ("hgetall", 0),
            ("smove", 0),
        ] {
            let id = registry.find(name.as_bytes()).unwrap();
            assert_eq!(places.at(id), place, "{name}");
        }
    }
}
