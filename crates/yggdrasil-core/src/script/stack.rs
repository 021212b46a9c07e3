//! Lua's stack, for functions that are written in Rust.
//!
//! # Safety
//! A [`Stack`] exists only while its state does: it is made from the state that a function was called with, or from one
//! of the runtime that makes it. Every method leaves what it is not about as it was. An index that is not there reads as
//! none or nil in Lua itself; what is written goes to the top. Whoever pushes more than [`ROOM`] values asks for room
//! first. The allocator refuses nothing while Rust runs (see [`Host`]), so none of these calls raises an error, and no
//! destructor is jumped over.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use mlua_sys as ffi;
use mlua_sys::lua_State;

use super::host::Host;

/// Values that a function may push without asking for room.
pub const ROOM: i32 = 16;

/// The result of a function: how many values it returns.
pub type Outcome = Result<i32, Failure>;
/// A function of the sandbox.
pub type Function = fn(Stack) -> Outcome;

/// An error of a function, raised when everything in Rust is done.
#[derive(Debug)]
pub enum Failure {
    /// A message behind the place in the script.
    At(Vec<u8>),
    /// A message about an argument.
    Argument(i32, String),
    /// A message as it is.
    Bare(&'static str),
    /// The table that stands for an error of Redis; its text with the prefix.
    Redis(Vec<u8>),
    /// The value on the top.
    Top,
}

impl Failure {
    pub fn at(message: impl Into<String>) -> Self {
        Self::At(message.into().into_bytes())
    }
}

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    None,
    Nil,
    Boolean,
    Pointer,
    Number,
    Text,
    Table,
    Function,
    Other,
}

/// A function or a table that is kept for later.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept(c_int);

/// The stack of one state.
#[derive(Clone, Copy)]
pub struct Stack {
    state: *mut lua_State,
}

/// Calls the C interface, in the only place that does so here.
macro_rules! lua {
    ($function:ident($($argument:expr),*)) => {{
        // SAFETY: see the head of this module.
        unsafe { ffi::$function($($argument),*) }
    }};
}

impl Stack {
    /// The stack of a state.
    ///
    /// # Safety
    /// The state lives as long as the stack is used.
    pub unsafe fn of(state: *mut lua_State) -> Self {
        Self { state }
    }

    pub fn state(self) -> *mut lua_State {
        self.state
    }

    /// The host of the runtime that this belongs to.
    pub fn host(&self) -> &Host {
        Host::of(self)
    }

    pub fn top(self) -> i32 {
        lua!(lua_gettop(self.state))
    }

    pub fn set_top(self, index: i32) {
        lua!(lua_settop(self.state, index));
    }

    pub fn pop(self, count: i32) {
        lua!(lua_settop(self.state, -count - 1));
    }

    /// Makes room for more values; false when the stack would be too long.
    pub fn has_room(self, count: i32) -> bool {
        lua!(lua_checkstack(self.state, count)) != 0
    }

    pub fn kind(self, index: i32) -> Kind {
        match lua!(lua_type(self.state, index)) {
            ffi::LUA_TNONE => Kind::None,
            ffi::LUA_TNIL => Kind::Nil,
            ffi::LUA_TBOOLEAN => Kind::Boolean,
            ffi::LUA_TLIGHTUSERDATA => Kind::Pointer,
            ffi::LUA_TNUMBER => Kind::Number,
            ffi::LUA_TSTRING => Kind::Text,
            ffi::LUA_TTABLE => Kind::Table,
            ffi::LUA_TFUNCTION => Kind::Function,
            _ => Kind::Other,
        }
    }

    /// The name of the type of a value, as messages have it.
    pub fn kind_name(self, index: i32) -> &'static str {
        let kind = lua!(lua_type(self.state, index));
        if kind == ffi::LUA_TNONE {
            return "no value";
        }
        let name = lua!(lua_typename(self.state, kind));
        // SAFETY: Lua's names of types are static texts.
        let name = unsafe { CStr::from_ptr(name) };
        name.to_str().unwrap_or("value")
    }

    /// The number of a number.
    pub fn number(self, index: i32) -> f64 {
        lua!(lua_tonumber(self.state, index))
    }

    /// The number of a value that is one, or a text of one.
    pub fn as_number(self, index: i32) -> Option<f64> {
        (lua!(lua_isnumber(self.state, index)) != 0).then(|| self.number(index))
    }

    pub fn boolean(self, index: i32) -> bool {
        lua!(lua_toboolean(self.state, index)) != 0
    }

    pub fn pointer(self, index: i32) -> *mut c_void {
        lua!(lua_touserdata(self.state, index))
    }

    /// The bytes of a string, or of a number, which becomes one. They are to be used while the value is on the stack:
    /// Lua neither moves nor frees a string that it can reach.
    pub fn text(&self, index: i32) -> Option<&[u8]> {
        let mut len = 0;
        let start = lua!(lua_tolstring(self.state, index, &raw mut len));
        // SAFETY: The string has that many bytes, and lives as the caller keeps it on the stack.
        (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), len) })
    }

    pub fn raw_len(self, index: i32) -> usize {
        lua!(lua_objlen(self.state, index))
    }

    pub fn is_c_function(self, index: i32) -> bool {
        lua!(lua_iscfunction(self.state, index)) != 0
    }

    pub fn push_nil(self) {
        lua!(lua_pushnil(self.state));
    }

    pub fn push_boolean(self, value: bool) {
        lua!(lua_pushboolean(self.state, c_int::from(value)));
    }

    pub fn push_number(self, value: f64) {
        lua!(lua_pushnumber(self.state, value));
    }

    pub fn push_text(self, bytes: &[u8]) {
        lua!(lua_pushlstring_(
            self.state,
            bytes.as_ptr().cast(),
            bytes.len()
        ));
    }

    /// The value that stands for null in JSON.
    pub fn push_null_pointer(self) {
        lua!(lua_pushlightuserdata(self.state, ptr::null_mut()));
    }

    /// Pushes the address of something static, as a key that no script can make.
    pub fn push_mark<T>(self, mark: &'static T) {
        let mark = ptr::from_ref(mark).cast_mut().cast();
        lua!(lua_pushlightuserdata(self.state, mark));
    }

    pub fn push_copy(self, index: i32) {
        lua!(lua_pushvalue(self.state, index));
    }

    pub fn push_table(self, elements: usize, fields: usize) {
        let size = |count: usize| c_int::try_from(count.min(1 << 16)).unwrap_or(0);
        lua!(lua_createtable(self.state, size(elements), size(fields)));
    }

    pub fn push_function(self, function: Function) {
        lua!(lua_pushlightuserdata(self.state, function as *mut c_void));
        lua!(lua_pushcclosure(self.state, enter, 1));
    }

    /// Pushes a function in C with the value on the top as its upvalue.
    pub fn push_closure(self, function: ffi::lua_CFunction, upvalues: i32) {
        lua!(lua_pushcclosure(self.state, function, upvalues));
    }

    pub fn remove(self, index: i32) {
        lua!(lua_remove(self.state, index));
    }

    pub fn insert(self, index: i32) {
        lua!(lua_insert(self.state, index));
    }

    pub fn concat(self, count: i32) {
        lua!(lua_concat(self.state, count));
    }

    /// Replaces the key on the top by its value in the table there.
    pub fn raw_get(self, table: i32) {
        lua!(lua_rawget_(self.state, table));
    }

    pub fn raw_get_at(self, table: i32, place: i32) {
        lua!(lua_rawgeti_(self.state, table, place));
    }

    /// Pushes the field of a table, without asking its metatable.
    pub fn raw_field(self, table: i32, name: &str) {
        self.push_text(name.as_bytes());
        let table = if table < 0 { table - 1 } else { table };
        self.raw_get(table);
    }

    /// Sets the value under the key, both of which are on the top.
    pub fn raw_set(self, table: i32) {
        lua!(lua_rawset(self.state, table));
    }

    pub fn raw_set_at(self, table: i32, place: i32) {
        lua!(lua_rawseti_(self.state, table, place));
    }

    /// Sets a field of the table below the top to the value on the top.
    pub fn set_field(self, name: &str) {
        self.push_text(name.as_bytes());
        self.insert(-2);
        self.raw_set(-3);
    }

    /// Replaces the key on the top by the next one and its value; false at the end. The key must be one of the table.
    pub fn next(self, table: i32) -> bool {
        lua!(lua_next(self.state, table)) != 0
    }

    /// Pushes the metatable of a value; false when it has none.
    pub fn push_metatable(self, index: i32) -> bool {
        lua!(lua_getmetatable(self.state, index)) != 0
    }

    /// Makes the table on the top the metatable of a value.
    pub fn set_metatable(self, index: i32) {
        lua!(lua_setmetatable(self.state, index));
    }

    /// Makes the table on the top the environment of a function.
    pub fn set_environment(self, index: i32) {
        lua!(lua_setfenv(self.state, index));
    }

    /// Makes the table on the top that of the globals of this state.
    pub fn set_globals(self) {
        lua!(lua_replace(self.state, ffi::LUA_GLOBALSINDEX));
    }

    pub fn push_globals(self) {
        self.push_copy(ffi::LUA_GLOBALSINDEX);
    }

    /// Keeps the value on the top.
    pub fn keep(self) -> Kept {
        Kept(lua!(luaL_ref(self.state, ffi::LUA_REGISTRYINDEX)))
    }

    pub fn push_kept(self, kept: &Kept) {
        self.raw_get_at(ffi::LUA_REGISTRYINDEX, kept.0);
    }

    pub fn forget(self, kept: Kept) {
        lua!(luaL_unref(self.state, ffi::LUA_REGISTRYINDEX, kept.0));
    }

    /// Moves the value on the top to another stack of the same runtime.
    pub fn move_to(self, other: Stack) {
        lua!(lua_xmove(self.state, other.state, 1));
    }

    /// Pushes a new thread.
    pub fn push_thread(self) -> Stack {
        Stack {
            state: lua!(lua_newthread(self.state)),
        }
    }

    /// Pushes the function of a source text, or the message of its error.
    pub fn load(self, source: &[u8], name: &CStr) -> bool {
        // Compiled code is not checked by anybody.
        if source.first() == Some(&ffi::LUA_SIGNATURE[0]) {
            self.push_text(b"precompiled code is not accepted");
            return false;
        }
        let (start, len) = (source.as_ptr().cast(), source.len());
        lua!(luaL_loadbuffer(self.state, start, len, name.as_ptr())) == ffi::LUA_OK
    }

    /// Calls a function whose errors are known not to come, with what is above it.
    pub fn call(self, arguments: i32, results: i32) -> bool {
        lua!(lua_pcall(self.state, arguments, results, 0)) == ffi::LUA_OK
    }

    /// Frees what is no longer used, all of it or a little.
    pub fn collect(self, all: bool) {
        if all {
            lua!(lua_gc(self.state, ffi::LUA_GCCOLLECT, 0));
        } else {
            lua!(lua_gc(self.state, ffi::LUA_GCSTEP, 10));
        }
    }

    /// Sets how far memory may grow before what is no longer used is looked for, in percent of what is used.
    pub fn set_pause(self, percent: i32) {
        lua!(lua_gc(self.state, ffi::LUA_GCSETPAUSE, percent));
    }

    /// The text of an argument.
    pub fn check_text(&self, index: i32) -> Result<&[u8], Failure> {
        self.text(index).ok_or_else(|| self.misfit(index, "string"))
    }

    /// The number of an argument.
    pub fn check_number(self, index: i32) -> Result<f64, Failure> {
        self.as_number(index)
            .ok_or_else(|| self.misfit(index, "number"))
    }

    /// The integer of an argument, cut off as Lua does it.
    pub fn check_integer(self, index: i32) -> Result<i64, Failure> {
        Ok(self.check_number(index)? as i64)
    }

    /// The integer of an argument that may be left out.
    pub fn integer_or(self, index: i32, default: i64) -> Result<i64, Failure> {
        match self.kind(index) {
            Kind::None | Kind::Nil => Ok(default),
            _ => self.check_integer(index),
        }
    }

    fn misfit(self, index: i32, expected: &str) -> Failure {
        let found = self.kind_name(index);
        Failure::Argument(index, format!("{expected} expected, got {found}"))
    }
}

/// Pushes a failure as the value to raise; its memory is free when this returns.
fn push_failure(stack: Stack, failure: Failure) {
    match failure {
        Failure::At(message) => {
            lua!(luaL_where(stack.state, 1));
            stack.push_text(&message);
            stack.concat(2);
        }
        Failure::Bare(message) => stack.push_text(message.as_bytes()),
        Failure::Redis(text) => {
            stack.push_table(0, 1);
            stack.push_text(&text);
            stack.set_field("err");
        }
        // An argument's message is on the top, and gets the name of the function by Lua.
        Failure::Argument(_, message) => stack.push_text(message.as_bytes()),
        Failure::Top => {}
    }
}

/// The way from Lua into a function in Rust.
unsafe extern "C-unwind" fn enter(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with a state that lives.
    let stack = unsafe { Stack::of(state) };
    let function = stack.pointer(ffi::lua_upvalueindex(1));
    // SAFETY: The upvalue was made of such a function, and no script can change it.
    let function = unsafe { std::mem::transmute::<*mut c_void, Function>(function) };
    let before = stack.host().trust(true);
    let argument = match function(stack) {
        Ok(results) => {
            stack.host().trust(before);
            return results;
        }
        Err(failure) => {
            let argument = match failure {
                Failure::Argument(number, _) => Some(number),
                _ => None,
            };
            push_failure(stack, failure);
            argument
        }
    };
    stack.host().trust(before);
    if let Some(number) = argument {
        let message = lua!(lua_tolstring(state, -1, ptr::null_mut()));
        // This jumps; nothing here has a destructor.
        return lua!(luaL_argerror(state, number, message));
    }
    lua!(lua_error(state))
}
