//! Long values that leave from where they lie: pieces of an output that name memory instead of holding bytes.

use crate::keyspace::{Lease, Lender, Shard, ShardReader};
use crate::resp::Lend;
use crate::shm::Exposed;

/// Bytes of a shard that belong into an output behind its byte `at`.
#[derive(Debug)]
pub struct View {
    pub at: usize,
    pub offset: u64,
    pub len: u64,
    pub source: Source,
}

/// Whose bytes they are, and what keeps them as they are.
#[derive(Debug)]
pub enum Source {
    Own(#[allow(dead_code, reason = "held, and given back by its end")] Lease),
}

impl View {
    /// Its next bytes, for a system call: at most so many.
    pub fn exposed<'a>(
        &self,
        at_most: u64,
        own: &'a Shard,
        _others: &'a [Option<ShardReader>],
    ) -> Exposed<'a> {
        let len = self.len.min(at_most);
        match self.source {
            Source::Own(_) => own.exposed(self.offset, len),
        }
    }

    /// The same bytes copied, where no system call takes them.
    pub fn copied(&self, at_most: u64, own: &Shard, _others: &[Option<ShardReader>]) -> Vec<u8> {
        let len = self.len.min(at_most);
        match self.source {
            Source::Own(_) => own.lent(self.offset, len).to_vec(),
        }
    }
}

/// Lends values of the own shard to the reply in hand.
#[derive(Debug)]
pub struct Lending {
    lender: Lender,
    views: Vec<View>,
}

impl Lending {
    pub fn new(lender: Lender) -> Self {
        Self {
            lender,
            views: Vec::new(),
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// What was lent since last asked.
    pub fn drain(&mut self) -> impl Iterator<Item = View> + '_ {
        self.views.drain(..)
    }
}

impl Lend for Lending {
    fn lend(&mut self, position: usize, bytes: &[u8]) -> bool {
        let Some(lent) = self.lender.lend(bytes) else {
            return false;
        };
        self.views.push(View {
            at: position,
            offset: lent.offset,
            len: lent.len,
            source: Source::Own(lent.lease),
        });
        true
    }

    fn take_back(&mut self, position: usize) {
        self.views.retain(|view| view.at < position);
    }
}

/// Pieces that one system call sends.
const PIECES: usize = 16;

/// The next bytes of an output, for one system call.
pub struct Unsent<'a> {
    pieces: [Exposed<'a>; PIECES],
    count: usize,
    bytes: usize,
    more: bool,
}

impl<'a> Unsent<'a> {
    pub(super) fn new() -> Self {
        Self {
            pieces: [Exposed::from(&[][..]); PIECES],
            count: 0,
            bytes: 0,
            more: false,
        }
    }

    /// Adds a piece. False when there is no room for another.
    pub(super) fn push(&mut self, piece: Exposed<'a>) -> bool {
        self.pieces[self.count] = piece;
        self.count += 1;
        self.bytes += piece.len();
        self.count < PIECES
    }

    pub(super) fn set_more(&mut self, more: bool) {
        self.more = more;
    }

    pub fn pieces(&self) -> &[Exposed<'a>] {
        &self.pieces[..self.count]
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// True when the output has more behind these.
    pub fn has_more(&self) -> bool {
        self.more
    }
}
