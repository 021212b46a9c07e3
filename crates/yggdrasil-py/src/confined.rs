//! State that belongs to the thread of one event loop.
#![allow(unsafe_code)]

use std::ops::Deref;

thread_local! {
    static MARK: u8 = const { 0 };
}

/// An address that differs from thread to thread.
fn this_thread() -> usize {
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

/// A value that only the thread that made it can reach; any other panics, which Python sees as an exception.
pub struct Confined<T> {
    thread: usize,
    value: T,
}

// SAFETY: the value is reached through `deref` only, which lets no other thread in; it is dropped by Python under the
// GIL, and nothing it holds is bound to a thread (memory, descriptors, references to Python objects). Values that share
// something by counts that are not atomic, such as nodes of trees, are used and dropped under the GIL alike.
unsafe impl<T> Send for Confined<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Confined<T> {}

impl<T> Confined<T> {
    /// Confines a value to the current thread.
    pub fn new(value: T) -> Self {
        Self {
            thread: this_thread(),
            value,
        }
    }
}

impl<T> Deref for Confined<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        assert!(
            self.thread == this_thread(),
            "this object belongs to the thread of its event loop"
        );
        &self.value
    }
}
