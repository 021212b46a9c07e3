//! What a runtime shares with the functions that its scripts call: the memory they may take, and the script that runs.
//!
//! # Safety
//! The host is the datum of Lua's allocator, so it is found from any state of the runtime. It has a fixed place, and
//! lives longer than the states.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;

use mlua_sys as ffi;

use super::cjson::Options as JsonOptions;
use super::fiber::Current;
use super::random::Random;
use super::stack::Stack;

/// The alignment of all blocks of an interpreter, as `malloc` has it.
const ALIGNMENT: usize = 16;

/// The host of a runtime.
pub struct Host {
    used: Cell<usize>,
    limit: Cell<usize>,
    /// The limit is not looked at: an error of memory must not jump over Rust.
    trusted: Cell<bool>,
    current: Cell<*const Current>,
    pub random: Random,
    pub json: Cell<JsonOptions>,
    /// What scripts have logged, with the level.
    pub log: RefCell<Vec<(u8, Vec<u8>)>>,
}

impl Host {
    pub fn new(limit: usize) -> Self {
        Self {
            used: Cell::new(0),
            limit: Cell::new(limit),
            trusted: Cell::new(true),
            current: Cell::new(ptr::null()),
            random: Random::default(),
            json: Cell::default(),
            log: RefCell::default(),
        }
    }

    /// Bytes that all of Lua has taken.
    pub fn used(&self) -> usize {
        self.used.get()
    }

    pub fn limit(&self) -> usize {
        self.limit.get()
    }

    pub fn set_limit(&self, bytes: usize) {
        self.limit.set(bytes);
    }

    /// Says whether the limit is left alone from now on; returns what held before.
    pub fn trust(&self, on: bool) -> bool {
        self.trusted.replace(on)
    }

    /// The host of the runtime that a stack belongs to.
    pub fn of(stack: &Stack) -> &Self {
        let mut host: *mut c_void = ptr::null_mut();
        // SAFETY: The state lives, and tells the datum of its allocator.
        unsafe { ffi::lua_getallocf(stack.state(), &raw mut host) };
        // SAFETY: The datum is the host, which lives longer than the state.
        unsafe { &*host.cast_const().cast::<Self>() }
    }

    /// Makes a script the one that runs; returns the one before.
    pub fn enter(&self, current: *const Current) -> *const Current {
        self.current.replace(current)
    }

    /// The script that runs.
    pub fn current(&self) -> Option<&Current> {
        // SAFETY: A fiber sets this for as long as it runs, and its own place does not move meanwhile.
        unsafe { self.current.get().as_ref() }
    }

    /// Lua's allocator.
    ///
    /// # Safety
    /// The datum is a host; the rest is what Lua promises.
    pub unsafe extern "C" fn allocate(
        datum: *mut c_void,
        block: *mut c_void,
        old: usize,
        new: usize,
    ) -> *mut c_void {
        // SAFETY: see the head of the module.
        let host = unsafe { &*datum.cast_const().cast::<Self>() };
        let old = if block.is_null() { 0 } else { old };
        let used = host.used.get().saturating_sub(old);
        if new == 0 {
            host.used.set(used);
            if let Some(layout) = layout_of(old) {
                // SAFETY: The block came from this allocator with this length, which Lua remembers.
                unsafe { dealloc(block.cast(), layout) };
            }
            return ptr::null_mut();
        }
        if new > old && !host.trusted.get() && used.saturating_add(new) > host.limit.get() {
            return ptr::null_mut();
        }
        let moved: *mut c_void = match (layout_of(old), layout_of(new)) {
            // SAFETY: The block came from this allocator with this length, and the new one is no zero.
            (Some(layout), Some(_)) => unsafe { realloc(block.cast(), layout, new) }.cast(),
            // SAFETY: The length is no zero.
            (None, Some(layout)) => unsafe { alloc(layout) }.cast(),
            (_, None) => ptr::null_mut(),
        };
        if !moved.is_null() {
            host.used.set(used + new);
        } else if host.trusted.get() {
            handle_alloc_error(Layout::new::<usize>());
        }
        moved
    }
}

/// The layout of a block of some bytes; `None` for none, and for more than there can be.
fn layout_of(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes, ALIGNMENT)
        .ok()
        .filter(|layout| layout.size() > 0)
}
