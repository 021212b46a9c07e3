//! Scripts and functions in Lua 5.1: a sandbox, and whoever runs in it.
//!
//! Nothing here knows of shards or sessions. A script runs in a [`fiber`] until it asks for something ([`Ask`]); whoever
//! runs it answers and lets it go on, at once or later.

mod api;
mod bits;
mod cache;
mod cjson;
mod cmsgpack;
mod fiber;
mod flags;
mod functions;
mod given_keys;
mod guards;
mod host;
mod json_read;
mod json_write;
mod kept;
mod libraries;
mod library;
mod number;
mod pack;
mod random;
mod replies;
mod runtime;
mod sandbox;
mod stack;
#[cfg(test)]
mod tests;

use std::rc::Rc;

pub use api::sha1_hex_of;
pub use cache::{Cache, Script, Sha};
pub use fiber::{Ask, Resume};
pub use flags::ScriptFlags;
pub use functions::{Libraries, LibraryFunction, Policy};
pub use given_keys::Names;
pub use kept::{KeptLibraries, LibraryStore};
pub use runtime::Given;

use crate::resp::{ArgsBuffer, Protocol, Reply};
use fiber::Fiber;
use runtime::Runtime;
use stack::{Kept, Kind, Stack};

/// What is run.
#[derive(Clone, Debug)]
pub enum Callee {
    Script(Rc<Script>),
    Function(Rc<LibraryFunction>),
}

impl Callee {
    pub fn flags(&self) -> ScriptFlags {
        match self {
            Self::Script(script) => script.flags,
            Self::Function(function) => function.flags,
        }
    }

    /// The name that errors and FUNCTION STATS say.
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Script(script) => &script.sha,
            Self::Function(function) => &function.name,
        }
    }

    /// True when it has asked for keys of shards that its own keys do not tell.
    pub fn is_roaming(&self) -> bool {
        match self {
            Self::Script(script) => script.is_roaming.get(),
            Self::Function(function) => function.is_roaming.get(),
        }
    }

    /// True when it may ask for other keys than it is given. `names` tells what a command may name.
    pub fn may_roam(&self, names: impl Fn(&[u8]) -> Names) -> bool {
        match self {
            Self::Script(script) => script.may_roam(names),
            Self::Function(_) => true,
        }
    }

    pub fn set_roaming(&self) {
        match self {
            Self::Script(script) => script.is_roaming.set(true),
            Self::Function(function) => function.is_roaming.set(true),
        }
    }
}

/// A script that runs, or waits for an answer.
pub struct Run {
    fiber: Fiber,
    pub callee: Callee,
    function: Option<Kept>,
}

impl Run {
    /// Goes on until the script asks for something.
    pub fn resume(&mut self, how: Resume) -> Ask {
        self.fiber.resume(how)
    }

    /// The request that it asks for.
    pub fn take_request(&self) -> ArgsBuffer {
        self.fiber.shared.request.take()
    }

    /// Gives the buffer of the request back.
    pub fn give_request(&self, request: ArgsBuffer) {
        self.fiber.shared.request.replace(request);
    }

    /// The buffer for an answer, empty.
    pub fn take_answer(&self) -> Vec<u8> {
        let mut answer = self.fiber.shared.answer.take();
        answer.clear();
        answer
    }

    /// Answers what it has asked for.
    pub fn answer(&self, answer: Vec<u8>) {
        self.fiber.shared.answer.replace(answer);
    }

    /// The protocol that it wants answers in.
    pub fn protocol(&self) -> Protocol {
        self.fiber.shared.protocol.get()
    }
}

/// All that a worker has of scripts.
pub struct Scripts {
    /// Started when it is needed.
    runtime: Option<Runtime>,
    bytes_max: usize,
    pub cache: Cache,
    pub libraries: Libraries,
    /// The libraries that all workers share; without them each has its own.
    pub kept: Option<KeptLibraries>,
    running: usize,
}

impl Scripts {
    /// Scripts may take so many bytes all together; 0 for no limit.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            runtime: None,
            bytes_max: limit_of(bytes_max),
            cache: Cache::default(),
            libraries: Libraries::default(),
            kept: None,
            running: 0,
        }
    }

    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = limit_of(bytes_max);
        if let Some(runtime) = &self.runtime {
            runtime.host().set_limit(self.bytes_max);
        }
    }

    /// Bytes that the interpreter has taken.
    pub fn interpreter_bytes(&self) -> usize {
        self.runtime
            .as_ref()
            .map_or(0, |runtime| runtime.host().used())
    }

    /// Scripts that run, or wait for something.
    pub fn running(&self) -> usize {
        self.running
    }

    fn parts(&mut self) -> (&mut Runtime, &mut Cache, &mut Libraries) {
        let runtime = self
            .runtime
            .get_or_insert_with(|| Runtime::new(self.bytes_max));
        (runtime, &mut self.cache, &mut self.libraries)
    }

    /// The script of a text, which is kept.
    ///
    /// # Errors
    /// Why it is none.
    pub fn script_of(&mut self, body: &[u8], is_loaded: bool) -> Result<Rc<Script>, String> {
        let (runtime, cache, _) = self.parts();
        cache.add(runtime, body, is_loaded)
    }

    /// Forgets all scripts.
    pub fn flush(&mut self) {
        let (runtime, cache, _) = self.parts();
        cache.clear(runtime);
        if self.running == 0 && self.libraries.count() == 0 {
            self.libraries.forget_gone();
            self.runtime = None;
        }
    }

    /// Loads a library; its name.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub fn load_library(&mut self, code: &[u8], replaces: bool) -> Result<Vec<u8>, String> {
        let (runtime, _, libraries) = self.parts();
        libraries.load(runtime, code, replaces)
    }

    pub fn delete_library(&mut self, name: &[u8]) -> bool {
        let (runtime, _, libraries) = self.parts();
        libraries.delete(runtime, name)
    }

    pub fn clear_libraries(&mut self) {
        let (runtime, _, libraries) = self.parts();
        libraries.clear(runtime);
    }

    /// Loads libraries from their texts.
    ///
    /// # Errors
    /// Why one of them cannot be loaded; then everything is as before.
    pub fn restore_libraries(&mut self, codes: &[Vec<u8>], policy: Policy) -> Result<(), String> {
        let (runtime, _, libraries) = self.parts();
        libraries.restore(runtime, codes, policy)
    }

    /// Makes these the libraries; those that are there already stay as they are.
    ///
    /// # Errors
    /// Why one of them cannot be loaded; then some are there and some not.
    pub fn set_libraries(&mut self, codes: &[Vec<u8>]) -> Result<(), String> {
        if codes.is_empty() && self.libraries.count() == 0 {
            // No interpreter is started for nothing.
            return Ok(());
        }
        let (runtime, _, libraries) = self.parts();
        libraries.set(runtime, codes)
    }

    /// Notes that the libraries are those of a version of what is kept.
    pub fn note_libraries(&mut self, version: u64) {
        if let Some(kept) = &mut self.kept {
            kept.loaded = Some(version);
        }
    }

    /// Notes that they are those of no version, so that they are read again.
    pub fn forget_libraries(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.loaded = None;
        }
    }

    /// The state of the random numbers.
    pub fn random_state(&self) -> u64 {
        let runtime = self.runtime.as_ref();
        runtime.map_or(random::START, |runtime| runtime.host().random.state())
    }

    pub fn set_random_state(&mut self, state: u64) {
        let (runtime, ..) = self.parts();
        runtime.host().random.set_state(state);
    }

    /// Makes a run ready.
    ///
    /// # Errors
    /// Why it cannot begin.
    pub fn start(&mut self, callee: Callee, given: &Given<'_>) -> Result<Run, String> {
        let (runtime, ..) = self.parts();
        let (fiber, function) = match &callee {
            Callee::Script(script) => {
                let function = script.take(runtime)?;
                (runtime.start_script(&function, given), Some(function))
            }
            Callee::Function(known) => (runtime.start_function(&known.function, given), None),
        };
        let Some(fiber) = fiber else {
            if let (Some(function), Callee::Script(script)) = (function, &callee) {
                script.give_back(runtime, function);
            }
            return Err("too many scripts are running".into());
        };
        self.running += 1;
        Ok(Run {
            fiber,
            callee,
            function,
        })
    }

    /// Writes the reply of a run that has ended.
    pub fn finish(&mut self, mut run: Run, client: Protocol, out: &mut Vec<u8>) {
        self.running -= 1;
        let stack = run.fiber.stack;
        if run.fiber.has_succeeded() {
            replies::write_value(stack, out, client, run.protocol());
        } else {
            write_error(stack, run.callee.name(), &mut Reply::new(out, client));
        }
        let (runtime, ..) = self.parts();
        if let (Some(function), Callee::Script(script)) = (run.function.take(), &run.callee) {
            script.give_back(runtime, function);
        }
        runtime.end(run.fiber);
    }

    /// What scripts have logged.
    pub fn take_log(&mut self) -> Vec<(u8, Vec<u8>)> {
        self.runtime
            .as_ref()
            .map_or_else(Vec::new, |runtime| runtime.host().log.take())
    }
}

fn limit_of(bytes_max: usize) -> usize {
    if bytes_max == 0 {
        usize::MAX
    } else {
        bytes_max
    }
}

/// Writes the error on the top as the reply of a script.
fn write_error(stack: Stack, name: &[u8], reply: &mut Reply<'_>) {
    let mut text = Vec::with_capacity(160);
    if stack.kind(-1) != Kind::Table {
        let message = stack.text(-1).unwrap_or(b"execution failure");
        text.extend_from_slice(b"ERR Error running script ");
        text.extend_from_slice(name);
        text.extend_from_slice(b", ");
        text.extend_from_slice(&message[..message.len().min(100)]);
        reply.error_bytes(&text);
        return;
    }
    stack.raw_field(-1, "err");
    text.extend_from_slice(stack.text(-1).unwrap_or(b"(null)"));
    stack.pop(1);
    stack.raw_field(-1, "source");
    stack.raw_field(-2, "line");
    if let (Some(source), Some(line)) = (stack.text(-2), stack.as_number(-1)) {
        text.extend_from_slice(b" script: ");
        text.extend_from_slice(name);
        text.extend_from_slice(b", on ");
        text.extend_from_slice(source);
        text.extend_from_slice(format!(":{line}.").as_bytes());
    }
    stack.pop(2);
    reply.error_bytes(&text);
}
