//! Sending on a socket that uvloop owns.
#![allow(unsafe_code)]

use std::io::IoSlice;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use yggdrasil_core::engine::Unsent;

/// Sends without waiting; how many bytes went.
///
/// The descriptor belongs to a transport that is open: the caller stops using it when the connection is lost.
pub fn send(descriptor: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the transport keeps the descriptor open, by the caller's promise.
    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
    match rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(0),
        sent => sent,
    }
}

/// Pieces that one call sends at most.
const PIECES_MAX: usize = 16;

/// Sends pieces of memory without waiting; how many bytes went. With more to follow, the system may wait for that.
///
/// The descriptor is that of an open transport, as in [`send`].
pub fn send_pieces(descriptor: RawFd, unsent: &Unsent<'_>) -> Result<usize, Errno> {
    let mut slices = [IoSlice::new(&[]); PIECES_MAX];
    let pieces = &unsent.pieces()[..unsent.pieces().len().min(PIECES_MAX)];
    for (slice, piece) in slices.iter_mut().zip(pieces) {
        // SAFETY: the piece is that many mapped bytes as long as it lives; nobody writes to them while it is lent.
        let bytes = unsafe { std::slice::from_raw_parts(piece.as_ptr(), piece.len()) };
        *slice = IoSlice::new(bytes);
    }
    // SAFETY: the transport keeps the descriptor open, by the caller's promise.
    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    flags.set(SendFlags::MORE, unsent.has_more());
    let mut control = SendAncillaryBuffer::default();
    match rustix::net::sendmsg(socket, &slices[..pieces.len()], &mut control, flags) {
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(0),
        sent => sent,
    }
}

/// Shows pieces of memory one after another.
pub fn each_piece(unsent: &Unsent<'_>, mut each: impl FnMut(&[u8])) {
    for piece in unsent.pieces() {
        // SAFETY: the piece is that many mapped bytes as long as it lives; nobody writes to them while it is lent.
        each(unsafe { std::slice::from_raw_parts(piece.as_ptr(), piece.len()) });
    }
}

/// True when the other side has sent its last byte, or has gone. Nothing is read.
///
/// The descriptor is that of an open transport, as in [`send`]; one that is closed, -1, has not ended again.
pub fn has_ended(descriptor: RawFd) -> bool {
    if descriptor < 0 {
        return false;
    }
    // SAFETY: the transport keeps the descriptor open, by the caller's promise.
    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let mut polled = [PollFd::new(&socket, PollFlags::RDHUP)];
    let now = Timespec::default();
    matches!(poll(&mut polled, Some(&now)), Ok(1..))
}

/// Duplicates a descriptor that somebody else keeps open.
pub fn duplicate(descriptor: RawFd) -> std::io::Result<std::os::fd::OwnedFd> {
    // SAFETY: the caller owns the descriptor while this runs.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}
