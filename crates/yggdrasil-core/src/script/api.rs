//! The table `redis`: what scripts ask of the engine.

use sha1::{Digest, Sha1};

use super::fiber::{Ask, Current, Shared};
use super::library;
use super::replies::{error_text, push_reply};
use super::stack::{Failure, Function, Kind, Outcome, Stack};
use crate::engine::COMPATIBLE_VERSION;
use crate::resp::{Protocol, write_double};

/// Functions of scripts and of functions in libraries, by name.
pub const FUNCTIONS: &[(&str, Function)] = &[
    ("call", |stack| request(stack, true)),
    ("pcall", |stack| request(stack, false)),
    ("log", log),
    ("setresp", set_protocol),
    ("sha1hex", sha1_hex),
    ("error_reply", error_reply),
    ("status_reply", status_reply),
    ("set_repl", set_replication),
    ("acl_check_cmd", check_permission),
];

/// Functions of scripts alone. There is no debugger.
pub const SCRIPT_FUNCTIONS: &[(&str, Function)] = &[
    ("breakpoint", |stack| {
        stack.push_boolean(false);
        Ok(1)
    }),
    ("debug", |_| Ok(0)),
    ("replicate_commands", |stack| {
        stack.push_boolean(true);
        Ok(1)
    }),
];

/// Functions of a library that is loaded.
pub const LOADING_FUNCTIONS: &[(&str, Function)] = &[
    ("register_function", library::register_function),
    ("log", log),
];

/// Numbers that scripts know by name.
pub const NUMBERS: &[(&str, i32)] = &[
    ("REPL_NONE", 0),
    ("REPL_AOF", 1),
    ("REPL_SLAVE", 2),
    ("REPL_REPLICA", 2),
    ("REPL_ALL", 3),
];

/// Levels of the log, by name.
pub const LEVELS: &[(&str, i32)] = &[
    ("LOG_DEBUG", 0),
    ("LOG_VERBOSE", 1),
    ("LOG_NOTICE", 2),
    ("LOG_WARNING", 3),
];

/// An error that scripts see as a table.
fn refuse(message: &str) -> Failure {
    Failure::Redis(error_text(message.as_bytes()))
}

fn current(stack: &Stack) -> Result<&Current, Failure> {
    let current = stack.host().current();
    current.ok_or_else(|| refuse("can only be called inside of a script"))
}

/// Adds the version to the table on the top.
pub fn set_version(stack: Stack) {
    let mut parts = COMPATIBLE_VERSION.split('.').map(str::parse::<u32>);
    let mut part = || parts.next().and_then(Result::ok).unwrap_or(0);
    let number = part() << 16 | part() << 8 | part();
    stack.push_number(f64::from(number));
    stack.set_field("REDIS_VERSION_NUM");
    stack.push_text(COMPATIBLE_VERSION.as_bytes());
    stack.set_field("REDIS_VERSION");
}

/// Takes the arguments as a request.
fn take_request(stack: Stack, shared: &Shared) -> Result<(), Failure> {
    let count = stack.top();
    if count == 0 {
        return Err(refuse(
            "Please specify at least one argument for this redis lib call",
        ));
    }
    let mut request = shared.request.borrow_mut();
    request.clear();
    for argument in 1..=count {
        match stack.kind(argument) {
            Kind::Number => push_number(&mut request, stack.number(argument)),
            Kind::Text => request.push(stack.text(argument).unwrap_or_default()),
            _ => {
                return Err(refuse(
                    "Lua redis lib command arguments must be strings or integers",
                ));
            }
        }
    }
    Ok(())
}

fn push_number(request: &mut crate::resp::ArgsBuffer, number: f64) {
    let integer = number as i64;
    if integer as f64 == number && number.abs() < 9.2e18 {
        let mut buffer = itoa::Buffer::new();
        request.push(buffer.format(integer).as_bytes());
    } else {
        let mut text = Vec::with_capacity(32);
        write_double(&mut text, number);
        request.push(&text);
    }
}

/// `redis.call`, which raises errors, and `redis.pcall`, which returns them.
fn request(stack: Stack, raises: bool) -> Outcome {
    let current = current(&stack)?;
    let shared = &current.shared;
    let fail = |stack: Stack, failure: Failure| match failure {
        Failure::Redis(text) if !raises => {
            super::replies::push_error(stack, &text);
            Ok(1)
        }
        failure => Err(failure),
    };
    if let Err(failure) = take_request(stack, shared) {
        return fail(stack, failure);
    }
    stack.set_top(0);
    current.ask(stack, Ask::Command)?;
    let answer = shared.answer.borrow();
    let failed = push_reply(stack, &answer);
    drop(answer);
    if failed && raises {
        return Err(Failure::Top);
    }
    Ok(1)
}

fn check_permission(stack: Stack) -> Outcome {
    let current = current(&stack)?;
    take_request(stack, &current.shared)?;
    stack.set_top(0);
    current.ask(stack, Ask::Permission)?;
    let answer = current.shared.answer.borrow();
    match answer.as_slice() {
        b":1\r\n" => stack.push_boolean(true),
        b":0\r\n" => stack.push_boolean(false),
        _ => return Err(refuse("Invalid command passed to redis.acl_check_cmd()")),
    }
    Ok(1)
}

fn log(stack: Stack) -> Outcome {
    if stack.top() < 2 {
        return Err(refuse("redis.log() requires two arguments or more."));
    }
    let Some(level) = stack.as_number(1) else {
        return Err(refuse("First argument must be a number (log level)."));
    };
    let level = level as i64;
    if !(0..=3).contains(&level) {
        return Err(refuse("Invalid log level."));
    }
    let texts = (2..=stack.top()).filter_map(|argument| stack.text(argument));
    let line = texts.collect::<Vec<_>>().join(&b' ');
    stack.host().log.borrow_mut().push((level as u8, line));
    Ok(0)
}

fn set_protocol(stack: Stack) -> Outcome {
    if stack.top() != 1 {
        return Err(refuse("redis.setresp() requires one argument."));
    }
    let protocol = match stack.number(1) as i64 {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return Err(refuse("RESP version must be 2 or 3.")),
    };
    current(&stack)?.shared.protocol.set(protocol);
    Ok(0)
}

/// The hash that names a script.
pub fn sha1_hex_of(text: &[u8]) -> [u8; 40] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; 40];
    for (place, byte) in Sha1::digest(text).iter().enumerate() {
        hex[place * 2] = DIGITS[usize::from(byte >> 4)];
        hex[place * 2 + 1] = DIGITS[usize::from(byte & 15)];
    }
    hex
}

fn sha1_hex(stack: Stack) -> Outcome {
    if stack.top() != 1 {
        return Err(refuse("wrong number of arguments"));
    }
    let hash = sha1_hex_of(stack.text(1).unwrap_or_default());
    stack.push_text(&hash);
    Ok(1)
}

/// Pushes the error that is returned for wrong arguments of a reply.
fn is_one_text(stack: Stack) -> bool {
    let is = stack.top() == 1 && stack.kind(1) == Kind::Text;
    if !is {
        stack.push_table(0, 1);
        stack.push_text(b"ERR wrong number or type of arguments");
        stack.set_field("err");
    }
    is
}

fn error_reply(stack: Stack) -> Outcome {
    if is_one_text(stack) {
        let given = stack.text(1).unwrap_or_default();
        let coded = if given.starts_with(b"-") {
            given.to_vec()
        } else {
            [b"-", given].concat()
        };
        stack.push_table(0, 1);
        stack.push_text(&error_text(&coded));
        stack.set_field("err");
    }
    Ok(1)
}

fn status_reply(stack: Stack) -> Outcome {
    if is_one_text(stack) {
        stack.push_table(0, 1);
        stack.push_copy(1);
        stack.set_field("ok");
    }
    Ok(1)
}

/// Effects are what travels, so there is nothing to choose.
fn set_replication(stack: Stack) -> Outcome {
    if stack.top() != 1 {
        return Err(refuse("redis.set_repl() requires one argument."));
    }
    if !(0..=3).contains(&(stack.number(1) as i64)) {
        return Err(refuse(
            "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        ));
    }
    Ok(0)
}
