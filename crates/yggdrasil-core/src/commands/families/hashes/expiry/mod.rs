//! Fields of hashes that expire: rows of their commands.

mod both;
mod options;
mod times;

use crate::commands::table::key_use;
use crate::commands::table::spec::Arity::AtLeast;
use crate::commands::table::spec::{CommandSpec, Docs};

use super::{ADDS, QUICK, TAKES, hash_of, reader, writer};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    writer(
        "hexpire",
        AtLeast(6),
        TAKES,
        times::hexpire,
        Docs {
            summary: "Lets fields of a hash expire after so many seconds, if a condition holds.",
            since: "7.4.0",
            complexity: "O(N) for N fields",
            syntax: "key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    writer(
        "hpexpire",
        AtLeast(6),
        TAKES,
        times::hpexpire,
        Docs {
            summary: "Lets fields of a hash expire after so many milliseconds, if a condition holds.",
            since: "7.4.0",
            complexity: "O(N) for N fields",
            syntax: "key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    writer(
        "hexpireat",
        AtLeast(6),
        TAKES,
        times::hexpireat,
        Docs {
            summary: "Lets fields of a hash expire at a Unix time in seconds, if a condition holds.",
            since: "7.4.0",
            complexity: "O(N) for N fields",
            syntax: "key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    writer(
        "hpexpireat",
        AtLeast(6),
        TAKES,
        times::hpexpireat,
        Docs {
            summary: "Lets fields of a hash expire at a Unix time in milliseconds, if a condition holds.",
            since: "7.4.0",
            complexity: "O(N) for N fields",
            syntax: "key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    writer(
        "hpersist",
        AtLeast(5),
        TAKES,
        times::hpersist,
        Docs {
            summary: "Lets fields of a hash never expire.",
            since: "7.4.0",
            complexity: "O(N) for N fields",
            syntax: "key FIELDS numfields field [field ...]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    reader(
        "httl",
        AtLeast(5),
        QUICK,
        times::httl,
        Docs {
            summary: "Gives the seconds until fields of a hash expire, -1 for never, -2 for a field that is \
                missing.",
            since: "7.4.0",
            complexity: "O(N) for N fields",
            syntax: "key FIELDS numfields field [field ...]",
            tips: &["nondeterministic_output"],
            key_uses: &[],
        },
    ),
    reader(
        "hpttl",
        AtLeast(5),
        QUICK,
        times::hpttl,
        Docs {
            summary: "Gives the milliseconds until fields of a hash expire, -1 for never, -2 for a field that \
                is missing.",
            since: "7.4.0",
            complexity: "O(N) for N fields",
            syntax: "key FIELDS numfields field [field ...]",
            tips: &["nondeterministic_output"],
            key_uses: &[],
        },
    ),
    reader(
        "hexpiretime",
        AtLeast(5),
        QUICK,
        times::hexpiretime,
        Docs {
            summary: "Gives the Unix times in seconds when fields of a hash expire, -1 for never, -2 for a \
                field that is missing.",
            since: "7.4.0",
            complexity: "O(N) for N fields",
            syntax: "key FIELDS numfields field [field ...]",
            tips: &[],
            key_uses: &[],
        },
    ),
    reader(
        "hpexpiretime",
        AtLeast(5),
        QUICK,
        times::hpexpiretime,
        Docs {
            summary: "Gives the Unix times in milliseconds when fields of a hash expire, -1 for never, -2 for \
                a field that is missing.",
            since: "7.4.0",
            complexity: "O(N) for N fields",
            syntax: "key FIELDS numfields field [field ...]",
            tips: &[],
            key_uses: &[],
        },
    ),
    writer(
        "hgetdel",
        AtLeast(5),
        TAKES,
        both::hgetdel,
        Docs {
            summary: "Gives the values of fields of a hash, and removes the fields.",
            since: "8.0.0",
            complexity: "O(N) for N fields",
            syntax: "key FIELDS numfields field [field ...]",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY],
        },
    ),
    writer(
        "hgetex",
        AtLeast(5),
        TAKES,
        both::hgetex,
        Docs {
            summary: "Gives the values of fields of a hash, and changes when the fields expire.",
            since: "8.0.0",
            complexity: "O(N) for N fields",
            syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT \
                unix-time-milliseconds | PERSIST] FIELDS numfields field [field ...]",
            tips: &[],
            key_uses: &[],
        },
    ),
    writer(
        "hsetex",
        AtLeast(6),
        ADDS,
        both::hsetex,
        Docs {
            summary: "Gives fields of a hash values and times of expiry, if a condition holds.",
            since: "8.0.0",
            complexity: "O(N) for N fields",
            syntax: "key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT \
                unix-time-milliseconds | KEEPTTL] FIELDS numfields field value [field value ...]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
];
