//! The engine of one worker, driven by its uvloop.

mod events;
mod receiving;
mod secure;

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::os::fd::OwnedFd;

use pyo3::exceptions::PyBlockingIOError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use yggdrasil_core::commands::CommandId;
use yggdrasil_core::engine::{
    Engine, Executor, Listener, Options, Parts, Peer, SessionRef, ShardState,
};
use yggdrasil_core::resp::Args;
use yggdrasil_log::Flusher;

use crate::buffer::ReceiveBuffer;
use crate::clock::system_clock;
use crate::confined::Confined;
use crate::connection::{Connection, ConnectionFactory};
use crate::errors::{YggdrasilError, to_config_error, to_python};
use crate::heap::{Heap, give_back_beside};
use crate::libraries::PythonStore;
use crate::node::{Guest, NodeShape, open_lease_page, open_parts};
use crate::socket;
use crate::tls::TlsContext;

/// Bytes given to the transport when the socket takes no more.
const HANDED_BYTES: usize = 64 * 1024;
/// The same while long values are sent: the transport only has to say when the socket takes more.
const HANDED_OF_VIEWS_BYTES: usize = 4 * 1024;
/// Bytes of long values that are sent in one round of the loop, and to one client in it: others are served in between.
const ROUND_BYTES: usize = 1024 * 1024;
const SLICE_BYTES: usize = 512 * 1024;
/// Seconds between two rounds of housekeeping.
const TICK_SECONDS: f64 = 0.1;
/// Deadlines that are further away are looked at again by the next ticks.
const ALARM_MS_MAX: u64 = 250;
/// Seconds between two looks whether everything is drained.
const DRAIN_TICK_SECONDS: f64 = 0.005;

/// The engine of one shard. Used from the thread of its event loop only.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct Worker {
    state: Confined<State>,
}

impl Deref for Worker {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

/// What a worker holds.
pub struct State {
    pub(crate) engine: RefCell<Engine>,
    pub(crate) control: yggdrasil_core::control::Control,
    wake_descriptors: Vec<OwnedFd>,
    connections: RefCell<Vec<Option<Py<Connection>>>>,
    handlers: RefCell<HashMap<CommandId, Py<PyAny>>>,
    topics: RefCell<HashMap<Vec<u8>, Py<PyAny>>>,
    pub(crate) calls: RefCell<HashMap<u64, Py<PyAny>>>,
    /// What Python commands execute, and the futures of the replies.
    executions: RefCell<HashMap<u64, Py<PyAny>>>,
    /// Tasks of commands that block, by the client that waits.
    blocked: RefCell<HashMap<u64, Py<PyAny>>>,
    next_call: Cell<u64>,
    buffer: OnceCell<Py<ReceiveBuffer>>,
    event_loop: OnceCell<Py<PyAny>>,
    me: OnceCell<Py<Worker>>,
    call_soon: OnceCell<Py<PyAny>>,
    settle_method: OnceCell<Py<PyAny>>,
    /// The event loop holds a call of `_settle`: one a round, or a round would be longer than [`ROUND_BYTES`].
    settle_due: Cell<bool>,
    tick_due: Cell<f64>,
    /// The time before which the heap is not looked at again.
    heap_due: Cell<f64>,
    /// The deadline that the event loop wakes the worker for, in Unix ms.
    alarm_due: Cell<u64>,
    drained: RefCell<Option<Py<PyAny>>>,
    pub(crate) heap: RefCell<Heap>,
    /// The thread that makes the log durable.
    pub(crate) flusher: RefCell<Option<Flusher>>,
    ready: RefCell<Vec<SessionRef>>,
    /// Sessions that are read from again in the next round.
    resting: RefCell<Vec<SessionRef>>,
    /// Sessions whose long values are sent further in the next round.
    unfinished: RefCell<VecDeque<SessionRef>>,
    /// What is left of [`ROUND_BYTES`].
    round_left: Cell<usize>,
}

impl Worker {
    fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let running = self
            .event_loop
            .get()
            .ok_or_else(|| YggdrasilError::new_err("the worker was not started"))?;
        Ok(running.bind(py).clone())
    }

    /// Has the event loop call something after a while.
    pub(crate) fn call_later<'py>(
        &self,
        py: Python<'py>,
        seconds: f64,
        called: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.event_loop(py)?
            .call_method1("call_later", (seconds, called))
    }

    /// A future under a number that is used once.
    pub(crate) fn new_future<'py>(
        &self,
        py: Python<'py>,
        futures: &RefCell<HashMap<u64, Py<PyAny>>>,
    ) -> PyResult<(u64, Bound<'py, PyAny>)> {
        let future = self.event_loop(py)?.call_method0("create_future")?;
        let number = self.next_call.get();
        self.next_call.set(number + 1);
        futures.borrow_mut().insert(number, future.clone().unbind());
        Ok((number, future))
    }

    /// Executes a request of a Python command; the future gets the reply.
    pub(crate) fn execute<'py>(
        &self,
        py: Python<'py>,
        by: &Executor,
        args: &Args<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (number, future) = self.new_future(py, &self.executions)?;
        self.engine.borrow_mut().execute_for(number, by, args);
        self.settle(py)?;
        Ok(future)
    }

    /// Another descriptor of the eventfd that wakes this worker.
    pub(crate) fn wake_descriptor(&self) -> PyResult<OwnedFd> {
        use std::os::fd::AsRawFd;
        let own = self.engine.borrow().shard_index();
        Ok(socket::duplicate(self.wake_descriptors[own].as_raw_fd())?)
    }

    pub(crate) fn open(
        &self,
        peer: &Peer,
        connection: &Bound<'_, Connection>,
    ) -> Result<SessionRef, &'static [u8]> {
        let at = self.engine.borrow_mut().open(peer)?;
        let mut connections = self.connections.borrow_mut();
        if connections.len() <= at.index {
            connections.resize_with(at.index + 1, || None);
        }
        connections[at.index] = Some(connection.clone().unbind());
        Ok(at)
    }

    pub(crate) fn closed(&self, py: Python<'_>, at: SessionRef) -> PyResult<()> {
        self.engine.borrow_mut().close(at);
        self.connections.borrow_mut()[at.index] = None;
        self.cancel_blocked(py, at.client)?;
        self.settle(py)
    }

    /// Replies leave when all sockets that were ready have been read: one round of reads, one round of writes, and a
    /// client that is woken finds more than one reply.
    fn settle_soon(&self, py: Python<'_>) -> PyResult<()> {
        let (Some(call_soon), Some(settle)) = (self.call_soon.get(), self.settle_method.get())
        else {
            return self.settle(py);
        };
        if self.settle_due.replace(true) {
            return Ok(());
        }
        call_soon.bind(py).call1((settle.bind(py),)).map(drop)
    }

    /// The client has sent its last byte; true keeps the connection open until it is answered.
    pub(crate) fn ended(&self, py: Python<'_>, at: SessionRef) -> PyResult<bool> {
        let keep = self.engine.borrow_mut().end_input(at);
        self.settle(py)?;
        Ok(keep)
    }

    pub(crate) fn writable(&self, py: Python<'_>, at: SessionRef) -> PyResult<()> {
        self.engine.borrow_mut().sent(at, 0, true);
        self.flush(py, at)?;
        self.settle(py)
    }

    fn connection_of<'py>(
        &self,
        py: Python<'py>,
        at: SessionRef,
    ) -> Option<Bound<'py, Connection>> {
        let connections = self.connections.borrow();
        connections
            .get(at.index)?
            .as_ref()
            .map(|connection| connection.bind(py).clone())
    }

    /// Does what the engine wants done, until it wants nothing more.
    pub(crate) fn settle(&self, py: Python<'_>) -> PyResult<()> {
        loop {
            let mut ready = self.ready.take();
            let events = {
                let mut engine = self.engine.borrow_mut();
                engine.take_ready(&mut ready);
                if engine.has_events() {
                    engine.take_events()
                } else {
                    Vec::new()
                }
            };
            let idle = ready.is_empty() && events.is_empty();
            for at in ready.drain(..) {
                self.flush(py, at)?;
            }
            self.ready.replace(ready);
            for event in events {
                self.carry_out(py, event)?;
            }
            if idle {
                break;
            }
        }
        if self.engine.borrow().has_steps() {
            self.settle_soon(py)?;
        }
        let mut wakes = self.engine.borrow_mut().take_wakes();
        while wakes != 0 {
            let shard = wakes.trailing_zeros() as usize;
            wakes &= wakes - 1;
            // A full eventfd has woken its worker already.
            let _ = rustix::io::write(&self.wake_descriptors[shard], &1_u64.to_ne_bytes());
        }
        self.set_alarm(py)
    }

    /// Has the event loop call when the next request has waited for as long as it may, if that is before the next ticks.
    fn set_alarm(&self, py: Python<'_>) -> PyResult<()> {
        let Some((deadline, left_ms)) = self.engine.borrow().next_deadline() else {
            return Ok(());
        };
        let (Some(worker), Some(running)) = (self.me.get(), self.event_loop.get()) else {
            return Ok(());
        };
        if deadline >= self.alarm_due.get() || left_ms > ALARM_MS_MAX {
            return Ok(());
        }
        self.alarm_due.set(deadline);
        let call = (left_ms as f64 / 1000.0, worker.getattr(py, "_alarm")?);
        running.bind(py).call_method1("call_later", call).map(drop)
    }

    /// Sends a session's output as far as the socket takes it; the transport gets the rest.
    fn flush(&self, py: Python<'_>, at: SessionRef) -> PyResult<()> {
        let Some(connection) = self.connection_of(py, at) else {
            return Ok(());
        };
        let connection = connection.get();
        let mut engine = self.engine.borrow_mut();
        if engine.is_dropped(at) {
            drop(engine);
            return connection.abort(py);
        }
        if !engine.is_writable(at) {
            return Ok(());
        }
        if connection.is_secure() {
            drop(engine);
            return self.flush_secure(py, at, connection);
        }
        if engine.has_views(at) || engine.unsent(at).len() > SLICE_BYTES {
            drop(engine);
            return self.flush_views(py, at, connection);
        }
        loop {
            let unsent = engine.unsent(at);
            if unsent.is_empty() {
                break;
            }
            let Ok(sent) = connection.send(unsent) else {
                drop(engine);
                return connection.abort(py);
            };
            if sent == unsent.len() {
                engine.sent(at, sent, true);
                break;
            }
            // The transport gets a piece: it says when the socket takes more.
            let end = unsent.len().min(sent + HANDED_BYTES);
            let piece = PyBytes::new(py, &unsent[sent..end]);
            engine.sent(at, end, false);
            drop(engine);
            if !connection.hand_over(piece)? {
                return Ok(());
            }
            engine = self.engine.borrow_mut();
            engine.sent(at, 0, true);
        }
        close_if_over(py, engine, at, connection)
    }

    /// Sends a session's output with its long values: a slice now, the next one when all others had their turn.
    fn flush_views(&self, py: Python<'_>, at: SessionRef, connection: &Connection) -> PyResult<()> {
        if self.unfinished.borrow().contains(&at) {
            // Its turn comes.
            return Ok(());
        }
        let mut left = SLICE_BYTES.min(self.round_left.get());
        let mut engine = self.engine.borrow_mut();
        loop {
            if left == 0 {
                drop(engine);
                self.unfinished.borrow_mut().push_back(at);
                return self.settle_soon(py);
            }
            let Ok((sent, whole)) = send_next(&engine, at, connection, left) else {
                drop(engine);
                return connection.abort(py);
            };
            if whole == 0 {
                break;
            }
            left = left.saturating_sub(sent);
            self.round_left
                .set(self.round_left.get().saturating_sub(sent));
            engine.sent(at, sent, sent == whole);
            if sent < whole {
                // The transport gets a piece: it says when the socket takes more.
                let piece = PyBytes::new(py, &engine.unsent_copy(at, HANDED_OF_VIEWS_BYTES));
                engine.sent(at, piece.as_bytes().len(), false);
                drop(engine);
                if !connection.hand_over(piece)? {
                    return Ok(());
                }
                engine = self.engine.borrow_mut();
                engine.sent(at, 0, true);
            }
        }
        close_if_over(py, engine, at, connection)
    }

    /// Looks at the heap, about as often as without anything to be done at once.
    fn note_heap(&self, engine: &mut Engine, now: f64) {
        if now < self.heap_due.get() {
            return;
        }
        self.heap_due.set(now + TICK_SECONDS / 2.0);
        let free = self.heap.borrow_mut().look();
        if let Some(bytes) = own_memory_bytes() {
            engine.note_heap(bytes, free);
        }
    }

    fn schedule_tick(slf: &Bound<'_, Self>, delay: f64) -> PyResult<()> {
        let running = slf.get().event_loop(slf.py())?;
        let now: f64 = running.call_method0("time")?.extract()?;
        slf.get().tick_due.set(now + delay);
        running
            .call_method1("call_later", (delay, slf.getattr("_tick")?))
            .map(drop)
    }

    fn close_all(&self, py: Python<'_>, sessions: Vec<SessionRef>) -> PyResult<()> {
        for at in sessions {
            if let Some(connection) = self.connection_of(py, at) {
                connection.get().close(py)?;
            }
        }
        Ok(())
    }

    fn finish_drain(&self, py: Python<'_>) -> PyResult<()> {
        if self.drained.borrow().is_none() {
            return Ok(());
        }
        // Who waits might wait for ever. Looked at each time: a client may have begun to wait meanwhile.
        let waiting = self.engine.borrow().waiting_sessions();
        self.close_all(py, waiting)?;
        if !self.engine.borrow().is_drained() {
            return Ok(());
        }
        let all = self.engine.borrow().open_sessions();
        self.close_all(py, all)?;
        match self.drained.borrow_mut().take() {
            Some(future) => future
                .bind(py)
                .call_method1("set_result", (py.None(),))
                .map(drop),
            None => Ok(()),
        }
    }
}

#[pymethods]
impl Worker {
    #[new]
    #[allow(
        clippy::too_many_arguments,
        reason = "what a worker is made of, by name"
    )]
    #[pyo3(signature = (shape, shard, control_fd, arena_fds, event_fds, options, guests = Vec::new(), loading = false))]
    fn new(
        shape: &NodeShape,
        shard: usize,
        control_fd: i32,
        arena_fds: Vec<i32>,
        event_fds: Vec<i32>,
        options: &Bound<'_, PyDict>,
        guests: Vec<Guest>,
        loading: bool,
    ) -> PyResult<Self> {
        abort_on_panic();
        let mut values = Options::unset();
        for &name in Options::NAMES {
            let value = options.get_item(name)?.ok_or_else(|| {
                crate::errors::ConfigError::new_err(format!("option {name} is missing"))
            })?;
            values
                .set(name, &option_text(&value)?)
                .map_err(to_config_error)?;
        }
        let (control, own, readers) = open_parts(
            shape,
            shard,
            control_fd,
            &arena_fds,
            &guests,
            values.memory_limit,
            loading,
        )?;
        let wake_descriptors = event_fds
            .iter()
            .map(|&fd| socket::duplicate(fd))
            .collect::<Result<_, _>>();
        let mut engine = Engine::new(Parts {
            shard_index: shard,
            control: control.clone(),
            shard: own,
            readers,
            options: values,
            clock: system_clock(),
        });
        if loading {
            engine.set_shard_state(ShardState::Loading);
        }
        Ok(Self {
            state: Confined::new(State {
                engine: RefCell::new(engine),
                control,
                wake_descriptors: wake_descriptors?,
                connections: RefCell::new(Vec::new()),
                handlers: RefCell::new(HashMap::new()),
                topics: RefCell::new(HashMap::new()),
                calls: RefCell::new(HashMap::new()),
                executions: RefCell::new(HashMap::new()),
                blocked: RefCell::new(HashMap::new()),
                next_call: Cell::new(0),
                buffer: OnceCell::new(),
                event_loop: OnceCell::new(),
                me: OnceCell::new(),
                call_soon: OnceCell::new(),
                settle_method: OnceCell::new(),
                settle_due: Cell::new(false),
                tick_due: Cell::new(0.0),
                heap_due: Cell::new(0.0),
                alarm_due: Cell::new(u64::MAX),
                drained: RefCell::new(None),
                heap: RefCell::new(Heap::default()),
                flusher: RefCell::new(None),
                ready: RefCell::new(Vec::new()),
                resting: RefCell::new(Vec::new()),
                unfinished: RefCell::new(VecDeque::new()),
                round_left: Cell::new(ROUND_BYTES),
            }),
        })
    }

    /// Hooks into the running uvloop: listens to the own eventfd and begins housekeeping.
    fn start(slf: Bound<'_, Self>, event_loop: Bound<'_, PyAny>) -> PyResult<()> {
        use std::os::fd::AsRawFd;
        let this = slf.get();
        let started = this.event_loop.set(event_loop.clone().unbind()).is_ok()
            && this.me.set(slf.clone().unbind()).is_ok();
        if !started {
            return Err(YggdrasilError::new_err("the worker was started already"));
        }
        let own = this.engine.borrow().shard_index();
        let descriptor = this.wake_descriptors[own].as_raw_fd();
        event_loop.call_method1("add_reader", (descriptor, slf.getattr("_poll")?))?;
        give_back_beside().map_err(to_python)?;
        // Memory counts from here on, before the first request.
        let now: f64 = event_loop.call_method0("time")?.extract()?;
        this.note_heap(&mut this.engine.borrow_mut(), now);
        Self::schedule_tick(&slf, TICK_SECONDS)?;
        let _ = this
            .call_soon
            .set(event_loop.getattr("call_soon")?.unbind());
        let _ = this.settle_method.set(slf.getattr("_settle")?.unbind());
        // Messages may have come before anyone listened.
        this.engine.borrow_mut().poll();
        this.settle(slf.py())
    }

    /// The version of an entry of a physical database, and the record that puts it elsewhere; None for no such entry.
    /// `BlockingIOError` while a transaction is changing the shard.
    fn record_of<'py>(
        &self,
        py: Python<'py>,
        physical: u8,
        key: &[u8],
    ) -> PyResult<Option<NumberedRecord<'py>>> {
        let engine = self.engine.borrow();
        let shard = engine.settled().ok_or_else(reserved)?;
        let mut record = Vec::new();
        let version = shard.record_of(physical, key, &mut record);
        Ok(version.map(|version| (version, PyBytes::new(py, &record))))
    }

    /// About `count` pins of a physical database from a cursor on: the next cursor, and versions of entries with
    /// records. Errors as above.
    fn pin_records<'py>(
        &self,
        py: Python<'py>,
        physical: u8,
        cursor: u64,
        count: u64,
    ) -> PyResult<(u64, Vec<NumberedRecord<'py>>)> {
        let engine = self.engine.borrow();
        let shard = engine.settled().ok_or_else(reserved)?;
        let mut found = Vec::new();
        let next = shard.pin_records(physical, cursor, count, &mut |version, record| {
            found.push((version, PyBytes::new(py, record)));
        });
        Ok((next, found))
    }

    /// Lets a process that reads the shared memory hold values of the own shard.
    fn add_guest(&self, id: u64, page_fd: i32, leases: usize) -> PyResult<()> {
        let mut engine = self.engine.borrow_mut();
        let page = open_lease_page(engine.shape(), &(id, page_fd, leases))?;
        engine.add_guest(id, page);
        Ok(())
    }

    /// Forgets such a process, which holds nothing any more.
    fn remove_guest(&self, id: u64) {
        self.engine.borrow_mut().remove_guest(id);
    }

    /// Shares the libraries of functions that an object keeps, and loads them.
    fn share_libraries(&self, store: Py<PyAny>) -> PyResult<()> {
        let store = Box::new(PythonStore::new(store));
        let shared = self.engine.borrow_mut().share_libraries(store);
        shared.map_err(YggdrasilError::new_err)
    }

    /// Asks for scripts of SCRIPT LOAD that are not known here: a number and a question.
    fn ask_for_scripts<'py>(&self, py: Python<'py>) -> (u64, Bound<'py, PyBytes>) {
        let (asked, question) = self.engine.borrow().ask_for_scripts();
        (asked, PyBytes::new(py, &question))
    }

    /// Answers such a question of another worker.
    fn tell_scripts<'py>(&self, py: Python<'py>, question: &[u8]) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.engine.borrow().tell_scripts(question))
    }

    /// Learns from the answer; whether to ask again.
    fn learn_scripts(&self, asked: u64, answer: &[u8]) -> bool {
        self.engine.borrow_mut().learn_scripts(asked, answer)
    }

    fn _settle(&self, py: Python<'_>) -> PyResult<()> {
        self.settle_due.set(false);
        self.end_rest(py)?;
        let unfinished = self.unfinished.borrow().len();
        // Whoever waits for a short reply does not wait for the next steps of long ones too; those that have begun keep
        // half of the round.
        let kept = if unfinished == 0 { 0 } else { ROUND_BYTES / 2 };
        self.round_left.set(ROUND_BYTES - kept);
        self.settle(py)?;
        if !self.engine.borrow().has_steps() && unfinished == 0 {
            return Ok(());
        }
        self.engine.borrow_mut().step();
        self.round_left.set(self.round_left.get() + kept);
        for _ in 0..unfinished {
            let Some(at) = self.unfinished.borrow_mut().pop_front() else {
                break;
            };
            self.flush(py, at)?;
        }
        self.settle(py)
    }

    /// Ends the process as a broken belief of the engine would.
    fn crash(&self) {
        panic!("the worker was told to crash");
    }

    fn _poll(&self, py: Python<'_>) -> PyResult<()> {
        let own = self.engine.borrow().shard_index();
        let mut count = [0; 8];
        // Nothing to read means that the rings were looked at already.
        let _ = rustix::io::read(&self.wake_descriptors[own], &mut count);
        self.engine.borrow_mut().poll();
        self.settle(py)
    }

    fn _alarm(&self, py: Python<'_>) -> PyResult<()> {
        self.alarm_due.set(u64::MAX);
        self.engine.borrow_mut().pass_time();
        self.settle(py)
    }

    fn _tick(slf: Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let now: f64 = this.event_loop(py)?.call_method0("time")?.extract()?;
        let lag = (now - this.tick_due.get()).max(0.0);
        let more = {
            let mut engine = this.engine.borrow_mut();
            engine.note_loop_lag((lag * 1e6) as u64);
            this.note_heap(&mut engine, now);
            engine.tick()
        };
        this.settle(py)?;
        this.finish_drain(py)?;
        let delay = match (more, this.drained.borrow().is_some()) {
            (true, _) => 0.0,
            (false, true) => DRAIN_TICK_SECONDS,
            (false, false) => TICK_SECONDS,
        };
        Self::schedule_tick(&slf, delay)
    }

    /// A protocol factory for `loop.create_server`; `path` is that of the Unix socket. With `tls`, its
    /// connections are encrypted.
    #[pyo3(signature = (listener, path = "", *, tls = None))]
    fn connection(
        slf: Bound<'_, Self>,
        listener: &str,
        path: &str,
        tls: Option<&TlsContext>,
    ) -> PyResult<ConnectionFactory> {
        let listener = match listener {
            "common" => Listener::Common,
            "own" => Listener::Own,
            "unix" => Listener::Unix,
            other => {
                return Err(to_python(format!(
                    "listener is {other:?}, expected common, own or unix"
                )));
            }
        };
        Ok(ConnectionFactory::new(
            slf.unbind(),
            listener,
            tls,
            path.into(),
        ))
    }

    /// Changes a run-time option.
    fn set_option(&self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let value = option_text(value)?;
        self.engine
            .borrow_mut()
            .set_option(name, &value)
            .map_err(to_config_error)
    }

    /// Adds a row to the command table, and who runs it: nobody for a container or its HELP.
    fn register(&self, row: &Bound<'_, PyDict>, handler: Option<Py<PyAny>>) -> PyResult<()> {
        let command = crate::rows::new_command(row)?;
        let id = self
            .engine
            .borrow_mut()
            .register(command)
            .map_err(to_python)?;
        if let Some(handler) = handler {
            self.handlers.borrow_mut().insert(id, handler);
        }
        Ok(())
    }

    /// Answers calls of workers on this topic.
    fn serve_call(&self, topic: &str, handler: Py<PyAny>) {
        self.topics
            .borrow_mut()
            .insert(topic.as_bytes().to_vec(), handler);
    }

    /// Asks a worker, oneself included.
    fn call<'py>(
        &self,
        py: Python<'py>,
        shard: usize,
        topic: &str,
        payload: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        if shard >= self.engine.borrow().shape().shards {
            return Err(to_python(format!("there is no shard {shard}")));
        }
        let (call, future) = self.new_future(py, &self.calls)?;
        self.engine
            .borrow_mut()
            .call(shard, call, topic.as_bytes(), payload);
        self.settle(py)?;
        Ok(future)
    }

    /// Finishes what is under way, then closes all connections; those of clients that wait for a change at once. The
    /// listeners are to be closed before.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let future = self.event_loop(py)?.call_method0("create_future")?;
        *self.drained.borrow_mut() = Some(future.clone().unbind());
        Ok(future)
    }
}

/// Closes a connection from which everything was sent, if its session is over.
fn close_if_over(
    py: Python<'_>,
    mut engine: RefMut<'_, Engine>,
    at: SessionRef,
    connection: &Connection,
) -> PyResult<()> {
    let closing = engine.is_closing(at);
    drop(engine);
    if closing {
        connection.close(py)
    } else {
        Ok(())
    }
}

/// Sends up to about `at_most` of a session's output. How many bytes went, of how many.
fn send_next(
    engine: &Engine,
    at: SessionRef,
    connection: &Connection,
    at_most: usize,
) -> Result<(usize, usize), ()> {
    let unsent = engine.unsent_pieces(at, at_most);
    if unsent.is_empty() {
        return Ok((0, 0));
    }
    Ok((connection.send_pieces(&unsent)?, unsent.len()))
}

/// Resident memory of this process that it shares with nobody.
fn own_memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Options come as numbers or texts; switches as 0 and 1.
fn option_text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    match value.extract::<bool>() {
        Ok(flag) => Ok(u8::from(flag).to_string()),
        Err(_) => Ok(value.str()?.to_string_lossy().into_owned()),
    }
}

/// Lets the process end with any panic from now on. An engine that was left in the middle of something would answer
/// wrongly, or never; the supervisor replaces a worker that has gone.
fn abort_on_panic() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            report(panic);
            std::process::abort();
        }));
    });
}

/// A record, and the number under which it is applied.
type NumberedRecord<'py> = (u64, Bound<'py, PyBytes>);

pub(crate) fn reserved() -> PyErr {
    PyBlockingIOError::new_err("a transaction is changing the shard")
}
