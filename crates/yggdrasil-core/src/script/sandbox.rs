//! What scripts see: the functions of Lua that can do no harm, those of the engine, and nothing that they could change
//! for others.
//!
//! Lua has no tables that are read only. A **protected** table is an empty one whose metatable shows another and
//! refuses changes; the functions that go around metatables know it by a mark in there.

use mlua_sys as ffi;

use super::stack::{Failure, Function, Kept, Outcome, Stack};
use super::{api, bits, cjson, cmsgpack, guards, pack, random};

/// Globals of Lua that scripts have, as they are.
const PLAIN_GLOBALS: &[&str] = &[
    "xpcall", "tostring", "assert", "tonumber", "rawequal", "gcinfo", "type", "select", "unpack",
    "error", "ipairs", "_VERSION",
];

/// Those that a guard stands before.
const GUARDED_GLOBALS: &[(&str, ffi::lua_CFunction)] = &[
    ("setmetatable", guards::changes_first),
    ("rawset", guards::changes_first),
    ("rawget", guards::reads_first),
    ("next", guards::reads_first),
];

const TABLE_GUARDED: &[(&str, ffi::lua_CFunction)] = &[
    ("insert", guards::changes_first),
    ("remove", guards::changes_first),
    ("sort", guards::changes_first),
];

const STRING_GUARDED: &[(&str, ffi::lua_CFunction)] = &[
    ("find", guards::has_pattern),
    ("match", guards::has_pattern),
    ("gmatch", guards::has_pattern),
    ("gsub", guards::has_pattern),
];

/// The tables of a runtime.
pub struct Sandbox {
    /// All globals, to be copied for each fiber.
    base: Kept,
    /// What functions of libraries see while they run, and while their library is loaded.
    running: Kept,
    loading: Kept,
    /// Globals of libraries, and the metatable that says which of the two they are.
    library_globals: Kept,
    library_view: Kept,
    /// Makes errors tables.
    handler: Kept,
}

impl Sandbox {
    /// Makes the tables, with Lua's libraries opened in the state.
    pub fn new(stack: Stack) -> Self {
        super::libraries::open(stack);
        protect_strings(stack);
        push_base(stack);
        let base = stack.keep();
        push_view(stack, &base);
        let running = stack.keep();
        push_loading(stack);
        let loading = stack.keep();
        stack.push_table(0, 0);
        push_protection(stack, &running);
        stack.push_copy(-1);
        let library_view = stack.keep();
        stack.set_metatable(-2);
        let library_globals = stack.keep();
        stack.push_closure(guards::blame, 0);
        let handler = stack.keep();
        Self {
            base,
            running,
            loading,
            library_globals,
            library_view,
            handler,
        }
    }

    pub fn push_handler(&self, stack: Stack) {
        stack.push_kept(&self.handler);
    }

    pub fn push_library_globals(&self, stack: Stack) {
        stack.push_kept(&self.library_globals);
    }

    /// Shows libraries what they see while they are loaded, or again what their functions see.
    pub fn show_loading(&self, stack: Stack, on: bool) {
        let shown = if on { &self.loading } else { &self.running };
        stack.push_kept(&self.library_view);
        stack.push_kept(shown);
        stack.set_field("__index");
        stack.pop(1);
    }

    /// Makes the globals of a fiber.
    pub fn make_globals(&self, stack: Stack) -> Globals {
        push_view(stack, &self.base);
        stack.push_copy(-1);
        let shown = stack.keep();
        push_protected(stack);
        stack.push_kept(&shown);
        stack.push_copy(-2);
        stack.set_field("_G");
        stack.pop(1);
        Globals {
            shown,
            protected: stack.keep(),
        }
    }
}

/// The globals of a fiber.
pub struct Globals {
    /// Where KEYS and ARGV are set.
    shown: Kept,
    /// What scripts see of it.
    protected: Kept,
}

impl Globals {
    /// Makes these the globals of the state, whatever a script has made of them.
    pub fn set(&self, stack: Stack) {
        stack.push_kept(&self.protected);
        stack.set_globals();
    }

    /// Makes these the environment of the function on the top.
    pub fn set_environment(&self, stack: Stack) {
        stack.push_kept(&self.protected);
        stack.set_environment(-2);
    }

    /// Sets KEYS and ARGV.
    pub fn set_arguments<'a>(
        &self,
        stack: Stack,
        keys: impl ExactSizeIterator<Item = &'a [u8]>,
        arguments: impl ExactSizeIterator<Item = &'a [u8]>,
    ) {
        stack.push_kept(&self.shown);
        push_texts(stack, keys);
        stack.set_field("KEYS");
        push_texts(stack, arguments);
        stack.set_field("ARGV");
        stack.pop(1);
    }
}

/// Pushes an array of strings.
pub fn push_texts<'a>(stack: Stack, texts: impl ExactSizeIterator<Item = &'a [u8]>) {
    stack.push_table(texts.len(), 0);
    for (place, text) in (1..).zip(texts) {
        stack.push_text(text);
        stack.raw_set_at(-2, place);
    }
}

/// Pushes a copy of a table whose missing fields are errors.
fn push_view(stack: Stack, base: &Kept) {
    stack.push_table(0, 64);
    stack.push_kept(base);
    stack.push_nil();
    while stack.next(-2) {
        stack.push_copy(-2);
        stack.insert(-2);
        stack.raw_set(-5);
    }
    stack.pop(1);
    refuse_missing(stack);
}

/// Makes missing fields of the table on the top errors.
fn refuse_missing(stack: Stack) {
    stack.push_table(0, 1);
    stack.push_function(missing_global);
    stack.set_field("__index");
    stack.set_metatable(-2);
}

fn missing_global(stack: Stack) -> Outcome {
    let name = match stack.text(2) {
        Some(name) => String::from_utf8_lossy(name).into_owned(),
        None => {
            return Err(Failure::at(
                "Second argument to luaProtectedTableError must be a string or number",
            ));
        }
    };
    Err(Failure::at(format!(
        "Script attempted to access nonexistent global variable '{name}'"
    )))
}

fn refuse_change(_: Stack) -> Outcome {
    Err(Failure::at(guards::READ_ONLY))
}

/// Pushes the metatable that shows a table that is kept.
fn push_protection(stack: Stack, shown: &Kept) {
    stack.push_table(0, 3);
    stack.push_kept(shown);
    stack.set_field("__index");
    stack.push_function(refuse_change);
    stack.set_field("__newindex");
    stack.push_mark(&guards::MARK);
    stack.push_kept(shown);
    stack.raw_set(-3);
}

/// Replaces the table on the top by a protected one.
fn push_protected(stack: Stack) {
    let shown = stack.keep();
    stack.push_table(0, 0);
    push_protection(stack, &shown);
    stack.set_metatable(-2);
    stack.forget(shown);
}

/// Replaces a function in the table on the top by one with a guard before it.
fn guard(stack: Stack, functions: &[(&str, ffi::lua_CFunction)]) {
    for (name, function) in functions {
        stack.raw_field(-1, name);
        stack.push_closure(*function, 1);
        stack.set_field(name);
    }
}

fn set_functions(stack: Stack, functions: &[(&str, Function)]) {
    for (name, function) in functions {
        stack.push_function(*function);
        stack.set_field(name);
    }
}

fn set_numbers(stack: Stack, numbers: &[(&str, i32)]) {
    for (name, number) in numbers {
        stack.push_number(f64::from(*number));
        stack.set_field(name);
    }
}

/// Protects the methods of strings.
fn protect_strings(stack: Stack) {
    stack.push_globals();
    stack.raw_field(-1, "string");
    guard(stack, STRING_GUARDED);
    push_protected(stack);
    stack.push_text(b"");
    if stack.push_metatable(-1) {
        stack.push_copy(-3);
        stack.set_field("__index");
        stack.pop(1);
    }
    stack.pop(1);
    stack.set_field("string");
    stack.pop(1);
}

/// Pushes the table of all globals.
fn push_base(stack: Stack) {
    stack.push_globals();
    stack.push_table(0, 64);
    stack.raw_field(-2, "next");
    stack.push_closure(guards::pairs, 1);
    stack.set_field("pairs");
    stack.insert(-2);
    guard(stack, GUARDED_GLOBALS);
    stack.insert(-2);
    let guarded = GUARDED_GLOBALS.iter().map(|(name, _)| name);
    for name in PLAIN_GLOBALS.iter().chain(guarded).chain(&["string"]) {
        stack.raw_field(-2, name);
        stack.set_field(name);
    }
    for name in ["math", "table", "coroutine"] {
        stack.raw_field(-2, name);
        match name {
            "math" => set_functions(
                stack,
                &[("random", random::random), ("randomseed", random::seed)],
            ),
            "table" => guard(stack, TABLE_GUARDED),
            _ => {}
        }
        push_protected(stack);
        stack.set_field(name);
    }
    // Of the system, the clock alone is left.
    stack.raw_field(-2, "os");
    stack.push_table(0, 1);
    stack.raw_field(-2, "clock");
    stack.set_field("clock");
    stack.remove(-2);
    push_protected(stack);
    stack.set_field("os");
    stack.remove(-2);
    set_replaced(stack);
    set_libraries(stack);
}

/// Sets the functions that replace those of Lua.
fn set_replaced(stack: Stack) {
    for (name, function) in [
        ("pcall", guards::protected_call as ffi::lua_CFunction),
        ("load", guards::load),
        ("loadstring", guards::load_string),
    ] {
        stack.push_closure(function, 0);
        stack.set_field(name);
    }
    stack.push_text(b"");
    if stack.push_metatable(-1) {
        push_protected(stack);
        stack.push_closure(guards::get_metatable, 1);
        stack.remove(-2);
        stack.set_field("getmetatable");
    } else {
        stack.pop(1);
    }
    stack.push_function(collect_garbage);
    stack.set_field("collectgarbage");
}

/// Sets the libraries that are written in Rust.
fn set_libraries(stack: Stack) {
    stack.push_table(0, 32);
    set_functions(stack, api::FUNCTIONS);
    set_functions(stack, api::SCRIPT_FUNCTIONS);
    set_numbers(stack, api::NUMBERS);
    set_numbers(stack, api::LEVELS);
    api::set_version(stack);
    push_protected(stack);
    stack.set_field("redis");
    for (name, functions) in [
        ("bit", bits::FUNCTIONS),
        ("struct", pack::FUNCTIONS),
        ("cmsgpack", cmsgpack::FUNCTIONS),
        ("cjson", cjson::FUNCTIONS),
    ] {
        stack.push_table(0, 16);
        set_functions(stack, functions);
        set_constants(stack, name);
        push_protected(stack);
        stack.set_field(name);
    }
}

/// Texts and values of a library beside its functions.
fn set_constants(stack: Stack, library: &str) {
    let texts: &[(&str, &str)] = match library {
        "cjson" => {
            stack.push_null_pointer();
            stack.set_field("null");
            &[("_NAME", "cjson"), ("_VERSION", "2.1.0")]
        }
        "cmsgpack" => &[
            ("_NAME", "cmsgpack"),
            ("_VERSION", "lua-cmsgpack 0.4.0"),
            ("_DESCRIPTION", "MessagePack for Lua"),
        ],
        _ => &[],
    };
    for (name, text) in texts {
        stack.push_text(text.as_bytes());
        stack.set_field(name);
    }
}

/// Pushes what a library sees while it is loaded.
fn push_loading(stack: Stack) {
    stack.push_table(0, 1);
    stack.push_table(0, 16);
    set_functions(stack, api::LOADING_FUNCTIONS);
    set_numbers(stack, api::LEVELS);
    api::set_version(stack);
    refuse_missing(stack);
    push_protected(stack);
    stack.set_field("redis");
    refuse_missing(stack);
}

/// `collectgarbage`: scripts may free memory, and not decide when it is freed.
fn collect_garbage(stack: Stack) -> Outcome {
    let option = match stack.text(1) {
        None => "collect".to_owned(),
        Some(option) => String::from_utf8_lossy(option).into_owned(),
    };
    match option.as_str() {
        "collect" => {
            stack.collect(true);
            stack.push_number(0.0);
        }
        "step" => {
            stack.collect(false);
            stack.push_boolean(true);
        }
        "count" => stack.push_number(stack.host().used() as f64 / 1024.0),
        "stop" | "restart" => stack.push_number(0.0),
        "setpause" | "setstepmul" => stack.push_number(200.0),
        _ => {
            return Err(Failure::Argument(1, format!("invalid option '{option}'")));
        }
    }
    Ok(1)
}
