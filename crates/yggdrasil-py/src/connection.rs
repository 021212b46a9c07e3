//! The protocol object that uvloop drives: one for each connection.
//!
//! Behind TLS it stands behind another protocol object, that of uvloop, which decrypts what comes. What is to be sent is
//! given to the transport, which encrypts it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use yggdrasil_core::engine::{Listener, Peer, SessionRef, Unsent};

use crate::buffer::ReceiveBuffer;
use crate::confined::Confined;
use crate::socket;
use crate::worker::Worker;

/// A `BufferedProtocol`: bytes go to the worker's engine, replies straight to the socket.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct Connection {
    state: Confined<State>,
}

struct State {
    worker: Py<Worker>,
    listener: Listener,
    /// The transport encrypts.
    secure: bool,
    /// The path of the Unix socket; empty for TCP.
    path: Arc<str>,
    at: Cell<Option<SessionRef>>,
    descriptor: Cell<i32>,
    /// The transport holds bytes, and says when they are gone.
    write_paused: Cell<bool>,
    transport: RefCell<Option<Py<PyAny>>>,
    /// The engine wants nothing more to be read now.
    stopped: Cell<bool>,
    /// Nothing more is read in this round of the loop.
    resting: Cell<bool>,
    /// What the transport was told last.
    reading: Cell<bool>,
}

impl Connection {
    fn new(worker: Py<Worker>, listener: Listener, secure: bool, path: Arc<str>) -> Self {
        Self {
            state: Confined::new(State {
                worker,
                listener,
                secure,
                path,
                at: Cell::new(None),
                descriptor: Cell::new(-1),
                write_paused: Cell::new(false),
                transport: RefCell::new(None),
                stopped: Cell::new(false),
                resting: Cell::new(false),
                reading: Cell::new(true),
            }),
        }
    }

    fn transport<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state
            .transport
            .borrow()
            .as_ref()
            .map(|transport| transport.bind(py).clone())
    }

    /// True when everything has to go through the transport, which encrypts it.
    pub fn is_secure(&self) -> bool {
        self.state.secure
    }

    /// Sends as much as the socket takes.
    pub fn send(&self, bytes: &[u8]) -> Result<usize, ()> {
        socket::send(self.state.descriptor.get(), bytes).map_err(drop)
    }

    /// Sends as much as the socket takes of bytes that lie in several places.
    pub fn send_pieces(&self, unsent: &Unsent<'_>) -> Result<usize, ()> {
        socket::send_pieces(self.state.descriptor.get(), unsent).map_err(drop)
    }

    /// True when the client has sent its last byte, or has gone; nothing is read for that.
    pub fn has_ended(&self) -> bool {
        socket::has_ended(self.state.descriptor.get())
    }

    /// Gives the transport a piece that the socket did not take. True when the socket took it after all: then the
    /// transport will not call back.
    pub fn hand_over(&self, piece: Bound<'_, PyBytes>) -> PyResult<bool> {
        let Some(transport) = self.transport(piece.py()) else {
            return Ok(false);
        };
        self.state.write_paused.set(false);
        transport.call_method1("write", (piece,))?;
        Ok(!self.state.write_paused.get())
    }

    /// Closes the connection after what the transport still holds.
    pub fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, "close")
    }

    /// Closes the connection at once.
    pub fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, "abort")
    }

    /// Stops or resumes reading, as the engine wants it.
    pub fn set_reading(&self, py: Python<'_>, on: bool) -> PyResult<()> {
        self.state.stopped.set(!on);
        self.apply_reading(py)
    }

    /// Stops reading for the rest of the round, or ends that.
    pub fn set_resting(&self, py: Python<'_>, on: bool) -> PyResult<()> {
        self.state.resting.set(on);
        self.apply_reading(py)
    }

    fn apply_reading(&self, py: Python<'_>) -> PyResult<()> {
        let on = !(self.state.stopped.get() || self.state.resting.get());
        if self.state.reading.replace(on) == on {
            return Ok(());
        }
        self.call(
            py,
            if on {
                "resume_reading"
            } else {
                "pause_reading"
            },
        )
    }

    fn call(&self, py: Python<'_>, method: &str) -> PyResult<()> {
        match self.transport(py) {
            Some(transport) => transport.call_method0(method).map(drop),
            None => Ok(()),
        }
    }

    fn describe(&self, transport: &Bound<'_, PyAny>) -> PyResult<Peer> {
        let info = |name: &str| transport.call_method1("get_extra_info", (name,));
        let socket = info("socket")?;
        let descriptor: i32 = socket.call_method0("fileno")?.extract()?;
        let (address, local_address) = match self.state.listener {
            // What the socket was bound to is a short way to the path.
            Listener::Unix => {
                let address = format!("{}:0", self.state.path);
                (address.clone(), address)
            }
            Listener::Common | Listener::Own => (
                address_text(&info("peername")?)?,
                address_text(&info("sockname")?)?,
            ),
        };
        Ok(Peer {
            address,
            local_address,
            descriptor,
            listener: self.state.listener,
            secure: self.state.secure,
        })
    }
}

/// `host:port`, with an IPv6 host in brackets; nothing for a socket that has lost its peer already.
fn address_text(address: &Bound<'_, PyAny>) -> PyResult<String> {
    let Ok(parts) = address.cast::<PyTuple>() else {
        return Ok(String::new());
    };
    let host: String = parts.get_item(0)?.extract()?;
    let port: u16 = parts.get_item(1)?.extract()?;
    Ok(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}

#[pymethods]
impl Connection {
    fn connection_made(slf: Bound<'_, Self>, transport: Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let peer = this.describe(&transport)?;
        this.state.descriptor.set(peer.descriptor);
        *this.state.transport.borrow_mut() = Some(transport.clone().unbind());
        let worker = this.state.worker.get();
        match worker.open(&peer, &slf) {
            Ok(at) => {
                this.state.at.set(Some(at));
                // The protocol is told as soon as one byte waits in the transport; that of TLS takes 0 for none.
                let limits = if this.state.secure { (1, 0) } else { (0, 0) };
                transport.call_method1("set_write_buffer_limits", limits)?;
            }
            Err(refusal) => {
                transport.call_method1("write", (PyBytes::new(py, refusal),))?;
                transport.call_method0("close")?;
            }
        }
        Ok(())
    }

    fn connection_lost(&self, py: Python<'_>, error: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let _ = error;
        self.state.descriptor.set(-1);
        self.state.transport.borrow_mut().take();
        match self.state.at.take() {
            Some(at) => self.state.worker.get().closed(py, at),
            None => Ok(()),
        }
    }

    fn get_buffer<'py>(&self, py: Python<'py>, size_hint: isize) -> Bound<'py, ReceiveBuffer> {
        let _ = size_hint;
        self.state.worker.get().buffer_for(py, self.state.at.get())
    }

    fn buffer_updated(&self, py: Python<'_>, bytes: usize) -> PyResult<()> {
        match self.state.at.get() {
            Some(at) => self.state.worker.get().received(py, at, bytes),
            None => Ok(()),
        }
    }

    /// The client has sent its last byte. What it asked for is answered before the connection closes.
    fn eof_received(&self, py: Python<'_>) -> PyResult<bool> {
        match self.state.at.get() {
            Some(at) => self.state.worker.get().ended(py, at),
            None => Ok(false),
        }
    }

    fn pause_writing(&self) {
        self.state.write_paused.set(true);
    }

    fn resume_writing(&self, py: Python<'_>) -> PyResult<()> {
        match self.state.at.get() {
            Some(at) => self.state.worker.get().writable(py, at),
            None => Ok(()),
        }
    }
}

/// Makes the protocol object of each connection that a listener accepts.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct ConnectionFactory {
    pub worker: Py<Worker>,
    pub listener: Listener,
    /// The transport encrypts.
    pub secure: bool,
    /// The path of the Unix socket; empty for TCP.
    pub path: Arc<str>,
}

#[pymethods]
impl ConnectionFactory {
    fn __call__(&self, py: Python<'_>) -> Connection {
        Connection::new(
            self.worker.clone_ref(py),
            self.listener,
            self.secure,
            Arc::clone(&self.path),
        )
    }
}
