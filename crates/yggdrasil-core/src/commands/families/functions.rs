//! Libraries of functions: their rows, their changes, and what other workers have made of them.
//!
//! A change is made by the worker of the client while it holds all shards. It is in force once it is kept; all other
//! workers read what is kept before they use it, where its version is another than theirs.

use crate::commands::codecs::libraries;
use crate::commands::families::scripting::{ScriptingQuery, failed, is_flush};
use crate::commands::families::session::SessionCommand;
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Outcome, Run, ShardContext};
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::resp::{Args, Reply};
use crate::script::{Policy, Scripts};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
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
        route: Route::Node,
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
        route: Route::Node,
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
        route: Route::Node,
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
        route: Route::Node,
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

/// Loads what other workers have made of the libraries since this one last looked.
///
/// # Errors
/// Why that cannot be read or loaded; then this worker has no libraries to be used, until it can.
pub fn meet_changes(scripts: &mut Scripts) -> Result<(), String> {
    let kept = scripts.kept.as_ref();
    let Some((kept, version)) = kept.and_then(|kept| Some((kept, kept.news()?))) else {
        return Ok(());
    };
    let codes = match kept.store.read()? {
        Some(payload) => libraries::restore(&payload, u64::MAX).map_err(plain)?,
        None => Vec::new(),
    };
    if kept.may_be_lost() {
        // Nobody uses what a power cut would take back.
        kept.store.sync()?;
    }
    scripts.set_libraries(&codes)?;
    scripts.note_libraries(version);
    Ok(())
}

/// The text of an error without its prefix.
fn plain(error: CommandError) -> String {
    let text = error.to_string();
    text.strip_prefix("ERR ").unwrap_or(&text).to_owned()
}

/// The error of a request for libraries that this worker cannot load.
pub fn unusable(reason: String) -> CommandError {
    failed(format!(
        "the libraries of functions cannot be used: {reason}"
    ))
}

/// Makes a change of the libraries that all workers know, or none.
fn change<T>(
    scripts: &mut Scripts,
    make: impl FnOnce(&mut Scripts) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    meet_changes(scripts).map_err(unusable)?;
    if scripts.kept.is_none() {
        return make(scripts);
    }
    let before: Vec<Vec<u8>> = scripts.libraries.codes().map(<[u8]>::to_vec).collect();
    let made = make(scripts)?;
    keep(scripts, &before)?;
    Ok(made)
}

/// Keeps the libraries as they are now, for all workers and the next start, or goes back to those of before.
fn keep(scripts: &mut Scripts, before: &[Vec<u8>]) -> Outcome {
    let payload = libraries::dump(scripts.libraries.codes());
    let Some(kept) = &scripts.kept else {
        return Ok(());
    };
    let replaced = if kept.begin() {
        let replaced = kept.store.replace(&payload);
        let synced = replaced.is_ok().then(|| kept.store.sync());
        let version = kept.version.end(replaced.is_ok());
        replaced.map(|()| (version, synced))
    } else {
        Err("another worker changes them at this moment".into())
    };
    match replaced {
        Ok((version, synced)) => {
            scripts.note_libraries(version);
            synced.unwrap_or(Ok(())).map_err(|reason| {
                failed(format!(
                    "the change is made, but would not survive a power cut: {reason}"
                ))
            })
        }
        Err(reason) => {
            if scripts.set_libraries(before).is_err() {
                scripts.forget_libraries();
            }
            Err(failed(format!(
                "the change is not made, as it cannot be kept: {reason}"
            )))
        }
    }
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
    let code = args.at(code_at);
    let load = |scripts: &mut Scripts| scripts.load_library(code, replaces).map_err(failed);
    reply.bulk(&change(context.scripts, load)?);
    Ok(())
}

fn function_delete(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    change(context.scripts, |scripts| {
        let is_there = scripts.delete_library(args.at(2));
        let missing = CommandError::Plain("Library not found");
        is_there.then_some(()).ok_or(missing)
    })?;
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
    change(context.scripts, |scripts| {
        scripts.clear_libraries();
        Ok(())
    })?;
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
    change(context.scripts, |scripts| {
        scripts.restore_libraries(&codes, policy).map_err(failed)
    })?;
    reply.ok();
    Ok(())
}
