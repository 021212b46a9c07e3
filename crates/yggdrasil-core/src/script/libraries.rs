//! Lua's own libraries, opened in a new state. Scripts see of them what the sandbox shows.
#![allow(unsafe_code)]

use mlua_sys as ffi;

use super::stack::Stack;

/// Opens the libraries that the sandbox takes something of.
pub fn open(stack: Stack) {
    let openers: [ffi::lua_CFunction; 5] = [
        ffi::luaopen_base,
        ffi::luaopen_table,
        ffi::luaopen_string,
        ffi::luaopen_math,
        ffi::luaopen_os,
    ];
    for opener in openers {
        stack.push_closure(opener, 0);
        let opened = stack.call(0, 0);
        assert!(opened, "a library of Lua opens");
    }
}
