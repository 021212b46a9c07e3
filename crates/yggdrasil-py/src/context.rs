//! What a Python command knows of its caller, and how its end comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pyo3::exceptions::PyConnectionError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};
use yggdrasil_core::acl::User;
use yggdrasil_core::commands::CommandId;
use yggdrasil_core::engine::{Caching, Caller, Executor, Raw, Redirect, SessionRef, Tracking};
use yggdrasil_core::resp::{Args, ArgsBuffer};

use crate::errors::YggdrasilError;
use crate::worker::Worker;

/// The ways in which a client says what it keeps.
const CACHING: [(Caching, &str); 4] = [
    (Caching::All, "all"),
    (Caching::OptIn, "optin"),
    (Caching::OptOut, "optout"),
    (Caching::Broadcast, "bcast"),
];

fn name_of(caching: Caching) -> &'static str {
    let mut ways = CACHING.iter();
    ways.find(|(way, _)| *way == caching)
        .map_or("all", |(_, name)| name)
}

/// The caller of a Python command.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct Context {
    worker: Option<Py<Worker>>,
    session: SessionRef,
    slot: u64,
    transaction: Option<usize>,
    pub(crate) command: CommandId,
    name: Vec<u8>,
    user: Arc<User>,
    db: u8,
    protocol: u8,
    ended: Arc<AtomicBool>,
}

impl Context {
    pub(crate) fn of(
        worker: &Worker,
        session: SessionRef,
        slot: u64,
        transaction: Option<usize>,
        command: CommandId,
        args: &Args<'_>,
    ) -> Self {
        let mut engine = worker.engine.borrow_mut();
        let (db, protocol) = engine.caller_of(session, transaction).unwrap_or_default();
        let name = args.get(0).unwrap_or_default().to_vec();
        let user = engine.user_of(session);
        let user = user.unwrap_or_else(|| Arc::clone(engine.users().default_user()));
        Self {
            worker: None,
            session,
            slot,
            transaction,
            command,
            name,
            user,
            db,
            protocol: protocol.version(),
            ended: Arc::default(),
        }
    }

    pub(crate) fn with_worker(self, worker: Py<Worker>) -> Self {
        Self {
            worker: Some(worker),
            ..self
        }
    }
}

#[pymethods]
impl Context {
    /// Id of the client.
    #[getter]
    fn client_id(&self) -> u64 {
        self.session.client
    }

    /// The name of its user.
    #[getter]
    fn user<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.user.name())
    }

    /// Its logical database.
    #[getter]
    fn db(&self) -> u8 {
        self.db
    }

    /// Its protocol version, 2 or 3.
    #[getter]
    fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Whether it runs as a step of a transaction, which must not wait for anything but other workers.
    #[getter]
    fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// The command's name as it was sent.
    #[getter]
    fn name<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.name)
    }

    /// The worker that the client is connected to.
    #[getter]
    fn worker(&self, py: Python<'_>) -> Option<Py<Worker>> {
        self.worker.as_ref().map(|worker| worker.clone_ref(py))
    }

    /// Executes a request; the future gets the reply as RESP3 has it, or `ReplyError`. With `as_node` the rules of the
    /// client's user do not count.
    #[pyo3(signature = (args, *, as_node = false))]
    fn execute<'py>(
        &self,
        py: Python<'py>,
        args: Vec<PyBackedBytes>,
        as_node: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let worker = self
            .worker
            .as_ref()
            .filter(|_| !self.ended.load(Ordering::Relaxed));
        let Some(worker) = worker else {
            return Err(YggdrasilError::new_err(
                "a request was to be executed by a command that has ended; await everything before it returns",
            ));
        };
        let by = Executor {
            command: self.command,
            transaction: self.transaction,
            session: self.session,
            user: (!as_node).then(|| Arc::clone(&self.user)),
            db: self.db,
        };
        let args: ArgsBuffer = args.iter().map(AsRef::as_ref).collect();
        worker.get().execute(py, &by, &args.as_args())
    }

    /// Sends bytes that are no reply, before that of this command. Gives how many bytes are not sent yet; `None` while
    /// replies to earlier requests are still due, and nothing is taken then. ConnectionError when the client has gone.
    fn send_raw(&self, py: Python<'_>, data: &[u8]) -> PyResult<Option<usize>> {
        let gone = || PyConnectionError::new_err("the client has gone");
        let worker = self.worker.as_ref().ok_or_else(gone)?.get();
        let sent = worker
            .engine
            .borrow_mut()
            .send_raw(self.session, self.slot, data);
        worker.settle(py)?;
        match sent {
            Raw::Taken(unsent) => Ok(Some(unsent)),
            Raw::Early => Ok(None),
            Raw::Gone => Err(gone()),
        }
    }

    /// The client's line of CLIENT LIST; `None` when it has gone.
    fn client_line(&self) -> Option<String> {
        let worker = self.worker.as_ref()?;
        let mut engine = worker.get().engine.borrow_mut();
        let shard = engine.shard_index();
        engine.client(self.session).map(|info| info.line(shard))
    }

    /// How the client is told of what it keeps, and of which prefixes; `None` where it keeps nothing.
    fn tracking<'py>(&self, py: Python<'py>) -> Option<(&'static str, Vec<Bound<'py, PyBytes>>)> {
        let mut engine = self.worker.as_ref()?.get().engine.borrow_mut();
        let tracking = engine.tracking(self.session)?;
        let name = name_of(tracking.caching);
        let prefixes = tracking.prefixes.iter();
        Some((
            name,
            prefixes.map(|prefix| PyBytes::new(py, prefix)).collect(),
        ))
    }

    /// Begins to tell the client of what it keeps, or changes how.
    #[pyo3(signature = (caching, *, no_loop, redirect, prefixes))]
    fn start_tracking(
        &self,
        caching: &str,
        no_loop: bool,
        redirect: Option<(usize, usize, u64)>,
        prefixes: Vec<PyBackedBytes>,
    ) -> PyResult<()> {
        let caching = CACHING.iter().find(|(_, name)| *name == caching);
        let Some((caching, _)) = caching else {
            return Err(YggdrasilError::new_err("no way of caching"));
        };
        let tracking = Tracking {
            caching: *caching,
            no_loop,
            redirect: redirect.map(|(worker, index, client)| Redirect {
                worker,
                session: SessionRef { index, client },
            }),
            prefixes: prefixes.iter().map(|prefix| (**prefix).into()).collect(),
            ..Tracking::default()
        };
        if let Some(worker) = &self.worker {
            let mut engine = worker.get().engine.borrow_mut();
            engine.start_tracking(self.session, tracking);
        }
        Ok(())
    }

    /// Ends that.
    fn end_tracking(&self) {
        if let Some(worker) = &self.worker {
            worker.get().engine.borrow_mut().end_tracking(self.session);
        }
    }

    /// The client as in `Worker.clients`; `None` when it has gone.
    fn client<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(worker) = &self.worker else {
            return Ok(None);
        };
        let info = worker.get().engine.borrow_mut().client(self.session);
        info.map(|info| crate::inspect::client_dict(py, &info))
            .transpose()
    }
}

/// Called when the task of a Python command is done.
#[pyclass(frozen)]
pub struct Completion {
    worker: Py<Worker>,
    pub(crate) session: SessionRef,
    pub(crate) slot: u64,
    pub(crate) transaction: Option<usize>,
    pub(crate) command: CommandId,
    pub(crate) args: ArgsBuffer,
    pub(crate) started: Instant,
    ended: Arc<AtomicBool>,
}

impl Completion {
    pub(crate) fn of(context: &Context, args: &Args<'_>, worker: Py<Worker>) -> Self {
        Self {
            args: (*args).into(),
            started: Instant::now(),
            worker,
            session: context.session,
            slot: context.slot,
            transaction: context.transaction,
            command: context.command,
            ended: Arc::clone(&context.ended),
        }
    }

    pub(crate) fn finish(
        &self,
        py: Python<'_>,
        result: PyResult<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.ended.store(true, Ordering::Relaxed);
        self.worker.get().complete(py, self, result)
    }
}

#[pymethods]
impl Completion {
    fn __call__(&self, py: Python<'_>, task: &Bound<'_, PyAny>) -> PyResult<()> {
        self.finish(py, task.call_method0("result"))
    }
}

/// Called when the task that answers another worker is done.
#[pyclass(frozen)]
pub struct CallAnswer {
    worker: Py<Worker>,
    caller: Caller,
}

impl CallAnswer {
    pub(crate) fn new(worker: Py<Worker>, caller: Caller) -> Self {
        Self { worker, caller }
    }

    pub(crate) fn give(&self, py: Python<'_>, answer: &[u8]) -> PyResult<()> {
        self.worker.get().give_answer(py, self.caller, answer)
    }
}

#[pymethods]
impl CallAnswer {
    fn __call__(&self, py: Python<'_>, task: &Bound<'_, PyAny>) -> PyResult<()> {
        match task.call_method0("result") {
            Ok(answer) => match answer.cast::<PyBytes>() {
                Ok(bytes) => self.give(py, bytes.as_bytes()),
                Err(_) => self.give(py, b""),
            },
            Err(error) => {
                self.give(py, b"")?;
                Err(error)
            }
        }
    }
}
