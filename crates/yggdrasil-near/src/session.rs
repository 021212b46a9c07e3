//! One connection to a node: its arenas, and what we hold of them. It ends with the node, or when this process forks.

use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::net::RecvFlags;
use rustix::time::{ClockId, clock_gettime};
use yggdrasil_core::keyspace::slot::{SLOTS, key_slot};
use yggdrasil_core::keyspace::{
    Key, Leased, LeasedValue, Looked, Millis, ShardReader, ShardShape, ValueInfo, hash_key,
};
use yggdrasil_core::lease::{Holder, LeasePage, PageState};
use yggdrasil_core::shm::{ForkMark, Segment};

use crate::error::NearError;
use crate::link::{Given, Shape};

/// How long the end of the node may go unnoticed, if nobody has told us.
const LOOK_INTERVAL_MS: u64 = 100;
/// Rounds in which a reader only lets others run, before it sleeps.
const YIELDS: u32 = 20;
const NAP: Duration = Duration::from_micros(50);

pub struct Session {
    readers: Vec<ShardReader>,
    /// Empty with one shard.
    shard_of_slot: Vec<u8>,
    shape: Shape,
    prefixes: Option<Vec<Vec<u8>>>,
    page: LeasePage,
    leases_max: usize,
    holder: Mutex<Holder>,
    socket: UnixStream,
    mark: ForkMark,
    /// When the socket was last looked at.
    looked_at: AtomicU64,
    hung_up: AtomicBool,
}

/// A key and the shard it belongs to.
pub struct Place<'k> {
    pub shard: usize,
    pub key: Key<'k>,
}

fn broken(what: impl std::fmt::Display) -> NearError {
    NearError::Unavailable(format!("what it has given cannot be used: {what}"))
}

impl Session {
    pub fn open(given: Given) -> Result<Self, NearError> {
        let Given {
            welcome,
            descriptors,
            socket,
        } = given;
        let shape = welcome.shape;
        let shards = shape.shards;
        if shards == 0 || descriptors.len() != shards + 1 {
            return Err(broken("the number of its arenas is not that of its shards"));
        }
        let shard_shape = ShardShape {
            databases: shape.databases,
            segment_bytes: shape.arena_bytes,
            memory_limit: 0,
            hash_seed: shape.hash_seed,
            value_bytes_max: shape.arena_bytes,
        };
        let mut segments = Vec::new();
        for descriptor in descriptors {
            segments.push(Segment::adopt(descriptor).map_err(broken)?);
        }
        let page = segments
            .pop()
            .map(|segment| LeasePage::open(&segment, shards, welcome.leases_max));
        let page = page.transpose().map_err(broken)?;
        let page = page.ok_or_else(|| broken("there is no lease page"))?;
        let open = |segment: &Segment| {
            let mapping = segment.read().map_err(broken)?;
            ShardReader::open(mapping, &shard_shape).map_err(broken)
        };
        Ok(Self {
            readers: segments.iter().map(open).collect::<Result<_, _>>()?,
            shard_of_slot: shard_of_slot(&shape)?,
            prefixes: welcome
                .prefixes
                .map(|all| all.into_iter().map(String::into_bytes).collect()),
            leases_max: welcome.leases_max,
            holder: Mutex::new(Holder::new(page.clone())),
            page,
            socket,
            mark: ForkMark::new().map_err(broken)?,
            looked_at: AtomicU64::new(coarse_ms()),
            hung_up: AtomicBool::new(false),
            shape,
        })
    }

    /// Why this session is over; `None` while it is not.
    #[inline]
    pub fn ended(&self) -> Option<&'static str> {
        if !self.mark.is_ours() {
            return Some("this process is a fork of the one that connected");
        }
        match self.page.state() {
            PageState::Open => {}
            PageState::Overdue => {
                return Some("a view was kept for too long after its value was gone");
            }
            PageState::Closed => return Some("it has closed the connection"),
        }
        let now = coarse_ms();
        if now.wrapping_sub(self.looked_at.load(Relaxed)) >= LOOK_INTERVAL_MS {
            self.looked_at.store(now, Relaxed);
            self.look();
        }
        self.hung_up.load(Relaxed).then_some("it has ended")
    }

    /// Whether the leases of this session have counted until now. The node says in the page that they do not before it
    /// acts on that, and once it has ended nobody writes to its memory any more.
    #[inline]
    pub fn keeps_leases(&self) -> bool {
        // What was read of a value was read before this is asked.
        fence(Acquire);
        self.mark.is_ours() && self.page.state() == PageState::Open
    }

    /// Fails where [`Session::keeps_leases`] is false.
    pub fn check_leases(&self) -> Result<(), NearError> {
        if self.keeps_leases() {
            return Ok(());
        }
        let reason = self.ended().unwrap_or("it has ended");
        Err(NearError::Unavailable(reason.into()))
    }

    /// Looks at the socket: the node says nothing more on it, so whatever can be read is its end.
    #[cold]
    fn look(&self) {
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        let mut byte = [0];
        let silent = matches!(
            rustix::net::recv(&self.socket, &mut byte, flags),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR)
        );
        if !silent {
            self.hung_up.store(true, Relaxed);
        }
    }

    pub fn databases(&self) -> u16 {
        self.shape.databases
    }

    pub fn leases_max(&self) -> usize {
        self.leases_max
    }

    /// Where a key belongs; refused if this reader may not read it.
    #[inline]
    pub fn place<'k>(&self, db: u8, bytes: &'k [u8]) -> Result<Place<'k>, NearError> {
        if let Some(prefixes) = &self.prefixes {
            check_prefix(prefixes, bytes)?;
        }
        let shard = if self.shard_of_slot.is_empty() {
            0
        } else {
            usize::from(self.shard_of_slot[usize::from(key_slot(bytes) % SLOTS)])
        };
        let hash = hash_key(self.shape.hash_seed, bytes);
        let key = Key { db, hash, bytes };
        Ok(Place { shard, key })
    }

    #[inline]
    pub fn reader(&self, shard: usize) -> &ShardReader {
        &self.readers[shard]
    }

    /// Tells the owner of a shard that a key was read.
    #[inline]
    pub fn report(&self, place: &Place<'_>) {
        self.page.report(place.shard, place.key.hash, place.key.db);
    }

    pub fn holder(&self) -> MutexGuard<'_, Holder> {
        // A holder is in order after every single step.
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until the answer is sure, for at most `patience`: a shard is closed for moments while a transaction goes
    /// through it, and for longer while its worker is replaced.
    #[inline]
    pub fn settle<T>(
        &self,
        place: &Place<'_>,
        patience: Duration,
        mut look: impl FnMut(&ShardReader, &Key<'_>) -> Looked<T>,
    ) -> Result<Option<T>, NearError> {
        let reader = &self.readers[place.shard];
        match look(reader, &place.key) {
            Looked::Hit(found) => return Ok(Some(found)),
            Looked::Miss => return Ok(None),
            Looked::OtherKind | Looked::AskOwner => return Err(NearError::OtherKind),
            Looked::Unsettled => {}
        }
        self.wait_for(place, patience, look)
    }

    #[cold]
    fn wait_for<T>(
        &self,
        place: &Place<'_>,
        patience: Duration,
        mut look: impl FnMut(&ShardReader, &Key<'_>) -> Looked<T>,
    ) -> Result<Option<T>, NearError> {
        let start = Instant::now();
        for round in 0.. {
            match look(&self.readers[place.shard], &place.key) {
                Looked::Hit(found) => return Ok(Some(found)),
                Looked::Miss => return Ok(None),
                Looked::OtherKind | Looked::AskOwner => return Err(NearError::OtherKind),
                Looked::Unsettled => {}
            }
            if let Some(reason) = self.ended() {
                return Err(NearError::Unavailable(reason.into()));
            }
            if start.elapsed() >= patience {
                break;
            }
            if round < YIELDS {
                std::thread::yield_now();
            } else {
                std::thread::sleep(NAP);
            }
        }
        Err(NearError::Busy { shard: place.shard })
    }

    /// Holds the value of a key if it is large, and copies it otherwise.
    pub fn hold(
        &self,
        place: &Place<'_>,
        patience: Duration,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<Leased>, NearError> {
        let leased = self.settle(place, patience, |reader, key| {
            reader.lease(key, 0, place.shard, &mut self.holder(), scratch)
        })?;
        Ok(match leased {
            Some(Leased::Run(value)) if is_past(value.expire_at) => {
                self.release(value);
                None
            }
            Some(Leased::Copied(info)) if is_past(info.expire_at) => None,
            other => other,
        })
    }

    pub fn release(&self, value: LeasedValue) {
        // The page of a process that was forked is its parent's.
        if self.mark.is_ours() {
            self.holder().release(value.lease);
        }
    }
}

/// What is left of a value that was found: nothing once its time has come.
#[inline]
pub fn live(found: Option<ValueInfo>) -> Option<ValueInfo> {
    found.filter(|info| !is_past(info.expire_at))
}

/// Few values expire: only for those the clock is asked.
#[inline]
fn is_past(expire_at: Option<Millis>) -> bool {
    expire_at.is_some_and(|at| at <= unix_ms())
}

#[cold]
fn unix_ms() -> Millis {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// A clock that costs next to nothing and is some milliseconds late.
#[inline]
fn coarse_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

fn check_prefix(prefixes: &[Vec<u8>], key: &[u8]) -> Result<(), NearError> {
    if prefixes.iter().any(|prefix| key.starts_with(prefix)) {
        return Ok(());
    }
    let allowed: Vec<_> = prefixes
        .iter()
        .map(|prefix| String::from_utf8_lossy(prefix))
        .collect();
    Err(NearError::Refused(format!(
        "this reader may read keys that begin with {} only",
        allowed.join(" or ")
    )))
}

fn shard_of_slot(shape: &Shape) -> Result<Vec<u8>, NearError> {
    let mut shards = Vec::new();
    if shape.shards == 1 {
        return Ok(shards);
    }
    for (shard, (first, last)) in (0..=u8::MAX).zip(&shape.slots) {
        if usize::from(*first) != shards.len() || last < first || *last >= SLOTS {
            return Err(broken("the slots of its shards have gaps"));
        }
        shards.resize(usize::from(*last) + 1, shard);
    }
    let is_whole = shards.len() == usize::from(SLOTS) && shape.slots.len() == shape.shards;
    is_whole
        .then_some(shards)
        .ok_or_else(|| broken("the slots of its shards have gaps"))
}
