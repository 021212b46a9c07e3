//! The rings to and from the other workers: frames out, messages in.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::spare::Spare;
use crate::control::Control;
use crate::ring::{Consumer, FRAME_HEADER_BYTES, FrameHeader, FrameKind, Producer, padded};

/// What the sender says of a message; the rest of the header is filled in here.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    pub kind: FrameKind,
    pub ticket: u64,
    pub tag: u64,
    pub protocol: u8,
    pub db: u8,
    /// Of the receiver; without it, the one that is known here.
    pub to_incarnation: Option<u32>,
}

impl Envelope {
    /// A message that needs no more than its kind and a ticket.
    pub fn new(kind: FrameKind, ticket: u64) -> Self {
        Self {
            kind,
            ticket,
            tag: 0,
            protocol: 2,
            db: 0,
            to_incarnation: None,
        }
    }

    /// The reply to a message. Its ticket means something to the sender only, not to a successor of the sender.
    pub fn reply_to(request: &FrameHeader) -> Self {
        Self {
            to_incarnation: Some(request.from_incarnation),
            ..Self::new(FrameKind::Reply, request.ticket)
        }
    }
}

struct Link {
    producer: Producer,
    consumer: Consumer,
    /// Frames that found no room.
    backlog: VecDeque<([u8; FRAME_HEADER_BYTES], Vec<u8>)>,
    /// The message whose frames are arriving, and the incarnation that sends it.
    partial: Vec<u8>,
    partial_of: u32,
    /// Of the worker at the other end, as known here.
    incarnation: u32,
}

/// Cuts the next frame from `inbox[*at..]`.
#[inline]
pub fn next_frame<'a>(inbox: &'a [u8], at: &mut usize) -> Option<(FrameHeader, &'a [u8])> {
    let header = FrameHeader::decode(inbox.get(*at..)?)?;
    let start = *at + FRAME_HEADER_BYTES;
    let piece = inbox.get(start..start.checked_add(header.length as usize)?)?;
    *at = start + padded(piece.len());
    Some((header, piece))
}

/// All links of one worker.
pub struct Links {
    me: usize,
    control: Control,
    links: Vec<Option<Link>>,
    incarnation: u32,
    /// Shards whose ring has something to publish, as bits.
    unpublished: u64,
    /// Shards whose eventfd has to be written, as bits.
    wakes: u64,
    stalls: u64,
}

impl Links {
    /// Gives back what the queues have kept of their longest time.
    pub fn give_back(&mut self) {
        for link in self.links.iter_mut().flatten() {
            link.backlog.give_back();
            link.partial.give_back();
        }
    }

    /// Opens the rings of worker `me`.
    pub fn open(control: &Control, me: usize) -> Self {
        let shards = control.shape().shards;
        let link = |other: usize| Link {
            producer: control.producer(me, other),
            consumer: control.consumer(other, me),
            backlog: VecDeque::new(),
            partial: Vec::new(),
            partial_of: 0,
            incarnation: control.incarnation(other),
        };
        Self {
            me,
            control: control.clone(),
            links: (0..shards)
                .map(|other| (other != me).then(|| link(other)))
                .collect(),
            incarnation: control.incarnation(me),
            unpublished: 0,
            wakes: 0,
            stalls: 0,
        }
    }

    fn link(&mut self, to: usize) -> &mut Link {
        self.links[to]
            .as_mut()
            .expect("a worker sends nothing to itself through a ring")
    }

    /// The incarnation of another worker, as known here.
    pub fn incarnation(&self, of: usize) -> u32 {
        self.links[of]
            .as_ref()
            .map_or(self.incarnation, |link| link.incarnation)
    }

    /// True while messages to `to` wait for room: sessions that would add to them have to wait too.
    pub fn is_backlogged(&self, to: usize) -> bool {
        self.links[to]
            .as_ref()
            .is_some_and(|link| !link.backlog.is_empty())
    }

    /// Sends a message; it leaves with the next [`Links::flush`].
    pub fn send(&mut self, to: usize, envelope: Envelope, payload: &[u8]) {
        let from_incarnation = self.incarnation;
        let link = self.link(to);
        let at_most = link.producer.frame_bytes_at_most() - FRAME_HEADER_BYTES;
        let mut rest = payload;
        let mut stalled = false;
        loop {
            let (piece, behind) = rest.split_at(rest.len().min(at_most));
            let header = FrameHeader {
                kind: envelope.kind,
                more: !behind.is_empty(),
                protocol: envelope.protocol,
                db: envelope.db,
                length: piece.len() as u32,
                ticket: envelope.ticket,
                tag: envelope.tag,
                from_incarnation,
                to_incarnation: envelope.to_incarnation.unwrap_or(link.incarnation),
            }
            .encode();
            if !link.backlog.is_empty() || !link.producer.push(&header, piece) {
                stalled = true;
                link.backlog.push_back((header, piece.to_vec()));
            }
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        self.stalls += u64::from(stalled);
        self.unpublished |= 1 << to;
    }

    /// The longest payload that travels to `to` in one frame.
    pub fn piece_bytes_at_most(&self, to: usize) -> usize {
        self.links[to].as_ref().map_or(0, |link| {
            link.producer.frame_bytes_at_most() - FRAME_HEADER_BYTES
        })
    }

    /// Publishes what was sent, and retries what found no room. Returns the shards whose backlog has gone, as bits.
    pub fn flush(&mut self) -> u64 {
        let mut relieved = 0;
        let mut shards = self.unpublished;
        while shards != 0 {
            let to = shards.trailing_zeros() as usize;
            shards &= shards - 1;
            let Some(link) = self.links[to].as_mut() else {
                continue;
            };
            let had_backlog = !link.backlog.is_empty();
            while let Some((header, piece)) = link.backlog.front() {
                if !link.producer.push(header, piece) {
                    break;
                }
                link.backlog.pop_front();
            }
            if link.backlog.is_empty() {
                self.unpublished &= !(1 << to);
                relieved |= u64::from(had_backlog) << to;
            }
            if link.producer.publish() && self.control.request_wake(to) {
                self.wakes |= 1 << to;
            }
        }
        relieved
    }

    /// Whether an eventfd has to be written.
    pub fn has_wakes(&self) -> bool {
        self.wakes != 0
    }

    /// Shards whose eventfd has to be written, as bits; asked once.
    pub fn take_wakes(&mut self) -> u64 {
        std::mem::take(&mut self.wakes)
    }

    /// Times that a ring had no room, since last asked.
    pub fn take_stalls(&mut self) -> u64 {
        std::mem::take(&mut self.stalls)
    }

    /// Bytes that wait in the rings towards this worker.
    pub fn depth(&self) -> usize {
        self.links
            .iter()
            .flatten()
            .map(|link| link.consumer.depth())
            .sum()
    }

    /// To be called before the rings are drained.
    pub fn woke(&self) {
        self.control.woke(self.me);
    }

    /// Takes all that has come from `from` into `inbox`.
    pub fn drain(&mut self, from: usize, inbox: &mut Vec<u8>) {
        let Some(link) = self.links[from].as_mut() else {
            return;
        };
        if link.consumer.drain(inbox) && self.control.request_wake(from) {
            self.wakes |= 1 << from;
        }
    }

    /// Cuts the next whole message from `inbox[*at..]`. Frames for a predecessor of this worker are passed over, as is
    /// what a worker has sent of a message before it died.
    pub fn next_message<'a>(
        &mut self,
        from: usize,
        inbox: &'a [u8],
        at: &mut usize,
    ) -> Option<(FrameHeader, Cow<'a, [u8]>)> {
        let incarnation = self.incarnation;
        let link = self.links[from].as_mut()?;
        loop {
            let (header, piece) = next_frame(inbox, at)?;
            if header.to_incarnation != incarnation {
                continue;
            }
            if header.from_incarnation != link.partial_of {
                link.partial.clear();
                link.partial_of = header.from_incarnation;
            }
            if header.more {
                link.partial.extend_from_slice(piece);
                continue;
            }
            if link.partial.is_empty() {
                return Some((header, Cow::Borrowed(piece)));
            }
            let mut payload = std::mem::take(&mut link.partial);
            payload.extend_from_slice(piece);
            return Some((header, Cow::Owned(payload)));
        }
    }

    /// True for a message of a worker that was replaced since.
    pub fn is_outdated(&self, from: usize, header: &FrameHeader) -> bool {
        // Counters wrap around; a newer incarnation than the known one is half a round ahead at most.
        (self.incarnation(from).wrapping_sub(header.from_incarnation) as i32) > 0
    }

    /// Looks for workers that were replaced since last asked; each with its new incarnation.
    pub fn replaced(&mut self) -> Vec<(usize, u32)> {
        let mut replaced = Vec::new();
        for (other, link) in self.links.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            let incarnation = self.control.incarnation(other);
            if incarnation != link.incarnation {
                link.incarnation = incarnation;
                link.partial.clear();
                link.backlog.clear();
                replaced.push((other, incarnation));
            }
        }
        replaced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::NodeShape;

    const SHAPE: NodeShape = NodeShape {
        shards: 2,
        arena_bytes: 1 << 30,
        ring_bytes: 1 << 16,
        databases: 1,
        hash_seed: 1,
    };

    #[test]
    fn what_a_dead_worker_had_sent_of_a_message_is_not_mixed_with_those_of_its_successor() {
        let control = Control::create(&SHAPE).unwrap();
        let control = Control::open(control, SHAPE).unwrap();
        let mut receiver = Links::open(&control, 1);
        let mut inbox = Vec::new();
        let mut received = |inbox: &mut Vec<u8>| {
            receiver.drain(0, inbox);
            let mut at = 0;
            let mut message = || receiver.next_message(0, inbox, &mut at);
            let payloads =
                std::iter::from_fn(|| message().map(|(_, payload)| payload.into_owned()));
            let payloads: Vec<_> = payloads.collect();
            inbox.clear();
            payloads
        };
        let mut dying = Links::open(&control, 0);
        let envelope = Envelope::new(FrameKind::Request, 1);
        let long = vec![b'x'; 200_000];
        dying.send(1, envelope, b"before");
        dying.send(1, envelope, &long);
        dying.flush();
        assert!(dying.is_backlogged(1), "not all of it fits into the ring");
        assert_eq!(received(&mut inbox), [b"before"]);
        drop(dying);
        let _ = control.next_incarnation(0);
        let mut successor = Links::open(&control, 0);
        successor.send(1, envelope, b"after");
        successor.flush();
        assert_eq!(received(&mut inbox), [b"after"]);
        let long = vec![b'y'; 40_000];
        successor.send(1, envelope, &long);
        successor.flush();
        assert_eq!(received(&mut inbox), [long]);
    }
}
