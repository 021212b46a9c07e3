//! Libraries of functions as all workers of a node share them: where they are kept, and in which version.

use crate::control::LibrariesVersion;

/// The place where all libraries are kept, as one payload, for all workers and for the next start.
pub trait LibraryStore {
    /// Reads the payload; `None` where nothing was kept yet.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self) -> Result<Option<Vec<u8>>, String>;

    /// Puts another payload in its place, which is there as a whole or not at all.
    ///
    /// # Errors
    /// Why it is not replaced.
    fn replace(&self, payload: &[u8]) -> Result<(), String>;

    /// Makes what was put there survive a power cut.
    ///
    /// # Errors
    /// Why it might not.
    fn sync(&self) -> Result<(), String>;
}

/// The libraries that are kept, as one worker knows them.
pub struct KeptLibraries {
    pub store: Box<dyn LibraryStore>,
    pub version: LibrariesVersion,
    /// The version that this worker has loaded.
    pub(super) loaded: Option<u64>,
    /// The version that was last loaded before somebody asked for it, or that could not be.
    tried: Option<u64>,
}

impl KeptLibraries {
    #[must_use]
    pub fn new(store: Box<dyn LibraryStore>, version: LibrariesVersion) -> Self {
        Self {
            store,
            version,
            loaded: None,
            tried: None,
        }
    }

    /// Announces a change of what this worker has loaded; false where another worker is about to change that, or has.
    #[must_use]
    pub fn begin(&self) -> bool {
        self.loaded
            .is_some_and(|version| self.version.begin(version))
    }

    /// True where what is kept may have been put there by somebody who died before it was durable.
    #[must_use]
    pub fn may_be_lost(&self) -> bool {
        self.loaded.is_none() || self.version.was_left()
    }

    /// True once for each version in force that this worker has not loaded.
    pub fn has_news_to_try(&mut self) -> bool {
        let news = self.news();
        let is_new = news.is_some() && news != self.tried && !self.version.is_changing();
        if is_new {
            self.tried = news;
        }
        is_new
    }

    /// The version in force, where this worker has loaded another one. It is looked at before what is kept is read, so
    /// that a change in between is noticed.
    #[inline]
    #[must_use]
    pub fn news(&self) -> Option<u64> {
        let version = self.version.current();
        (self.loaded != Some(version)).then_some(version)
    }
}
