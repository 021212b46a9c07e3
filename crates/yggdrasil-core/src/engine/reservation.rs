//! The own shard while a transaction has it, and what waits for its release.

use std::collections::VecDeque;

use super::Engine;
use super::execute::Execution;
use super::gate::ShardState;
use super::pending::SessionRef;
use super::remote::Message;
use super::session::Wait;
use super::wire::Reader;
use crate::ring::FrameKind;

/// For whom a shard is reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reservation {
    pub coordinator: usize,
    pub tag: u64,
    /// No other shard takes part, and this one coordinates.
    pub is_alone: bool,
    /// The coordinator's decision has no lower number in its log.
    pub since: u64,
}

/// The end of a reservation, as the coordinator tells it.
pub(super) struct Ending {
    /// The client whose watches are over, or 0.
    pub token: u64,
    /// False where nothing of it is to stay.
    pub counts: bool,
    /// Number of the decision in the coordinator's log, or 0.
    pub decision: u64,
    /// The last changes of all shards that it has changed.
    pub parts: Vec<(u16, u64)>,
}

impl Ending {
    /// The end of one that counts and of which no log says anything.
    pub fn without_decision(token: u64) -> Self {
        Self {
            token,
            counts: true,
            decision: 0,
            parts: Vec::new(),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.token.to_le_bytes().to_vec();
        bytes.push(u8::from(self.counts));
        bytes.extend_from_slice(&self.decision.to_le_bytes());
        for (shard, number) in &self.parts {
            bytes.extend_from_slice(&shard.to_le_bytes());
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub fn decode(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let (token, counts) = (reader.u64()?, reader.u8()? != 0);
        let decision = reader.u64()?;
        let part = || Some((reader.u16()?, reader.u64()?));
        Some(Self {
            token,
            counts,
            decision,
            parts: std::iter::from_fn(part).collect(),
        })
    }
}

impl Reservation {
    pub fn is_of(&self, coordinator: usize, tag: u64) -> bool {
        self.coordinator == coordinator && self.tag == tag
    }
}

/// What waits for the end of a reservation, or for the disk of the log, in order of arrival.
pub(super) enum Deferred {
    Session(SessionRef),
    Message(Message<'static>),
    /// A transaction of this worker that wants the own shard.
    Transaction(usize),
    Execution(Execution),
}

impl Deferred {
    fn is_reservation(&self) -> bool {
        match self {
            Self::Session(_) | Self::Execution(_) => false,
            Self::Message(message) => message.header.kind == FrameKind::Reserve,
            Self::Transaction(_) => true,
        }
    }
}

/// What an owner says when its shard is reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// A key watched by the client was touched.
    pub touched: bool,
    pub state: ShardState,
    /// Why the shard could not be filled; empty where it could.
    pub failure: Box<str>,
    /// Bytes that are stored without a chance of refusal.
    pub room: u64,
    /// The error of the operating system for which the log takes nothing; 0 for none.
    pub log_errno: i32,
}

impl Granted {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend([u8::from(self.touched), self.state as u8]);
        out.extend_from_slice(&self.room.to_le_bytes());
        let errno = u16::try_from(self.log_errno).unwrap_or(u16::MAX);
        out.extend_from_slice(&errno.to_le_bytes());
        out.extend_from_slice(self.failure.as_bytes());
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self {
            touched: reader.u8()? != 0,
            state: ShardState::from_number(reader.u8()?)?,
            room: reader.u64()?,
            log_errno: reader.u16()?.into(),
            failure: String::from_utf8_lossy(reader.rest()).into(),
        })
    }
}

impl Engine {
    /// Reserves the own shard, which is free.
    pub(super) fn reserve_own(&mut self, reservation: Reservation, token: u64) -> Granted {
        assert!(
            self.reserved.is_none(),
            "a shard is reserved once at a time"
        );
        self.publish_events();
        self.reserved = Some(reservation);
        self.begin_group(&reservation);
        self.shard.reserve();
        let touched = token != 0 && self.shard.is_touched(token, self.now);
        Granted {
            touched,
            state: self.gate.state(),
            failure: self.gate.failure().into(),
            room: self.shard.certain_room(),
            log_errno: self.log_errno(),
        }
    }

    /// Ends the reservation of the own shard and lets go on what waited for it.
    pub(super) fn end_reservation(&mut self, coordinator: usize, tag: u64, ending: &Ending) {
        let reservation = self
            .reserved
            .filter(|reservation| reservation.is_of(coordinator, tag));
        let Some(reservation) = reservation else {
            return;
        };
        if ending.token != 0 {
            self.shard.unwatch(ending.token);
        }
        self.close_savepoints(false);
        self.end_group(&reservation, ending);
        self.reserved = None;
        self.gate.set_busy(false);
        self.shard.release();
        self.run_deferred();
    }

    /// Serves what was deferred until the shard is reserved again. What needs the shard for a moment only goes before
    /// the next reservation: otherwise a client that reads key by key would wait for every transaction there is.
    pub(super) fn run_deferred(&mut self) {
        let (reservations, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.deferred)
            .into_iter()
            .partition(Deferred::is_reservation);
        for deferred in rest.into_iter().chain(reservations) {
            if self.reserved.is_some() {
                self.deferred.push_back(deferred);
            } else {
                self.run_one_deferred(deferred);
                self.note_pressure();
            }
        }
    }

    fn run_one_deferred(&mut self, deferred: Deferred) {
        match deferred {
            Deferred::Session(at) => {
                if self
                    .session(at)
                    .is_some_and(|session| session.wait == Wait::Release)
                {
                    self.set_wait(at.index, Wait::None);
                    self.run_buffered(at.index);
                }
            }
            Deferred::Message(message) => {
                if self.gate.is_log_behind() && self.is_held_by_log(&message) {
                    self.deferred.push_back(Deferred::Message(message));
                } else {
                    self.take_shard_message(&message);
                }
            }
            Deferred::Execution(execution) => self.start_execution(execution),
            Deferred::Transaction(id) => {
                if self.transactions.contains(id) {
                    self.reserve_next(id);
                }
            }
        }
    }
}
