//! The protocol object that uvloop drives: one for each connection.
//!
//! On a port for TLS it decrypts what comes, and encrypts what is to be sent. A session opens after the handshake.

use std::cell::{Cell, RefCell, RefMut};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use rustls::ServerConfig;
use yggdrasil_core::engine::{Listener, Peer, SessionRef, Unsent};

use crate::buffer::ReceiveBuffer;
use crate::confined::Confined;
use crate::errors::YggdrasilError;
use crate::socket;
use crate::tls::{TlsContext, TlsSession};
use crate::worker::Worker;

/// Seconds after which a client is given up that does not end its handshake.
const HANDSHAKE_SECONDS: f64 = 60.0;

/// A `BufferedProtocol`: bytes go to the worker's engine, replies straight to the socket.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct Connection {
    state: Confined<State>,
}

struct State {
    worker: Py<Worker>,
    listener: Listener,
    /// What it has of TLS, on a port for that.
    tls: RefCell<Option<TlsSession>>,
    /// The call that ends a handshake which takes too long.
    overdue: RefCell<Option<Py<PyAny>>>,
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
    fn new(
        worker: Py<Worker>,
        listener: Listener,
        tls: Option<TlsSession>,
        path: Arc<str>,
    ) -> Self {
        Self {
            state: Confined::new(State {
                worker,
                listener,
                tls: RefCell::new(tls),
                overdue: RefCell::new(None),
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

    /// True when what is sent and comes is encrypted.
    pub fn is_secure(&self) -> bool {
        self.state.tls.borrow().is_some()
    }

    /// What it has of TLS, on a port for that.
    pub fn tls(&self) -> RefMut<'_, Option<TlsSession>> {
        self.state.tls.borrow_mut()
    }

    /// The session, once it is open.
    pub fn at(&self) -> Option<SessionRef> {
        self.state.at.get()
    }

    /// Sends what is encrypted, as far as the socket takes it; the transport gets the rest. True when the transport
    /// holds bytes: then it says when they are gone.
    pub fn push_encrypted(&self, py: Python<'_>) -> PyResult<bool> {
        let mut encrypted = Vec::new();
        if let Some(tls) = &mut *self.tls() {
            tls.take_encrypted(&mut encrypted);
        }
        if encrypted.is_empty() {
            return Ok(self.state.write_paused.get());
        }
        let mut sent = 0;
        if !self.state.write_paused.get() {
            match self.send(&encrypted) {
                Ok(bytes) => sent = bytes,
                Err(()) => {
                    self.abort(py)?;
                    return Ok(true);
                }
            }
        }
        let rest = &encrypted[sent..];
        if !rest.is_empty()
            && let Some(transport) = self.transport(py)
        {
            transport.call_method1("write", (PyBytes::new(py, rest),))?;
        }
        Ok(self.state.write_paused.get())
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
        if let Some(tls) = &mut *self.tls() {
            tls.say_goodbye();
        }
        self.push_encrypted(py)?;
        self.call(py, "close")
    }

    /// Opens the session.
    fn open(slf: &Bound<'_, Self>, transport: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let peer = this.describe(transport)?;
        match this.state.worker.get().open(&peer, slf) {
            Ok(at) => {
                this.state.at.set(Some(at));
                // The protocol is told as soon as one byte waits in the transport.
                transport
                    .call_method1("set_write_buffer_limits", (0,))
                    .map(drop)
            }
            Err(refusal) if this.is_secure() => {
                if let Some(tls) = &mut *this.tls() {
                    tls.write(refusal);
                }
                this.close(py)
            }
            Err(refusal) => {
                transport.call_method1("write", (PyBytes::new(py, refusal),))?;
                transport.call_method0("close").map(drop)
            }
        }
    }

    /// Opens the session of a client whose handshake is done.
    pub fn open_secure(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if let Some(overdue) = this.state.overdue.borrow_mut().take() {
            overdue.call_method0(py, "cancel")?;
        }
        match this.transport(py) {
            Some(transport) => Self::open(slf, &transport),
            None => Ok(()),
        }
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
            secure: self.is_secure(),
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
        let socket = transport.call_method1("get_extra_info", ("socket",))?;
        this.state
            .descriptor
            .set(socket.call_method0("fileno")?.extract()?);
        *this.state.transport.borrow_mut() = Some(transport.clone().unbind());
        if !this.is_secure() {
            return Self::open(&slf, &transport);
        }
        transport.call_method1("set_write_buffer_limits", (0,))?;
        let abort = transport.getattr("abort")?;
        let overdue = this
            .state
            .worker
            .get()
            .call_later(py, HANDSHAKE_SECONDS, &abort)?;
        *this.state.overdue.borrow_mut() = Some(overdue.unbind());
        Ok(())
    }

    fn connection_lost(&self, py: Python<'_>, error: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let _ = error;
        self.state.descriptor.set(-1);
        self.state.transport.borrow_mut().take();
        if let Some(overdue) = self.state.overdue.borrow_mut().take() {
            overdue.call_method0(py, "cancel")?;
        }
        match self.state.at.take() {
            Some(at) => self.state.worker.get().closed(py, at),
            None => Ok(()),
        }
    }

    fn get_buffer<'py>(&self, py: Python<'py>, size_hint: isize) -> Bound<'py, ReceiveBuffer> {
        let _ = size_hint;
        // What is encrypted is decrypted elsewhere.
        let at = self.state.at.get().filter(|_| !self.is_secure());
        self.state.worker.get().buffer_for(py, at)
    }

    fn buffer_updated(slf: Bound<'_, Self>, bytes: usize) -> PyResult<()> {
        let this = slf.get();
        let worker = this.state.worker.get();
        if this.is_secure() {
            return worker.received_secure(&slf, bytes);
        }
        match this.state.at.get() {
            Some(at) => worker.received(slf.py(), at, bytes),
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
        self.state.write_paused.set(false);
        match self.state.at.get() {
            Some(at) => self.state.worker.get().writable(py, at),
            None => Ok(()),
        }
    }
}

/// Makes the protocol object of each connection that a listener accepts.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct ConnectionFactory {
    state: Confined<Made>,
}

struct Made {
    worker: Py<Worker>,
    listener: Listener,
    /// What connections by TLS are made of, on a port for that.
    tls: RefCell<Option<Arc<ServerConfig>>>,
    /// The path of the Unix socket; empty for TCP.
    path: Arc<str>,
}

impl ConnectionFactory {
    pub fn new(
        worker: Py<Worker>,
        listener: Listener,
        tls: Option<&TlsContext>,
        path: Arc<str>,
    ) -> Self {
        let tls = tls.map(|context| Arc::clone(&context.config));
        Self {
            state: Confined::new(Made {
                worker,
                listener,
                tls: RefCell::new(tls),
                path,
            }),
        }
    }
}

#[pymethods]
impl ConnectionFactory {
    fn __call__(&self, py: Python<'_>) -> PyResult<Connection> {
        let config = self.state.tls.borrow().clone();
        let tls = config.map(TlsSession::new).transpose();
        let tls = tls.map_err(|error| YggdrasilError::new_err(error.to_string()))?;
        Ok(Connection::new(
            self.state.worker.clone_ref(py),
            self.state.listener,
            tls,
            Arc::clone(&self.state.path),
        ))
    }

    /// Makes connections by TLS of this from now on.
    fn renew(&self, tls: &TlsContext) {
        *self.state.tls.borrow_mut() = Some(Arc::clone(&tls.config));
    }
}
