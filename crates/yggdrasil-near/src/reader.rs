//! The reader.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use yggdrasil_core::keyspace::{Leased, ValueInfo};

use crate::error::NearError;
use crate::link;
use crate::session::{Place, Session, live};
use crate::view::View;

/// Keys of [`NearReader::mget`] that are fetched from memory at the same time.
const KEYS_AHEAD: usize = 16;
/// The buffer for copies is given back when it was needed for more than this.
const SCRATCH_BYTES_MAX: usize = 1 << 20;
/// Between two attempts to connect that fail.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// How a reader introduces itself, and what it reads.
#[derive(Clone, Debug)]
pub struct Options {
    /// One of the node's `near-users`; without one and with a password, the password is that of `requirepass`.
    pub username: Option<String>,
    pub password: Option<String>,
    /// The logical database.
    pub db: u8,
    /// How long a read waits for a shard that is in a transaction or whose worker is being replaced.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            username: None,
            password: None,
            db: 0,
            patience: Duration::from_secs(1),
        }
    }
}

/// What [`NearReader::get_small`] finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Small<'v> {
    Value(&'v [u8]),
    Missing,
    /// A value that is better looked at in place.
    Large,
}

/// What [`NearReader::get_small_into`] finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmallInto {
    /// So many bytes.
    Copied(usize),
    Missing,
    /// As [`Small::Large`].
    Large,
}

/// What clones of a reader share.
struct Current {
    session: Arc<Session>,
    failed_at: Option<Instant>,
}

/// Reads strings of a node through shared memory. One thread at a time; a clone for another thread shares its
/// connection and its limits with this one.
///
/// When the node restarts, or this process is a fork of the one that connected, the next read connects anew.
pub struct NearReader {
    path: PathBuf,
    options: Options,
    current: Arc<Mutex<Current>>,
    session: Arc<Session>,
    scratch: Vec<u8>,
}

impl Clone for NearReader {
    fn clone(&self) -> Self {
        Self {
            path: self.path.clone(),
            options: self.options.clone(),
            current: Arc::clone(&self.current),
            session: Arc::clone(&self.session),
            scratch: Vec::new(),
        }
    }
}

impl NearReader {
    /// Connects to the near socket of a node.
    ///
    /// # Errors
    /// [`NearError::Unavailable`] when nobody answers there, [`NearError::Refused`] when the node does not let this
    /// process read or has no such database.
    pub fn connect(path: impl AsRef<Path>, options: &Options) -> Result<Self, NearError> {
        let path = path.as_ref().to_path_buf();
        let session = open(&path, options)?;
        Ok(Self {
            path,
            options: options.clone(),
            current: Arc::new(Mutex::new(Current {
                session: Arc::clone(&session),
                failed_at: None,
            })),
            session,
            scratch: Vec::new(),
        })
    }

    /// The database that is read.
    pub fn db(&self) -> u8 {
        self.options.db
    }

    /// How long reads wait for a shard that is closed.
    pub fn set_patience(&mut self, patience: Duration) {
        self.options.patience = patience;
    }

    /// Connects anew if the session is over.
    #[inline]
    fn ensure(&mut self) -> Result<(), NearError> {
        match self.session.ended() {
            None => Ok(()),
            Some(reason) => self.reconnect(reason),
        }
    }

    #[cold]
    fn reconnect(&mut self, reason: &str) -> Result<(), NearError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.session.ended().is_some() {
            if current
                .failed_at
                .is_some_and(|at| at.elapsed() < RETRY_INTERVAL)
            {
                return Err(NearError::Unavailable(reason.into()));
            }
            match open(&self.path, &self.options) {
                Ok(session) => {
                    *current = Current {
                        session,
                        failed_at: None,
                    }
                }
                Err(error) => {
                    current.failed_at = Some(Instant::now());
                    return Err(error);
                }
            }
        }
        self.session = Arc::clone(&current.session);
        Ok(())
    }

    /// The value of a key, copied; `None` where there is none. The bytes stay until the next call.
    ///
    /// # Errors
    /// [`NearError`], but for views and buffers.
    #[inline]
    pub fn get(&mut self, key: &[u8]) -> Result<Option<&[u8]>, NearError> {
        self.ensure()?;
        if self.scratch.len() > SCRATCH_BYTES_MAX {
            self.scratch = Vec::new();
        }
        let Self {
            session,
            options,
            scratch,
            ..
        } = self;
        let place = session.place(options.db, key)?;
        let Some(bytes) = fetch(session, &place, options.patience, scratch)? else {
            return Ok(None);
        };
        Ok(Some(&scratch[..bytes]))
    }

    /// As [`NearReader::get`], without copying a large value.
    ///
    /// # Errors
    /// As [`NearReader::get`].
    #[inline]
    pub fn get_small(&mut self, key: &[u8]) -> Result<Small<'_>, NearError> {
        self.ensure()?;
        let Self {
            session,
            options,
            scratch,
            ..
        } = self;
        let place = session.place(options.db, key)?;
        let found = session.settle(&place, options.patience, |reader, key| {
            reader.look_up(key, 0, scratch)
        })?;
        let Some(info) = live(found) else {
            return Ok(Small::Missing);
        };
        if info.is_run {
            return Ok(Small::Large);
        }
        session.report(&place);
        let bytes = spelled(&info, scratch);
        Ok(Small::Value(&scratch[..bytes]))
    }

    /// The values of several keys, each as [`NearReader::get`] gives it. They are handed over in order, with the place
    /// of their key. Each is right for itself: they need not have been there at the same moment.
    ///
    /// # Errors
    /// As [`NearReader::get`]; keys behind the one that failed are not read.
    pub fn mget_with<K: AsRef<[u8]>>(
        &mut self,
        keys: &[K],
        mut each: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<(), NearError> {
        let mut index = 0;
        for chunk in keys.chunks(KEYS_AHEAD) {
            self.ensure()?;
            let Self {
                session,
                options,
                scratch,
                ..
            } = self;
            let mut homes = [0; KEYS_AHEAD];
            for (key, home) in chunk.iter().zip(&mut homes) {
                let place = session.place(options.db, key.as_ref())?;
                *home = session.reader(place.shard).prefetch_index(&place.key);
            }
            let mut places = Vec::with_capacity(chunk.len());
            for (key, home) in chunk.iter().zip(homes) {
                let place = session.place(options.db, key.as_ref())?;
                session
                    .reader(place.shard)
                    .prefetch_entry(home, place.key.hash);
                places.push(place);
            }
            for place in &places {
                let found = fetch(session, place, options.patience, scratch)?;
                each(index, found.map(|bytes| &scratch[..bytes]));
                index += 1;
            }
        }
        Ok(())
    }

    /// The values of several keys, as [`NearReader::mget_with`] hands them over.
    ///
    /// # Errors
    /// As [`NearReader::get`].
    pub fn mget<K: AsRef<[u8]>>(&mut self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>, NearError> {
        let mut values = Vec::with_capacity(keys.len());
        self.mget_with(keys, |_, value| values.push(value.map(<[u8]>::to_vec)))?;
        Ok(values)
    }

    /// Copies a value to the beginning of `out` and returns its length; `None` where there is none.
    ///
    /// # Errors
    /// [`NearError::BufferTooSmall`] when it does not fit: `out` is as it was then. Otherwise as [`NearReader::get`]; what
    /// was written to `out` counts for nothing then.
    #[inline]
    pub fn get_into(&mut self, key: &[u8], out: &mut [u8]) -> Result<Option<usize>, NearError> {
        match self.get_small_into(key, out)? {
            SmallInto::Copied(bytes) => return Ok(Some(bytes)),
            SmallInto::Missing => return Ok(None),
            SmallInto::Large => {}
        }
        let Some(view) = self.view(key)? else {
            return Ok(None);
        };
        fits(view.len() as u64, out)?;
        out[..view.len()].copy_from_slice(&view);
        view.check()?;
        Ok(Some(view.len()))
    }

    /// As [`NearReader::get_into`], without copying a large value.
    ///
    /// # Errors
    /// As [`NearReader::get_into`].
    #[inline]
    pub fn get_small_into(&mut self, key: &[u8], out: &mut [u8]) -> Result<SmallInto, NearError> {
        self.ensure()?;
        let Self {
            session, options, ..
        } = self;
        let place = session.place(options.db, key)?;
        let found = session.settle(&place, options.patience, |reader, key| {
            reader.copy_to(key, 0, out)
        })?;
        let Some(info) = live(found) else {
            return Ok(SmallInto::Missing);
        };
        if info.is_run {
            return Ok(SmallInto::Large);
        }
        session.report(&place);
        fits(info.len, out)?;
        let bytes = info.len as usize;
        if let Some(int) = info.int {
            out[..bytes].copy_from_slice(itoa::Buffer::new().format(int).as_bytes());
        }
        Ok(SmallInto::Copied(bytes))
    }

    /// Whether a key exists, of whatever kind.
    ///
    /// # Errors
    /// As [`NearReader::get`].
    pub fn exists(&mut self, key: &[u8]) -> Result<bool, NearError> {
        Ok(match self.describe(key) {
            Err(NearError::OtherKind) => true,
            found => found?.is_some(),
        })
    }

    fn describe(&mut self, key: &[u8]) -> Result<Option<ValueInfo>, NearError> {
        self.ensure()?;
        let place = self.session.place(self.options.db, key)?;
        let found = self
            .session
            .settle(&place, self.options.patience, |reader, key| {
                reader.describe(key, 0)
            })?;
        let found = live(found);
        if found.is_some() {
            self.session.report(&place);
        }
        Ok(found)
    }

    /// The value of a key where it is, if it is large; a copy of a small one. `None` where there is none.
    ///
    /// # Errors
    /// [`NearError::TooManyViews`] when as many are open as the node allows; otherwise as [`NearReader::get`].
    pub fn view(&mut self, key: &[u8]) -> Result<Option<View>, NearError> {
        self.ensure()?;
        let Self {
            session,
            options,
            scratch,
            ..
        } = self;
        let place = session.place(options.db, key)?;
        let held = session.hold(&place, options.patience, scratch)?;
        let view = match held {
            None => return Ok(None),
            Some(Leased::Run(value)) => View::held(Arc::clone(session), place.shard, value),
            Some(Leased::Copied(info)) => {
                let bytes = spelled(&info, scratch);
                View::copied(Arc::clone(session), scratch[..bytes].to_vec(), info.version)
            }
            Some(Leased::NoSlot) => return Err(too_many(session)),
        };
        view.check()?;
        session.report(&place);
        Ok(Some(view))
    }
}

fn open(path: &Path, options: &Options) -> Result<Arc<Session>, NearError> {
    let session = Session::open(link::connect(path, options)?)?;
    if u16::from(options.db) >= session.databases() {
        return Err(NearError::Refused(format!(
            "it has {} databases, and database {} is none of them",
            session.databases(),
            options.db
        )));
    }
    Ok(Arc::new(session))
}

/// Copies a value to the beginning of `scratch` and returns its length.
#[inline]
fn fetch(
    session: &Session,
    place: &Place<'_>,
    patience: Duration,
    scratch: &mut Vec<u8>,
) -> Result<Option<usize>, NearError> {
    let found = session.settle(place, patience, |reader, key| {
        reader.look_up(key, 0, scratch)
    })?;
    let Some(info) = live(found) else {
        return Ok(None);
    };
    session.report(place);
    if info.is_run {
        return fetch_large(session, place, patience, scratch);
    }
    Ok(Some(spelled(&info, scratch)))
}

#[cold]
fn fetch_large(
    session: &Session,
    place: &Place<'_>,
    patience: Duration,
    scratch: &mut Vec<u8>,
) -> Result<Option<usize>, NearError> {
    match session.hold(place, patience, scratch)? {
        None => Ok(None),
        Some(Leased::Run(value)) => {
            let bytes = session.reader(place.shard).leased_bytes(&value);
            scratch.clear();
            scratch.extend_from_slice(bytes);
            let kept = session.check_leases();
            session.release(value);
            kept.map(|()| Some(scratch.len()))
        }
        Some(Leased::Copied(info)) => Ok(Some(spelled(&info, scratch))),
        Some(Leased::NoSlot) => Err(too_many(session)),
    }
}

/// The length of a value that was copied; one that is stored as an integer is written out.
#[inline]
fn spelled(info: &ValueInfo, scratch: &mut Vec<u8>) -> usize {
    if let Some(int) = info.int {
        scratch.clear();
        scratch.extend_from_slice(itoa::Buffer::new().format(int).as_bytes());
        return scratch.len();
    }
    info.len as usize
}

#[inline]
fn fits(needed: u64, out: &[u8]) -> Result<(), NearError> {
    let given = out.len() as u64;
    if needed > given {
        return Err(NearError::BufferTooSmall { needed, given });
    }
    Ok(())
}

#[cold]
fn too_many(session: &Session) -> NearError {
    NearError::TooManyViews {
        limit: session.leases_max(),
    }
}
