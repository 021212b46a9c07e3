//! Long values that leave from where they lie: pieces of an output that name memory instead of holding bytes.

use std::cell::RefCell;
use std::rc::Rc;

use crate::keyspace::{Lease, LeasedValue, Lender, Shard, ShardReader};
use crate::lease::RunLease;
use crate::resp::{Lend, Rest};
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
    Own(#[expect(dead_code, reason = "it ends when it is dropped")] Lease),
    Other(Rc<Borrowed>),
}

/// A value of another shard that is held until the last view of it has gone.
#[derive(Debug)]
pub struct Borrowed {
    shard: usize,
    value: Option<LeasedValue>,
    returned: Returned,
}

impl Borrowed {
    /// `returned` gets the lease when it ends.
    pub fn new(shard: usize, value: LeasedValue, returned: &Returned) -> Rc<Self> {
        Rc::new(Self {
            shard,
            value: Some(value),
            returned: Rc::clone(returned),
        })
    }

    /// The bytes, as the reader of their shard sees them.
    pub fn bytes<'a>(&'a self, reader: &'a ShardReader) -> &'a [u8] {
        let value = self.value.as_ref();
        value.map_or(&[], |value| reader.leased_bytes(value))
    }
}

/// Leases on other shards that have ended and are to be released by their holder.
pub type Returned = Rc<RefCell<Vec<RunLease>>>;

impl Drop for Borrowed {
    fn drop(&mut self) {
        let lease = self.value.take().map(|value| value.lease);
        self.returned.borrow_mut().extend(lease);
    }
}

impl View {
    /// Its next bytes, for a system call: at most so many.
    pub fn exposed<'a>(
        &self,
        at_most: u64,
        own: &'a Shard,
        others: &'a [Option<ShardReader>],
    ) -> Exposed<'a> {
        let len = self.len.min(at_most);
        match &self.source {
            Source::Own(_) => own.exposed(self.offset, len),
            Source::Other(borrowed) => others[borrowed.shard]
                .as_ref()
                .and_then(|reader| reader.exposed(self.offset, len))
                .expect("what is held lies in its segment"),
        }
    }

    /// The same bytes copied, where no system call takes them.
    pub fn copied(&self, at_most: u64, own: &Shard, others: &[Option<ShardReader>]) -> Vec<u8> {
        let len = self.len.min(at_most);
        match &self.source {
            Source::Own(_) => own.lent(self.offset, len).to_vec(),
            Source::Other(borrowed) => {
                let mut bytes = vec![0; len as usize];
                let copied = others[borrowed.shard]
                    .as_ref()
                    .and_then(|reader| reader.copy_held(self.offset, &mut bytes));
                copied.expect("what is held lies in its segment");
                bytes
            }
        }
    }
}

/// Lends one value of another shard to the reply in hand.
#[derive(Debug)]
pub struct LendingHeld {
    borrowed: Rc<Borrowed>,
    /// Where the bytes lie in this process, and in their segment.
    address: usize,
    offset: u64,
    len: usize,
    views: Vec<View>,
}

impl LendingHeld {
    /// `bytes` are those of the value, where they lie.
    pub fn new(borrowed: &Rc<Borrowed>, bytes: &[u8]) -> Self {
        Self {
            address: bytes.as_ptr().addr(),
            offset: borrowed.value.as_ref().map_or(0, |value| value.offset),
            len: bytes.len(),
            borrowed: Rc::clone(borrowed),
            views: Vec::new(),
        }
    }

    /// What was lent.
    pub fn into_views(self) -> impl Iterator<Item = View> {
        self.views.into_iter()
    }
}

impl Lend for LendingHeld {
    fn lend(&mut self, position: usize, bytes: &[u8]) -> bool {
        let Some(start) = bytes.as_ptr().addr().checked_sub(self.address) else {
            return false;
        };
        if start > self.len || bytes.len() > self.len - start {
            return false;
        }
        self.views.push(View {
            at: position,
            offset: self.offset + start as u64,
            len: bytes.len() as u64,
            source: Source::Other(Rc::clone(&self.borrowed)),
        });
        true
    }

    fn take_back(&mut self, position: usize) {
        self.views.retain(|view| view.at < position);
    }
}

/// Lends values of the own shard to the reply in hand, and keeps what is to be made of it later.
#[derive(Debug)]
pub struct Lending {
    lender: Lender,
    views: Vec<View>,
    rest: Option<Box<dyn Rest>>,
}

impl Lending {
    pub fn new(lender: Lender) -> Self {
        Self {
            lender,
            views: Vec::new(),
            rest: None,
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.views.is_empty() && self.rest.is_none()
    }

    /// Forgets all of a reply that is not given.
    pub fn clear(&mut self) {
        self.views.clear();
        self.rest = None;
    }

    /// Takes what ends the reply.
    #[inline]
    pub fn take_rest(&mut self) -> Option<Box<dyn Rest>> {
        self.rest.take()
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
        self.rest = None;
    }

    fn keep(&mut self, _position: usize, rest: Box<dyn Rest>) -> Option<Box<dyn Rest>> {
        self.rest.replace(rest)
    }
}

/// Keeps what is to be made later of a reply that is sent elsewhere, where nothing can be lent.
pub struct Keeping<'a>(pub &'a mut Lending);

impl Lend for Keeping<'_> {
    fn lend(&mut self, _position: usize, _bytes: &[u8]) -> bool {
        false
    }

    fn take_back(&mut self, position: usize) {
        self.0.take_back(position);
    }

    fn keep(&mut self, position: usize, rest: Box<dyn Rest>) -> Option<Box<dyn Rest>> {
        self.0.keep(position, rest)
    }
}

/// Notices that a reply would be long, and drops what is made of it: it is made when it is its turn.
#[derive(Debug, Default)]
pub struct TooEarly(pub bool);

impl Lend for TooEarly {
    fn lend(&mut self, _position: usize, _bytes: &[u8]) -> bool {
        false
    }

    fn take_back(&mut self, _position: usize) {}

    fn keep(&mut self, _position: usize, _rest: Box<dyn Rest>) -> Option<Box<dyn Rest>> {
        self.0 = true;
        None
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
