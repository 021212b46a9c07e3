"""A worker process: it calls functions for a thread of the pipeline, and ends with it."""

import ctypes
import os
import pickle
import signal
import socket
import sys
import traceback
from dataclasses import dataclass

from mithril.pipeline.chunk import Item
from mithril.pipeline.errors import TransformError
from mithril.pipeline.functions import Function, apply, memory_usage
from mithril.pipeline.pickling import pickled
from mithril.pipeline.shared_memory import Mailbox

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of a function, in parts that can be pickled."""

    stage: str
    place: str
    row: int
    cause: Exception

    @classmethod
    def of(cls, error: TransformError) -> "Failure":
        """The parts of an error."""
        cause = error.__cause__
        if not isinstance(cause, Exception):
            cause = RuntimeError(str(error))
        trace = "".join(traceback.format_exception(cause))
        try:
            stream, buffers = pickled(cause)
            pickle.loads(stream, buffers=buffers)  # noqa: S301 (what was pickled here)
        except Exception:  # noqa: BLE001 (any class of errors can refuse to be pickled)
            cause = RuntimeError(f"{type(cause).__name__}: {cause}")
        cause.add_note(f"In a worker process:\n{trace}")
        return cls(error.stage, error.place, error.row, cause)

    def error(self) -> TransformError:
        """The error again."""
        found = TransformError(self.stage, self.place, self.row, self.cause)
        found.__cause__ = self.cause
        return found


def main(descriptor: int, parent: int) -> None:
    """Serves until the other end is gone."""
    # Also in the midst of a function.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    # Ctrl-C is for the parent, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    mailbox = Mailbox(socket.socket(fileno=descriptor))
    try:
        sys.path[:] = mailbox.receive()
        functions = pickle.loads(mailbox.receive())  # noqa: S301 (from the parent)
        while True:
            _serve(mailbox, functions)
    except EOFError:
        return


def _serve(mailbox: Mailbox, functions: list[Function]) -> None:
    samples = [Item(*parts) for parts in mailbox.receive()]
    try:
        results, skipped = apply(functions, samples)
    except TransformError as error:
        mailbox.send(Failure.of(error))
        return
    del samples
    parts = [(result.value, result.place, result.row) for result in results]
    try:
        mailbox.send((parts, skipped, memory_usage(functions)))
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 (any class of values can refuse to be pickled)
        mailbox.send(Failure.of(_not_sent(functions, results, error)))


def _not_sent(functions: list[Function], results: list[Item], error: Exception) -> TransformError:
    """The error that names the first result which cannot be pickled."""
    found = results[0]
    for found in results:
        try:
            pickled(found.value)
        except Exception as cause:  # noqa: BLE001 (as above)
            error = cause
            break
    told = TypeError(
        f"a result of type {type(found.value).__name__} cannot be sent from a process: {error}; use threads"
    )
    names = " > ".join(function.name for function in functions)
    failed = TransformError(names, found.place, found.row, told)
    failed.__cause__ = told
    return failed
