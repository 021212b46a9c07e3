//! SORT reads keys that patterns among its options make: only whoever may read all keys may use them.

use super::{Permission, User};
use crate::commands::{CommandId, CommandSpec};
use crate::resp::Args;

/// The place of the first option.
const OPTIONS_AT: usize = 2;

impl User {
    /// The option of SORT in a request that this user may not use, though it may make the request without it.
    pub fn denied_sort_option(
        &self,
        command: CommandId,
        row: &CommandSpec,
        args: &Args<'_>,
    ) -> Option<&'static str> {
        let is_sort = matches!(row.name, "sort" | "sort_ro");
        let option = is_sort.then(|| option_over_keys(args)).flatten()?;
        let mut selectors = self.selectors().iter();
        let may_read_all = selectors.any(|selector| {
            selector.reads_all_keys() && selector.check(command, row, args).is_ok()
        });
        (!may_read_all).then_some(option)
    }
}

/// The first option by which a SORT reads other keys.
fn option_over_keys(args: &Args<'_>) -> Option<&'static str> {
    let mut place = OPTIONS_AT;
    while let Some(option) = args.get(place) {
        place += match option.to_ascii_lowercase().as_slice() {
            // Without a star it says that nothing is to be sorted.
            b"by" if args.get(place + 1).is_some_and(|by| by.contains(&b'*')) => return Some("BY"),
            b"get" => return Some("GET"),
            b"by" | b"store" => 2,
            b"limit" => 3,
            _ => 1,
        };
    }
    None
}

impl super::Selector {
    /// True when every key may be read.
    fn reads_all_keys(&self) -> bool {
        self.key_patterns().is_none_or(|patterns| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| {
                &*pattern.pattern == b"*" && pattern.permission.has(Permission::READ)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ArgsBuffer;

    #[test]
    fn options_that_read_other_keys_are_found() {
        for (request, expected) in [
            ("SORT k", None),
            ("SORT k BY nosort ALPHA DESC", None),
            ("SORT k BY w_*", Some("BY")),
            ("SORT k LIMIT 0 5 GET #", Some("GET")),
            ("SORT k STORE get LIMIT by 5", None),
            ("SORT k ASC by w_* get x_*", Some("BY")),
            ("SORT k BY", None),
        ] {
            let args: ArgsBuffer = request.split(' ').map(str::as_bytes).collect();
            assert_eq!(option_over_keys(&args.as_args()), expected, "{request}");
        }
    }
}
