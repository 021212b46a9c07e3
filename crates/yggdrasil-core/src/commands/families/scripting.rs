//! Scripts and libraries of functions: the commands that run them, and what is kept of them.

use crate::commands::codecs::libraries;
use crate::commands::families::session::SessionCommand;
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{CalledBy, Outcome, Run, ScriptCall, ShardContext};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Join, Route};
use crate::resp::{Args, Reply};
use crate::script::Policy;

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
    CommandSpec {
        name: "function",
        arity: AtLeast(2),
        flags: Flags::NONE,
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::Session,
        run: Run::Container,
        docs: Docs {
            summary: "About libraries of functions.",
            since: "7.0.0",
            complexity: "That of the subcommand",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "function|delete",
        arity: Exact(3),
        flags: Flags::of(&[Flags::WRITE, Flags::NOSCRIPT]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::AllShards(Join::AllOk),
        run: Run::Shard(function_delete),
        docs: Docs {
            summary: "Deletes a library.",
            since: "7.0.0",
            complexity: "O(1)",
            syntax: "library-name",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "function|dump",
        arity: Exact(2),
        flags: Flags::of(&[Flags::NOSCRIPT]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::Session,
        run: Run::Session(SessionCommand::Scripting(ScriptingQuery::FunctionDump)),
        docs: Docs {
            summary: "Gives all libraries as a payload for FUNCTION RESTORE.",
            since: "7.0.0",
            complexity: "O(N) for N functions",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "function|flush",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::WRITE, Flags::NOSCRIPT]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::AllShards(Join::AllOk),
        run: Run::Shard(function_flush),
        docs: Docs {
            summary: "Deletes all libraries.",
            since: "7.0.0",
            complexity: "O(N) for N functions",
            syntax: "[ASYNC | SYNC]",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "function|kill",
        arity: Exact(2),
        flags: Flags::of(&[Flags::NOSCRIPT, Flags::ALLOW_BUSY]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::Session,
        run: Run::Session(SessionCommand::Scripting(ScriptingQuery::FunctionKill)),
        docs: Docs {
            summary: "Ends a function that runs for long and has written nothing.",
            since: "7.0.0",
            complexity: "O(1)",
            syntax: "",
            tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "function|list",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::NOSCRIPT]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::Session,
        run: Run::Session(SessionCommand::Scripting(ScriptingQuery::FunctionList)),
        docs: Docs {
            summary: "Describes the libraries.",
            since: "7.0.0",
            complexity: "O(N) for N functions",
            syntax: "[LIBRARYNAME library-name-pattern] [WITHCODE]",
            tips: &["nondeterministic_output_order"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "function|load",
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::NOSCRIPT]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::AllShards(Join::Any),
        run: Run::Shard(function_load),
        docs: Docs {
            summary: "Loads a library, and tells its name.",
            since: "7.0.0",
            complexity: "O(1), and compiling",
            syntax: "[REPLACE] function-code",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "function|restore",
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::NOSCRIPT]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::AllShards(Join::AllOk),
        run: Run::Shard(function_restore),
        docs: Docs {
            summary: "Loads the libraries of a payload.",
            since: "7.0.0",
            complexity: "O(N) for N functions",
            syntax: "serialized-value [FLUSH | APPEND | REPLACE]",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "function|stats",
        arity: Exact(2),
        flags: Flags::of(&[Flags::NOSCRIPT, Flags::ALLOW_BUSY]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::Session,
        run: Run::Session(SessionCommand::Scripting(ScriptingQuery::FunctionStats)),
        docs: Docs {
            summary: "Tells which function runs, and how many there are.",
            since: "7.0.0",
            complexity: "O(1)",
            syntax: "",
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "function|help",
        arity: Exact(2),
        flags: Flags::of(&[Flags::LOADING, Flags::STALE]),
        keys: Keys::None,
        group: Group::Scripting,
        needs: None,
        route: Route::Session,
        run: Run::Help,
        docs: Docs {
            summary: "Lists the subcommands.",
            since: "7.0.0",
            complexity: "O(1)",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
];

fn failed(error: impl std::fmt::Display) -> CommandError {
    CommandError::text(format!("ERR {error}"))
}

fn script_load(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let script = context.scripts.script_of(args.at(2), true);
    reply.bulk(&script.map_err(failed)?.sha);
    Ok(())
}

/// True for the option of a flush, or for none; what is forgotten is always freed at once.
fn is_flush(args: &Args<'_>) -> bool {
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

fn function_load(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let code_at = args.len() - 1;
    let mut replaces = false;
    for option in args.iter().take(code_at).skip(2) {
        if !option.eq_ignore_ascii_case(b"replace") {
            let option = String::from_utf8_lossy(option);
            return Err(failed(format!("Unknown option given: {option}")));
        }
        replaces = true;
    }
    let name = context.scripts.load_library(args.at(code_at), replaces);
    let name = name.map_err(failed)?;
    keep_libraries(context)?;
    reply.bulk(&name);
    Ok(())
}

/// Keeps the libraries as they are now, before their change is answered.
fn keep_libraries(context: &ShardContext<'_>) -> Outcome {
    let Some(keeper) = &context.scripts.keeper else {
        return Ok(());
    };
    let payload = libraries::dump(context.scripts.libraries.codes());
    keeper(&payload).map_err(|reason| {
        CommandError::text(format!(
            "ERR the change is made, but would not survive a restart: {reason}"
        ))
    })
}

fn function_delete(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    if !context.scripts.delete_library(args.at(2)) {
        return Err(CommandError::Plain("Library not found"));
    }
    keep_libraries(context)?;
    reply.ok();
    Ok(())
}

fn function_flush(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    if args.len() > 3 {
        return Err(CommandError::Plain(
            "unknown subcommand or wrong number of arguments for 'flush'. Try FUNCTION HELP.",
        ));
    }
    if !is_flush(args) {
        return Err(CommandError::Plain(
            "FUNCTION FLUSH only supports SYNC|ASYNC option",
        ));
    }
    context.scripts.clear_libraries();
    keep_libraries(context)?;
    reply.ok();
    Ok(())
}

fn function_restore(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    if args.len() > 4 {
        return Err(CommandError::Plain(
            "unknown subcommand or wrong number of arguments for 'restore'. Try FUNCTION HELP.",
        ));
    }
    let policy = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"append") => Policy::Append,
        Some(b"replace") => Policy::Replace,
        Some(b"flush") => Policy::Flush,
        Some(_) => {
            return Err(CommandError::Plain(
                "Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
    };
    let codes = libraries::restore(args.at(2), context.limits.string_bytes_max)?;
    context
        .scripts
        .restore_libraries(&codes, policy)
        .map_err(failed)?;
    keep_libraries(context)?;
    reply.ok();
    Ok(())
}
