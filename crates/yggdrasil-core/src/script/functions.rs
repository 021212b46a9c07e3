//! Libraries of functions, by name.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use super::flags::{ScriptFlags, read_library_head};
use super::library::{BAD_NAME, is_name};
use super::runtime::Runtime;
use super::stack::Kept;

/// Bytes that a library and a function take beside their texts, about.
const LIBRARY_BYTES: usize = 256;
const FUNCTION_BYTES: usize = 128;

/// A function of a library.
#[derive(Debug)]
pub struct LibraryFunction {
    pub name: Vec<u8>,
    pub description: Option<Vec<u8>>,
    pub flags: ScriptFlags,
    pub function: Kept,
    /// It has asked for keys of shards that its own keys do not tell.
    pub is_roaming: Cell<bool>,
}

/// A library.
#[derive(Debug)]
pub struct Library {
    pub code: Vec<u8>,
    pub functions: Vec<Rc<LibraryFunction>>,
}

/// What becomes of libraries that are there when others are restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    Append,
    Replace,
    Flush,
}

/// The libraries of a worker.
#[derive(Default)]
pub struct Libraries {
    libraries: BTreeMap<Vec<u8>, Library>,
    functions: HashMap<Vec<u8>, Rc<LibraryFunction>>,
    /// Functions that are gone but may still run.
    gone: Vec<Rc<LibraryFunction>>,
}

impl Libraries {
    pub fn count(&self) -> usize {
        self.libraries.len()
    }

    pub fn functions_count(&self) -> usize {
        self.functions.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &Library)> {
        self.libraries.iter()
    }

    pub fn bytes(&self) -> usize {
        let libraries = self.libraries.values().map(|library| {
            library.code.len() + LIBRARY_BYTES + library.functions.len() * FUNCTION_BYTES
        });
        libraries.sum()
    }

    pub fn find(&self, function: &[u8]) -> Option<Rc<LibraryFunction>> {
        self.functions.get(function).cloned()
    }

    /// Loads a library and returns its name.
    ///
    /// # Errors
    /// Why it cannot be loaded; then everything is as before.
    pub fn load(
        &mut self,
        runtime: &mut Runtime,
        code: &[u8],
        replaces: bool,
    ) -> Result<Vec<u8>, String> {
        self.bury(runtime);
        let head = read_library_head(code)?;
        if !is_name(&head.name) {
            return Err(BAD_NAME.into());
        }
        if !head.engine.eq_ignore_ascii_case(b"lua") {
            let engine = String::from_utf8_lossy(&head.engine).into_owned();
            return Err(format!("Engine '{engine}' not found"));
        }
        if !replaces && self.libraries.contains_key(&head.name) {
            let name = String::from_utf8_lossy(&head.name).into_owned();
            return Err(format!("Library '{name}' already exists"));
        }
        let registered = runtime.load_library(&code[head.bytes..])?;
        let old = self.libraries.get(&head.name);
        let is_taken = |name: &[u8]| {
            let is_old = |function: &Rc<LibraryFunction>| function.name == name;
            self.functions.contains_key(name)
                && !old.is_some_and(|old| old.functions.iter().any(is_old))
        };
        let taken = registered.iter().find(|new| is_taken(&new.name));
        let error = match taken {
            _ if registered.is_empty() => Some("No functions registered".to_owned()),
            Some(taken) => {
                let name = String::from_utf8_lossy(&taken.name);
                Some(format!("Function {name} already exists"))
            }
            None => None,
        };
        if let Some(error) = error {
            for registration in registered {
                runtime.forget(registration.function);
            }
            return Err(error);
        }
        self.delete(runtime, &head.name);
        let functions = registered.into_iter().map(|new| {
            Rc::new(LibraryFunction {
                name: new.name,
                description: new.description,
                flags: new.flags,
                function: new.function,
                is_roaming: Cell::new(false),
            })
        });
        let functions: Vec<_> = functions.collect();
        for function in &functions {
            self.functions
                .insert(function.name.clone(), Rc::clone(function));
        }
        let library = Library {
            code: code.to_vec(),
            functions,
        };
        self.libraries.insert(head.name.clone(), library);
        Ok(head.name)
    }

    /// Deletes a library; false when there is none of this name.
    pub fn delete(&mut self, runtime: &mut Runtime, name: &[u8]) -> bool {
        let Some(library) = self.libraries.remove(name) else {
            return false;
        };
        for function in library.functions {
            self.functions.remove(&function.name);
            self.gone.push(function);
        }
        self.bury(runtime);
        true
    }

    /// Deletes all libraries.
    pub fn clear(&mut self, runtime: &mut Runtime) {
        let names: Vec<Vec<u8>> = self.libraries.keys().cloned().collect();
        for name in names {
            self.delete(runtime, &name);
        }
    }

    /// Loads libraries beside, or instead of, those that are there.
    ///
    /// # Errors
    /// Why one of them cannot be loaded; then everything is as before.
    pub fn restore(
        &mut self,
        runtime: &mut Runtime,
        codes: &[Vec<u8>],
        policy: Policy,
    ) -> Result<(), String> {
        let before: Vec<Vec<u8>> = self.codes().map(<[u8]>::to_vec).collect();
        if policy == Policy::Flush {
            self.clear(runtime);
        }
        let replaces = policy == Policy::Replace;
        for code in codes {
            if let Err(error) = self.load(runtime, code, replaces) {
                // They were loaded before.
                let _ = self.set(runtime, &before);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes these the libraries. Those whose texts are the same stay as they are, with what they remember.
    ///
    /// # Errors
    /// Why one of them cannot be loaded; then some are there and some not.
    pub fn set(&mut self, runtime: &mut Runtime, codes: &[Vec<u8>]) -> Result<(), String> {
        let wanted: HashSet<&[u8]> = codes.iter().map(Vec::as_slice).collect();
        let mut others = Vec::new();
        for (name, library) in &self.libraries {
            if !wanted.contains(library.code.as_slice()) {
                others.push(name.clone());
            }
        }
        for name in others {
            self.delete(runtime, &name);
        }
        let there: HashSet<Vec<u8>> = self.codes().map(<[u8]>::to_vec).collect();
        let missing = codes.iter().filter(|code| !there.contains(*code));
        for code in missing {
            self.load(runtime, code, false)?;
        }
        Ok(())
    }

    /// The texts of all libraries.
    pub fn codes(&self) -> impl Iterator<Item = &[u8]> {
        self.libraries
            .values()
            .map(|library| library.code.as_slice())
    }

    /// Forgets functions that are gone, together with their interpreter.
    pub fn forget_gone(&mut self) {
        self.gone.clear();
    }

    /// Frees functions that are gone and run no more.
    fn bury(&mut self, runtime: &mut Runtime) {
        for function in std::mem::take(&mut self.gone) {
            match Rc::try_unwrap(function) {
                Ok(function) => runtime.forget(function.function),
                Err(running) => self.gone.push(running),
            }
        }
    }
}
