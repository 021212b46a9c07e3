//! Scripts that SCRIPT LOAD has told all workers: the successor of a worker learns them from the others.

use std::collections::HashSet;

use super::Engine;
use super::wire::{Reader, args, put_args};

/// Bytes of scripts in an answer, about; whoever wants more asks again.
const ANSWER_BYTES: usize = 256 * 1024;

impl Engine {
    /// The question for scripts that are not known here, and the number that [`Engine::learn_scripts`] takes with the
    /// answer.
    pub fn ask_for_scripts(&self) -> (u64, Vec<u8>) {
        let cache = &self.scripts.cache;
        let known: Vec<&[u8]> = cache.loaded().map(|script| &script.sha[..]).collect();
        let mut question = Vec::new();
        put_args(&mut question, known.into_iter());
        (cache.flushes(), question)
    }

    /// The answer to such a question of another worker: some of the scripts that it does not know.
    pub fn tell_scripts(&self, question: &[u8]) -> Vec<u8> {
        let mut spans = Vec::new();
        let asked = Reader::new(question).args(&mut spans);
        let known: HashSet<&[u8]> = match asked {
            Some(bytes) => args(bytes, &spans).iter().collect(),
            None => return Vec::new(),
        };
        let (mut told, mut bytes) = (Vec::new(), 0);
        for script in self.scripts.cache.loaded() {
            if bytes < ANSWER_BYTES && !known.contains(&script.sha[..]) {
                bytes += script.body.len();
                told.push(&script.body[..]);
            }
        }
        let mut answer = Vec::new();
        put_args(&mut answer, told.into_iter());
        answer
    }

    /// Learns the scripts of an answer, unless all were forgotten since the question. True where it is worthwhile to ask
    /// again.
    pub fn learn_scripts(&mut self, asked: u64, answer: &[u8]) -> bool {
        if asked != self.scripts.cache.flushes() {
            return true;
        }
        let mut spans = Vec::new();
        let Some(bytes) = Reader::new(answer).args(&mut spans) else {
            return false;
        };
        let bodies = args(bytes, &spans);
        let mut learnt = false;
        for body in bodies.iter() {
            // One that this worker has no room for stays unknown.
            learnt |= self.scripts.script_of(body, true).is_ok();
        }
        learnt
    }
}
