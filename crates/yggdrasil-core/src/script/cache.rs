//! Scripts that were sent once, by their hash.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use xxhash_rust::xxh3::xxh3_64;

use super::api::sha1_hex_of;
use super::flags::{ScriptFlags, read_first_line};
use super::given_keys::{Names, names_given_only};
use super::runtime::Runtime;
use super::stack::Kept;

/// Scripts of EVAL that are kept; SCRIPT LOAD keeps as many as there are.
const UNLOADED_MAX: usize = 500;
/// Bytes that a script takes beside its text, about.
const SCRIPT_BYTES: usize = 256;

/// The name of a script: its hash in hexadecimal digits.
pub type Sha = [u8; 40];

/// A script.
#[derive(Debug)]
pub struct Script {
    pub sha: Sha,
    pub body: Box<[u8]>,
    pub flags: ScriptFlags,
    /// SCRIPT LOAD has asked for it to be kept.
    is_loaded: Cell<bool>,
    used: Cell<u64>,
    /// It needs shards that its keys do not tell: it has asked for keys of others before.
    pub is_roaming: Cell<bool>,
    /// Its text shows that it does not; found out when that is asked for the first time.
    names_given_only: Cell<Option<bool>>,
    /// Functions that nobody runs; each has its own globals while it runs.
    functions: RefCell<Vec<Kept>>,
    is_gone: Cell<bool>,
    code_start: usize,
}

impl Script {
    /// Bytes that it takes in the cache.
    fn bytes(&self) -> usize {
        self.body.len() + SCRIPT_BYTES
    }

    /// True when it may ask for other keys than it is given.
    pub fn may_roam(&self, names: impl Fn(&[u8]) -> Names) -> bool {
        let found = self.names_given_only.get();
        let given_only = found.unwrap_or_else(|| {
            let given_only = names_given_only(&self.body[self.code_start..], names);
            self.names_given_only.set(Some(given_only));
            given_only
        });
        !given_only
    }

    /// A function of it to run.
    pub fn take(&self, runtime: &mut Runtime) -> Result<Kept, String> {
        match self.functions.borrow_mut().pop() {
            Some(function) => Ok(function),
            None => runtime.compile(&self.body[self.code_start..]),
        }
    }

    /// Gives a function back.
    pub fn give_back(&self, runtime: &mut Runtime, function: Kept) {
        if self.is_gone.get() {
            runtime.forget(function);
        } else {
            self.functions.borrow_mut().push(function);
        }
    }

    fn end(&self, runtime: &mut Runtime) {
        self.is_gone.set(true);
        for function in self.functions.borrow_mut().drain(..) {
            runtime.forget(function);
        }
    }
}

/// The scripts of a worker.
#[derive(Default)]
pub struct Cache {
    by_sha: HashMap<Sha, Rc<Script>>,
    by_body: HashMap<u64, Rc<Script>>,
    /// The script that was used last.
    last: Option<Rc<Script>>,
    unloaded: usize,
    clock: u64,
    bytes: usize,
    evicted: u64,
    flushes: u64,
}

impl Cache {
    pub fn count(&self) -> usize {
        self.by_sha.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// How often all scripts were forgotten.
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Those that SCRIPT LOAD has asked for.
    pub fn loaded(&self) -> impl Iterator<Item = &Script> {
        let scripts = self.by_sha.values().map(Rc::as_ref);
        scripts.filter(|script| script.is_loaded.get())
    }

    fn touch(&mut self, script: &Rc<Script>) {
        self.clock += 1;
        script.used.set(self.clock);
        let is_last = self.last.as_ref();
        if !is_last.is_some_and(|last| Rc::ptr_eq(last, script)) {
            self.last = Some(Rc::clone(script));
        }
    }

    /// The script of a hash, whatever its case.
    pub fn find(&mut self, sha: &[u8]) -> Option<Rc<Script>> {
        if let Some(last) = &self.last
            && last.sha == sha
        {
            return Some(Rc::clone(last));
        }
        let mut key: Sha = sha.try_into().ok()?;
        key.make_ascii_lowercase();
        let script = Rc::clone(self.by_sha.get(&key)?);
        self.touch(&script);
        Some(script)
    }

    /// True for a hash, in lower case, that is known.
    pub fn knows(&self, sha: &[u8]) -> bool {
        <&Sha>::try_from(sha).is_ok_and(|sha| self.by_sha.contains_key(sha))
    }

    /// True for the hash of a script that needs all shards.
    pub fn is_roaming(&self, sha: &[u8]) -> bool {
        let script = <&Sha>::try_from(sha)
            .ok()
            .and_then(|sha| self.by_sha.get(sha));
        script.is_some_and(|script| script.is_roaming.get())
    }

    /// The script of a hash, without counting that as a use.
    pub fn peek(&self, sha: &[u8]) -> Option<&Rc<Script>> {
        let sha = <&Sha>::try_from(sha).ok()?;
        self.by_sha.get(sha)
    }

    /// The script of a text, in the same way.
    pub fn peek_body(&self, body: &[u8]) -> Option<&Rc<Script>> {
        let script = self.by_body.get(&xxh3_64(body));
        script.filter(|script| *script.body == *body)
    }

    /// True for the text of a script that needs all shards.
    pub fn is_body_roaming(&self, body: &[u8]) -> bool {
        let script = self.by_body.get(&xxh3_64(body));
        script.is_some_and(|script| script.is_roaming.get() && *script.body == *body)
    }

    /// The script of a text, if it is known.
    pub fn find_body(&mut self, body: &[u8]) -> Option<Rc<Script>> {
        if let Some(last) = &self.last
            && *last.body == *body
        {
            return Some(Rc::clone(last));
        }
        let script = self.by_body.get(&xxh3_64(body));
        let script = Rc::clone(script.filter(|script| *script.body == *body)?);
        self.touch(&script);
        Some(script)
    }

    /// Adds a script.
    ///
    /// # Errors
    /// Why it is none.
    pub fn add(
        &mut self,
        runtime: &mut Runtime,
        body: &[u8],
        is_loaded: bool,
    ) -> Result<Rc<Script>, String> {
        if let Some(script) = self.find_body(body) {
            if is_loaded && !script.is_loaded.replace(true) {
                self.unloaded -= 1;
            }
            return Ok(script);
        }
        let (flags, code_start) = read_first_line(body)?;
        let function = runtime
            .compile(&body[code_start..])
            .map_err(|error| format!("Error compiling script (new function): {error}"))?;
        if !is_loaded {
            while self.unloaded >= UNLOADED_MAX {
                self.evict(runtime);
            }
            self.unloaded += 1;
        }
        let script = Rc::new(Script {
            sha: sha1_hex_of(body),
            body: body.into(),
            flags,
            is_loaded: Cell::new(is_loaded),
            used: Cell::new(0),
            is_roaming: Cell::new(false),
            names_given_only: Cell::new(None),
            functions: RefCell::new(vec![function]),
            is_gone: Cell::new(false),
            code_start,
        });
        self.bytes += script.bytes();
        self.by_sha.insert(script.sha, Rc::clone(&script));
        self.by_body.insert(xxh3_64(body), Rc::clone(&script));
        self.touch(&script);
        Ok(script)
    }

    /// Forgets the script of EVAL that was not used for the longest time.
    fn evict(&mut self, runtime: &mut Runtime) {
        let unloaded = self
            .by_sha
            .values()
            .filter(|script| !script.is_loaded.get());
        let Some(oldest) = unloaded.min_by_key(|script| script.used.get()) else {
            self.unloaded = 0;
            return;
        };
        let oldest = Rc::clone(oldest);
        self.by_sha.remove(&oldest.sha);
        self.by_body.remove(&xxh3_64(&oldest.body));
        self.last = None;
        self.bytes -= oldest.bytes();
        self.unloaded -= 1;
        self.evicted += 1;
        oldest.end(runtime);
    }

    /// Forgets all scripts.
    pub fn clear(&mut self, runtime: &mut Runtime) {
        for script in self.by_sha.values() {
            script.end(runtime);
        }
        *self = Self {
            evicted: self.evicted,
            flushes: self.flushes + 1,
            ..Self::default()
        };
    }
}
