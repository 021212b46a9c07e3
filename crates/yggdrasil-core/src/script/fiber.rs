//! Fibers: a script runs on a machine stack of its own, which it leaves in the middle of whatever it does, be it a
//! command that another worker executes or the end of its slice of time.
//!
//! # Safety
//! The interpreter keeps what it does on the machine stack, so each fiber has a thread of Lua of its own, and never
//! touches that of another. Errors of Lua jump inside of one machine stack only: a fiber calls the interpreter in
//! protected mode. A fiber that is dropped in the middle of a script is not unwound: frames in C cannot be.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::rc::Rc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use mlua_sys as ffi;
use mlua_sys::{lua_Debug, lua_State};

use super::library::Registration;
use super::sandbox::{Globals, Sandbox};
use super::stack::{Failure, Stack};
use crate::resp::{ArgsBuffer, Protocol};

/// Bytes of a machine stack; only what was touched takes memory. Builds with assertions have larger frames.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 64 } else { 8 } * 1024 * 1024;
/// Instructions between two looks at the world.
const SLICE_INSTRUCTIONS: c_int = if cfg!(test) { 1_000 } else { 100_000 };

/// What a script asks of whoever runs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// To execute the request; the answer is in RESP.
    Command,
    /// To tell whether the client may execute the request: 1, 0, or null for no command.
    Permission,
    /// To go on later: it has run for a slice.
    Slice,
    /// Nothing more: it has ended.
    Done,
}

/// How a script goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    On,
    /// It ends with an error that it cannot catch.
    Kill,
}

/// What both sides of a fiber see.
pub struct Shared {
    pub request: RefCell<ArgsBuffer>,
    pub answer: RefCell<Vec<u8>>,
    /// The protocol that the script wants answers in.
    pub protocol: Cell<Protocol>,
    /// Functions that a library registers, while one is loaded.
    pub registrations: RefCell<Option<Vec<Registration>>>,
    arguments: Cell<i32>,
    succeeded: Cell<bool>,
}

/// The script that runs, for the functions that it calls.
pub struct Current {
    yielder: *const Yielder<Resume, Ask>,
    killed: Cell<bool>,
    pub shared: Rc<Shared>,
}

/// A place for one script at a time.
pub struct Fiber {
    coroutine: Coroutine<Resume, Ask, ()>,
    /// Its thread of Lua.
    pub stack: Stack,
    pub shared: Rc<Shared>,
    pub globals: Globals,
}

impl Fiber {
    /// A fiber of a runtime; None when there is no memory for its machine stack.
    pub fn new(main: Stack, sandbox: &Sandbox) -> Option<Self> {
        let machine = DefaultStack::new(STACK_BYTES).ok()?;
        let stack = main.push_thread();
        // The thread lives as long as the runtime.
        main.keep();
        let globals = sandbox.make_globals(stack);
        let shared = Rc::new(Shared {
            request: RefCell::default(),
            answer: RefCell::default(),
            protocol: Cell::default(),
            registrations: RefCell::default(),
            arguments: Cell::new(0),
            succeeded: Cell::new(false),
        });
        // SAFETY: The state lives, and the hook is one.
        unsafe {
            ffi::lua_sethook(
                stack.state(),
                Some(hook),
                ffi::LUA_MASKCOUNT,
                SLICE_INSTRUCTIONS,
            );
        }
        let inner = Rc::clone(&shared);
        let coroutine = Coroutine::with_stack(machine, move |yielder, _| {
            run_scripts(stack, yielder, inner);
        });
        Some(Self {
            coroutine,
            stack,
            shared,
            globals,
        })
    }

    /// Makes ready a call: the handler of errors, the function and its arguments are on the stack.
    pub fn begin(&self, arguments: i32) {
        self.shared.arguments.set(arguments);
        self.shared.protocol.set(Protocol::Resp2);
    }

    /// Goes on until the script asks for something.
    pub fn resume(&mut self, how: Resume) -> Ask {
        let host = self.stack.host();
        let trusted = host.trust(true);
        let before = host.enter(std::ptr::null());
        let result = self.coroutine.resume(how);
        host.enter(before);
        host.trust(trusted);
        match result {
            CoroutineResult::Yield(ask) => ask,
            CoroutineResult::Return(()) => unreachable!("a fiber never ends"),
        }
    }

    /// True when the script has ended without an error; its result or its error is on the stack.
    pub fn has_succeeded(&self) -> bool {
        self.shared.succeeded.get()
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        // SAFETY: Nobody looks at the machine stack again. What its frames own is a count of what is shared.
        unsafe { self.coroutine.force_reset() };
    }
}

/// Runs one script after another.
fn run_scripts(stack: Stack, yielder: &Yielder<Resume, Ask>, shared: Rc<Shared>) {
    let current = Current {
        yielder,
        killed: Cell::new(false),
        shared,
    };
    loop {
        current.killed.set(false);
        let host = stack.host();
        host.enter(&raw const current);
        host.trust(false);
        let arguments = current.shared.arguments.get();
        // SAFETY: The handler, the function and the arguments are all that is on the stack.
        let status = unsafe { ffi::lua_pcall(stack.state(), arguments, 1, 1) };
        host.trust(true);
        current.shared.succeeded.set(status == ffi::LUA_OK);
        if current.killed.get() {
            set_hook(stack, SLICE_INSTRUCTIONS);
        }
        yielder.suspend(Ask::Done);
    }
}

fn set_hook(stack: Stack, instructions: c_int) {
    // SAFETY: The state lives, and the hook is one.
    unsafe { ffi::lua_sethook(stack.state(), Some(hook), ffi::LUA_MASKCOUNT, instructions) };
}

impl Current {
    /// Leaves the fiber until somebody lets it go on.
    pub fn ask(&self, stack: Stack, ask: Ask) -> Result<(), Failure> {
        let host = stack.host();
        let trusted = host.trust(true);
        // SAFETY: The yielder lives as long as the fiber, which is what runs.
        let resume = unsafe { (*self.yielder).suspend(ask) };
        host.enter(self);
        host.trust(trusted);
        if resume == Resume::Kill {
            self.killed.set(true);
            // Whoever catches the error is stopped by the next instruction.
            set_hook(stack, 1);
        }
        if self.killed.get() {
            return Err(Failure::Redis(KILLED.to_vec()));
        }
        Ok(())
    }

    pub fn is_killed(&self) -> bool {
        self.killed.get()
    }
}

const KILLED: &[u8] = b"ERR Script killed by user with SCRIPT KILL...";

/// Called by the interpreter after each slice, and after each instruction of a script that is killed.
unsafe extern "C-unwind" fn hook(state: *mut lua_State, _: *mut lua_Debug) {
    // SAFETY: Lua calls this with a state that lives.
    let stack = unsafe { Stack::of(state) };
    let trusted = stack.host().trust(true);
    let is_killed = match stack.host().current() {
        None => false,
        Some(current) if current.is_killed() => true,
        Some(current) => current.ask(stack, Ask::Slice).is_err(),
    };
    if is_killed {
        stack.push_table(0, 1);
        stack.push_text(KILLED);
        stack.set_field("err");
    }
    stack.host().trust(trusted);
    if is_killed {
        // SAFETY: This jumps; nothing here has a destructor.
        unsafe { ffi::lua_error(state) };
    }
}
