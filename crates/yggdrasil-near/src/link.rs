//! The conversation with the near socket: who we are, and what we are given.

use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use serde::{Deserialize, Serialize};
use yggdrasil_core::control::SHARDS_MAX;

use crate::error::NearError;
use crate::reader::Options;

/// The version of what is said on a near socket.
pub const PROTOCOL_VERSION: u32 = 1;
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// One arena a shard and the lease page.
const DESCRIPTORS_MAX: usize = SHARDS_MAX + 1;
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Request<'a> {
    version: u32,
    username: Option<&'a str>,
    password: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Refused { error: String },
    Welcome(Welcome),
}

/// What the node says of itself.
#[derive(Deserialize)]
pub struct Welcome {
    pub version: u32,
    pub shape: Shape,
    pub leases_max: usize,
    pub prefixes: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub struct Shape {
    pub shards: usize,
    pub arena_bytes: u64,
    pub databases: u16,
    pub hash_seed: u64,
    /// First and last hash slot of each shard.
    pub slots: Vec<(u16, u16)>,
}

/// What a connection has brought.
pub struct Given {
    pub welcome: Welcome,
    pub descriptors: Vec<OwnedFd>,
    pub socket: UnixStream,
}

/// Connects and introduces itself.
pub fn connect(path: &Path, options: &Options) -> Result<Given, NearError> {
    let talk = || -> io::Result<(Vec<u8>, Vec<OwnedFd>, UnixStream)> {
        let mut socket = open(path)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        let request = Request {
            version: PROTOCOL_VERSION,
            username: options.username.as_deref(),
            password: options.password.as_deref(),
        };
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        socket.write_all(&line)?;
        let (answer, descriptors) = receive(&socket)?;
        Ok((answer, descriptors, socket))
    };
    let (answer, descriptors, socket) = talk().map_err(|error| {
        NearError::Unavailable(format!("{} does not answer: {error}", path.display()))
    })?;
    match serde_json::from_slice(&answer) {
        Ok(Answer::Welcome(welcome)) if welcome.version == PROTOCOL_VERSION => Ok(Given {
            welcome,
            descriptors,
            socket,
        }),
        Ok(Answer::Refused { error }) => Err(NearError::Refused(error)),
        Ok(Answer::Welcome(Welcome { version, .. })) => Err(NearError::Refused(format!(
            "it speaks version {version} of the near socket's protocol, this library version {PROTOCOL_VERSION}"
        ))),
        Err(error) => Err(NearError::Refused(format!(
            "its answer makes no sense: {error}"
        ))),
    }
}

/// The address of a socket has at most 107 bytes, wherever the directory is.
fn open(path: &Path) -> io::Result<UnixStream> {
    const ADDRESS_BYTES_MAX: usize = 107;
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return UnixStream::connect(path);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty())?;
    let number = directory.as_raw_fd();
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{number}")).join(name))
}

/// One line, and the descriptors that came with it.
fn receive(socket: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut line, mut descriptors) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let mut piece = vec![0; 64 * 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    while !line.ends_with(b"\n") {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(&mut piece)];
        let received = match recvmsg(
            socket.as_fd(),
            &mut pieces,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            // With a timeout, this ends early by signals that are handled and by io_uring (which uvloop uses) alike.
            Err(Errno::INTR) if start.elapsed() < TIMEOUT => continue,
            received => received?,
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
        let is_whole = !received.flags.contains(ReturnFlags::CTRUNC)
            && line.len() + received.bytes <= ANSWER_BYTES_MAX;
        if received.bytes == 0 || !is_whole {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&piece[..received.bytes]);
    }
    Ok((line, descriptors))
}
