//! What the engine wants of Python: commands, calls of workers, and reading from clients.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use yggdrasil_core::engine::{Caller, Ended, Event};
use yggdrasil_core::resp::{Args, Protocol};

use super::Worker;
use crate::context::{CallAnswer, Completion, Context};
use crate::convert::reply_of;
use crate::decode;
use crate::errors::YggdrasilError;

impl Worker {
    pub(super) fn carry_out(&self, py: Python<'_>, event: Event) -> PyResult<()> {
        match event {
            Event::Reading { session, on } => match self.connection_of(py, session) {
                Some(connection) => connection.get().set_reading(py, on),
                None => Ok(()),
            },
            Event::LookForEnd { session } => {
                let connection = self.connection_of(py, session);
                if connection.is_some_and(|connection| connection.get().has_ended()) {
                    self.engine.borrow_mut().end_input(session);
                }
                Ok(())
            }
            Event::Command {
                session,
                slot,
                command,
                args,
                transaction,
            } => {
                let context =
                    Context::of(self, session, slot, transaction, command, &args.as_args());
                self.run_command(py, context, &args.as_args())
            }
            Event::Called {
                caller,
                topic,
                payload,
            } => self.answer(py, caller, &topic, &payload),
            Event::CallAnswered { call, answer } => {
                let future = self.calls.borrow_mut().remove(&call);
                let result = answer
                    .map(|answer| PyBytes::new(py, &answer).into_any())
                    .ok_or_else(|| {
                        YggdrasilError::new_err("the worker was restarted before it answered")
                    });
                set_future(py, future, result)
            }
            Event::Logged { level, line } => {
                self.tell(py, b"scripts.log", &[&[level], &line[..]].concat())
            }
            Event::Executed { execution, reply } => {
                let future = self.executions.borrow_mut().remove(&execution);
                set_future(py, future, decode::value_of(py, &reply))
            }
        }
    }

    fn worker_object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Worker>> {
        let connections = self
            .me
            .get()
            .ok_or_else(|| YggdrasilError::new_err("the worker was not started"))?;
        Ok(connections.bind(py).clone())
    }

    fn run_command(&self, py: Python<'_>, context: Context, args: &Args<'_>) -> PyResult<()> {
        let handler = self
            .handlers
            .borrow()
            .get(&context.command)
            .map(|handler| handler.clone_ref(py));
        let completion = Completion::of(&context, args, self.worker_object(py)?.unbind());
        let blocks = completion.transaction.is_none()
            && self.engine.borrow().is_blocking(completion.command);
        let client = completion.session.client;
        let context = Py::new(py, context.with_worker(self.worker_object(py)?.unbind()))?;
        let list = PyList::new(py, args.iter().map(|arg| PyBytes::new(py, arg)))?;
        let started = match handler {
            Some(handler) => handler.bind(py).call1((context, list)),
            None => Err(YggdrasilError::new_err("the command has no handler")),
        };
        match started {
            Ok(coroutine) => {
                let task = self
                    .event_loop(py)?
                    .call_method1("create_task", (coroutine,))?;
                if blocks {
                    let task = task.clone().unbind();
                    self.blocked.borrow_mut().insert(client, task);
                }
                task.call_method1("add_done_callback", (Py::new(py, completion)?,))
                    .map(drop)
            }
            Err(error) => completion.finish(py, Err(error)),
        }
    }

    /// Ends a Python command.
    pub(crate) fn complete(
        &self,
        py: Python<'_>,
        ended: &Completion,
        result: PyResult<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        if ended.transaction.is_none() {
            self.blocked.borrow_mut().remove(&ended.session.client);
        }
        let protocol = self.engine.borrow_mut().protocol_of(ended.session);
        let reply = match protocol {
            Some(protocol) => reply_of(py, result, protocol),
            None if ended.transaction.is_some() => reply_of(py, result, Protocol::Resp2),
            // Nobody waits for it.
            None => Vec::new(),
        };
        let step = Ended {
            session: ended.session,
            slot: ended.slot,
            transaction: ended.transaction,
            command: ended.command,
            args: &ended.args.as_args(),
            nanoseconds: ended.started.elapsed().as_nanos() as u64,
        };
        self.engine.borrow_mut().complete(&step, reply);
        self.settle(py)
    }

    /// Ends the command that a client has left in.
    pub(super) fn cancel_blocked(&self, py: Python<'_>, client: u64) -> PyResult<()> {
        match self.blocked.borrow_mut().remove(&client) {
            Some(task) => task.call_method0(py, "cancel").map(drop),
            None => Ok(()),
        }
    }

    /// Hands something on to the function for a topic, if there is one.
    fn tell(&self, py: Python<'_>, topic: &[u8], payload: &[u8]) -> PyResult<()> {
        let topics = self.topics.borrow();
        let handler = topics.get(topic).map(|handler| handler.clone_ref(py));
        drop(topics);
        match handler {
            Some(handler) => handler
                .bind(py)
                .call1((PyBytes::new(py, payload),))
                .map(drop),
            None => Ok(()),
        }
    }

    fn answer(&self, py: Python<'_>, caller: Caller, topic: &[u8], payload: &[u8]) -> PyResult<()> {
        let handler = self
            .topics
            .borrow()
            .get(topic)
            .map(|handler| handler.clone_ref(py));
        let answer = CallAnswer::new(self.worker_object(py)?.unbind(), caller);
        let Some(handler) = handler else {
            return answer.give(py, b"");
        };
        let value = match handler.bind(py).call1((PyBytes::new(py, payload),)) {
            Ok(value) => value,
            Err(error) => {
                answer.give(py, b"")?;
                return Err(error);
            }
        };
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return answer.give(py, bytes.as_bytes());
        }
        let task = self.event_loop(py)?.call_method1("create_task", (value,))?;
        task.call_method1("add_done_callback", (Py::new(py, answer)?,))
            .map(drop)
    }

    pub(crate) fn give_answer(
        &self,
        py: Python<'_>,
        caller: Caller,
        answer: &[u8],
    ) -> PyResult<()> {
        self.engine.borrow_mut().answer_call(caller, answer);
        self.settle(py)
    }
}

/// Ends a future, unless who waited for it was cancelled.
fn set_future(
    py: Python<'_>,
    future: Option<Py<PyAny>>,
    result: PyResult<Bound<'_, PyAny>>,
) -> PyResult<()> {
    let Some(future) = future else {
        return Ok(());
    };
    let future = future.bind(py);
    if future.call_method0("done")?.is_truthy()? {
        return Ok(());
    }
    match result {
        Ok(value) => future.call_method1("set_result", (value,)),
        Err(error) => future.call_method1("set_exception", (error.value(py),)),
    }
    .map(drop)
}
