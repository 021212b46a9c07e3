//! What a library says while it is loaded: `redis.register_function`.

use super::flags::ScriptFlags;
use super::replies::error_text;
use super::stack::{Failure, Kept, Kind, Outcome, Stack};

/// A function of a library.
#[derive(Debug)]
pub struct Registration {
    pub name: Vec<u8>,
    pub description: Option<Vec<u8>>,
    pub flags: ScriptFlags,
    pub function: Kept,
}

/// The error of a name of a library or function.
pub const BAD_NAME: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at least \
                            one character long";

/// True for what can be the name of a library or a function.
pub fn is_name(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !name.is_empty() && name.iter().all(fits)
}

fn refuse(message: &str) -> Failure {
    Failure::Redis(error_text(message.as_bytes()))
}

/// `redis.register_function`.
pub fn register_function(stack: Stack) -> Outcome {
    let shared = match stack.host().current() {
        Some(current) if current.shared.registrations.borrow().is_some() => &current.shared,
        _ => {
            return Err(refuse(
                "redis.register_function can only be called on FUNCTION LOAD command",
            ));
        }
    };
    let registration = match stack.top() {
        1 => named_arguments(stack)?,
        2 => positional_arguments(stack)?,
        _ => {
            return Err(refuse(
                "wrong number of arguments to redis.register_function",
            ));
        }
    };
    let mut registrations = shared.registrations.borrow_mut();
    let known = registrations.get_or_insert_default();
    let error = if !is_name(&registration.name) {
        Some(BAD_NAME)
    } else if known.iter().any(|other| other.name == registration.name) {
        Some("Function already exists in the library")
    } else {
        None
    };
    if let Some(error) = error {
        stack.forget(registration.function);
        return Err(refuse(error));
    }
    known.push(registration);
    Ok(0)
}

fn text_of(stack: &Stack, index: i32) -> Option<Vec<u8>> {
    match stack.kind(index) {
        Kind::Text | Kind::Number => stack.text(index).map(<[u8]>::to_vec),
        _ => None,
    }
}

fn positional_arguments(stack: Stack) -> Result<Registration, Failure> {
    let Some(name) = text_of(&stack, 1) else {
        return Err(refuse(
            "first argument to redis.register_function must be a string",
        ));
    };
    if stack.kind(2) != Kind::Function {
        return Err(refuse(
            "second argument to redis.register_function must be a function",
        ));
    }
    stack.push_copy(2);
    Ok(Registration {
        name,
        description: None,
        flags: ScriptFlags::NONE,
        function: stack.keep(),
    })
}

/// The arguments of a table, as far as they were read.
#[derive(Default)]
struct Named {
    name: Option<Vec<u8>>,
    description: Option<Vec<u8>>,
    flags: ScriptFlags,
    has_callback: bool,
}

fn named_arguments(stack: Stack) -> Result<Registration, Failure> {
    if stack.kind(1) != Kind::Table {
        return Err(refuse(
            "calling redis.register_function with a single argument is only applicable to Lua table (representing \
             named arguments).",
        ));
    }
    let mut named = Named::default();
    stack.push_nil();
    while stack.next(1) {
        read_named(stack, &mut named)?;
        stack.pop(1);
    }
    let Some(name) = named.name else {
        return Err(refuse(
            "redis.register_function must get a function name argument",
        ));
    };
    if !named.has_callback {
        return Err(refuse(
            "redis.register_function must get a callback argument",
        ));
    }
    push_callback(stack);
    Ok(Registration {
        name,
        description: named.description,
        flags: named.flags,
        function: stack.keep(),
    })
}

/// Pushes the callback, whatever the case of its name.
fn push_callback(stack: Stack) {
    stack.push_nil();
    while stack.next(1) {
        let is_it = stack.kind(-2) == Kind::Text
            && stack
                .text(-2)
                .is_some_and(|key| key.eq_ignore_ascii_case(b"callback"));
        if is_it {
            return;
        }
        stack.pop(1);
    }
}

/// Reads the argument whose name and value are on the top.
fn read_named(stack: Stack, named: &mut Named) -> Result<(), Failure> {
    if stack.kind(-2) != Kind::Text {
        return Err(refuse(
            "named argument key given to redis.register_function is not a string",
        ));
    }
    let key = stack.text(-2).unwrap_or_default().to_ascii_lowercase();
    match key.as_slice() {
        b"function_name" => {
            named.name = text_of(&stack, -1);
            if named.name.is_none() {
                return Err(refuse(
                    "function_name argument given to redis.register_function must be a string",
                ));
            }
        }
        b"description" => {
            named.description = text_of(&stack, -1);
            if named.description.is_none() {
                return Err(refuse(
                    "description argument given to redis.register_function must be a string",
                ));
            }
        }
        b"callback" if stack.kind(-1) == Kind::Function => named.has_callback = true,
        b"callback" => {
            return Err(refuse(
                "callback argument given to redis.register_function must be a function",
            ));
        }
        b"flags" if stack.kind(-1) == Kind::Table => named.flags = read_flags(stack)?,
        b"flags" => {
            return Err(refuse(
                "flags argument to redis.register_function must be a table representing function flags",
            ));
        }
        _ => {
            return Err(refuse("unknown argument given to redis.register_function"));
        }
    }
    Ok(())
}

fn read_flags(stack: Stack) -> Result<ScriptFlags, Failure> {
    let mut flags = ScriptFlags::NONE;
    for place in 1.. {
        stack.raw_get_at(-1, place);
        if stack.kind(-1) == Kind::Nil {
            stack.pop(1);
            break;
        }
        let name = text_of(&stack, -1).unwrap_or_default();
        stack.pop(1);
        let flag = ScriptFlags::named(&name.to_ascii_lowercase());
        flags = flags.with(flag.ok_or_else(|| refuse("unknown flag given"))?);
    }
    Ok(flags)
}
