//! Functions that stand before those of Lua's libraries, and the handler of errors.
//!
//! # Safety
//! These are functions as Lua calls them: the state lives, and the arguments are what is on the stack. They own nothing
//! that is to be dropped, so errors of Lua may jump over them; the limit of memory holds while they run.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};

use mlua_sys as ffi;
use mlua_sys::{lua_Debug, lua_State};

use super::stack::{Kind, Stack};

/// The key of what a protected table shows, in its metatable.
pub static MARK: u8 = 0;
/// The error of a change of a protected table.
pub const READ_ONLY: &str = "Attempt to modify a readonly table";

/// Bytes of a pattern at most: matching calls itself for each part of one.
const PATTERN_BYTES_MAX: usize = 32 * 1024;

/// Calls the C interface, in the only place that does so here.
macro_rules! lua {
    ($function:ident($($argument:expr),*)) => {{
        // SAFETY: see the head of this module.
        unsafe { ffi::$function($($argument),*) }
    }};
}

/// Pushes what a protected table shows; false for any other value.
pub fn push_shown(stack: Stack, index: i32) -> bool {
    if stack.kind(index) != Kind::Table || !stack.push_metatable(index) {
        return false;
    }
    stack.push_mark(&MARK);
    stack.raw_get(-2);
    stack.remove(-2);
    let is_shown = stack.kind(-1) == Kind::Table;
    if !is_shown {
        stack.pop(1);
    }
    is_shown
}

fn stack_of(state: *mut lua_State) -> Stack {
    // SAFETY: see the head of this module.
    unsafe { Stack::of(state) }
}

fn raise(stack: Stack, message: &str) -> c_int {
    stack.push_text(message.as_bytes());
    lua!(lua_error(stack.state()))
}

/// The function that is guarded: the upvalue.
fn call_guarded(state: *mut lua_State) -> c_int {
    match lua!(lua_tocfunction(state, ffi::lua_upvalueindex(1))) {
        // SAFETY: It gets what this was called with.
        Some(function) => unsafe { function(state) },
        None => raise(stack_of(state), "not a function"),
    }
}

/// Refuses a protected table as the first argument.
pub unsafe extern "C-unwind" fn changes_first(state: *mut lua_State) -> c_int {
    let stack = stack_of(state);
    if push_shown(stack, 1) {
        return raise(stack, READ_ONLY);
    }
    call_guarded(state)
}

/// Puts what a protected table shows in the place of the first argument.
pub unsafe extern "C-unwind" fn reads_first(state: *mut lua_State) -> c_int {
    let stack = stack_of(state);
    if push_shown(stack, 1) {
        lua!(lua_replace(state, 1));
    }
    call_guarded(state)
}

/// `pairs`, whose upvalue is `next`.
pub unsafe extern "C-unwind" fn pairs(state: *mut lua_State) -> c_int {
    let stack = stack_of(state);
    lua!(luaL_checktype(state, 1, ffi::LUA_TTABLE));
    stack.push_copy(ffi::lua_upvalueindex(1));
    if !push_shown(stack, 1) {
        stack.push_copy(1);
    }
    stack.push_nil();
    3
}

/// Refuses a pattern that is too long.
pub unsafe extern "C-unwind" fn has_pattern(state: *mut lua_State) -> c_int {
    let stack = stack_of(state);
    if stack.kind(2) == Kind::Text && stack.raw_len(2) > PATTERN_BYTES_MAX {
        return raise(stack, "pattern too complex");
    }
    call_guarded(state)
}

/// `getmetatable`: protected tables have none to be seen. The upvalue is what strings show.
pub unsafe extern "C-unwind" fn get_metatable(state: *mut lua_State) -> c_int {
    let stack = stack_of(state);
    lua!(luaL_checkany(state, 1));
    if stack.kind(1) == Kind::Text {
        stack.push_copy(ffi::lua_upvalueindex(1));
    } else if push_shown(stack, 1) || !stack.push_metatable(1) {
        stack.push_nil();
    } else if lua!(luaL_getmetafield_(state, 1, c"__metatable".as_ptr())) == 0 {
        // The metatable itself is on the top.
    }
    1
}

/// `pcall`: the error of a command is its message. Scripts were written when errors were texts.
pub unsafe extern "C-unwind" fn protected_call(state: *mut lua_State) -> c_int {
    let stack = stack_of(state);
    lua!(luaL_checkany(state, 1));
    stack.push_boolean(true);
    stack.insert(1);
    let arguments = stack.top() - 2;
    let status = lua!(lua_pcall(state, arguments, ffi::LUA_MULTRET, 0));
    if status != ffi::LUA_OK {
        stack.remove(1);
        if stack.kind(-1) == Kind::Table {
            stack.raw_field(-1, "err");
            if stack.kind(-1) == Kind::Text {
                stack.remove(-2);
            } else {
                stack.pop(1);
            }
        }
        stack.push_boolean(false);
        stack.insert(1);
    }
    stack.top()
}

/// `load`: a chunk in pieces, which a function gives.
pub unsafe extern "C-unwind" fn load(state: *mut lua_State) -> c_int {
    let stack = stack_of(state);
    lua!(luaL_checktype(state, 1, ffi::LUA_TFUNCTION));
    let name = lua!(luaL_optlstring(
        state,
        2,
        c"=(load)".as_ptr(),
        std::ptr::null_mut()
    ));
    stack.set_top(2);
    stack.push_text(b"");
    loop {
        stack.push_copy(1);
        lua!(lua_call(state, 0, 1));
        match stack.kind(-1) {
            Kind::Nil => break,
            Kind::Text if stack.raw_len(-1) == 0 => break,
            Kind::Text | Kind::Number => stack.concat(2),
            _ => return raise(stack, "reader function must return a string"),
        }
    }
    stack.pop(1);
    // SAFETY: The name is a string of C, which is on the stack.
    finish_load(stack, unsafe { CStr::from_ptr(name) })
}

/// `loadstring`: a chunk of source text.
pub unsafe extern "C-unwind" fn load_string(state: *mut lua_State) -> c_int {
    let stack = stack_of(state);
    let source = lua!(luaL_checklstring(state, 1, std::ptr::null_mut()));
    let name = lua!(luaL_optlstring(state, 2, source, std::ptr::null_mut()));
    stack.push_copy(1);
    // SAFETY: The name is a string of C, which is on the stack.
    finish_load(stack, unsafe { CStr::from_ptr(name) })
}

fn finish_load(stack: Stack, name: &CStr) -> c_int {
    let source = stack.text(-1).unwrap_or_default();
    if stack.load(source, name) {
        return 1;
    }
    stack.push_nil();
    stack.insert(-2);
    2
}

/// Makes an error a table that says where it came from.
pub unsafe extern "C-unwind" fn blame(state: *mut lua_State) -> c_int {
    let stack = stack_of(state);
    if stack.kind(1) != Kind::Table {
        let message = match stack.kind(1) {
            Kind::Text | Kind::Number => stack.text(1).unwrap_or_default(),
            Kind::Boolean if stack.boolean(1) => b"true",
            Kind::Boolean => b"false",
            _ => b"nil",
        };
        stack.push_table(0, 3);
        stack.push_text(b"ERR ");
        stack.push_text(message);
        stack.concat(2);
        stack.set_field("err");
    } else {
        stack.push_copy(1);
    }
    // SAFETY: A debug record is plain data.
    let mut record: lua_Debug = unsafe { std::mem::zeroed() };
    for level in 1..=2 {
        if lua!(lua_getstack(state, level, &raw mut record)) == 0 {
            return 1;
        }
        lua!(lua_getinfo(state, c"Sl".as_ptr(), &raw mut record));
        // SAFETY: Lua has set it to a static text.
        if unsafe { CStr::from_ptr(record.what) } != c"C" {
            break;
        }
    }
    // SAFETY: Lua has set it to the name of the chunk, which lives as its function does.
    let source = unsafe { CStr::from_ptr(record.source) };
    stack.push_text(source.to_bytes());
    stack.set_field("source");
    stack.push_number(f64::from(record.currentline));
    stack.set_field("line");
    1
}
