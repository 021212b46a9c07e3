//! The interpreter of a worker: one state of Lua, and fibers that run scripts in it.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr;

use mlua_sys as ffi;

use super::fiber::{Ask, Fiber, Resume};
use super::host::Host;
use super::library::Registration;
use super::sandbox::{Sandbox, push_texts};
use super::stack::{Kept, Kind, Stack};
use crate::resp::Args;

/// Fibers at a time.
const FIBERS_MAX: usize = 1024;
/// Slices that the loading of a library may take: about half a second.
const LOADING_SLICES_MAX: usize = if cfg!(test) { 50_000 } else { 500 };

/// Up to so many bytes, more garbage may come together.
const SMALL_BYTES: usize = 4 << 20;
/// How much is used before garbage is looked for again, in percent of what was used after the last time.
const PAUSE_WHILE_SMALL: i32 = 1000;
const PAUSE: i32 = 200;
const PAUSE_NEAR_LIMIT: i32 = 110;

const SCRIPT_NAME: &CStr = c"@user_script";
const FUNCTION_NAME: &CStr = c"@user_function";

/// What is given to a script.
pub struct Given<'a> {
    pub keys: Args<'a>,
    pub arguments: Args<'a>,
}

/// The interpreter.
pub struct Runtime {
    main: Stack,
    sandbox: Sandbox,
    idle: Vec<Fiber>,
    fibers: usize,
    pause: i32,
    host: *mut Host,
}

impl Runtime {
    /// Starts an interpreter, whose scripts may take so many bytes all together.
    pub fn new(bytes_max: usize) -> Self {
        let host = Box::into_raw(Box::new(Host::new(bytes_max)));
        // SAFETY: The allocator and its datum belong together, and the datum lives until the state is closed.
        let state = unsafe { ffi::lua_newstate(Host::allocate, host.cast()) };
        assert!(!state.is_null(), "there is memory for an interpreter");
        // SAFETY: The state lives as long as this.
        let main = unsafe { Stack::of(state) };
        Self {
            main,
            sandbox: Sandbox::new(main),
            idle: Vec::new(),
            fibers: 0,
            pause: PAUSE,
            host,
        }
    }

    pub fn host(&self) -> &Host {
        // SAFETY: The host lives as long as this.
        unsafe { &*self.host }
    }

    /// Makes a function of a script.
    ///
    /// # Errors
    /// Why it is none.
    pub fn compile(&mut self, source: &[u8]) -> Result<Kept, String> {
        self.load(source, SCRIPT_NAME)
    }

    fn load(&mut self, source: &[u8], name: &CStr) -> Result<Kept, String> {
        if self.main.load(source, name) {
            return Ok(self.main.keep());
        }
        let error = self.main.text(-1).unwrap_or_default();
        let error = String::from_utf8_lossy(error).into_owned();
        self.main.pop(1);
        Err(error)
    }

    pub fn forget(&mut self, function: Kept) {
        self.main.forget(function);
    }

    /// True when one more script can be started.
    pub fn has_fiber(&self) -> bool {
        !self.idle.is_empty() || self.fibers < FIBERS_MAX
    }

    fn take_fiber(&mut self) -> Option<Fiber> {
        if let Some(fiber) = self.idle.pop() {
            return Some(fiber);
        }
        if self.fibers >= FIBERS_MAX {
            return None;
        }
        let fiber = Fiber::new(self.main, &self.sandbox)?;
        self.fibers += 1;
        Some(fiber)
    }

    /// Makes a script ready to run.
    pub fn start_script(&mut self, function: &Kept, given: &Given<'_>) -> Option<Fiber> {
        let fiber = self.take_fiber()?;
        let stack = fiber.stack;
        stack.set_top(0);
        let globals = &fiber.globals;
        globals.set(stack);
        globals.set_arguments(stack, given.keys.iter(), given.arguments.iter());
        self.sandbox.push_handler(stack);
        stack.push_kept(function);
        globals.set_environment(stack);
        fiber.begin(0);
        Some(fiber)
    }

    /// Makes a function of a library ready to run.
    pub fn start_function(&mut self, function: &Kept, given: &Given<'_>) -> Option<Fiber> {
        let fiber = self.take_fiber()?;
        let stack = fiber.stack;
        stack.set_top(0);
        self.sandbox.push_library_globals(stack);
        stack.set_globals();
        self.sandbox.push_handler(stack);
        stack.push_kept(function);
        push_texts(stack, given.keys.iter());
        push_texts(stack, given.arguments.iter());
        fiber.begin(2);
        Some(fiber)
    }

    /// Takes back a fiber whose script has ended.
    pub fn end(&mut self, fiber: Fiber) {
        fiber.stack.set_top(0);
        self.idle.push(fiber);
        self.tune();
    }

    /// Collects garbage as often as what is used makes it worthwhile. Lua itself would not look for any before twice as
    /// much is used, which may be beyond the limit.
    fn tune(&mut self) {
        let (used, limit) = (self.host().used(), self.host().limit());
        if used > limit / 2 {
            self.main.collect(true);
        }
        let pause = match used {
            _ if used > limit / 4 => PAUSE_NEAR_LIMIT,
            _ if used < SMALL_BYTES => PAUSE_WHILE_SMALL,
            _ => PAUSE,
        };
        if pause != self.pause {
            self.pause = pause;
            self.main.set_pause(pause);
        }
    }

    /// Loads a library; what it has registered.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub fn load_library(&mut self, code: &[u8]) -> Result<Vec<Registration>, String> {
        let function = self
            .load(code, FUNCTION_NAME)
            .map_err(|error| format!("Error compiling function: {error}"))?;
        let Some(mut fiber) = self.take_fiber() else {
            self.forget(function);
            return Err("Error registering functions: ERR too many scripts are running".into());
        };
        let stack = fiber.stack;
        stack.set_top(0);
        self.sandbox.push_library_globals(stack);
        stack.set_globals();
        stack.push_closure(plain_errors, 0);
        stack.push_kept(&function);
        self.sandbox.push_library_globals(stack);
        stack.set_environment(-2);
        self.forget(function);
        *fiber.shared.registrations.borrow_mut() = Some(Vec::new());
        self.sandbox.show_loading(self.main, true);
        fiber.begin(0);
        let mut slices = 0;
        let mut how = Resume::On;
        while fiber.resume(how) != Ask::Done {
            slices += 1;
            if slices > LOADING_SLICES_MAX {
                how = Resume::Kill;
            }
        }
        self.sandbox.show_loading(self.main, false);
        let registered = fiber.shared.registrations.borrow_mut().take();
        let registered = registered.unwrap_or_default();
        let outcome = if fiber.has_succeeded() {
            Ok(registered)
        } else {
            for registration in registered {
                self.forget(registration.function);
            }
            let error = if how == Resume::Kill {
                "ERR FUNCTION LOAD timeout".to_owned()
            } else {
                error_message(stack)
            };
            Err(format!("Error registering functions: {error}"))
        };
        self.end(fiber);
        outcome
    }
}

/// The message of the error on the top.
fn error_message(stack: Stack) -> String {
    let message = match stack.kind(-1) {
        Kind::Table => {
            stack.raw_field(-1, "err");
            String::from_utf8_lossy(stack.text(-1).unwrap_or_default()).into_owned()
        }
        _ => {
            let text = String::from_utf8_lossy(stack.text(-1).unwrap_or_default()).into_owned();
            format!("ERR {text}")
        }
    };
    stack.pop(1);
    message
}

/// The handler of errors while a library is loaded: they stay as they are.
unsafe extern "C-unwind" fn plain_errors(_: *mut ffi::lua_State) -> std::ffi::c_int {
    1
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.idle.clear();
        // SAFETY: The state was made by this, and nobody runs in it.
        unsafe { ffi::lua_close(self.main.state()) };
        // SAFETY: The host was made by this, and its state is closed.
        drop(unsafe { Box::from_raw(self.host) });
        self.host = ptr::null_mut();
    }
}
