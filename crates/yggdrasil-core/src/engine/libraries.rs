//! Libraries of functions that the workers of a node share: who has to look again, and who has to wait.

use super::Engine;
use super::session::Wait;
use crate::commands::{Outcome, meet_changes, unusable};
use crate::script::{KeptLibraries, LibraryStore};

impl Engine {
    /// Shares libraries with the other workers from now on, and loads those that are kept.
    ///
    /// # Errors
    /// Why they cannot be read or loaded.
    pub fn share_libraries(&mut self, store: Box<dyn LibraryStore>) -> Result<(), String> {
        let version = self.control.libraries(self.me);
        self.scripts.kept = Some(KeptLibraries::new(store, version));
        meet_changes(&mut self.scripts)
    }

    /// Loads what other workers have made of the libraries.
    #[inline]
    pub(super) fn meet_libraries(&mut self) -> Outcome {
        meet_changes(&mut self.scripts).map_err(unusable)
    }

    /// The wait of a request for libraries that another worker changes just now. Should that die, its change may count
    /// or not; so nobody is told of those of before.
    #[inline]
    pub(super) fn wait_for_libraries(&self) -> Option<Wait> {
        let kept = self.scripts.kept.as_ref()?;
        let wait = match self.reserved {
            // By the one who changes them, as a rule.
            Some(_) => Wait::Release,
            None => Wait::News,
        };
        kept.version.is_changing().then_some(wait)
    }

    /// Loads the libraries of others before somebody asks for them.
    pub(super) fn look_for_libraries(&mut self) {
        let kept = self.scripts.kept.as_mut();
        if kept.is_some_and(KeptLibraries::has_news_to_try) {
            // Whoever asks for them is told why they cannot be loaded.
            let _ = self.meet_libraries();
        }
    }
}
