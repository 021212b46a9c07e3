//! Requests that wait until a key changes, in the order in which they came.

use std::collections::HashMap;

/// The number of a waiting request, chosen by the engine.
pub type WaitToken = u64;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// logical database and key -> tokens, the oldest first
    by_key: HashMap<(u8, Box<[u8]>), Vec<WaitToken>>,
    /// Tokens whose key has changed, each once.
    ready: Vec<WaitToken>,
}

impl Waiting {
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    #[inline(always)]
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn add(&mut self, db: u8, key: &[u8], token: WaitToken) {
        let tokens = self.by_key.entry((db, key.into())).or_default();
        if !tokens.contains(&token) {
            tokens.push(token);
        }
    }

    /// Forgets a token, which waits for these keys.
    pub(super) fn remove<'a>(
        &mut self,
        db: u8,
        keys: impl Iterator<Item = &'a [u8]>,
        token: WaitToken,
    ) {
        for key in keys {
            let place = (db, Box::from(key));
            if let Some(tokens) = self.by_key.get_mut(&place) {
                tokens.retain(|known| *known != token);
                if tokens.is_empty() {
                    self.by_key.remove(&place);
                }
            }
        }
        self.ready.retain(|known| *known != token);
    }

    fn wake(ready: &mut Vec<WaitToken>, tokens: &[WaitToken]) {
        for token in tokens {
            if !ready.contains(token) {
                ready.push(*token);
            }
        }
    }

    /// A key has changed.
    pub(super) fn note(&mut self, db: u8, key: &[u8]) {
        if let Some(tokens) = self.by_key.get(&(db, Box::from(key))) {
            Self::wake(&mut self.ready, tokens);
        }
    }

    /// Any key may have changed.
    pub(super) fn note_all(&mut self) {
        let mut all: Vec<WaitToken> = self.by_key.values().flatten().copied().collect();
        all.sort_unstable();
        Self::wake(&mut self.ready, &all);
    }

    /// The tokens that are ready. They go on waiting until they are removed.
    pub(super) fn take_ready(&mut self) -> Vec<WaitToken> {
        std::mem::take(&mut self.ready)
    }
}
