//! Sending on a socket that uvloop owns.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::Errno;
use rustix::net::SendFlags;

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

/// Duplicates a descriptor that somebody else keeps open.
pub fn duplicate(descriptor: RawFd) -> std::io::Result<std::os::fd::OwnedFd> {
    // SAFETY: the caller owns the descriptor while this runs.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}
