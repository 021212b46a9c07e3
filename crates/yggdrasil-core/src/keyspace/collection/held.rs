//! Collections that are read for longer than one step, while their keys may change or go.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use super::Collection;
use super::tree::Wreckage;

thread_local! {
    /// What was held on this thread and is not needed any more.
    static GIVEN_UP: RefCell<Vec<Box<dyn Wreckage>>> = const { RefCell::new(Vec::new()) };
}

/// A collection as it was at one moment. It takes constant time to get it and to give it up: what nobody else holds by
/// then is freed in steps, by the next shard of this thread that frees something.
#[derive(Debug)]
pub struct Held(Option<Box<Collection>>);

impl Held {
    /// Holds a collection.
    #[must_use]
    pub fn new(collection: Collection) -> Self {
        Self(Some(Box::new(collection)))
    }

    /// Takes what was given up.
    pub(in crate::keyspace) fn take_given_up() -> Vec<Box<dyn Wreckage>> {
        GIVEN_UP.take()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(collection) = self.0.take() {
            GIVEN_UP.with_borrow_mut(|given_up| given_up.push(collection.into_wreck()));
        }
    }
}

impl Deref for Held {
    type Target = Collection;

    fn deref(&self) -> &Collection {
        // It is there until it is given away.
        self.0.as_deref().expect("what is held is there")
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Collection {
        self.0.as_deref_mut().expect("what is held is there")
    }
}
