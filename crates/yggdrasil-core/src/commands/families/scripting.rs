//! Scripts and functions: the commands that run them, and those about scripts that are known.

use crate::commands::families::session::SessionCommand;
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{CalledBy, Outcome, Run, ScriptCall, ShardContext};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Join, Route};
use crate::resp::{Args, Reply};

/// A question about scripts, or an order to them, that a worker answers without its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptingQuery {
    ScriptDebug,
    ScriptExists,
    ScriptKill,
    FunctionDump,
    FunctionKill,
    FunctionList,
    FunctionStats,
}

impl ScriptingQuery {
    /// True where the libraries of the node are told.
    pub fn looks_at_libraries(self) -> bool {
        matches!(
            self,
            Self::FunctionDump | Self::FunctionList | Self::FunctionStats
        )
    }
}

const KEYS: Keys = Keys::Counted {
    count_at: 2,
    destination: None,
};
/// For what runs a script.
const CALL: Flags = Flags::of(&[
    Flags::NOSCRIPT,
    Flags::STALE,
    Flags::SKIP_MONITOR,
    Flags::NO_MANDATORY_KEYS,
    Flags::MOVABLE_KEYS,
    Flags::MAY_REPLICATE,
]);
/// For what runs a script that writes nothing.
const READ_ONLY_CALL: Flags = Flags::of(&[
    Flags::READONLY,
    Flags::NOSCRIPT,
    Flags::STALE,
    Flags::SKIP_MONITOR,
    Flags::NO_MANDATORY_KEYS,
    Flags::MOVABLE_KEYS,
]);

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "eval",
        arity: AtLeast(3),
        flags: CALL,
        keys: KEYS,
        group: Group::Scripting,
        needs: None,
        route: Route::Together,
        run: Run::Script(ScriptCall {
            by: CalledBy::Text,
            read_only: false,
        }),
        docs: Docs {
            summary: "Runs a script.",
            since: "2.6.0",
            complexity: "Depends on the script that is executed.",
            syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
            tips: &[],
            key_uses: &[key_use::CHANGE],
        },
    },
    CommandSpec {
        name: "eval_ro",
        arity: AtLeast(3),
        flags: READ_ONLY_CALL,
        keys: KEYS,
        group: Group::Scripting,
        needs: None,
        route: Route::Together,
        run: Run::Script(ScriptCall {
            by: CalledBy::Text,
            read_only: true,
        }),
        docs: Docs {
            summary: "Runs a script that writes nothing.",
            since: "7.0.0",
            complexity: "Depends on the script that is executed.",
            syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
            tips: &[],
            key_uses: &[key_use::READ],
        },
    },
    CommandSpec {
        name: "evalsha",
        arity: AtLeast(3),
        flags: CALL,
        keys: KEYS,
        group: Group::Scripting,
        needs: None,
        route: Route::Together,
        run: Run::Script(ScriptCall {
            by: CalledBy::Hash,
            read_only: false,
        }),
        docs: Docs {
            summary: "Runs a script that is known, by its hash.",
            since: "2.6.0",
            complexity: "Depends on the script that is executed.",
            syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
            tips: &[],
            key_uses: &[key_use::CHANGE],
        },
    },
    CommandSpec {
        name: "evalsha_ro",
        arity: AtLeast(3),
        flags: READ_ONLY_CALL,
        keys: KEYS,
        group: Group::Scripting,
        needs: None,
        route: Route::Together,
        run: Run::Script(ScriptCall {
            by: CalledBy::Hash,
            read_only: true,
        }),
        docs: Docs {
            summary: "Runs a script that is known and writes nothing, by its hash.",
            since: "7.0.0",
            complexity: "Depends on the script that is executed.",
            syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
            tips: &[],
            key_uses: &[key_use::READ],
        },
    },
    CommandSpec {
        name: "fcall",
        arity: AtLeast(3),
        flags: CALL,
        keys: KEYS,
        group: Group::Scripting,
        needs: None,
        route: Route::Together,
        run: Run::Script(ScriptCall {
            by: CalledBy::Name,
            read_only: false,
        }),
        docs: Docs {
            summary: "Runs a function of a library.",
            since: "7.0.0",
            complexity: "Depends on the function that is executed.",
            syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
            tips: &[],
            key_uses: &[key_use::CHANGE],
        },
    },
    CommandSpec {
        name: "fcall_ro",
        arity: AtLeast(3),
        flags: READ_ONLY_CALL,
        keys: KEYS,
        group: Group::Scripting,
        needs: None,
        route: Route::Together,
        run: Run::Script(ScriptCall {
            by: CalledBy::Name,
            read_only: true,
        }),
        docs: Docs {
            summary: "Runs a function of a library that writes nothing.",
            since: "7.0.0",
            complexity: "Depends on the function that is executed.",
            syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
            tips: &[],
            key_uses: &[key_use::READ],
        },
    },
    CommandSpec {
        name: "script",
        arity: AtLeast(2),
        flags: Flags::NONE,
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::Session,
        run: Run::Container,
        docs: Docs {
            summary: "About scripts that are known.",
            since: "2.6.0",
            complexity: "That of the subcommand",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "script|debug",
        arity: Exact(3),
        flags: Flags::of(&[Flags::NOSCRIPT]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::Session,
        run: Run::Session(SessionCommand::Scripting(ScriptingQuery::ScriptDebug)),
        docs: Docs {
            summary: "Refuses to debug scripts: there is no debugger.",
            since: "3.2.0",
            complexity: "O(1)",
            syntax: "<YES | SYNC | NO>",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "script|exists",
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::NOSCRIPT]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::Session,
        run: Run::Session(SessionCommand::Scripting(ScriptingQuery::ScriptExists)),
        docs: Docs {
            summary: "Tells which scripts are known, by their hashes.",
            since: "2.6.0",
            complexity: "O(N) for N hashes",
            syntax: "sha1 [sha1 ...]",
            tips: &[
                "request_policy:all_shards",
                "response_policy:agg_logical_and",
            ],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "script|flush",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::NOSCRIPT]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::AllShards(Join::AllOk),
        run: Run::Shard(script_flush),
        docs: Docs {
            summary: "Forgets all scripts.",
            since: "2.6.0",
            complexity: "O(N) for N scripts",
            syntax: "[ASYNC | SYNC]",
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "script|kill",
        arity: Exact(2),
        flags: Flags::of(&[Flags::NOSCRIPT, Flags::ALLOW_BUSY]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::Session,
        run: Run::Session(SessionCommand::Scripting(ScriptingQuery::ScriptKill)),
        docs: Docs {
            summary: "Ends a script that runs for long and has written nothing.",
            since: "2.6.0",
            complexity: "O(1)",
            syntax: "",
            tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "script|load",
        arity: Exact(3),
        flags: Flags::of(&[Flags::NOSCRIPT, Flags::STALE]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::AllShards(Join::Any),
        run: Run::Shard(script_load),
        docs: Docs {
            summary: "Keeps a script, and tells its hash.",
            since: "2.6.0",
            complexity: "O(N) for a script of N bytes",
            syntax: "script",
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "script|help",
        arity: Exact(2),
        flags: Flags::of(&[Flags::LOADING, Flags::STALE]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::Session,
        run: Run::Help,
        docs: Docs {
            summary: "Lists the subcommands.",
            since: "5.0.0",
            complexity: "O(1)",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
];

pub(super) fn failed(error: impl std::fmt::Display) -> CommandError {
    CommandError::text(format!("ERR {error}"))
}

fn script_load(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let script = context.scripts.script_of(args.at(2), true);
    reply.bulk(&script.map_err(failed)?.sha);
    Ok(())
}

/// True for the option of a flush, or for none; what is forgotten is always freed at once.
pub(super) fn is_flush(args: &Args<'_>) -> bool {
    match args.get(2) {
        None => true,
        Some(mode) => {
            args.len() == 3
                && (mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async"))
        }
    }
}

fn script_flush(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if !is_flush(args) {
        return Err(CommandError::Plain(
            "SCRIPT FLUSH only support SYNC|ASYNC option",
        ));
    }
    context.scripts.flush();
    reply.ok();
    Ok(())
}
